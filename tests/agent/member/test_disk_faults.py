"""Faults on the disk of a real etcd, through a real layer; each with its effect seen by etcd, and a control."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from agent_service.audit import AuditLog
from agent_service.disk import lack
from agent_service.disk.backing import HIDDEN
from agent_service.disk.holder import create_holder, is_mounted
from agent_service.disk.layer import mount_of
from agent_service.errors import FaultFailedError, IllegalStateError, UnavailableError
from agent_service.faults.heal import heal_host
from agent_service.faults.manager import FaultManager
from agent_service.faults.registry import capabilities
from agent_service.models import (
    CorruptFileFault,
    DiskFullFault,
    DiskThrottleFault,
    FailpointFault,
    FaultRequest,
    FaultSpec,
    FaultState,
    IoErrorFault,
    MemberState,
    PowerLossFault,
    SlowFsyncFault,
    SlowIoFault,
)
from tests.unit.member.settings import member_spec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent_service.member import MemberControl
    from agent_service.settings import AgentSettings
    from tests.agent.member.conftest import MakeMember, MakeOther

pytestmark = pytest.mark.etcd

PATIENCE_SECONDS = 20.0
SLOW_SECONDS = 0.1


@pytest.fixture(autouse=True)
async def _clean(settings: AgentSettings) -> AsyncIterator[None]:
    """Whatever a test leaves, no layer outlives it."""
    missing = lack.layer_lack(settings)
    if missing is not None:
        pytest.skip(missing)
    yield
    await create_holder(settings, mount(settings)).end(mount(settings))
    assert not is_mounted(mount(settings))


@pytest.fixture
async def faults(member: MemberControl, settings: AgentSettings) -> FaultManager:
    return await manager(member, settings)


async def manager(member: MemberControl, settings: AgentSettings) -> FaultManager:
    made = FaultManager(settings, member, AuditLog(settings.state_dir / "audit.jsonl"))
    await made.adopt()
    return made


def request(spec: FaultSpec, fault_id: str = "f-1", lease_seconds: float = 600.0) -> FaultRequest:
    return FaultRequest(id=fault_id, spec=spec, lease_seconds=lease_seconds, reason="test")


def mount(settings: AgentSettings) -> Path:
    return mount_of(settings.data_roots[0] / "m1")


def ask(path: str, body: object = None) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", 2379, timeout=PATIENCE_SECONDS)
    try:
        if body is None:
            connection.request("GET", path)
        else:
            connection.request("POST", path, json.dumps(body))
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def put(key: str, value: str = "x") -> None:
    """Returns when etcd has acknowledged it."""
    answer = await asyncio.to_thread(ask, "/v3/kv/put", {"key": coded(key), "value": coded(value)})
    assert "header" in json.loads(answer), answer


async def count() -> int:
    """How many keys there are."""
    everything = {"key": coded("\0"), "range_end": coded("\0"), "count_only": True}
    return int(json.loads(await asyncio.to_thread(ask, "/v3/kv/range", everything)).get("count", 0))


async def served() -> None:
    """Wait until it serves writes."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with suppress(OSError, AssertionError, ValueError):
                await put("served")
                return
            await asyncio.sleep(0.02)


async def slowest_sync() -> float:
    """The mean of etcd's own measurements of a sync of its log, in seconds."""
    lines = (await asyncio.to_thread(ask, "/metrics")).splitlines()
    values = {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")
    }
    return values["etcd_disk_wal_fsync_duration_seconds_sum"]


async def ended(member: MemberControl, times: int = 1) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while member.status().exits_total < times:  # noqa: ASYNC110 - a state is asked for
            await asyncio.sleep(0.01)


def on_layer(version: str, **flags: str) -> object:
    return member_spec(
        version, disk="fuse", flags={name.replace("_", "-"): flag for name, flag in flags.items()}
    )


async def test_etcd_lives_on_the_layer_and_nothing_is_left(
    member: MemberControl, version: str, settings: AgentSettings
) -> None:
    await member.start(on_layer(version))
    layer = member.status().disk_layer
    assert layer is not None
    assert layer.alive
    await served()
    for number in range(50):
        await put(f"k{number}", "v" * 1000)
    await member.restart(5.0, "test")
    await served()
    assert await count() == 51
    await member.stop(5.0, "test")
    assert (settings.data_roots[0] / "m1" / "member" / "wal").is_dir(), "in reach without the layer"
    await member.terminate()
    assert not is_mounted(mount(settings))
    assert list(settings.data_roots[0].iterdir()) == []


def use_what_has_no_name(where: Path) -> None:
    """As etcd tries whether it may write in a directory, and as it goes on with a database that was replaced."""
    tried = where / "tried"
    for _ in range(200):
        tried.mkdir()
        (tried / ".touch").write_bytes(b"")
        (tried / ".touch").unlink()
        assert list(tried.iterdir()) == []
        tried.rmdir()
    for number, name in enumerate(("db", "db.new")):
        (where / name).write_bytes(bytes([number]) * 10)
    with (where / "db").open("r+b", buffering=0) as old:
        (where / "db.new").rename(where / "db")
        assert list(where.iterdir()) == [where / "db"]
        old.truncate(5)
        old.seek(5)
        old.write(b"more")
        os.fsync(old.fileno())
        assert os.fstat(old.fileno()).st_size == 9
        old.seek(0)
        assert old.read() == b"\0\0\0\0\0more"
    assert (where / "db").read_bytes() == b"\1" * 10
    with (where / "db").open("r+b", buffering=0) as old:
        (where / "db").unlink()
        where.rmdir()
        assert old.write(b"\2" * 20) == 20
        with pytest.raises(OSError, match="Stale file handle"):
            old.truncate(5)


async def test_a_file_that_was_removed_while_it_was_open_is_in_no_directory(
    member: MemberControl, any_version: str, settings: AgentSettings
) -> None:
    await member.start(on_layer(any_version))
    where = mount(settings) / "of-the-test"
    where.mkdir()
    await asyncio.to_thread(use_what_has_no_name, where)
    await served()
    hidden = settings.data_roots[0] / "m1" / HIDDEN
    async with asyncio.timeout(PATIENCE_SECONDS):
        while any(one.name.startswith(".fuse") for one in hidden.iterdir()):  # noqa: ASYNC110 - a state
            await asyncio.sleep(0.02)


async def test_a_bare_disk_has_no_faults(
    faults: FaultManager, member: MemberControl, any_version: str
) -> None:
    await member.start(member_spec(any_version))
    with pytest.raises(IllegalStateError, match="no disk layer"):
        await faults.inject(request(SlowFsyncFault(delay_seconds=0.1)), "tester")


async def test_slow_syncs_are_what_etcd_measures(
    faults: FaultManager, member: MemberControl, any_version: str
) -> None:
    await member.start(on_layer(any_version))
    await served()
    slow = SlowFsyncFault(delay_seconds=0.2, jitter_seconds=0.05)
    before = await slowest_sync()
    await put("before")
    control = await slowest_sync() - before
    status = await faults.inject(request(slow), "tester")
    assert "fsync of wal files take 0.2 s ± 0.05 s (uniform) longer" in status.evidence
    before = await slowest_sync()
    await put("during")
    assert await slowest_sync() - before >= 0.15 > control
    assert (await faults.heal("f-1", "tester")).state is FaultState.HEALED
    before = await slowest_sync()
    await put("after")
    assert await slowest_sync() - before < 0.15


async def test_each_fault_on_speed_is_felt_and_goes(
    faults: FaultManager, member: MemberControl, any_version: str, settings: AgentSettings
) -> None:
    await member.start(on_layer(any_version))
    await served()
    specs: list[FaultSpec] = [
        SlowIoFault(scope="db", delay_seconds=0.05, jitter_seconds=0.02, distribution="normal"),
        SlowIoFault(scope="all", delay_seconds=0.02, jitter_seconds=0.02, distribution="exponential"),
        DiskThrottleFault(bytes_per_second=1 << 20, operations_per_second=100),
    ]
    for number, spec in enumerate(specs):
        status = await faults.inject(request(spec, f"f-{number}"), "tester")
        assert status.state is FaultState.INJECTED, status
        with pytest.raises(IllegalStateError, match="in the way"):
            await faults.inject(request(specs[0], "another"), "tester")
        await put(f"k{number}")
        assert (await faults.heal(f"f-{number}", "tester")).state is FaultState.HEALED
    assert await count() == 4
    assert not (settings.data_roots[0] / "m1" / ".etcd-chaos-probe").exists()
    assert member.status().exits == ()


async def test_a_failpoint_that_panics_on_a_slow_disk(
    faults: FaultManager, member: MemberControl, gofail_etcd: str
) -> None:
    """FAILPOINTS_WITH_DISK_IO_LATENCY of the functional test suite: both are held at once, both are undone."""
    spec = on_layer(gofail_etcd)
    await member.start(spec.model_copy(update={"env": {"GOFAIL_HTTP": "127.0.0.1:2381"}}))
    await served()
    quick = await put_seconds()
    slow = SlowIoFault(scope="all", delay_seconds=SLOW_SECONDS, jitter_seconds=0.0)
    assert (await faults.inject(request(slow, "disk"), "tester")).state is FaultState.INJECTED
    assert await put_seconds() > max(quick, SLOW_SECONDS), "felt before the panic"
    pressed = asyncio.create_task(press())
    panic = FailpointFault(terms={"raftBeforeSaveWaitWalSync": 'panic("etcd-chaos")'})
    try:
        status = await faults.inject(request(panic, "panic"), "tester")
    finally:
        pressed.cancel()
    assert status.state is FaultState.INJECTED
    assert faults.get("disk").state is FaultState.INJECTED, "the disk is as slow as before"
    assert (await faults.heal("panic", "tester")).state is FaultState.HEALED
    await served()
    assert await put_seconds() > SLOW_SECONDS, "the one that was started again has the same disk"
    assert (await faults.heal("disk", "tester")).state is FaultState.HEALED
    await served()
    (end,) = member.status().exits
    assert (end.expected, end.cause) == (True, "fault panic")


async def press() -> None:
    """Write on and on, whether it is taken or not."""
    while True:
        with suppress(OSError, AssertionError, ValueError, http.client.HTTPException):
            await put("k")
        await asyncio.sleep(0.01)


async def put_seconds() -> float:
    """The quickest of some."""
    seen = []
    for _ in range(3):
        started = time.monotonic()
        await put("k")
        seen.append(time.monotonic() - started)
    return min(seen)


async def test_faults_of_one_disk_do_not_get_in_each_others_way(
    faults: FaultManager, member: MemberControl, newest_etcd: str, settings: AgentSettings
) -> None:
    """At once, and one after the other on a disk that fails already: each is felt, and nothing is left."""
    await member.start(on_layer(newest_etcd))
    await served()
    specs: list[FaultSpec] = [
        DiskFullFault(),
        SlowFsyncFault(delay_seconds=0.05),
        IoErrorFault(scope="wal", operations=("fsync", "write")),
    ]
    orders = [specs, specs[::-1], specs]
    for number, order in enumerate(orders):
        wanted = [request(spec, f"f-{number}-{spec.kind}") for spec in order]
        if number < len(orders) - 1:
            told = await asyncio.gather(*(faults.inject(one, "tester") for one in wanted))
        else:
            told = [await faults.inject(one, "tester") for one in wanted]
        assert {status.state for status in told} == {FaultState.INJECTED}
        healed = await asyncio.gather(*(faults.heal(one.id, "tester") for one in wanted))
        left = [status.evidence for status in healed if status.state is not FaultState.HEALED]
        for one in wanted if left else ():  # etcd cannot start before its whole disk is back
            assert (await faults.heal(one.id, "tester")).state is FaultState.HEALED, left
        await served()
        assert not (settings.data_roots[0] / "m1" / ".etcd-chaos-probe").exists()


@pytest.mark.parametrize("operation", ["fsync", "write"])
async def test_an_error_of_the_disk_ends_etcd(
    faults: FaultManager, member: MemberControl, any_version: str, operation: str
) -> None:
    await member.start(on_layer(any_version))
    await served()
    await faults.inject(request(IoErrorFault(scope="wal", operations=(operation,))), "tester")
    with suppress(OSError, AssertionError, http.client.HTTPException, ValueError):
        await put("never")
    await ended(member)
    (last,) = member.status().exits
    assert (last.expected, last.cause) == (True, "fault f-1"), last
    assert last.signal is None
    assert (await faults.heal("f-1", "tester")).state is FaultState.HEALED
    await served()
    os.kill(member.status().pid, signal.SIGABRT)
    await ended(member, 2)
    assert member.status().exits[-1].expected is False, "what ends it later is not excused"


async def test_a_full_disk_ends_etcd_and_room_brings_it_back(
    faults: FaultManager, member: MemberControl, version: str
) -> None:
    await member.start(on_layer(version))
    await served()
    status = await faults.inject(request(DiskFullFault()), "tester")
    assert "ENOSPC" in status.evidence
    with suppress(OSError, AssertionError, http.client.HTTPException, ValueError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            for number in range(10_000):
                await put(f"k{number}", "v" * 100_000)
    await ended(member)
    (last,) = member.status().exits
    assert (last.expected, last.cause) == (True, "fault f-1"), last
    assert (await faults.heal("f-1", "tester")).state is FaultState.HEALED
    await served()


# --- loss of power -----------------------------------------------------------------------------------------


async def test_who_syncs_loses_nothing_when_the_power_goes(
    faults: FaultManager, member: MemberControl, version: str
) -> None:
    """The control."""
    await member.start(on_layer(version, snapshot_count="50"))
    await served()
    for number in range(200):  # enough for snapshots and a store that was committed in between
        await put(f"k{number}", "v" * 1000)
    status = await faults.inject(request(PowerLossFault()), "tester")
    assert "a file that was not synced is gone, one that was is there" in status.evidence
    assert member.status().exits[-1].cause == "fault f-1"
    assert (await faults.heal("f-1", "tester")).state is FaultState.HEALED
    await served()
    assert await count() == 201


async def test_who_does_not_sync_loses_what_it_acknowledged(
    faults: FaultManager, member: MemberControl, any_version: str
) -> None:
    await member.start(on_layer(any_version))
    await served()
    await member.stop(5.0, "test")
    await member.start(on_layer(any_version, unsafe_no_fsync="true"))
    await served()
    for number in range(20):
        await put(f"k{number}")
    assert await count() == 21
    await faults.inject(request(PowerLossFault()), "tester")
    assert (await faults.heal("f-1", "tester")).state is FaultState.HEALED
    await served()
    assert await count() == 1, "all of them were acknowledged, and are gone"


# --- whoever dies meanwhile --------------------------------------------------------------------------------


async def test_the_agent_dies_and_the_next_heals(
    other_agent: MakeOther, make_member: MakeMember, any_version: str, settings: AgentSettings
) -> None:
    """Layer and member outlive it; the lease that ran out meanwhile is healed by the next."""
    first = await make_member()
    await first.start(on_layer(any_version))
    pid = first.status().pid
    first.close()
    fault = request(SlowFsyncFault(delay_seconds=0.3), lease_seconds=1.0).model_dump_json()
    agent = other_agent("fault", fault)
    assert agent.said == "injected"
    agent.kill()
    await asyncio.sleep(1.1)
    member = await make_member()
    assert (member.status().pid, member.status().disk_layer.alive) == (pid, True)
    (healed,) = await FaultManager(settings, member, AuditLog(settings.state_dir / "audit.jsonl")).adopt()
    assert (healed.state, healed.healed_by) == (FaultState.HEALED, "lease")
    await served()


async def test_the_agent_dies_after_the_power_went(
    other_agent: MakeOther, make_member: MakeMember, any_version: str, settings: AgentSettings
) -> None:
    first = await make_member()
    await first.start(on_layer(any_version))
    await served()
    first.close()
    agent = other_agent("fault", request(PowerLossFault()).model_dump_json())
    assert agent.said == "injected"
    agent.kill()
    (healed,) = await heal_host(
        settings, AuditLog(settings.state_dir / "audit.jsonl"), who="test", expired_only=False
    )
    assert healed.state is FaultState.HEALED, healed.evidence
    await served()
    assert await count() == 1


async def test_a_layer_that_dies_is_told_as_what_it_is(
    faults: FaultManager, member: MemberControl, any_version: str, settings: AgentSettings
) -> None:
    await member.start(on_layer(any_version))
    await served()
    await faults.inject(request(SlowFsyncFault(delay_seconds=0.05)), "tester")
    process = await create_holder(settings, mount(settings)).find()
    os.kill(process.pid, signal.SIGKILL)
    with suppress(OSError, AssertionError, http.client.HTTPException, ValueError):
        await put("never")  # an idle etcd would not notice
    await ended(member)
    (last,) = member.status().exits
    assert (last.expected, last.cause) == (False, "unexpected: its disk layer had ended")
    assert member.status().disk_layer.alive is False
    healed = await faults.heal("f-1", "tester")
    assert (healed.state, healed.healed_by) == (FaultState.HEALED, "somebody-else")
    await member.restart(5.0, "test")
    await served()
    assert member.status().disk_layer.alive is True
    assert await count() == 1, "what it had passed on lies on the disk"
    await member.terminate()


async def test_a_layer_that_does_nothing_is_no_success(
    faults: FaultManager, member: MemberControl, any_version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await member.start(on_layer(any_version))
    monkeypatch.setattr("agent_service.disk.messages.Delay.least_seconds", 0.5)  # more than it takes
    with pytest.raises(FaultFailedError, match="fsync of a wal file took"):
        await faults.inject(request(SlowFsyncFault(delay_seconds=0.001)), "tester")
    assert faults.get("f-1").state is FaultState.FAILED


async def test_a_host_without_fuse_says_so(
    faults: FaultManager,
    member: MemberControl,
    any_version: str,
    settings: AgentSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lack, "_SONAMES", ("libnone.so.1",))
    kinds = {item.kind: item for item in await capabilities(settings)}
    assert "no libfuse3" in kinds["power-loss"].reason
    await member.start(on_layer(any_version))
    with pytest.raises(UnavailableError, match="no libfuse3"):
        await faults.inject(request(PowerLossFault()), "tester")


# --- damaged files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("disk", ["bare", "fuse"])
@pytest.mark.parametrize(
    ("file", "damage", "recovers"),
    [
        ("wal", "bit-flip", False),
        ("wal", "truncate", True),
        ("db", "bit-flip", False),
        ("db", "truncate", False),
        ("snap", "bit-flip", True),
        ("snap", "truncate", True),
    ],
)
async def test_etcd_meets_a_damaged_file(
    faults: FaultManager,
    member: MemberControl,
    any_version: str,
    settings: AgentSettings,
    disk: str,
    file: str,
    damage: str,
    recovers: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    await member.start(member_spec(any_version, disk=disk, flags={"snapshot-count": "8"}))
    await served()
    for number in range(20):
        await put(f"k{number}")
    await asyncio.sleep(0.2)  # the store is written
    pattern = {"wal": "wal/*.wal", "db": "snap/db", "snap": "snap/*.snap"}[file]
    path, *_ = (settings.data_roots[0] / "m1" / "member").glob(pattern)
    spec = CorruptFileFault(file=file, damage=damage, seed=3)
    status = await faults.inject(request(spec), "tester")
    assert member.state is MemberState.STOPPED
    assert f"should {'recover' if recovers else 'refuse'}" in str((await faults.plan(spec)).inject)
    assert status.state is FaultState.INJECTED
    healed = await faults.heal("f-1", "tester")
    assert healed.state is FaultState.HEALED, healed.evidence
    ends = member.status().exits
    assert [(end.expected, end.cause) for end in ends] == [(True, "fault f-1")] * (1 if recovers else 2), ends
    await served()
    # The last entry of a log that was cut within it is gone, unless the store had it already.
    assert await count() in ({20, 21} if recovers else {21})
    assert recovers or path.stat().st_size > 4096
    assert not (settings.state_dir / "damage").exists()
