"""Who gets in, over real TLS on loopback."""

from __future__ import annotations

import datetime as dt
import ssl

import httpx
import pytest

from agent_client import AgentClient, AgentRefusedError, AgentTlsError, AgentUnreachableError
from tests.agent.certs import Authority
from tests.agent.process import Process, loopback_address

HOUR = dt.timedelta(hours=1)


async def test_the_tester_gets_in_and_its_name_is_in_the_audit_log(agent: Process) -> None:
    async with agent.client() as client:
        assert (await client.check_version()).api_version == 1
        with pytest.raises(AgentRefusedError) as refused:
            await client.kill()
        assert refused.value.problem.state == "uninitialized"
        assert [(e.who, e.what, e.outcome) for e in await client.audit()] == [
            ("tester", "POST /v1/member/kill", "409")
        ]


async def test_no_certificate(agent: Process) -> None:
    context = ssl.create_default_context(cafile=agent.directory / "ca.crt")
    async with httpx.AsyncClient(verify=context) as http:
        with pytest.raises(httpx.TransportError):
            await http.get(f"{agent.url}/v1/clock")


async def test_certificate_of_another_authority(agent: Process) -> None:
    Authority("other").issue(agent.directory, "stranger", "tester")
    async with agent.client("stranger") as client:
        with pytest.raises(AgentTlsError, match="does not take this certificate"):
            await client.clock()


async def test_expired_certificate(agent: Process) -> None:
    agent.ca.issue(agent.directory, "late", "tester", valid=-HOUR)
    async with agent.client("late") as client:
        with pytest.raises(AgentTlsError, match="does not take this certificate"):
            await client.clock()


async def test_certificate_made_for_servers(agent: Process) -> None:
    agent.ca.issue(agent.directory, "server", "tester", client=False)
    async with agent.client("server") as client:
        with pytest.raises(AgentTlsError, match="does not take this certificate"):
            await client.clock()


@pytest.mark.parametrize("names", [("stranger",), ("tester", "stranger"), ("Tester",)])
async def test_name_that_is_not_on_the_list(agent: Process, names: tuple[str, ...]) -> None:
    agent.ca.issue(agent.directory, "named", *names)
    async with agent.client("named") as client:
        with pytest.raises(AgentRefusedError) as refused:
            await client.clock()
        assert refused.value.problem.status == 403


async def test_agent_of_another_authority(agent: Process) -> None:
    (agent.directory / "other.crt").write_bytes(Authority("other").pem)
    tls = agent.tls(ca=agent.directory / "other.crt")
    async with AgentClient(agent.url, tls=tls) as client:
        with pytest.raises(AgentTlsError, match="the agent's certificate is not trusted"):
            await client.clock()


async def test_agent_whose_certificate_is_for_another_address(agent: Process) -> None:
    agent.ca.issue(agent.directory, "agent", "h1", address=loopback_address(), client=False)
    agent.reload()
    async with agent.client() as client:
        with pytest.raises(AgentTlsError, match="not trusted: IP address mismatch"):
            await client.clock()


async def test_older_tls(agent: Process) -> None:
    tls = agent.tls()
    tls.context.minimum_version = tls.context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with AgentClient(agent.url, tls=tls) as client:
        with pytest.raises(AgentTlsError):
            await client.clock()


async def test_no_tls(agent: Process) -> None:
    async with httpx.AsyncClient() as http:
        with pytest.raises(httpx.TransportError):
            await http.get(agent.url.replace("https", "http") + "/v1/clock")


async def test_nobody_there(agent: Process) -> None:
    agent.stop()
    async with agent.client() as client:
        with pytest.raises(AgentUnreachableError, match="GET /v1/clock"):
            await client.clock()
