"""Golden tests of faults on cgroups, clocks, data, agent and host: from a spec and a host alone."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import pytest
from pydantic import ValidationError

from agent_service.blockdevice import disk_of
from agent_service.cgroups import V2, Cgroups, parse_membership, parse_mounts
from agent_service.errors import FaultFailedError, IllegalStateError, RefusedError, UnavailableError
from agent_service.faults import machine, machine_execute, registry, throttle
from agent_service.faults.base import HostContext
from agent_service.faults.machine import Machine
from agent_service.faults.machine_steps import (
    AgentReplaced,
    AnotherBoot,
    BringDataBack,
    CallOff,
    CgroupAbsent,
    CgroupHolds,
    CgroupShows,
    CgroupShowsNot,
    CgroupTook,
    ClockIsHosts,
    ClockShifted,
    EnterCgroup,
    ForeseeEnd,
    ForeseeNoEnd,
    LeaveCgroup,
    PathAbsent,
    RestoreClock,
    SetCgroup,
    SetDataAside,
    SetWallClock,
    ShiftClock,
    StoodStill,
    Strike,
    StrikeOrdered,
    ThrottleFelt,
    WallClockIs,
)
from agent_service.faults.registry import plan_fault
from agent_service.faults.steps import (
    EnsureMemberRunning,
    Exec,
    FaultSteps,
    MemberRuns,
    ProcessGone,
    QuitMember,
)
from agent_service.models import (
    AgentHangFault,
    AgentKillFault,
    ClockOffsetFault,
    CpuThrottleFault,
    DiskThrottleFault,
    FaultSpec,
    FreezeFault,
    LoseDataFault,
    MemberState,
    MemoryLimitFault,
    PowerOffFault,
    RebootFault,
    WallClockFault,
)
from agent_service.processes import ProcessId, boot_id
from agent_service.timens import parse_offset
from tests.unit.member.settings import agent_settings

if TYPE_CHECKING:
    from agent_service.faults.steps import Action, Check

CGROUP = Path("/sys/fs/cgroup")
UNIT = "etcdchaos.slice/etcd-chaos-member.service"
V2_ALONE = Cgroups({V2: CGROUP}, {V2: CGROUP / UNIT})
HYBRID = Cgroups(
    {
        V2: CGROUP / "unified",
        "name=systemd": CGROUP / "systemd",
        "cpu": CGROUP / "cpu",
        "memory": CGROUP / "memory",
    },
    {V2: CGROUP / "unified" / UNIT, "name=systemd": CGROUP / "systemd" / UNIT, "cpu": CGROUP / "cpu"},
)
V1_ALONE = Cgroups(
    {name: CGROUP / name for name in ("cpu", "memory", "freezer", "name=systemd")},
    {name: CGROUP / name / "box" for name in ("cpu", "memory", "freezer", "name=systemd")},
)

HOST = HostContext(
    member_state=MemberState.RUNNING,
    process=ProcessId(pid=42, start_ticks=7, boot_id="b"),
    client_port=2379,
    peer_port=2380,
    protected_ports=(22, 9027),
    data_dir="/data/m1",
    machine=Machine(
        supervisor="systemd",
        cgroups=V2_ALONE,
        monotonic_seconds=1000.0,
        since_boot_ns=5_000_000_000,
        boot_id="b",
        agent=ProcessId(9, 3, "b"),
        strikes="/state/strikes",
    ),
)


def on(cgroups: Cgroups, supervisor: Any = "systemd") -> HostContext:
    return replace(HOST, machine=replace(HOST.machine, cgroups=cgroups, supervisor=supervisor))


def properties(*values: str) -> Exec:
    return Exec(("systemctl", "set-property", "--runtime", "etcd-chaos-member.service", *values))


def around(
    *, do: tuple[Action, ...], seen: tuple[Check, ...], undo: tuple[Action, ...], gone: tuple[Check, ...]
) -> FaultSteps:
    return FaultSteps(inject=do, verify_injected=seen, undo=undo, verify_healed=gone)


def own(group: str, file: str, value: str, back: str, shown: str, line: str) -> FaultSteps:
    return around(
        do=(EnterCgroup(group, 42, 7), SetCgroup(f"{group}/{file}", value)),
        seen=(CgroupHolds(group, 42), CgroupShows(f"{group}/{shown}", line)),
        undo=(SetCgroup(f"{group}/{file}", back), LeaveCgroup(group)),
        gone=(CgroupAbsent(group),),
    )


def down(*command: str, running: bool = True) -> FaultSteps:
    return FaultSteps(
        inject=(ForeseeEnd((15, 9)), Strike("/state/strikes/f-1", ("run", *command))),
        verify_injected=(StrikeOrdered("/state/strikes/f-1"),),
        undo=(
            CallOff("/state/strikes/f-1"),
            *((EnsureMemberRunning(),) if running else ()),
            ForeseeNoEnd(),
        ),
        verify_healed=(MemberRuns(),) if running else (),
        verify_effect=(AnotherBoot("b"),),
        until="next-boot",
    )


CPU, MEMORY = CpuThrottleFault(percent=20.0), MemoryLimitFault(limit_bytes=50_000_000)
V2_CPU, V2_MEMORY = f"/sys/fs/cgroup/{UNIT}/cpu.max", f"/sys/fs/cgroup/{UNIT}/memory.max"
V1_GROUP = "/sys/fs/cgroup/{}/box/etcd-chaos-f-1"
ABRUPT = ("systemd-run", "--quiet", "--collect", "--no-ask-password", "--")

GOLDEN: dict[str, tuple[FaultSpec, HostContext, FaultSteps]] = {
    "freeze, unit": (
        FreezeFault(),
        HOST,
        around(
            do=(SetCgroup(f"/sys/fs/cgroup/{UNIT}/cgroup.freeze", "1"),),
            seen=(CgroupShows(f"/sys/fs/cgroup/{UNIT}/cgroup.events", "frozen 1"),),
            undo=(SetCgroup(f"/sys/fs/cgroup/{UNIT}/cgroup.freeze", "0"),),
            gone=(CgroupShowsNot(f"/sys/fs/cgroup/{UNIT}/cgroup.events", "frozen 1"),),
        ),
    ),
    "freeze, v2": (
        FreezeFault(),
        on(Cgroups({V2: CGROUP}, {V2: CGROUP}), "process"),
        own("/sys/fs/cgroup/etcd-chaos-f-1", "cgroup.freeze", "1", "0", "cgroup.events", "frozen 1"),
    ),
    "freeze, v1": (
        FreezeFault(),
        on(V1_ALONE, "process"),
        own(V1_GROUP.format("freezer"), "freezer.state", "FROZEN", "THAWED", "freezer.state", "FROZEN"),
    ),
    "cpu, v2": (
        CPU,
        HOST,
        around(
            do=(properties("CPUQuota=20%"),),
            seen=(CgroupShows(V2_CPU, "20000 100000"),),
            undo=(properties("CPUQuota="),),
            gone=(CgroupShowsNot(V2_CPU, "20000 100000"),),
        ),
    ),
    "cpu, hybrid": (
        CPU,
        on(HYBRID),
        around(
            do=(properties("CPUQuota=20%"),),
            seen=(CgroupShows(f"/sys/fs/cgroup/cpu/{UNIT}/cpu.cfs_quota_us", "20000"),),
            undo=(properties("CPUQuota="),),
            gone=(CgroupShowsNot(f"/sys/fs/cgroup/cpu/{UNIT}/cpu.cfs_quota_us", "20000"),),
        ),
    ),
    "cpu, v1": (
        CPU,
        on(V1_ALONE, "process"),
        own(V1_GROUP.format("cpu"), "cpu.cfs_quota_us", "20000", "-1", "cpu.cfs_quota_us", "20000"),
    ),
    "memory, v2": (
        MEMORY,
        HOST,
        around(
            do=(ForeseeEnd((9,)), properties("MemoryMax=49999872", "MemorySwapMax=0")),
            seen=(CgroupTook(V2_MEMORY, "49999872"),),
            undo=(properties("MemoryMax=", "MemorySwapMax="), EnsureMemberRunning(), ForeseeNoEnd()),
            gone=(CgroupShowsNot(V2_MEMORY, "49999872"), MemberRuns()),
        ),
    ),
    "memory, v1": (
        MEMORY,
        on(V1_ALONE, "process"),
        around(
            do=(
                ForeseeEnd((9,)),
                EnterCgroup(V1_GROUP.format("memory"), 42, 7),
                SetCgroup(V1_GROUP.format("memory") + "/memory.limit_in_bytes", "49999872"),
            ),
            seen=(CgroupShows(V1_GROUP.format("memory") + "/memory.limit_in_bytes", "49999872"),),
            undo=(LeaveCgroup(V1_GROUP.format("memory")), EnsureMemberRunning(), ForeseeNoEnd()),
            gone=(CgroupAbsent(V1_GROUP.format("memory")), MemberRuns()),
        ),
    ),
    "clock-offset": (
        ClockOffsetFault(offset_seconds=-999, grace_seconds=3),
        HOST,
        around(
            do=(ShiftClock(-999, 3.0),),
            seen=(ProcessGone(42, 7), ClockShifted(-999)),
            undo=(RestoreClock(3.0),),
            gone=(ClockIsHosts(), MemberRuns()),
        ),
    ),
    "wall-clock": (
        WallClockFault(offset_seconds=-1.5),
        HOST,
        around(
            do=(SetWallClock("b", 3_500_000_000),),
            seen=(WallClockIs("b", 3_500_000_000),),
            undo=(SetWallClock("b", 5_000_000_000),),
            gone=(WallClockIs("b", 5_000_000_000),),
        ),
    ),
    "lose-data": (
        LoseDataFault(),
        HOST,
        around(
            do=(QuitMember(), SetDataAside("/data/m1", "/data/m1.aside-f-1")),
            seen=(ProcessGone(42, 7), PathAbsent("/data/m1")),
            undo=(BringDataBack("/data/m1", "/data/m1.aside-f-1"), EnsureMemberRunning()),
            gone=(PathAbsent("/data/m1.aside-f-1"), MemberRuns()),
        ),
    ),
    "reboot": (RebootFault(), HOST, down("systemctl", "reboot")),
    "reboot, abrupt": (
        RebootFault(abrupt=True),
        HOST,
        down(*ABRUPT, "systemctl", "reboot", "--force", "--force"),
    ),
    "power-off": (PowerOffFault(), HOST, down("systemctl", "poweroff")),
    "power-off without a member": (
        PowerOffFault(abrupt=True),
        replace(HOST, member_state=MemberState.STOPPED, process=None),
        down(*ABRUPT, "systemctl", "poweroff", "--force", "--force", running=False),
    ),
    "agent-kill": (
        AgentKillFault(),
        HOST,
        FaultSteps(
            inject=(Strike("/state/strikes/f-1", ("kill", "9", "3")),),
            verify_injected=(StrikeOrdered("/state/strikes/f-1"),),
            undo=(CallOff("/state/strikes/f-1"),),
            verify_healed=(),
            verify_effect=(AgentReplaced(9, 3),),
            until="next-agent",
        ),
    ),
    "agent-hang": (
        AgentHangFault(seconds=2.5),
        HOST,
        FaultSteps(
            inject=(Strike("/state/strikes/f-1", ("hang", "9", "3", "2.5")),),
            verify_injected=(StrikeOrdered("/state/strikes/f-1"),),
            undo=(CallOff("/state/strikes/f-1"),),
            verify_healed=(),
            verify_effect=(StoodStill("/state/strikes/f-1", 2.5),),
        ),
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str) -> None:
    spec, host, steps = GOLDEN[name]
    assert plan_fault("f-1", spec, host) == steps


@pytest.mark.parametrize("name", GOLDEN)
def test_steps_survive_the_journal_and_can_be_read(name: str) -> None:
    steps = GOLDEN[name][2]
    assert msgspec.json.decode(msgspec.json.encode(steps), type=FaultSteps) == steps
    for step in (
        *steps.inject,
        *steps.verify_injected,
        *steps.undo,
        *steps.verify_healed,
        *steps.verify_effect,
    ):
        assert type(step).__name__ not in str(step)


@pytest.mark.parametrize(
    "spec", [FreezeFault(), CPU, MEMORY, ClockOffsetFault(offset_seconds=1), LoseDataFault()]
)
@pytest.mark.parametrize("state", [state for state in MemberState if state is not MemberState.RUNNING])
def test_what_needs_a_running_member(spec: FaultSpec, state: MemberState) -> None:
    with pytest.raises(IllegalStateError):
        plan_fault("f-1", spec, replace(HOST, member_state=state))


@pytest.mark.parametrize("spec", [FreezeFault(), CPU, MEMORY])
def test_a_host_without_the_controller(spec: FaultSpec) -> None:
    with pytest.raises(UnavailableError, match="in no cgroup of controller"):
        plan_fault("f-1", spec, on(Cgroups(), "process"))


@pytest.mark.parametrize("offset", [-1000, -(10**8)])
def test_a_clock_before_the_boot(offset: int) -> None:
    with pytest.raises(RefusedError, match="goes back"):
        plan_fault("f-1", ClockOffsetFault(offset_seconds=offset), HOST)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (CpuThrottleFault, {"percent": 0.5}),
        (CpuThrottleFault, {"percent": 101.0}),
        (CpuThrottleFault, {"percent": float("nan")}),
        (CpuThrottleFault, {"percent": "20; reboot"}),
        (MemoryLimitFault, {"limit_bytes": 4096}),
        (MemoryLimitFault, {"limit_bytes": True}),
        (MemoryLimitFault, {"limit_bytes": "1M"}),
        (ClockOffsetFault, {"offset_seconds": 1.5}),
        (ClockOffsetFault, {"offset_seconds": "1 0\nboottime 5"}),
        (WallClockFault, {"offset_seconds": float("inf")}),
        (RebootFault, {"abrupt": "yes"}),
        (AgentHangFault, {"seconds": 0.5}),
        (AgentHangFault, {"seconds": 301.0}),
        (FreezeFault, {"unit": "ssh.service"}),
    ],
)
def test_every_part_of_a_command_is_typed_and_bounded(kind: Any, fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        kind(**fields)


# --- reading the kernel -----------------------------------------------------------------------------------------


MOUNTS = """\
24 30 0:22 / /sys rw shared:7 - sysfs sysfs rw
31 24 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
32 24 0:28 / /sys/fs/cgroup/systemd rw shared:10 - cgroup cgroup rw,xattr,name=systemd
33 24 0:31 / /sys/fs/cgroup/cpu,cpuacct rw shared:14 - cgroup cgroup rw,cpu,cpuacct
"""


def test_cgroups_as_the_kernel_tells_them() -> None:
    mounts = parse_mounts(MOUNTS)
    assert mounts[V2] == CGROUP / "unified"
    assert mounts["cpu"] == mounts["cpuacct"] == CGROUP / "cpu,cpuacct"
    text = "4:cpu,cpuacct:/a b/c\n1:name=systemd:/../outside\n9:memory:/x\n0::/u.slice\n"
    assert parse_membership(text, mounts) == {
        "cpu": CGROUP / "cpu,cpuacct/a b/c",
        "cpuacct": CGROUP / "cpu,cpuacct/a b/c",
        V2: CGROUP / "unified/u.slice",
    }


def test_offsets_as_the_kernel_tells_them() -> None:
    assert parse_offset("monotonic         -20         0\nboottime          -20         0\n") == -20
    assert parse_offset("monotonic           1 500000000\nboottime            0         0\n") == 1.5


# --- what a host lacks ------------------------------------------------------------------------------------------


async def test_every_kind_has_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "read_cgroups", lambda _: Cgroups())
    monkeypatch.setattr(machine, "_SYSTEMD", tmp_path / "nowhere")
    monkeypatch.setattr(machine.timens, "is_there", lambda: False)
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    there = {kind.kind: kind for kind in await registry.capabilities(agent_settings(tmp_path))}
    lacking = {
        "freeze": "neither cgroup v2 nor the freezer of v1 is mounted",
        "cpu-throttle": "there is no cgroup controller cpu",
        "memory-limit": "there is no cgroup controller memory",
        "clock-offset": "the kernel has no time namespaces (CONFIG_TIME_NS)",
        "wall-clock": "the clock may be others', too: etcd_chaos_own_clock is not true for it in the inventory",
        "reboot": "systemd does not run here",
        "power-off": "systemd does not run here",
        "agent-kill": "no systemd watches over this agent",
        "agent-hang": "no systemd watches over this agent",
    }
    assert {kind: there[kind].reason for kind in lacking} == lacking
    assert not any(there[kind].available for kind in lacking)


BARE = DiskThrottleFault(bytes_per_second=1 << 20, operations_per_second=50)
BANDWIDTH = DiskThrottleFault(bytes_per_second=1 << 20)


def bare(
    supervisor: Literal["systemd", "process"], cgroups: Cgroups, disk: str | None = "254:0"
) -> HostContext:
    """A host without a disk layer under the member's data."""
    there = replace(HOST, data_dir="/data/m1", data_disk=disk, disk_layer=False)
    return replace(there, machine=Machine(supervisor=supervisor, cgroups=cgroups))


def test_a_throttle_without_a_layer_is_a_group_of_its_own() -> None:
    v1 = Cgroups({"blkio": Path("/c/blkio")}, {"blkio": Path("/c/blkio/a")})
    group = "/c/blkio/a/etcd-chaos-f-1"
    limits = [
        (f"{group}/blkio.throttle.read_bps_device", "254:0 1048576"),
        (f"{group}/blkio.throttle.write_bps_device", "254:0 1048576"),
        (f"{group}/blkio.throttle.read_iops_device", "254:0 50"),
        (f"{group}/blkio.throttle.write_iops_device", "254:0 50"),
    ]
    host = bare("process", v1)
    pid = host.running_process()
    assert plan_fault("f-1", BARE, host) == FaultSteps(
        inject=(EnterCgroup(group, pid.pid, pid.start_ticks), *(SetCgroup(*limit) for limit in limits)),
        verify_injected=(
            CgroupHolds(group, pid.pid),
            *(CgroupShows(*limit) for limit in limits),
            ThrottleFelt(group, "/data/m1", 1 << 20, 50),
        ),
        undo=(*(SetCgroup(file, "254:0 0") for file, _ in limits), LeaveCgroup(group)),
        verify_healed=(CgroupAbsent(group),),
    )


def test_a_throttle_without_a_layer_is_properties_of_the_unit() -> None:
    v2 = Cgroups({V2: Path("/c")}, {V2: Path("/c/slice/unit")})
    tell = ("systemctl", "set-property", "--runtime", "etcd-chaos-member.service")
    line = "254:0 rbps=1048576 wbps=1048576 riops=50 wiops=50"
    assert plan_fault("f-1", BARE, bare("systemd", v2)) == FaultSteps(
        inject=(
            Exec(
                (
                    *tell,
                    "IOReadBandwidthMax=/data/m1 1048576",
                    "IOWriteBandwidthMax=/data/m1 1048576",
                    "IOReadIOPSMax=/data/m1 50",
                    "IOWriteIOPSMax=/data/m1 50",
                )
            ),
        ),
        verify_injected=(
            CgroupShows("/c/slice/unit/io.max", line),
            ThrottleFelt("/c/slice/unit", "/data/m1", 1 << 20, 50),
        ),
        undo=(
            Exec((*tell, "IOReadBandwidthMax=", "IOWriteBandwidthMax=", "IOReadIOPSMax=", "IOWriteIOPSMax=")),
        ),
        verify_healed=(CgroupShowsNot("/c/slice/unit/io.max", line),),
    )
    one = plan_fault("f-1", BANDWIDTH, bare("systemd", v2))
    assert one.verify_injected[0] == CgroupShows(
        "/c/slice/unit/io.max", "254:0 rbps=1048576 wbps=1048576 riops=max wiops=max"
    )
    mixed = Cgroups({V2: Path("/c/u"), "blkio": Path("/c/blkio")}, {V2: Path("/c/u/slice/unit")})
    legacy = plan_fault("f-1", BANDWIDTH, bare("systemd", mixed))
    assert legacy.verify_injected == (
        CgroupShows("/c/blkio/slice/unit/blkio.throttle.read_bps_device", "254:0 1048576"),
        CgroupShows("/c/blkio/slice/unit/blkio.throttle.write_bps_device", "254:0 1048576"),
        ThrottleFelt("/c/blkio/slice/unit", "/data/m1", 1 << 20, 0),
    )
    with pytest.raises(UnavailableError, match="systemd limits no operations"):
        plan_fault("f-1", BARE, bare("systemd", mixed))


@pytest.mark.parametrize(
    ("asked", "disk", "why"),
    [
        (BANDWIDTH, None, "lie on no disk"),
        (BANDWIDTH, "254:0", "no cgroup of controller blkio"),
        (DiskThrottleFault(bytes_per_second=4095), "254:0", "bandwidth is 4096 to"),
        (DiskThrottleFault(bytes_per_second=1 << 30), "254:0", "bandwidth is 4096 to"),
        (DiskThrottleFault(operations_per_second=5001), "254:0", "at most 5000"),
    ],
)
def test_throttles_that_cannot_be(asked: DiskThrottleFault, disk: str | None, why: str) -> None:
    with pytest.raises((RefusedError, UnavailableError), match=why) as told:
        plan_fault("f-1", asked, bare("process", Cgroups(), disk))
    assert "blkio" in why or "disk: fuse" in str(told.value.remedy)


@pytest.mark.parametrize(
    ("bandwidth", "operations"),
    [(4096, 0), (1 << 20, 0), (128 << 20, 0), (0, 1), (0, 50), (0, 5000), (4096, 1), (1 << 20, 5000)],
)
def test_a_throttle_is_tried_for_long_enough_to_be_felt(bandwidth: int, operations: int) -> None:
    size, count, least = throttle.writes(ThrottleFelt("/g", "/d", bandwidth, operations))
    assert (size % 4096, size >= 4096, count >= 1) == (0, True, True)
    assert least > 0, "a limit that takes no time would be believed unseen"
    assert least < 3
    assert size * count <= 64 << 20


def test_the_whole_disk_is_found(tmp_path: Path) -> None:
    number = tmp_path.stat().st_dev
    name = f"{os.major(number)}:{os.minor(number)}"
    assert disk_of(tmp_path, tmp_path / "sys") is None, "no disk"
    assert disk_of(tmp_path / "missing") is None
    disk = tmp_path / "devices" / "vda"
    (disk / "vda1").mkdir(parents=True)
    (disk / "dev").write_text("254:7\n")
    (tmp_path / "sys").mkdir()
    (tmp_path / "sys" / name).symlink_to(disk / "vda1")
    assert disk_of(tmp_path, tmp_path / "sys") == name, "a disk of its own"
    (disk / "vda1" / "partition").write_text("1\n")
    assert disk_of(tmp_path, tmp_path / "sys") == "254:7"


def test_below_a_logical_volume_is_the_disk_that_systemd_limits(tmp_path: Path) -> None:
    number = tmp_path.stat().st_dev
    name = f"{os.major(number)}:{os.minor(number)}"
    disk, crypt, volume = (tmp_path / "devices" / made for made in ("vda", "dm-1", "dm-0"))
    for directory, said in ((disk, "254:7"), (disk / "vda3", "254:10"), (crypt, "253:91"), (volume, name)):
        directory.mkdir(parents=True)
        (directory / "dev").write_text(f"{said}\n")
        (tmp_path / "sys").mkdir(exist_ok=True)
        (tmp_path / "sys" / said).symlink_to(directory)
    (disk / "vda3" / "partition").write_text("3\n")
    for above, below in ((volume, crypt), (crypt, disk / "vda3")):
        (above / "slaves").mkdir()
        (above / "slaves" / below.name).symlink_to(below)
    assert disk_of(tmp_path, tmp_path / "sys") == "254:7"
    (volume / "slaves" / "vda").symlink_to(disk)
    assert disk_of(tmp_path, tmp_path / "sys") == name, "over two, it is a disk of its own"


def test_a_read_only_cgroup_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "read_cgroups", lambda _: Cgroups({"freezer": tmp_path, "cpu": tmp_path}))
    assert machine.freeze_lack() is None, "the control"
    monkeypatch.setattr(machine, "is_writable", lambda _: False)
    assert machine.freeze_lack() == f"{tmp_path} is read-only here"
    assert machine.limit_lack(agent_settings(tmp_path), "cpu") == f"{tmp_path} is read-only here"


def test_cgroup_v2_is_done_by_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu io\n")
    monkeypatch.setattr(machine, "read_cgroups", lambda _: Cgroups({V2: tmp_path}))
    systemd = agent_settings(tmp_path, supervisor="systemd")
    assert machine.limit_lack(systemd, "cpu") is None
    assert machine.limit_lack(systemd, "memory") == "cgroup v2 has no controller memory here"
    lack = machine.limit_lack(agent_settings(tmp_path), "cpu")
    assert lack == "cgroup v1 has no cpu here, and v2 is done by systemd only"


# --- the wall clock, on a host that only says it is set ---------------------------------------------------------


def test_the_wall_clock_is_set_and_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    off = 0

    def settime(clock: int, ns: int) -> None:
        nonlocal off
        assert clock == time.CLOCK_REALTIME
        off = ns - time.time_ns()

    monkeypatch.setattr(time, "clock_settime_ns", settime)
    monkeypatch.setattr(machine_execute, "wall_since_boot_ns", lambda: machine.wall_since_boot_ns() + off)
    host = replace(
        HOST, machine=replace(HOST.machine, since_boot_ns=machine.wall_since_boot_ns(), boot_id=boot_id())
    )
    steps = plan_fault("f-1", WallClockFault(offset_seconds=3600.0), host)
    (action,), (seen,) = steps.inject, steps.verify_injected
    (undo,), (gone,) = steps.undo, steps.verify_healed
    assert isinstance(action, SetWallClock)
    assert isinstance(undo, SetWallClock)
    assert isinstance(seen, WallClockIs)
    assert isinstance(gone, WallClockIs)
    member: Any = None
    assert machine_execute._objection(seen, member) is not None, "the control"
    for _ in range(2):
        machine_execute._set_wall_clock(action)
        assert abs(off / 1e9 - 3600) < 1
        assert machine_execute._objection(seen, member) is None
    assert machine_execute._objection(gone, member) is not None
    machine_execute._set_wall_clock(undo)
    assert machine_execute._objection(gone, member) is None
    off = 0
    machine_execute._set_wall_clock(msgspec.structs.replace(action, boot_id="another"))
    assert off == 0, "another boot has another clock"


def test_a_wall_clock_that_cannot_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(clock: int, ns: int) -> None:
        raise PermissionError(1, os.strerror(1))

    monkeypatch.setattr(time, "clock_settime_ns", refuse)
    with pytest.raises(FaultFailedError, match="not permitted"):
        machine_execute._set_wall_clock(SetWallClock(boot_id(), 0))
