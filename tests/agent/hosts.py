"""Three hosts that are network namespaces on a bridge: real agents, real members, real nftables."""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from agent_service.models import MemberSpec
from tester.clock import RunClock
from tester.etcd.endpoint import Endpoint
from tester.etcd.h2.channel import H2Channel
from tester.etcd.monitor import ClusterMonitor
from tester.events import EventBus
from tester.faults import CaseFault, FaultTiming, Scene
from tester.inventory import Host
from tester.orchestration.paths import cache_dir
from tester.targets import Roles
from tests import netns
from tests.agent.process import ROOT, Process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping

    from agent_client import AgentClient
    from tester.scenario.faults import FaultSection

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
PATIENCE_SECONDS = 30.0
_FLAGS = {"heartbeat-interval": "50", "election-timeout": "500", "grpc-keepalive-min-time": "500ms"}
_SHIFTED = ROOT / "agent_service" / "supervisor" / "shifted.py"
_SSHD = "import socket\ns = socket.create_server(('0.0.0.0', 22))\nwhile True: s.accept()[0].close()"


def enter(namespace: netns.Namespace) -> None:
    """Take the calling thread, and what it starts from now on, into a namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    handle = os.open(f"/run/netns/{namespace.name}", os.O_RDONLY)
    try:
        if libc.setns(handle, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(handle)


async def inside(namespace: netns.Namespace, work: Callable[[], T]) -> T:
    """Call ``work`` in a namespace, in a thread that ends with it."""
    with ThreadPoolExecutor(1, initializer=enter, initargs=(namespace,)) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, work)


@dataclass
class TestHost:
    """One host, its agent and a stand-in for sshd."""

    __test__ = False

    host: Host
    namespace: netns.Namespace
    agent: Process

    def run(self, *argv: str, stdin: str = "") -> str:
        """Run a command on the host."""
        command = self.namespace.command(*argv)
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=20, check=True)
        return done.stdout


@dataclass
class Fleet:
    """Three hosts with a whole cluster, seen from a fourth place."""

    hosts: dict[str, TestHost]
    agents: dict[str, AgentClient]
    monitor: ClusterMonitor
    bus: EventBus
    clock: RunClock

    def roles(self) -> Roles:
        view = self.monitor.view()
        assert view.leader is not None
        return Roles(view.voters, view.leader, view.learners)

    async def seen(self, condition: Callable[[Roles], bool]) -> Roles:
        """The roles as soon as they are so: what members say of each other is looked at every now and then."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.monitor.view().leader is None or not condition(self.roles()):  # noqa: ASYNC110 - it polls
                await asyncio.sleep(0.05)
        return self.roles()

    def fault(self, fault: FaultSection, label: str = "c", timing: FaultTiming | None = None) -> CaseFault:
        members = [one.host for one in self.hosts.values()]
        scene = Scene(
            "run", 1, members, self.agents, self.bus, self.clock, Path("inventory"), Path("scripts")
        )
        return CaseFault(fault, label, scene, timing)

    def ruleset(self) -> dict[str, str]:
        """All of nftables, by host."""
        return {name: one.run("nft", "list", "ruleset") for name, one in self.hosts.items()}

    async def whole(self) -> None:
        await self.monitor.wait_leader(PATIENCE_SECONDS)
        await self.monitor.wait_serving(PATIENCE_SECONDS)
        await self.monitor.wait_writes(PATIENCE_SECONDS)


@contextmanager
def _network(names: tuple[str, ...]) -> Iterator[dict[str, netns.Namespace]]:
    """A namespace of its own for this thread, and one for each host, joined by a bridge."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    made: list[netns.Namespace] = []
    try:
        hub = netns.create()
        made.append(hub)
        spaces = {}
        for name in names:
            spaces[name] = netns.create()
            made.append(spaces[name])
        enter(hub)
        _ip("link", "add", "br0", "type", "bridge")
        _ip("address", "add", "10.209.0.254/24", "dev", "br0")
        _ip("link", "set", "br0", "up")
        for number, space in enumerate(spaces.values(), 1):
            _ip("link", "add", f"h{number}", "type", "veth", "peer", "name", "eth0", "netns", space.name)
            _ip("link", "set", f"h{number}", "master", "br0", "up")
            _ip("-netns", space.name, "address", "add", f"10.209.0.{number}/24", "dev", "eth0")
            _ip("-netns", space.name, "link", "set", "eth0", "up")
        yield spaces
    finally:
        ctypes.CDLL(None).setns(before, CLONE_NEWNET)
        os.close(before)
        for namespace in made:
            netns.remove(namespace)


def _ip(*arguments: str) -> None:
    subprocess.run(["/usr/sbin/ip", *arguments], check=True, timeout=20)


@contextmanager
def _host(
    directory: Path, number: int, namespace: netns.Namespace, version: str, *shifted: str
) -> Iterator[TestHost]:
    name, address = f"h{number}", f"10.209.0.{number}"
    directory.mkdir()
    within = namespace.command()
    command = (*within, *shifted)
    agent = Process(directory, "agent_service", "serve", "--settings", address=address, within=command)
    agent.write_settings(host=name, etcd_root=str(cache_dir() / "etcd"))
    sshd = subprocess.Popen([*within, sys.executable, "-c", _SSHD])
    try:
        agent.start()
        host = Host(name, address, 9027, 2379, 2380, (version,), version, None)
        yield TestHost(host, namespace, agent)
    finally:
        agent.close()
        sshd.kill()
        sshd.wait()


@contextmanager
def hosts_of(directory: Path, version: str, count: int = 3) -> Iterator[dict[str, TestHost]]:
    """Hosts with agents and nothing else; the calling thread sees them."""
    names = tuple(f"h{number}" for number in range(1, count + 1))
    with _network(names) as spaces, _hosts(directory, 1, spaces, version) as hosts:
        yield hosts


@contextmanager
def _hosts(
    directory: Path, number: int, spaces: Mapping[str, netns.Namespace], version: str
) -> Iterator[dict[str, TestHost]]:
    # No exit stack: each block must be left in its order even where another one fails.
    name = f"h{number}"
    if name not in spaces:
        yield {}
        return
    with (
        _host(directory / name, number, spaces[name], version) as one,
        _hosts(directory, number + 1, spaces, version) as others,
    ):
        yield {name: one} | others


@contextmanager
def hosts_with_load(directory: Path, version: str, seconds: int) -> Iterator[dict[str, TestHost]]:
    """As ``hosts_of``, and a fourth one, ``h4``, whose monotonic clock is ahead by ``seconds``."""
    names = ("h1", "h2", "h3", "h4")
    shifted = (sys.executable, "-I", "-S", str(_SHIFTED), str(seconds), "")
    with (
        _network(names) as spaces,
        _host(directory / "h1", 1, spaces["h1"], version) as one,
        _host(directory / "h2", 2, spaces["h2"], version) as two,
        _host(directory / "h3", 3, spaces["h3"], version) as three,
        _host(directory / "h4", 4, spaces["h4"], version, *shifted) as four,
    ):
        yield dict(zip(names, (one, two, three, four), strict=True))


@asynccontextmanager
async def fleet_of(
    directory: Path,
    version: str,
    flags: Mapping[str, str] | None = None,
    *,
    count: int = 3,
    initial: int | None = None,
) -> AsyncIterator[Fleet]:
    """A whole cluster on hosts of its own, with more flags of etcd; nothing is left of it.

    ``initial`` of the ``count`` hosts have a member in the beginning; default: all.
    """
    with hosts_of(directory, version, count) as hosts:
        agents = {name: each.agent.client() for name, each in hosts.items()}
        clock, bus = RunClock(), EventBus()
        founders = list(hosts)[:initial]
        endpoints = [Endpoint(name, hosts[name].host.address, 2379) for name in founders]
        # gRPC's own threads would stay in the namespace of the first test.
        monitor = ClusterMonitor(endpoints, clock, bus, H2Channel)
        fleet = Fleet(hosts, agents, monitor, bus, clock)
        async with AsyncExitStack() as connected:
            for agent in agents.values():
                await connected.enter_async_context(agent)
            specs = {name: spec_of(name, fleet, version, flags or {}, founders) for name in founders}
            try:
                await asyncio.gather(*(agents[name].start(spec) for name, spec in specs.items()))
                await monitor.start()
                await fleet.whole()
                yield fleet
            finally:
                await monitor.stop()
                for each in hosts.values():  # anew: a test may have restarted the agent
                    async with each.agent.client() as agent:
                        await agent.terminate()


def spec_of(
    name: str, fleet: Fleet, version: str, flags: Mapping[str, str], founders: Collection[str]
) -> MemberSpec:
    """How a host's member is started, or would be, beside those that the cluster began with."""
    members = {one.host.name: one.host for one in fleet.hosts.values()}
    return MemberSpec(
        name=name,
        version=version,
        client_url=members[name].client_url,
        peer_url=members[name].peer_url,
        initial_cluster={one: members[one].peer_url for one in (*founders, name)},
        initial_cluster_token="net",
        flags=_FLAGS | dict(flags),
    )
