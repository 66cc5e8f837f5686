"""Faults on the agent and its host. They fall a second after they are ordered: the answer leaves first."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from agent_service.faults.machine_steps import (
    AgentReplaced,
    AnotherBoot,
    CallOff,
    ForeseeEnd,
    ForeseeNoEnd,
    StoodStill,
    Strike,
    StrikeOrdered,
)
from agent_service.faults.steps import EnsureMemberRunning, FaultSteps, MemberRuns
from agent_service.models import MemberState

if TYPE_CHECKING:
    from agent_service.faults.base import HostContext
    from agent_service.models import AgentHangFault, AgentKillFault, PowerOffFault, RebootFault

_ABRUPT = ("systemd-run", "--quiet", "--collect", "--no-ask-password", "--")


def plan_down(fault_id: str, spec: RebootFault | PowerOffFault, host: HostContext) -> FaultSteps:
    """The host goes down; the agent of its next boot starts the member as it was, if it ran."""
    order = _order(fault_id, host)
    verb = ("systemctl", "reboot" if spec.kind == "reboot" else "poweroff")
    # Abruptly, nobody is asked to end, and nothing is unmounted; init does it, for it takes more than an agent may.
    command = (*_ABRUPT, *verb, "--force", "--force") if spec.abrupt else verb
    ran = host.member_state in {MemberState.RUNNING, MemberState.PAUSED}
    return FaultSteps(
        inject=(ForeseeEnd((signal.SIGTERM, signal.SIGKILL)), Strike(order, ("run", *command))),
        verify_injected=(StrikeOrdered(order),),
        undo=(CallOff(order), *((EnsureMemberRunning(),) if ran else ()), ForeseeNoEnd()),
        verify_healed=(MemberRuns(),) if ran else (),
        verify_effect=(AnotherBoot(host.machine.boot_id),),
        until="next-boot",
    )


def plan_agent_kill(fault_id: str, _spec: AgentKillFault, host: HostContext) -> FaultSteps:
    """SIGKILL to the agent itself; systemd starts it again."""
    order, agent = _order(fault_id, host), host.machine.agent
    return FaultSteps(
        inject=(Strike(order, ("kill", str(agent.pid), str(agent.start_ticks))),),
        verify_injected=(StrikeOrdered(order),),
        undo=(CallOff(order),),
        verify_healed=(),
        verify_effect=(AgentReplaced(agent.pid, agent.start_ticks),),
        until="next-agent",
    )


def plan_agent_hang(fault_id: str, spec: AgentHangFault, host: HostContext) -> FaultSteps:
    """SIGSTOP to the agent itself, and SIGCONT after a time."""
    order, agent = _order(fault_id, host), host.machine.agent
    what = ("hang", str(agent.pid), str(agent.start_ticks), f"{spec.seconds:g}")
    return FaultSteps(
        inject=(Strike(order, what),),
        verify_injected=(StrikeOrdered(order),),
        undo=(CallOff(order),),
        verify_healed=(),
        verify_effect=(StoodStill(order, spec.seconds),),
    )


def _order(fault_id: str, host: HostContext) -> str:
    return f"{host.machine.strikes}/{fault_id}"
