"""A client for the agents of etcd-chaos, usable on its own: in a script, a test or a notebook.

In a notebook, where ``await`` works at the top level::

    from pathlib import Path
    from agent_client import AgentClient, ClientTls

    pki = Path.home() / ".local/state/etcd-chaos/pki"
    tls = ClientTls(ca=pki / "ca.crt", certificate=pki / "tester.crt", key=pki / "tester.key")

    agent = AgentClient("https://10.0.0.11:9027", tls=tls)
    info = await agent.check_version()
    [c.kind for c in info.capabilities if c.available]   # the faults this host can do

    status = await agent.member()
    print(status.state, status.pid)
    for line in (await agent.member_log(lines=20)).lines:
        print(line)

    await agent.close()

A script says ``async with AgentClient(...) as agent:`` instead. Every method is one request, answers with the
model the agent sent (``agent_service.models``), and raises one of ``agent_client.errors``.
"""

from agent_client.client import AgentClient
from agent_client.errors import (
    AgentClientError,
    AgentRefusedError,
    AgentTlsError,
    AgentUnreachableError,
    AgentVersionError,
)
from agent_client.tls import ClientTls

__all__ = [
    "AgentClient",
    "AgentClientError",
    "AgentRefusedError",
    "AgentTlsError",
    "AgentUnreachableError",
    "AgentVersionError",
    "ClientTls",
]
