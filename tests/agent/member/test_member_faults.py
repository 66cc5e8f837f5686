"""Every kind of fault on real etcd and real nftables, with controls."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from agent_service import commands
from agent_service.audit import AuditLog
from agent_service.disk.lack import layer_lack
from agent_service.errors import FaultFailedError, UnavailableError
from agent_service.faults import nft as by_library
from agent_service.faults import registry
from agent_service.faults.manager import FaultManager
from agent_service.faults.registry import capabilities
from agent_service.models import (
    CrashLoopFault,
    FaultRequest,
    FaultSpec,
    FaultState,
    IsolateFault,
    KillFault,
    MemberState,
    PauseFault,
    Peer,
    RestartFault,
    StopFault,
)
from agent_service.privileges import effective_capabilities
from tests.unit.member.settings import member_spec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent_service.member import MemberControl
    from agent_service.settings import AgentSettings

pytestmark = pytest.mark.etcd

PATIENCE_SECONDS = 20.0
DISK_KINDS = ("slow-fsync", "slow-io", "io-error", "power-loss", "disk-full", "disk-throttle")
SILENCE_SECONDS = 0.4
"""Longer than the loopback's retransmission timeout."""


@pytest.fixture
async def faults(member: MemberControl, settings: AgentSettings) -> FaultManager:
    manager = FaultManager(settings, member, AuditLog(settings.state_dir / "audit.jsonl"))
    await manager.adopt()
    return manager


def request(spec: FaultSpec, fault_id: str = "f-1") -> FaultRequest:
    return FaultRequest(id=fault_id, spec=spec, lease_seconds=600, reason="test")


@pytest.mark.parametrize("spec", [StopFault(), KillFault(), PauseFault(), RestartFault()])
async def test_process_faults(
    faults: FaultManager, member: MemberControl, version: str, spec: FaultSpec
) -> None:
    await member.start(member_spec(version))
    before = member.process
    status = await faults.inject(request(spec), "tester")
    assert status.state is FaultState.INJECTED
    held = {"stop": MemberState.STOPPED, "kill": MemberState.STOPPED, "pause": MemberState.PAUSED}
    assert member.state is held.get(spec.kind, MemberState.RUNNING)
    healed = await faults.heal("f-1", "tester")
    assert healed.state is FaultState.HEALED
    assert member.state is MemberState.RUNNING
    assert (member.process == before) is (spec.kind == "pause")
    assert [exit_.cause for exit_ in member.status().exits] == ([] if spec.kind == "pause" else ["fault f-1"])


async def test_a_crash_loop(faults: FaultManager, member: MemberControl, version: str) -> None:
    await member.start(member_spec(version))
    pids = [member.status().pid]
    loop = asyncio.create_task(faults.run_repeats())
    try:
        await faults.inject(request(CrashLoopFault(every_seconds=0.5)), "tester")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while faults.list()[0].evidence.count("done again 2 times") == 0:
                await asyncio.sleep(0.01)
                pids += [pid for pid in [member.status().pid] if pid not in (None, *pids)]
        assert len(pids) >= 3, "it lived in between"
        healed = await faults.heal("f-1", "tester")
        assert healed.state is FaultState.HEALED
        after = member.process
        await asyncio.sleep(0.7)
        assert member.process == after
    finally:
        loop.cancel()
    exits = member.status().exits
    assert {(end.expected, end.signal, end.cause) for end in exits} == {(True, 9, "fault f-1")}


async def test_the_undo_of_a_kill_says_why_the_member_does_not_come_back(
    faults: FaultManager, member: MemberControl, any_version: str, settings: AgentSettings
) -> None:
    await member.start(member_spec(any_version))
    await faults.inject(request(KillFault()), "tester")
    wal = next((settings.data_roots[0] / "m1").rglob("*.wal"))
    wal.write_bytes(b"\xff" * 4096)
    status = await faults.heal("f-1", "tester")
    assert status.state is FaultState.HEAL_FAILED
    assert "right after its start" in status.evidence
    assert member.state is MemberState.EXITED
    assert not member.status().exits[-1].expected


# --- isolate -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One end of an echo over TCP."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def echo(self, seconds: float) -> bool:
        self.writer.write(b"x")
        try:
            async with asyncio.timeout(seconds):
                return await self.reader.readexactly(1) == b"x"
        except TimeoutError:
            return False

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


class Lines:
    """Echo servers on ports, and connections to them that stand before anything happens."""

    def __init__(self) -> None:
        self._servers: list[asyncio.Server] = []
        self._lines: list[Line] = []

    async def to(self, address: str, port: int) -> Line:
        self._servers.append(await asyncio.start_server(self._echo, address, port))
        self._lines.append(Line(*await asyncio.open_connection(address, port)))
        return self._lines[-1]

    @staticmethod
    async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    async def close(self) -> None:
        for line in self._lines:
            await line.close()
        for server in self._servers:
            server.close()
            await server.wait_closed()


@pytest.fixture
async def lines(namespace: None) -> AsyncIterator[Lines]:
    opened = Lines()
    yield opened
    await opened.close()


def nft(*arguments: str, stdin: str | None = None) -> str:
    done = subprocess.run(
        ["/usr/sbin/nft", *arguments], input=stdin, check=True, capture_output=True, text=True
    )
    return done.stdout


def tables() -> list[str]:
    listed = json.loads(nft("-j", "list", "tables"))["nftables"]
    return [item["table"]["name"] for item in listed if "table" in item]


def isolate(address: str) -> IsolateFault:
    return IsolateFault(peer_port=2380, peers=(Peer(address=address, port=12380),))


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_isolation_cuts_what_stands_and_spares_what_is_protected(
    faults: FaultManager, lines: Lines, settings: AgentSettings, address: str
) -> None:
    own, peer = await lines.to(address, 2380), await lines.to(address, 12380)
    ssh, agent = await lines.to(address, 22), await lines.to(address, settings.port)
    client = await lines.to(address, 2379)
    everyone = (own, peer, ssh, agent, client)
    nft("-f", "-", stdin="table inet precious {\nchain c {\ntcp dport 1 drop\n}\n}\n")
    precious = nft("list", "table", "inet", "precious")
    assert all([await line.echo(PATIENCE_SECONDS) for line in everyone]), "the control"

    status = await faults.inject(request(isolate(address)), "tester")
    assert "2 rules on what comes in, 2 on what goes out" in status.evidence
    assert [await line.echo(SILENCE_SECONDS) for line in (own, peer)] == [False, False]
    assert all([await line.echo(PATIENCE_SECONDS) for line in (ssh, agent, client)])
    assert sorted(tables()) == ["etcd_chaos_f_1", "precious"]
    assert nft("list", "table", "inet", "precious") == precious

    assert (await faults.heal("f-1", "tester")).state is FaultState.HEALED
    assert tables() == ["precious"]
    assert nft("list", "table", "inet", "precious") == precious
    assert all([await line.echo(PATIENCE_SECONDS) for line in everyone])


async def test_a_table_that_somebody_took_away_is_healed_and_told(faults: FaultManager) -> None:
    await faults.inject(request(isolate("127.0.0.1")), "tester")
    nft("flush", "ruleset")  # as a reload of many a firewall does
    status = await faults.heal("f-1", "tester")
    assert (status.state, status.healed_by) == (FaultState.HEALED, "somebody-else"), "it was not held"


async def test_rules_that_nft_does_not_take_are_no_success(
    faults: FaultManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = by_library.check

    async def lose_the_ruleset(argv: tuple[str, ...], *, stdin: str = "") -> commands.Completed:
        if "drop" in stdin:
            return commands.Completed(argv, 0, "", "")  # says yes and does nothing
        return await real(argv, stdin=stdin)

    monkeypatch.setattr(by_library, "check", lose_the_ruleset)
    with pytest.raises(FaultFailedError):
        await faults.inject(request(isolate("127.0.0.1")), "tester")
    assert faults.get("f-1").state is FaultState.FAILED
    assert tables() == []


async def test_a_fault_that_takes_a_way_in_away_is_undone_at_once(
    faults: FaultManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here by a rule of somebody else's that comes at the same moment; the table itself is as it should be."""
    real = by_library.check

    async def and_more(argv: tuple[str, ...], *, stdin: str = "") -> commands.Completed:
        if "drop" in stdin:
            chain = "chain c {\ntype filter hook input priority 0;\ntcp dport 22 drop\n}"
            nft("-f", "-", stdin=f"table inet precious {{\n{chain}\n}}\n")
        return await real(argv, stdin=stdin)

    monkeypatch.setattr(by_library, "check", and_more)
    with socket.create_server(("127.0.0.1", 22)):
        with pytest.raises(FaultFailedError, match=r"a way into this host is gone: 127\.0\.0\.1 port 22"):
            await faults.inject(request(isolate("127.0.0.1")), "tester")
        assert faults.get("f-1").state is FaultState.FAILED
        assert tables() == ["precious"]
        # What did not answer before is not held against the next fault.
        status = await faults.inject(request(isolate("127.0.0.1"), "f-2"), "tester")
    assert status.state is FaultState.INJECTED


async def test_what_this_host_can_do(
    faults: FaultManager, settings: AgentSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = await capabilities(settings)
    everywhere = ["stop", "kill", "pause", "restart", "crash-loop", "lose-data"]
    everywhere += ["isolate", "partition", "client-port", "peer-port", "network"]
    everywhere += DISK_KINDS if layer_lack(settings) is None else []
    everywhere += ["corrupt-file"]
    assert [item.kind for item in there if item.available and item.kind in everywhere] == everywhere
    assert {item.kind for item in there} >= {"freeze", "wall-clock", "reboot", "agent-kill", *DISK_KINDS}
    assert all(item.reason for item in there)
    assert tables() == [], "looking leaves nothing behind"
    monkeypatch.setattr(commands, "PATH", "/nonexistent")
    assert next(item for item in await capabilities(settings) if item.kind == "peer-port").available is False
    with pytest.raises(UnavailableError, match="there is no nft"):
        await faults.inject(request(isolate("127.0.0.1")), "tester")
    assert faults.list() == ()


async def test_a_kernel_without_reject_still_cuts_links(
    settings: AgentSettings, namespace: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_PORT_PROBE", ("tcp dport 1 no-such-verdict",))
    there = {item.kind: item for item in await capabilities(settings)}
    assert (there["partition"].available, there["client-port"].available) == (True, False)
    assert "the kernel refuses" in there["client-port"].reason


def test_capabilities_of_a_process_are_bits() -> None:
    assert effective_capabilities("Name:\tx\nCapEff:\t0000000000001020\n") == 1 << 12 | 1 << 5
