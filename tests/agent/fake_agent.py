"""An agent that is real but for member and faults: ``python -m tests.agent.fake_agent SETTINGS``.

Limits are short, so that tests of them are.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from agent_service import gate, handshakes, protocol, server
from agent_service.app import Agent
from agent_service.audit import AuditLog
from tests.agent.fakes import FakeFaults, FakeLoad, FakeMember

if TYPE_CHECKING:
    from agent_service.faults.journal import HealedBy
    from agent_service.models import FaultStatus
    from agent_service.settings import AgentSettings


class NoisyFaults(FakeFaults):
    """Say what is healed, and why."""

    async def heal_all(self, by: HealedBy, who: str) -> tuple[FaultStatus, ...]:
        faults = await super().heal_all(by, who)
        for fault in faults:
            print(f"healed {fault.id} by {by}", flush=True)
        return faults


def make_agent(settings: AgentSettings) -> Agent:
    return Agent(
        settings,
        FakeMember(settings.state_dir),
        NoisyFaults(),
        AuditLog(settings.state_dir / "audit.jsonl"),
        FakeLoad(),
    )


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    gate.BODY_SECONDS = gate.SEND_SECONDS = protocol.HEAD_SECONDS = 0.5
    handshakes.HANDSHAKE_SECONDS = 0.5
    protocol.MAX_CONNECTIONS = handshakes.MAX_HANDSHAKES = 40
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.serve(Path(sys.argv[1]), make_agent))


if __name__ == "__main__":
    main()
