"""What is asked of an agent for a case. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Protocol

from agent_service.models import (
    ClientPortFault,
    CrashLoopFault,
    FaultRequest,
    IsolateFault,
    KillFault,
    PartitionFault,
    PauseFault,
    Peer,
    PeerPortFault,
    RestartFault,
    StopFault,
)
from tester.scenario.model import FaultKind

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from agent_service.models import FaultPlan, FaultSpec, FaultStatus
    from tester.inventory import Host
    from tester.partitions import Cut
    from tester.scenario.model import CaseSection

_NO_SLUG = re.compile(r"[^a-z0-9]+")
_LONGEST = 63 - 9
"""What a name may have, less a dash and eight digits."""


class FaultAgent(Protocol):
    """The part of ``AgentClient`` that faults need; it raises ``AgentClientError``, and nothing else."""

    async def plan(self, spec: FaultSpec) -> FaultPlan:
        """What the fault would do, and its undo; must not touch anything."""

    async def inject(self, request: FaultRequest) -> FaultStatus:
        """Inject and verify. The same request again is the same fault."""

    async def renew(self, fault_id: str, lease_seconds: float) -> FaultStatus:
        """A new lease. Must not inject again what has been healed."""

    async def heal(self, fault_id: str) -> FaultStatus:
        """Undo and verify. Must be harmless when it is repeated."""


def fault_spec(case: CaseSection, host: Host, members: Sequence[Host], cut: Cut | None = None) -> FaultSpec:
    """The fault of a case on one of the members' hosts; ``cut`` is what a partition drops there.

    Raises:
        ValueError: the case has no fault, or there is nobody to isolate from.
    """
    match case.fault:
        case FaultKind.STOP:
            return StopFault(grace_seconds=case.grace)
        case FaultKind.KILL:
            return KillFault()
        case FaultKind.PAUSE:
            return PauseFault()
        case FaultKind.RESTART | FaultKind.ROLLING_RESTART:
            return RestartFault(grace_seconds=case.grace)
        case FaultKind.CRASH_LOOP:
            return CrashLoopFault(every_seconds=case.every)
        case FaultKind.NONE:
            raise ValueError(f"case {case.name} has no fault")
        case _:
            return _traffic_spec(case, host, members, cut)


def _traffic_spec(case: CaseSection, host: Host, members: Sequence[Host], cut: Cut | None) -> FaultSpec:
    match case.fault:
        case FaultKind.ISOLATE:
            others = [other.name for other in members if other.name != host.name]
            return IsolateFault(peer_port=host.peer_port, peers=_peers(members, others))
        case FaultKind.PARTITION:
            if cut is None:
                raise ValueError(f"case {case.name}: nothing is cut at {host.name}")
            peers = _peers(members, cut.peers)
            return PartitionFault(peer_port=host.peer_port, peers=peers, direction=cut.direction)
        case FaultKind.CLIENT_PORT:
            return ClientPortFault(port=host.client_port, action=case.action.value)
        case FaultKind.PEER_PORT:
            return PeerPortFault(port=host.peer_port, action=case.action.value)
        case _:
            raise ValueError(f"{case.fault} is no fault of the network")


def _peers(members: Sequence[Host], names: Collection[str]) -> tuple[Peer, ...]:
    return tuple(
        Peer(address=member.address, port=member.peer_port) for member in members if member.name in names
    )


def fault_id(run: str, number: int, case: str, member: str) -> str:
    """A name for a fault, the same for the same arguments and no other: ``r3-kill-leader-h2-5f0c9a1e``.

    The digits keep runs apart: an agent takes a known id for the same fault as before and would do nothing.

    Args:
        run: unique to a run, also among runs with the same seed.
        number: the round.
        case: the name of the case.
        member: the member that is hit.
    """
    digits = hashlib.sha256("\0".join((run, str(number), case, member)).encode()).hexdigest()[:8]
    plain = _NO_SLUG.sub("-", member.lower())
    readable = f"r{number}-{case}-{plain}"[:_LONGEST].rstrip("-")
    return f"{readable}-{digits}"
