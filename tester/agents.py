"""The agents of an inventory, connected."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from agent_client.client import AgentClient
from agent_client.errors import AgentClientError
from agent_client.tls import ClientTls
from tester.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tester.inventory import Inventory


@asynccontextmanager
async def connect(inventory: Inventory) -> AsyncIterator[dict[str, AgentClient]]:
    """One client for each host, by its name, closed at the end. Nothing is sent yet.

    Raises:
        AgentError: the tester's certificate or key is not usable.
    """
    identity = inventory.identity
    try:
        tls = ClientTls(ca=identity.ca, certificate=identity.certificate, key=identity.key)
    except AgentClientError as error:
        raise AgentError(error.message, remedy=error.remedy) from error
    async with AsyncExitStack() as stack:
        yield {
            host.name: await stack.enter_async_context(AgentClient(host.agent_url, tls=tls))
            for host in (*inventory.hosts, *inventory.load_hosts)
        }
