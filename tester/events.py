"""What happens while a run goes on: the console, ``--json`` and the history listen to the same events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from tester.results import CaseResult, RoundResult, RunResult  # noqa: TC001 - `--json` is read back into these


class Phase(StrEnum):
    """Where a round is."""

    PROVISION = "provision"
    BOOTSTRAP = "bootstrap"
    STEADY = "steady"
    INJECT = "inject"
    HOLD = "hold"
    RECOVER = "recover"
    SETTLE = "settle"
    CHECK = "check"
    COMPACT = "compact"
    CLEANUP = "cleanup"


@dataclass(frozen=True, slots=True)
class RunStarted:
    """First event."""

    scenario: str
    seed: int
    rounds: int
    cases: tuple[str, ...]
    hosts: tuple[str, ...]
    version: str
    directory: str


@dataclass(frozen=True, slots=True)
class RoundStarted:
    """A round begins."""

    number: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class PhaseStarted:
    """A round or case enters a phase. ``expected_seconds`` is set where the length is known."""

    at_ns: int
    round: int
    case: str | None
    phase: Phase
    expected_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """A line about long work inside a phase (a playbook task, a wait)."""

    text: str


@dataclass(frozen=True, slots=True)
class FaultInjected:
    """Injected and verified. One event per host."""

    at_ns: int
    fault_id: str
    kind: str
    member: str
    evidence: str


@dataclass(frozen=True, slots=True)
class FaultHealed:
    """Undone and verified."""

    at_ns: int
    fault_id: str
    kind: str
    member: str
    evidence: str


@dataclass(frozen=True, slots=True)
class LeaderChanged:
    """``leader`` is ``None`` while no member knows one."""

    at_ns: int
    leader: str | None
    term: int


@dataclass(frozen=True, slots=True)
class MemberExited:
    """A member process ended."""

    at_ns: int
    member: str
    expected: bool
    text: str


class MembershipChange(StrEnum):
    """What an operator changed. The names are those of the history's ``member`` records."""

    LEAVING = "leaving"
    """Its removal is about to be asked for: from now on its process may end by itself."""
    ADDED = "added"
    """It is on the cluster's list of members as a voter, and about to be started."""
    ADDED_LEARNER = "added-learner"
    PROMOTED = "promoted"
    """The learner is a voter now."""
    MAY_END = "may-end"
    """It is started in a way that etcd should refuse."""
    MUST_RUN = "must-run"
    """It was started as it should be again."""


@dataclass(frozen=True, slots=True)
class MembershipChanged:
    """The members of the cluster are others now, because an action of a case asked for it."""

    at_ns: int
    member: str
    change: MembershipChange


@dataclass(frozen=True, slots=True)
class LoadSample:
    """The load over the last sampling interval."""

    at_ns: int
    rate: float
    """Completed operations a second."""
    ok: int
    fail: int
    info: int
    """Totals since the round began."""
    p50: float | None
    p99: float | None
    errors: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CaseFinished:
    """A case is done."""

    round: int
    result: CaseResult


@dataclass(frozen=True, slots=True)
class RoundFinished:
    """A round is done and cleaned up."""

    result: RoundResult


@dataclass(frozen=True, slots=True)
class RunFinished:
    """Last event."""

    result: RunResult


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a person should read now."""

    text: str
    warning: bool = False


Event: TypeAlias = (
    RunStarted
    | RoundStarted
    | PhaseStarted
    | Progress
    | FaultInjected
    | FaultHealed
    | LeaderChanged
    | MemberExited
    | MembershipChanged
    | LoadSample
    | CaseFinished
    | RoundFinished
    | RunFinished
    | Notice
)

Listener: TypeAlias = Callable[[Event], None]


class EventBus:
    """Hands each event to every listener, in order of subscription. One bus per run."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> None:
        """From now on ``listener`` gets every event."""
        self._listeners.append(listener)

    @contextmanager
    def listening(self, listener: Listener) -> Iterator[None]:
        """While the body of the ``with`` runs, ``listener`` gets every event."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def publish(self, event: Event) -> None:
        """Tell everybody. A listener that raises is a defect: it is not caught."""
        for listener in tuple(self._listeners):
            listener(event)
