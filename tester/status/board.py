"""What ``/status`` answers: where the run is now, and what it has found so far."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from tester.console.view import View, advance
from tester.errors import ExitCode
from tester.events import CaseFinished, RoundFinished

if TYPE_CHECKING:
    from tester.events import Event
    from tester.results import CaseState


class Fault(msgspec.Struct, frozen=True):
    """One that is injected now."""

    kind: str
    member: str
    active_seconds: float


class Load(msgspec.Struct, frozen=True):
    """The load of this round: totals since it began, latencies in seconds over the last half second."""

    rate: float
    ok: int
    fail: int
    info: int
    p50: float | None
    p99: float | None


class Status(msgspec.Struct, frozen=True):
    """The answer. ``rounds`` 0: until stopped; ``case`` and ``phase`` are ``None`` in between."""

    scenario: str
    seed: int
    directory: str
    running_seconds: float
    round: int
    rounds: int
    rounds_done: int
    case: str | None
    phase: str | None
    phase_seconds: float
    leader: str | None
    faults: tuple[Fault, ...]
    down: dict[str, str]
    """Members that ended although nobody asked them to, and what they said."""
    load: Load | None
    cases: dict[str, int]
    """How many ended in each state, over all rounds of this session."""
    worst_exit_code: int
    notices: tuple[str, ...]


class Board:
    """Listens to a run; ``status`` is where it is."""

    def __init__(self) -> None:
        self._view = View()
        self._cases: Counter[CaseState] = Counter()
        self._rounds = 0
        self._code = ExitCode.VALID

    def __call__(self, event: Event) -> None:
        """Take in what has happened."""
        self._view = advance(self._view, event, time.monotonic())
        if isinstance(event, CaseFinished):
            self._cases[event.result.state] += 1
        elif isinstance(event, RoundFinished):
            self._rounds += 1
            self._code = ExitCode.worst(self._code, event.result.exit_code)

    def status(self) -> Status | None:
        """Where the run is; ``None`` before its first event."""
        view, now = self._view, time.monotonic()
        if view.started is None:
            return None
        return Status(
            scenario=view.started.scenario,
            seed=view.started.seed,
            directory=view.started.directory,
            running_seconds=now - view.since,
            round=view.round,
            rounds=view.started.rounds,
            rounds_done=self._rounds,
            case=view.case,
            phase=view.phase.phase.value if view.phase else None,
            phase_seconds=now - view.phase_since if view.phase else 0.0,
            leader=view.leader.leader if view.leader else None,
            faults=tuple(Fault(fault.kind, fault.member, now - fault.since) for fault in view.faults),
            down=view.down,
            load=_load(view),
            cases={state.value: number for state, number in self._cases.items()},
            worst_exit_code=int(self._code),
            notices=tuple(notice.text for notice in view.notices),
        )


def _load(view: View) -> Load | None:
    sample = view.load
    if sample is None:
        return None
    return Load(sample.rate, sample.ok, sample.fail, sample.info, sample.p50, sample.p99)
