"""Faults inside etcd: failpoints of a build that has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_service.errors import UnavailableError
from agent_service.faults.disksteps import ExcuseEnd, ExcuseNothing
from agent_service.faults.steps import (
    DeleteFailpoints,
    EnsureMemberRunning,
    FailpointsAre,
    FaultSteps,
    MemberRuns,
    PanicReached,
    SetFailpoints,
)

if TYPE_CHECKING:
    from agent_service.faults.base import HostContext
    from agent_service.models import FailpointFault


def plan_failpoint(fault_id: str, spec: FailpointFault, host: HostContext) -> FaultSteps:
    """Set them; healed by taking them away, and by a start where one has ended the member.

    One that panics must end the member at once, or it had no effect.
    """
    process = host.running_process()
    address = host.failpoint_address
    if address is None:
        raise UnavailableError(
            "the member was not started with a place for failpoints",
            remedy="start it with GOFAIL_HTTP=127.0.0.1:PORT in its environment",
        )
    terms = dict(sorted(spec.terms.items()))
    away = (DeleteFailpoints(address, tuple(terms)), EnsureMemberRunning())
    unset = (MemberRuns(), FailpointsAre(address, dict.fromkeys(terms, "")))
    if not spec.panics:
        return FaultSteps(
            inject=(SetFailpoints(address, terms),),
            verify_injected=(FailpointsAre(address, terms),),
            undo=away,
            verify_healed=unset,
        )
    return FaultSteps(
        inject=(ExcuseEnd(f"fault {fault_id}"), SetFailpoints(address, terms)),
        verify_injected=(PanicReached(process.pid, process.start_ticks),),
        undo=(*away, ExcuseNothing()),
        verify_healed=unset,
    )
