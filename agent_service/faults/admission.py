"""Which requests are refused before anything is planned, and which were answered before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_service.errors import FaultFailedError, IllegalStateError, UnavailableError
from agent_service.faults.registry import resource_of
from agent_service.models import FaultState

if TYPE_CHECKING:
    from agent_service.faults.journal import Entry, Journal
    from agent_service.models import FaultRequest, FaultSpec, FaultStatus


def answer_again(known: Entry, request: FaultRequest) -> FaultStatus:
    """The answer to a request that was made before, or to one that takes another's id.

    Raises:
        IllegalStateError: the id is another fault's.
        FaultFailedError: it had no effect then.
    """
    if known.fault_spec() != request.spec:
        raise IllegalStateError(
            f"fault {known.id} is another one: {known.fault_spec().kind}",
            state=known.state,
            remedy="give every fault an id of its own",
        )
    if known.state is FaultState.FAILED:
        raise FaultFailedError(f"fault {known.id} had no effect: {known.evidence}")
    return known.status()


def refuse_conflict(spec: FaultSpec, journal: Journal) -> None:
    """See that nothing is in the way of a new fault.

    Raises:
        UnavailableError: nobody knows what is in effect here.
        IllegalStateError: another fault holds what this one would.
    """
    if journal.damaged:
        raise UnavailableError(
            f"the fault journal is damaged: {', '.join(map(str, journal.damaged))}",
            remedy="see what these describe, undo it by hand, remove them, and restart the agent",
        )
    for other in journal.oldest_first():
        if other.active and resource_of(other.fault_spec()) is resource_of(spec):
            raise IllegalStateError(
                f"fault {other.id} ({other.fault_spec().kind}) is {other.state} and in the way",
                state=other.state,
                remedy="heal it first",
            )
