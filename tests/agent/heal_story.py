"""What ``test_heal_command`` tells, inside namespaces of its own.

``python -m tests.agent.heal_story DIRECTORY ETCD_ROOT VERSION``

Prints one line of JSON; dies with its namespaces, and everything in them with it.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from agent_service.models import FaultRequest, MemberSpec, PauseFault
from tests.agent.process import ROOT, Process

if TYPE_CHECKING:
    from agent_client import AgentClient

MEMBER = "http://127.0.0.1:2379"
PEER = "http://127.0.0.1:2380"


def heal(agent: Process, *options: str) -> tuple[int, str]:
    """Exit code and output of the command."""
    argv = [sys.executable, "-m", "agent_service", "heal", *options]
    argv += ["--settings", str(agent.directory / "agent.json")]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


async def pause(client: AgentClient, name: str) -> None:
    request = FaultRequest(id=name, spec=PauseFault(), lease_seconds=600, reason="test")
    await client.inject(request)


async def tell(agent: Process, version: str) -> dict[str, object]:
    agent.start()
    async with agent.client() as client:
        spec = MemberSpec(
            name="m1",
            version=version,
            client_url=MEMBER,
            peer_url=PEER,
            initial_cluster={"m1": PEER},
            initial_cluster_token="heal",
        )
        pid = (await client.start(spec)).pid
        await pause(client, "f1")
        agent.kill()
        expired = heal(agent, "--expired")
        everything = heal(agent)
        agent.start()
        healed = await client.fault("f1")
        member = await client.member()
        usage = await client.usage()
        await pause(client, "f2")
        stopped = agent.stop()
        agent.start()
        on_stop = await client.fault("f2")
        survivor = await client.member()
        await client.terminate()
    return {
        "expired": expired,
        "everything": everything,
        "healed_by": healed.healed_by,
        "state": member.state,
        "same_pid": member.pid == pid == survivor.pid,
        "usage_pid": usage.member.pid == pid if usage.member else None,
        "stopped": stopped[0],
        "stop_healed_by": on_stop.healed_by,
        "stop_state": on_stop.state,
    }


def main() -> None:
    directory, etcd_root, version = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    subprocess.run(["/usr/sbin/ip", "link", "set", "lo", "up"], check=True)
    agent = Process(directory, "agent_service", "serve", "--settings")
    agent.write_settings(etcd_root=str(etcd_root))
    try:
        print(json.dumps(asyncio.run(tell(agent, version))))
    finally:
        agent.close()


if __name__ == "__main__":
    main()
