"""Faults on cgroups, clock and data of a real etcd, seen from outside of the agent, with controls."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from agent_service import commands, ioprobe
from agent_service.audit import AuditLog
from agent_service.blockdevice import disk_of
from agent_service.cgroups import V2, Cgroups, parse_membership, read_cgroups
from agent_service.errors import FaultFailedError, RefusedError, UnavailableError
from agent_service.faults import machine, manager
from agent_service.faults.heal import heal_host
from agent_service.faults.manager import FaultManager
from agent_service.models import (
    ClockOffsetFault,
    CpuThrottleFault,
    DiskThrottleFault,
    FaultSpec,
    FaultState,
    FreezeFault,
    LoseDataFault,
    MemberState,
    MemoryLimitFault,
    WallClockFault,
)
from tests.agent.member.test_member_faults import request
from tests.unit.member.settings import member_spec

if TYPE_CHECKING:
    from agent_service.member import MemberControl
    from agent_service.processes import ProcessId
    from agent_service.settings import AgentSettings
    from tests.agent.member.conftest import MakeMember

pytestmark = pytest.mark.etcd

PATIENCE_SECONDS = 20.0
SILENCE_SECONDS = 0.4


@pytest.fixture
async def faults(member: MemberControl, settings: AgentSettings) -> FaultManager:
    made = FaultManager(settings, member, AuditLog(settings.state_dir / "audit.jsonl"))
    await made.adopt()
    return made


def groups_of(process: ProcessId | None) -> dict[str, Path]:
    """The cgroups of a process in every hierarchy."""
    assert process is not None
    mounts = read_cgroups(None).mounts
    return parse_membership(Path(f"/proc/{process.pid}/cgroup").read_text(), mounts)


async def answers() -> bool:
    """Whether etcd itself says something: a kernel takes connections for a frozen process, too."""
    async with httpx.AsyncClient(timeout=SILENCE_SECONDS) as client:
        try:
            await client.get("http://127.0.0.1:2379/health")
        except httpx.TransportError:
            return False
    return True


async def until_serves() -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await answers():  # noqa: ASYNC110 - a state is asked for, as a client would
            await asyncio.sleep(0.02)


def without_v2(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a host that has mounted cgroup v1 only."""

    def v1_only(process: ProcessId | None) -> Cgroups:
        found = read_cgroups(process)
        mounts = {name: path for name, path in found.mounts.items() if name != V2}
        return Cgroups(mounts, {name: path for name, path in found.member.items() if name != V2})

    monkeypatch.setattr(machine, "read_cgroups", v1_only)


def needs(*kinds: str, settings: AgentSettings) -> None:
    """Skip where this machine has no writable cgroups."""
    lacks = {
        "freeze": machine.freeze_lack(),
        "cpu": machine.limit_lack(settings, "cpu"),
        "memory": machine.limit_lack(settings, "memory"),
        "io": machine.limit_lack(settings, "io"),
        "clock": machine.clock_lack(settings),
    }
    for kind in kinds:
        if lacks[kind] is not None:
            pytest.skip(f"{kind}: {lacks[kind]}")


@pytest.mark.parametrize("version_of_cgroups", ["v1", "v2"])
async def test_freeze(
    faults: FaultManager,
    member: MemberControl,
    settings: AgentSettings,
    any_version: str,
    version_of_cgroups: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    needs("freeze", settings=settings)
    hierarchy = V2 if version_of_cgroups == "v2" else "freezer"
    if hierarchy not in read_cgroups(None).mounts:
        pytest.skip(f"cgroup {version_of_cgroups} has no freezer here")
    if version_of_cgroups == "v1":
        without_v2(monkeypatch)
    await member.start(member_spec(any_version))
    await until_serves()
    before = groups_of(member.process)
    status = await faults.inject(request(FreezeFault()), "tester")
    assert status.state is FaultState.INJECTED
    assert not await answers()
    held = groups_of(member.process)
    assert held[hierarchy] == before[hierarchy] / "etcd-chaos-f-1"
    assert {name: path for name, path in held.items() if name != hierarchy} == {
        name: path for name, path in before.items() if name != hierarchy
    }
    assert member.state is MemberState.RUNNING, "nobody sent a signal"
    assert (await faults.heal("f-1", "tester")).state is FaultState.HEALED
    await until_serves()
    assert groups_of(member.process) == before
    assert not held[hierarchy].exists()


def burn() -> subprocess.Popen[bytes]:
    """A process that takes all the CPU it gets."""
    return subprocess.Popen([sys.executable, "-c", "while True: pass"])


async def test_disk_throttle_without_a_layer(
    faults: FaultManager, member: MemberControl, settings: AgentSettings, any_version: str
) -> None:
    needs("io", settings=settings)
    await member.start(member_spec(any_version))
    await until_serves()
    before, data = groups_of(member.process)["blkio"], member.data_path
    if disk_of(data) is None:
        pytest.skip(f"{data} lies on no disk")
    group = before / "etcd-chaos-f-1"
    free = await probe(before, data)
    status = await faults.inject(request(DiskThrottleFault(bytes_per_second=1 << 20)), "tester")
    assert status.state is FaultState.INJECTED
    assert groups_of(member.process)["blkio"] == group
    assert await probe(group, data) > free, "half a mebibyte takes half a second, and more than without"
    assert await probe(before, data) < await probe(group, data), "nobody else is slowed down"
    healed = await faults.heal("f-1", "tester")
    assert healed.state is FaultState.HEALED, healed.evidence
    assert "before:" not in healed.evidence, "it was there until then"
    assert groups_of(member.process)["blkio"] == before
    assert not group.exists()
    await until_serves()


async def probe(group: Path, data: Path) -> float:
    """Seconds that half a mebibyte takes from within a group, synced in eight parts."""
    argv = (sys.executable, "-I", "-S", str(Path(ioprobe.__file__)), str(group), str(data), "65536", "8")
    return float((await commands.check(argv)).stdout)


def second_disk() -> str | None:
    """Number of a disk that nobody's data lie on."""
    return next((path.read_text().strip() for path in sorted(Path("/sys/block").glob("loop*/dev"))), None)


async def test_a_throttle_that_is_not_felt_is_an_error(
    faults: FaultManager,
    member: MemberControl,
    settings: AgentSettings,
    any_version: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The control: limits on another disk than that of the data are there, and do nothing."""
    needs("io", settings=settings)
    other = second_disk()
    if other is None:
        pytest.skip("there is no second disk")
    await member.start(member_spec(any_version))
    monkeypatch.setattr(manager, "disk_of", lambda _: other)
    with pytest.raises(FaultFailedError, match=r"synced writes of .* bytes took"):
        await faults.inject(request(DiskThrottleFault(bytes_per_second=1 << 20)), "tester")
    assert faults.get("f-1").state is FaultState.FAILED, "what was done is undone"
    assert groups_of(member.process)["blkio"].name != "etcd-chaos-f-1"


async def cpu_share(process: ProcessId | None, seconds: float) -> float:
    """What a busy process in the same group gets of one CPU."""
    directory = groups_of(process)["cpu"]
    burner = burn()
    try:
        (directory / "cgroup.procs").write_text(str(burner.pid))
        used, began = _cpu_seconds(burner.pid), time.monotonic()
        await asyncio.sleep(seconds)
        return (_cpu_seconds(burner.pid) - used) / (time.monotonic() - began)
    finally:
        burner.kill()
        burner.wait()


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def test_cpu_throttle(
    faults: FaultManager, member: MemberControl, settings: AgentSettings, any_version: str
) -> None:
    needs("cpu", settings=settings)
    await member.start(member_spec(any_version))
    await until_serves()
    before = groups_of(member.process)
    await faults.inject(request(CpuThrottleFault(percent=5.0)), "tester")
    group = groups_of(member.process)["cpu"]
    assert group == before["cpu"] / "etcd-chaos-f-1"
    assert await cpu_share(member.process, 1.5) < 0.2, "all of the group together get a twentieth"
    throttled = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    assert int(throttled["nr_throttled"]) > 0
    assert (await faults.heal("f-1", "tester")).state is FaultState.HEALED
    assert groups_of(member.process) == before
    assert not group.exists()


async def test_a_memory_limit_ends_etcd_and_its_undo_starts_it(
    faults: FaultManager, member: MemberControl, settings: AgentSettings, any_version: str
) -> None:
    needs("memory", settings=settings)
    await member.start(member_spec(any_version))
    await until_serves()
    first = member.process
    group = groups_of(first)["memory"] / "etcd-chaos-f-1"
    await faults.inject(request(MemoryLimitFault(limit_bytes=1024**2)), "tester")
    load = asyncio.create_task(ask_again_and_again())
    async with asyncio.timeout(PATIENCE_SECONDS):
        while member.process is not None:  # noqa: ASYNC110 - a state is asked for, as a client would
            await asyncio.sleep(0.02)
    load.cancel()
    counters = dict(line.split() for line in (group / "memory.oom_control").read_text().splitlines())
    assert int(counters["oom_kill"]) > 0, "it was the kernel, for memory"
    status = await faults.heal("f-1", "tester")
    assert (status.state, status.healed_by) == (FaultState.HEALED, "request")
    assert "etcd was ended meanwhile, 1 times" in status.evidence
    assert not group.exists()
    assert member.process not in (None, first)
    assert [(end.signal, end.expected, end.cause) for end in member.status().exits] == [
        (9, True, "fault f-1")
    ]
    await member.kill("test")
    assert member.status().exits[-1].cause == "test", "an end explains itself again"


async def ask_again_and_again() -> None:
    while True:
        await asyncio.gather(*(answers() for _ in range(50)))


async def test_a_member_with_enough_memory_lives(
    faults: FaultManager, member: MemberControl, settings: AgentSettings, any_version: str
) -> None:
    needs("memory", settings=settings)
    await member.start(member_spec(any_version))
    await until_serves()
    first = member.process
    await faults.inject(request(MemoryLimitFault(limit_bytes=1024**3)), "tester")
    load = asyncio.create_task(ask_again_and_again())
    await asyncio.sleep(0.5)
    load.cancel()
    assert (await faults.heal("f-1", "tester")).state is FaultState.HEALED
    assert member.process == first


def uptime_inside(process: ProcessId | None) -> float:
    """The time since boot as a process in etcd's time namespace sees it."""
    assert process is not None
    look = ["nsenter", f"--time=/proc/{process.pid}/ns/time", "cat", "/proc/uptime"]
    return float(subprocess.run(look, check=True, capture_output=True, text=True).stdout.split()[0])


@pytest.mark.parametrize("offset", [86_400, -20])
async def test_a_clock_offset(
    faults: FaultManager, member: MemberControl, settings: AgentSettings, any_version: str, offset: int
) -> None:
    needs("clock", settings=settings)
    await member.start(member_spec(any_version))
    await until_serves()
    first = member.process
    assert abs(uptime_inside(first) - time.clock_gettime(time.CLOCK_BOOTTIME)) < 5, "the control"
    status = await faults.inject(request(ClockOffsetFault(offset_seconds=offset)), "tester")
    assert status.state is FaultState.INJECTED
    await until_serves()
    assert member.process != first
    ahead = uptime_inside(member.process) - time.clock_gettime(time.CLOCK_BOOTTIME)
    assert abs(ahead - offset) < 5
    assert (await faults.heal("f-1", "tester")).state is FaultState.HEALED
    await until_serves()
    assert abs(uptime_inside(member.process) - time.clock_gettime(time.CLOCK_BOOTTIME)) < 5
    assert {end.cause for end in member.status().exits} == {"fault f-1"}
    assert all(end.expected for end in member.status().exits)


async def test_no_clock_goes_back_before_the_boot(
    faults: FaultManager, member: MemberControl, any_version: str
) -> None:
    await member.start(member_spec(any_version))
    with pytest.raises(RefusedError, match="no clock goes back further"):
        await faults.inject(request(ClockOffsetFault(offset_seconds=-(10**8))), "tester")
    assert member.status().exits == ()


async def test_the_wall_clock_of_a_host_that_shares_it(faults: FaultManager) -> None:
    before = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    with pytest.raises(UnavailableError, match="etcd_chaos_own_clock"):
        await faults.inject(request(WallClockFault(offset_seconds=3600.0)), "tester")
    assert abs(time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) - before) < 60
    assert faults.list() == ()


async def test_lost_data_come_back(
    faults: FaultManager, member: MemberControl, settings: AgentSettings, any_version: str
) -> None:
    await member.start(member_spec(any_version))
    data = settings.data_roots[0] / "m1"
    files = sorted(path.relative_to(data) for path in data.rglob("*.wal"))
    status = await faults.inject(request(LoseDataFault()), "tester")
    assert (status.state, member.state) == (FaultState.INJECTED, MemberState.STOPPED)
    assert not data.exists()
    assert "SIGQUIT: quit" in (settings.log_dir / "member.log").read_text()
    assert (await faults.heal("f-1", "tester")).state is FaultState.HEALED
    assert member.state is MemberState.RUNNING
    assert sorted(path.relative_to(data) for path in data.rglob("*.wal")) == files
    assert [path.name for path in settings.data_roots[0].iterdir()] == ["m1"]


async def test_a_member_made_anew_keeps_its_new_data(
    faults: FaultManager, member: MemberControl, settings: AgentSettings, any_version: str
) -> None:
    await member.start(member_spec(any_version))
    data = settings.data_roots[0] / "m1"
    old = (data / "member" / "snap" / "db").stat().st_ino
    await faults.inject(request(LoseDataFault()), "tester")
    await member.start(member_spec(any_version, initial_cluster_token="second"))
    anew = member.process
    assert (await faults.heal("f-1", "tester")).state is FaultState.HEALED
    assert member.process == anew
    assert (data / "member" / "snap" / "db").stat().st_ino != old
    assert [path.name for path in settings.data_roots[0].iterdir()] == ["m1"]


# --- the agent dies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec",
    [
        FreezeFault(),
        CpuThrottleFault(percent=50.0),
        MemoryLimitFault(limit_bytes=1024**3),
        ClockOffsetFault(offset_seconds=3600),
        LoseDataFault(),
    ],
    ids=lambda spec: spec.kind,
)
async def test_healed_from_outside_when_the_lease_is_over_and_the_agent_dead(
    make_member: MakeMember, settings: AgentSettings, any_version: str, spec: FaultSpec
) -> None:
    needs("freeze", "cpu", "memory", "clock", settings=settings)
    member = await make_member()
    await member.start(member_spec(any_version))
    before = groups_of(member.process)
    audit = AuditLog(settings.state_dir / "audit.jsonl")
    dead = FaultManager(settings, member, audit)
    await dead.adopt()
    short = request(spec).model_copy(update={"lease_seconds": 1.0})
    await dead.inject(short, "tester")
    member.close()
    await asyncio.sleep(1.05)
    healed = await heal_host(settings, audit, who="test", expired_only=True)
    assert [(fault.state, fault.healed_by) for fault in healed] == [(FaultState.HEALED, "heal-command")]
    after = await make_member()
    assert after.state is MemberState.RUNNING
    assert groups_of(after.process) == before
    await until_serves()
