"""Before, during and after: how the time of a case is cut for the statistics of its load."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tester.events import Phase
from tester.phases import Span

if TYPE_CHECKING:
    from collections.abc import Mapping


class Windows(NamedTuple):
    """Each begins where the one before ends; ``None``: the case did not get so far."""

    before: Span
    during: Span | None
    after: Span | None


def windows(phases: Mapping[Phase, Span], start_ns: int, end_ns: int) -> Windows:
    """Cut a case that had these phases, so that whatever ends in it ends in one of the windows. Pure.

    The blow belongs to the fault and not to the time before it: ``during`` begins with the injection (of a
    case without faults: with its hold). ``after`` begins when healing does, and has restarts and elections.
    A case that ended before its time has no more windows: the last one lasts until its end.

    Args:
        phases: those that began.
        start_ns: of the case, on the run clock.
        end_ns: when the last operation of its load has ended.
    """
    blow = phases.get(Phase.INJECT) or phases.get(Phase.HOLD)
    recover = phases.get(Phase.RECOVER)
    if blow is None:
        return Windows(Span(start_ns, end_ns), None, None)
    before = Span(start_ns, blow.start_ns)
    if recover is None:
        return Windows(before, Span(blow.start_ns, end_ns), None)
    return Windows(before, Span(blow.start_ns, recover.start_ns), Span(recover.start_ns, end_ns))
