"""An agent without HTTP: adopts, does what it is told, says so, and waits to be killed.

``other_agent.py SETTINGS start SPEC | fault REQUEST | begin REQUEST | idle``

``begin`` injects once somebody has stopped the member, and says so before.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from agent_service.audit import AuditLog
from agent_service.faults.manager import FaultManager
from agent_service.member import MemberControl
from agent_service.models import FaultRequest, MemberSpec
from agent_service.processes import is_stopped
from agent_service.settings import load_settings
from agent_service.supervisor import create_supervisor


async def main(settings_file: str, command: str, *arguments: str) -> None:
    settings = load_settings(Path(settings_file))
    member = MemberControl(settings, create_supervisor(settings))
    await member.adopt()
    faults = FaultManager(settings, member, AuditLog(settings.state_dir / "audit.jsonl"))
    await faults.adopt()
    match command:
        case "start":
            status = await member.start(MemberSpec.model_validate_json(arguments[0]))
            print(status.pid, flush=True)
        case "fault":
            fault = await faults.inject(FaultRequest.model_validate_json(arguments[0]), "tester")
            print(fault.state, flush=True)
        case "begin":
            print("ready", flush=True)
            while member.process is None or not is_stopped(member.process):  # noqa: ASYNC110 - a signal from outside
                await asyncio.sleep(0.01)
            await faults.inject(FaultRequest.model_validate_json(arguments[0]), "tester")
        case _:
            print("idle", flush=True)
    await asyncio.sleep(600)


asyncio.run(main(*sys.argv[1:]))
