"""The cluster under test: which members, started how, and when it is whole."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from agent_service.models import MemberSpec
from tester.errors import ClusterError
from tester.fleet import ask_all
from tester.results import Recovery
from tester.versions import flags_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from agent_client import AgentClient
    from agent_service.models import MemberTls
    from tester.etcd.monitor import ClusterMonitor
    from tester.plan import Plan
    from tester.scenario.model import ClusterSection
    from tester.security import Security

_FLAGS = {
    # The tester's connections ping every second to find a silent stall; etcd's default of 5 s takes that for abuse
    # and closes them as soon as no stream is open.
    "grpc-keepalive-min-time": "500ms",
}

_FAILPOINT_PLACE = "127.0.0.1:2381"
"""Where a member that was built with gofail lets its agent set failpoints."""


def member_specs(plan: Plan, token: str, security: Security) -> dict[str, MemberSpec]:
    """One spec per host, by host name: those of spares too, as if they belonged to the first cluster. Pure.

    ``token`` keeps clusters of different rounds apart.
    """
    section = plan.scenario.cluster
    env = dict(section.env)
    if any(fault.kind() == "failpoint" for case in plan.scenario.cases for fault in case.faults):
        env.setdefault("GOFAIL_HTTP", _FAILPOINT_PLACE)
    founders = {host.name: security.url(host.peer_url) for host in plan.initial}
    return {
        host.name: MemberSpec(
            name=host.name,
            version=plan.version(host),
            client_url=security.url(host.client_url),
            peer_url=security.url(host.peer_url),
            initial_cluster=founders | {host.name: security.url(host.peer_url)},
            initial_cluster_token=token,
            flags=member_flags(section, plan.version(host)),
            env=env,
            tls=security.tls.value,
            client_cert_auth=section.client_cert_auth,
            disk=section.disk.value,
        )
        for host in plan.hosts
    }


def member_flags(section: ClusterSection, version: str) -> dict[str, str]:
    """The flags of a member of this version: the tool's own, then the scenario's."""
    return _FLAGS | flags_of(section, version)


async def bootstrap(
    agents: Mapping[str, AgentClient],
    specs: Mapping[str, MemberSpec],
    certificates: Mapping[str, MemberTls],
    monitor: ClusterMonitor,
    limit_seconds: float,
) -> None:
    """Start every member at once and wait until each of them serves reads and accepts writes.

    ``certificates`` go to those members that are to have one, before they start.

    Raises:
        AgentError: an agent refused to start its member, for the reason it gives.
        ClusterError: the cluster is not whole in time; the message says what is missing.
    """
    if certificates:
        await ask_all(agents, lambda host, agent: agent.put_tls(certificates[host]))
    await ask_all(agents, lambda host, agent: agent.start(specs[host]))
    try:
        await monitor.wait_leader(limit_seconds)
        await monitor.wait_serving(limit_seconds)
        await monitor.wait_writes(limit_seconds)
    except ClusterError as error:
        raise ClusterError(
            f"the cluster did not form: {error.message}",
            remedy="read the members' logs in the run directory; cluster.start_timeout allows more time",
        ) from error


async def election_ends(monitor: ClusterMonitor, limit: float) -> None:
    """Wait for a leader if there is none just now: on a busy host one is voted out without any fault.

    Whether one is needed is not decided here; after ``limit`` seconds there still may be none.
    """
    if monitor.view().leader is None:
        with suppress(ClusterError):
            await monitor.wait_leader(limit)


async def measure_recovery(
    monitor: ClusterMonitor, limit_seconds: float, before_writes: Callable[[], Awaitable[None]] | None = None
) -> Recovery:
    """Seconds from now until the cluster has a leader, serves everywhere, accepts writes everywhere.

    ``before_writes`` is what an operator has to do before writes can be accepted (an alarm to be cleared): it
    is done as soon as the cluster serves, and the time until writes counts from its end.
    """
    if before_writes is None:
        leader, serving, writes = await asyncio.gather(
            _within(monitor.wait_leader(limit_seconds)),
            _within(monitor.wait_serving(limit_seconds)),
            _within(monitor.wait_writes(limit_seconds)),
        )
    else:
        leader, serving = await asyncio.gather(
            _within(monitor.wait_leader(limit_seconds)), _within(monitor.wait_serving(limit_seconds))
        )
        if leader is not None and serving is not None:
            await before_writes()
        writes = await _within(monitor.wait_writes(limit_seconds))
    return Recovery(leader=leader, serving=serving, writes=writes, limit=limit_seconds)


async def _within(wait: Awaitable[float]) -> float | None:
    # Not reached within the limit is a measurement, not an accident: the checker judges it.
    try:
        return await wait
    except ClusterError:
        return None
