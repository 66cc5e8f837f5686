"""What a run found out: plain values, written to the run directory as JSON and shown on the console."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from tester.errors import ExitCode


class Verdict(StrEnum):
    """Of one checker. Missing evidence is ``UNKNOWN``, never ``VALID``."""

    VALID = "valid"
    INVALID = "invalid"
    UNKNOWN = "unknown"

    @staticmethod
    def worst(*verdicts: Verdict) -> Verdict:
        """``INVALID`` beats ``UNKNOWN`` beats ``VALID``; of none it is ``UNKNOWN``."""
        if not verdicts:
            return Verdict.UNKNOWN
        order = (Verdict.VALID, Verdict.UNKNOWN, Verdict.INVALID)
        return max(verdicts, key=order.index)


@dataclass(frozen=True, slots=True)
class Finding:
    """One violation: what was expected, what was seen, and where to look."""

    message: str
    operations: tuple[int, ...] = ()
    """Ids of operations in the history."""
    revisions: tuple[int, ...] = ()
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The verdict of one checker with a message a person can act on."""

    checker: str
    verdict: Verdict
    message: str
    findings: tuple[Finding, ...] = ()
    """The first few violations; ``findings_total`` counts all."""
    findings_total: int = 0
    elapsed_seconds: float = 0.0
    kinds: tuple[str, ...] = ()
    """Of all violations, where the checker tells kinds apart."""
    known: str = ""
    """The bug of etcd that is known to do this, and only this, in the version that ran; the verdict stays."""
    explanation: str = ""
    """What an ``invalid`` means: a paragraph for each kind of violation."""
    nothing_to_judge: bool = False
    """An ``unknown`` because nothing of the checker's kind is in the history."""


class CaseState(StrEnum):
    """How a case ended. A mistake of the tool or a host is never a violation of etcd's, and the reverse."""

    PASSED = "passed"
    VIOLATED = "violated"
    UNKNOWN = "unknown"
    """It ran, but a checker lacked evidence."""
    ERROR = "error"
    """The fault, a host or the tool failed; nothing is said about etcd."""
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class ServiceGap:
    """A stretch of more than 100 ms in which operations waited and none was answered ``ok``."""

    start_ns: int
    """Run clock: the last ``ok``, or when the first operation that had to wait was asked for, if that is later."""
    end_ns: int | None
    """Run clock: the next ``ok``, or when the load was paused; ``None`` while there is neither."""


@dataclass(frozen=True, slots=True)
class PhaseStats:
    """The load during one stretch of a case. Latencies in seconds, of operations with outcome ``ok``."""

    seconds: float = 0.0
    ok: int = 0
    fail: int = 0
    info: int = 0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None
    errors: dict[str, int] = field(default_factory=dict)
    """Failed and unknown operations by error kind."""
    rate: float = 0.0
    """Operations with outcome ``ok`` a second."""
    lag: float = 0.0
    """By how many seconds the latest operation was started late: open loops alone."""
    gaps: tuple[ServiceGap, ...] = ()
    """Whole, also those that began before the stretch or ended after it; the ten longest."""
    gaps_total: int = 0
    gap_seconds: float = 0.0
    """What of the stretch lies in gaps."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds from the end of healing until each; ``None`` when it was not reached within the limit."""

    leader: float | None
    serving: float | None
    """Every voting member answers a linearizable read, every learner one of its own state."""
    writes: float | None
    """A write was accepted through every voting member."""
    limit: float


@dataclass(frozen=True, slots=True)
class FaultTurn:
    """One time that a fault came. On the run clock."""

    start_ns: int
    """When its injection began."""
    end_ns: int | None
    """When its healing began; ``None``: it was never asked for."""
    healed_ns: int | None
    """When it was healed, and that was verified; ``None``: it was not."""
    during: PhaseStats = PhaseStats()
    """The load from ``start_ns`` to ``end_ns``."""


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """One fault of a case, as it was done. ``times``: how often it came; more than once if it flaps."""

    fault: str
    targets: tuple[str, ...]
    times: int
    held_seconds: float | None
    """Measured, of all its times together."""
    turns: tuple[FaultTurn, ...] = ()
    """The first twenty of its times, in order."""


@dataclass(frozen=True, slots=True)
class ActionResult:
    """One action of a case that came to its end."""

    action: str
    targets: tuple[str, ...]
    text: str
    """What was done, in words."""
    elapsed_seconds: float


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case, done."""

    name: str
    fault: str
    """Its faults in words: ``kill``, ``isolate + kill``, ``none``."""
    targets: tuple[str, ...]
    state: CaseState
    reason: str
    """Why it is not ``PASSED``; empty when it is."""
    held_seconds: float | None = None
    """Measured from the first verified injection to the start of healing, or until an action ended it."""
    leader_changes: int = 0
    before: PhaseStats = PhaseStats()
    """Until the first injection, or the hold of a case without faults. What ends in the case is in one of the three."""
    during: PhaseStats = PhaseStats()
    """From there to the start of healing."""
    after: PhaseStats = PhaseStats()
    """From there until nothing of the load was in flight any more, for the check."""
    recovery: Recovery | None = None
    checks: tuple[CheckResult, ...] = ()
    overhead_seconds: float = 0.0
    """Wall time of the case that is neither steady, hold, settle nor etcd's own recovery."""
    elapsed_seconds: float = 0.0
    actions: tuple[ActionResult, ...] = ()
    """What was done to the cluster while it was held, in order."""
    faults: tuple[InjectedFault, ...] = ()
    """What was injected, in the order of the scenario."""
    phases: dict[str, float] = field(default_factory=dict)
    """Seconds that each phase took, in the order in which they began."""


@dataclass(frozen=True, slots=True)
class RoundResult:
    """One round, done. ``error`` is set when something outside the cases failed."""

    number: int
    cases: tuple[CaseResult, ...]
    checks: tuple[CheckResult, ...] = ()
    """Of checkers that judge the round as a whole."""
    error: str | None = None
    remedy: str | None = None
    exit_code: ExitCode = ExitCode.VALID
    provision_seconds: float = 0.0
    bootstrap_seconds: float = 0.0
    cleanup_seconds: float = 0.0
    elapsed_seconds: float = 0.0
    notes: tuple[str, ...] = ()
    """What was left out although one might expect it, and why: nothing is proven by it."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """All rounds. ``exit_code`` is the worst of everything that happened."""

    scenario: str
    seed: int
    inventory: str
    directory: str
    rounds: tuple[RoundResult, ...]
    """The last hundred; all are in their directories."""
    exit_code: ExitCode
    reason: str
    elapsed_seconds: float
    """Of this session, if the run was resumed."""
    rounds_total: int = 0
    cases_total: dict[CaseState, int] = field(default_factory=dict)
    """How many cases ended in each state, over all rounds."""
