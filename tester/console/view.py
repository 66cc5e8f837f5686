"""What the live view shows, as a value: each event makes a new one.

The view is replaced, never changed, so the thread that draws it needs no lock. Durations that grow while
nothing happens are drawn from ``since``, seconds on the console's own clock: not every event carries a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tester.events import (
    CaseFinished,
    Event,
    FaultHealed,
    FaultInjected,
    LeaderChanged,
    LoadSample,
    MemberExited,
    Notice,
    Phase,
    PhaseStarted,
    Progress,
    RoundFinished,
    RoundStarted,
    RunStarted,
)

SAMPLES_SHOWN = 24
NOTICES_SHOWN = 3
ERRORS_SHOWN = 4


@dataclass(frozen=True, slots=True)
class ActiveFault:
    """A fault that is injected now."""

    fault_id: str
    kind: str
    member: str
    since: float


@dataclass(frozen=True, slots=True)
class View:
    """Everything on the screen."""

    started: RunStarted | None = None
    since: float = 0.0
    """When the run started."""
    round: int = 0
    case: str | None = None
    cases_done: int = 0
    """Cases of this round that are finished."""
    phase: PhaseStarted | None = None
    phase_since: float = 0.0
    progress: str = ""
    load: LoadSample | None = None
    samples: tuple[LoadSample, ...] = ()
    """The last few, newest last: rates for the sparkline, and the errors of that time."""
    leader: LeaderChanged | None = None
    leader_since: float = 0.0
    faults: tuple[ActiveFault, ...] = ()
    """One that could not be healed stays, whatever round begins."""
    down: dict[str, str] = field(default_factory=dict)
    """Members that exited although nobody asked them to, and what they said."""
    notices: tuple[Notice, ...] = ()


def advance(view: View, event: Event, now: float) -> View:  # noqa: C901 - one arm per event, nothing nested
    """The view after the event, seen at ``now``."""
    match event:
        case RunStarted():
            return View(started=event, since=now)
        case RoundStarted(number=number):
            return View(view.started, view.since, number, faults=view.faults, notices=view.notices)
        case PhaseStarted():
            return _enter(view, event, now)
        case Progress(text=text):
            return replace(view, progress=text)
        case LoadSample():
            return replace(view, load=event, samples=(*view.samples, event)[-SAMPLES_SHOWN:])
        case LeaderChanged():
            return replace(view, leader=event, leader_since=now)
        case FaultInjected(fault_id=fault_id, kind=kind, member=member):
            return replace(view, faults=(*view.faults, ActiveFault(fault_id, kind, member, now)))
        case FaultHealed():
            return _healed(view, event)
        case MemberExited(member=member, expected=False, text=text):
            return replace(view, down=view.down | {member: text})
        case CaseFinished():
            return replace(view, case=None, cases_done=view.cases_done + 1)
        case RoundFinished():
            return View(view.started, view.since, view.round, faults=view.faults, notices=view.notices)
        case Notice():
            return replace(view, notices=(*view.notices, event)[-NOTICES_SHOWN:])
        case _:
            return view


def _enter(view: View, event: PhaseStarted, now: float) -> View:
    # A new case begins with every member up: what is still listed belongs to the case before it.
    down = {} if event.phase is Phase.STEADY else view.down
    return replace(view, case=event.case, phase=event, phase_since=now, progress="", down=down)


def _healed(view: View, event: FaultHealed) -> View:
    left = tuple(
        fault for fault in view.faults if (fault.fault_id, fault.member) != (event.fault_id, event.member)
    )
    return replace(view, faults=left)
