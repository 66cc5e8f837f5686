"""Certificates, authorities and the list of clients change under a running agent."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest

from agent_client import AgentClient, AgentRefusedError, AgentTlsError
from tests.agent.certs import Authority

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent.process import Process


async def hammer(client: AgentClient, stop: asyncio.Event) -> int:
    """Ask until told to stop; any error is the test's."""
    asked = 0
    while not stop.is_set():
        await client.clock()
        asked += 1
    return asked


def rotate(agent: Process, *, keep_old: bool) -> Authority:
    """New CA, new agent certificate; the tester's new one is ``tester2``."""
    new = Authority("new")
    agent.write_ca(*([agent.ca, new] if keep_old else [new]))
    new.issue(agent.directory, "agent", "h1", address=agent.address, client=False)
    new.issue(agent.directory, "tester2", "tester")
    return new


async def test_rotation_drops_no_request(agent: Process) -> None:
    both = agent.directory / "both.crt"
    new = Authority("new")
    both.write_bytes(agent.ca.pem + new.pem)
    tls = agent.tls(ca=both)
    stop = asyncio.Event()
    async with AgentClient(agent.url, tls=tls) as client:
        hammering = [asyncio.create_task(hammer(client, stop)) for _ in range(4)]
        agent.write_ca(agent.ca, new)
        for _ in range(3):
            issuer = new
            issuer.issue(agent.directory, "agent", "h1", address=agent.address, client=False)
            await asyncio.to_thread(agent.reload)
            agent.write_ca(new, agent.ca)  # another text: every connection has to be made again
            await asyncio.to_thread(agent.reload)
            await asyncio.sleep(0.1)
        stop.set()
        assert min(await asyncio.gather(*hammering)) > 0


async def test_no_idle_connection_outlives_a_rotation(agent: Process) -> None:
    async with agent.client() as client:
        await asyncio.gather(*(client.clock() for _ in range(3)))
        agent.write_ca(agent.ca, Authority("new"))
        agent.reload()
        await client.clock()  # the agent wants it on a new connection, not on the next old one


async def test_a_removed_authority_is_gone_for_open_connections_too(agent: Process) -> None:
    shutil.copy(agent.directory / "ca.crt", agent.directory / "old.crt")
    both = agent.directory / "both.crt"
    async with AgentClient(agent.url, tls=agent.tls(ca=both_of(agent, both))) as old:
        await old.clock()
        new = rotate(agent, keep_old=False)
        both.write_bytes(agent.ca.pem + new.pem)
        agent.reload()
        async with agent.client("tester2") as fresh:
            await fresh.clock()
        with pytest.raises((AgentTlsError, AgentRefusedError)):
            await old.kill()
        async with AgentClient(agent.url, tls=agent.tls("tester", ca=both)) as again:
            with pytest.raises(AgentTlsError, match="does not take this certificate"):
                await again.clock()
        async with agent.client("tester2") as fresh:
            refused = [entry for entry in await fresh.audit() if entry.what == "POST /v1/member/kill"]
        assert [entry.outcome for entry in refused] == ["421"]


def both_of(agent: Process, path: Path) -> Path:
    path.write_bytes(agent.ca.pem)
    return path


async def test_a_name_taken_off_the_list_is_out_at_once(agent: Process) -> None:
    async with agent.client() as client:
        await client.clock()
        tls = {name: str(agent.directory / f"{file}") for name, file in TLS_FILES.items()}
        agent.write_settings(tls=tls | {"allowed_clients": ["somebody-else"]})
        agent.reload()
        with pytest.raises(AgentRefusedError) as refused:
            await client.clock()
        assert refused.value.problem.status == 403
        agent.write_settings()
        agent.reload()
        await client.clock()


TLS_FILES = {"ca": "ca.crt", "certificate": "agent.crt", "key": "agent.key"}


@pytest.mark.parametrize("file", ["agent.json", "ca.crt", "agent.crt", "agent.key"])
async def test_what_cannot_be_read_changes_nothing(agent: Process, file: str) -> None:
    async with agent.client() as client:
        await client.clock()
        (agent.directory / file).write_text("nonsense")
        agent.reload()
        error = agent.log().partition("SIGHUP: nothing is changed: ")[2]
        assert str(agent.directory / file) in error.partition(": ")[0]
        await client.clock()
