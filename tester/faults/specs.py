"""What is asked of an agent for a case. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from agent_service.models import FaultPlan, FaultRequest, FaultSpec, FaultStatus

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

    async def fault(self, fault_id: str) -> FaultStatus:
        """How it is now."""

    async def heal(self, fault_id: str) -> FaultStatus:
        """Undo and verify. Must be harmless when it is repeated."""

    async def knock(self) -> None:
        """See that it answers on a new connection."""


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
