"""The life of faults, on a member that is a sleeping process."""

from __future__ import annotations

import asyncio
import errno
import json
import threading
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, get_args

import pytest
from msgspec.structs import replace

from agent_service import diskwriter
from agent_service.audit import AuditLog
from agent_service.durable import write_durably
from agent_service.errors import (
    FaultFailedError,
    IllegalStateError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from agent_service.faults import (
    execute,
    groups,
    journal,
    machine,
    machine_execute,
    manager,
    orders,
    registry,
    schedule,
    tombstones,
)
from agent_service.faults.heal import UnhealedError, require_healed
from agent_service.faults.journal import Entry, Journal
from agent_service.faults.machine_steps import Strike
from agent_service.faults.manager import FaultManager
from agent_service.faults.steps import FaultSteps
from agent_service.faults.tombstones import Tombstones
from agent_service.faults.undo import Undone
from agent_service.models import (
    MAX_LEASE_SECONDS,
    AgentHangFault,
    AgentKillFault,
    CrashLoopFault,
    FaultRequest,
    FaultSpec,
    FaultState,
    IsolateFault,
    KillFault,
    MemberState,
    PauseFault,
    Peer,
    PowerOffFault,
    RebootFault,
)
from agent_service.processes import is_alive, is_stopped
from tests.unit.member.fake_member import FakeMember
from tests.unit.member.settings import agent_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from agent_service.faults.base import HostContext
    from agent_service.processes import ProcessId

PATIENCE_SECONDS = 20.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "CONFIRM_SECONDS", 0.1)


@pytest.fixture
def member() -> Iterator[FakeMember]:
    fake = FakeMember()
    fake.launch()
    yield fake
    fake.end()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path


def create(base: Path, member: FakeMember) -> FaultManager:
    return FaultManager(agent_settings(base), member.as_control(), AuditLog(base / "state" / "audit.jsonl"))


def request(
    fault_id: str = "f1", spec: FaultSpec | None = None, lease_seconds: float = 600.0
) -> FaultRequest:
    return FaultRequest(id=fault_id, spec=spec or KillFault(), lease_seconds=lease_seconds, reason="test")


def on_disk(base: Path, fault_id: str = "f1") -> Entry:
    entries, damaged = journal._read_all(base / "state" / "faults")
    assert damaged == ()
    return entries[fault_id]


def entry(fault_id: str) -> Entry:
    """One that is over."""
    return Entry(
        id=fault_id,
        sequence=1,
        spec=journal.encode_spec(KillFault()),
        reason="test",
        steps=FaultSteps((), (), (), ()),
        state=FaultState.HEALED,
        boot_id="b",
        expires_monotonic_ns=0,
    )


async def rewrite(base: Path, **changes: object) -> None:
    """Leave an entry as a crash would have left it."""
    store = Journal(base / "state" / "faults")
    await store.load()
    await store.note(replace(store.get("f1"), **changes))


@asynccontextmanager
async def leases(faults: FaultManager) -> AsyncIterator[None]:
    task = asyncio.create_task(faults.run_leases())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - a state is asked for, as a client would
            await asyncio.sleep(0.005)


async def test_injected_held_and_healed(base: Path, member: FakeMember) -> None:
    faults = create(base, member)
    await faults.adopt()
    status = await faults.inject(request(), "tester")
    assert status.state is FaultState.INJECTED
    assert "is gone" in status.evidence
    assert 590 < status.lease_remaining_seconds <= 600
    assert not member.lives()
    assert on_disk(base).state is FaultState.INJECTED
    healed = await faults.heal("f1", "tester")
    assert (healed.state, healed.healed_by) == (FaultState.HEALED, "request")
    assert healed.lease_remaining_seconds == 0
    assert member.lives()
    assert on_disk(base).state is FaultState.HEALED
    assert await faults.heal("f1", "tester") == healed, "healing is idempotent"
    outcomes = [(entry.what, entry.outcome) for entry in AuditLog(base / "state/audit.jsonl").read(10)]
    assert outcomes == [("fault inject", "injected"), ("fault heal", "healed")]


async def test_the_undo_is_on_disk_before_anything_is_done(base: Path, member: FakeMember) -> None:
    faults = create(base, member)
    await faults.adopt()
    seen: list[FaultState] = []
    kill = member.kill

    async def look_first(cause: str) -> None:
        seen.append(on_disk(base).state)
        await kill(cause)

    member.kill = look_first  # type: ignore[method-assign]
    await faults.inject(request(), "tester")
    assert seen == [FaultState.PREPARED]


async def test_no_undo_on_disk_no_fault(base: Path, member: FakeMember) -> None:
    faults = create(base, member)
    await faults.adopt()
    (base / "state" / "faults").rmdir()
    with pytest.raises(UnavailableError, match="cannot write"):
        await faults.inject(request(), "tester")
    assert member.calls == []
    assert faults.list() == ()


async def test_a_fault_without_effect_is_an_error_and_undone(base: Path, member: FakeMember) -> None:
    faults = create(base, member)
    await faults.adopt()
    member.idle = {"kill"}
    with pytest.raises(FaultFailedError, match="is still there"):
        await faults.inject(request(), "tester")
    assert member.calls == ["kill", "recover"]
    status = faults.get("f1")
    assert (status.state, status.healed_by) == (FaultState.FAILED, "failed-injection")
    with pytest.raises(FaultFailedError):
        await faults.inject(request(), "tester")
    member.idle = set()
    assert (await faults.inject(request("f2"), "tester")).state is FaultState.INJECTED, (
        "nothing is in the way"
    )


async def test_a_defect_in_an_injection_leaves_nothing_behind(base: Path, member: FakeMember) -> None:
    faults = create(base, member)
    await faults.adopt()

    async def defect(cause: str) -> None:
        member.end()
        raise ZeroDivisionError

    member.kill = defect  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        await faults.inject(request(), "tester")
    assert faults.get("f1").state is FaultState.FAILED
    assert member.lives()


async def test_a_heal_that_fails_is_said_so_and_tried_again(
    base: Path, member: FakeMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "retry_delay_seconds", lambda attempts: 0.01)
    faults = create(base, member)
    await faults.adopt()
    await faults.inject(request(), "tester")
    member.broken = {"recover": RefusedError("port 2380 is taken")}
    status = await faults.heal("f1", "tester")
    assert status.state is FaultState.HEAL_FAILED
    assert status.healed_by is None
    assert "port 2380 is taken" in status.evidence
    assert "does not run" in status.evidence
    async with leases(faults):
        await until(lambda: member.calls.count("recover") >= 3)
        member.broken = {}
        await until(lambda: faults.get("f1").state is FaultState.HEALED)
    assert faults.get("f1").healed_by == "request"


async def test_an_undo_that_does_nothing_is_seen(base: Path, member: FakeMember) -> None:
    faults = create(base, member)
    await faults.adopt()
    await faults.inject(request(spec=PauseFault()), "tester")
    member.idle = {"resume"}
    assert (await faults.heal("f1", "tester")).state is FaultState.HEAL_FAILED
    member.idle = set()
    assert (await faults.heal("f1", "tester")).state is FaultState.HEALED


async def test_same_id_same_fault(base: Path, member: FakeMember) -> None:
    faults = create(base, member)
    await faults.adopt()
    first, second = await asyncio.gather(
        faults.inject(request(), "tester"), faults.inject(request(), "tester")
    )
    assert member.calls == ["kill"]
    assert first.injected_monotonic_ns == second.injected_monotonic_ns
    with pytest.raises(IllegalStateError) as caught:
        await faults.inject(request(spec=PauseFault()), "tester")
    assert caught.value.state == "injected"
    await faults.heal("f1", "tester")
    assert (await faults.inject(request(), "tester")).state is FaultState.HEALED, "it is not injected again"
    assert member.calls.count("kill") == 1


async def test_two_faults_never_hold_the_same_thing(base: Path, member: FakeMember) -> None:
    faults = create(base, member)
    await faults.adopt()
    await faults.inject(request(spec=PauseFault()), "tester")
    with pytest.raises(IllegalStateError, match=r"f1 .* in the way"):
        await faults.inject(request("f2"), "tester")
    assert "kill" not in member.calls
    with pytest.raises(NotFoundError):
        faults.get("f2")


async def test_a_member_that_does_not_run_cannot_be_killed(base: Path, member: FakeMember) -> None:
    faults = create(base, member)
    await faults.adopt()
    member.end()
    with pytest.raises(IllegalStateError) as caught:
        await faults.inject(request(), "tester")
    assert caught.value.state == "stopped"
    assert faults.list() == ()


async def test_healing_a_kill_whose_member_is_up_again_or_was_removed(base: Path, member: FakeMember) -> None:
    faults = create(base, member)
    await faults.adopt()
    await faults.inject(request(), "tester")
    member.launch()
    process = member.process
    assert (await faults.heal("f1", "tester")).state is FaultState.HEALED
    assert member.process == process, "the one that somebody started was left alone"
    await faults.inject(request("f2"), "tester")
    member.state = MemberState.TERMINATED
    assert (await faults.heal("f2", "tester")).state is FaultState.HEALED
    assert not member.lives()


async def test_a_lease_that_nobody_renews_heals(base: Path, member: FakeMember) -> None:
    faults = create(base, member)
    await faults.adopt()
    async with leases(faults):
        await faults.inject(request(lease_seconds=1.0), "tester")
        await faults.renew("f1", 600.0, "tester")
        assert faults.get("f1").lease_remaining_seconds > 500
        assert on_disk(base).expires_monotonic_ns > on_disk(base).injected_monotonic_ns + 500 * 10**9  # type: ignore[operator]
        await faults.renew("f1", 1.0, "tester")
        await until(lambda: faults.get("f1").state is FaultState.HEALED)
    assert faults.get("f1").healed_by == "lease"
    assert member.lives()
    with pytest.raises(IllegalStateError) as caught:
        await faults.renew("f1", 10.0, "tester")
    assert caught.value.state == "healed"
    with pytest.raises(NotFoundError):
        await faults.renew("f9", 10.0, "tester")


async def test_the_audit_names_each_client_that_keeps_a_fault_up_once(base: Path, member: FakeMember) -> None:
    faults = create(base, member)
    await faults.adopt()
    await faults.inject(request(), "tester")
    for who in ("tester", "tester", "tester", "somebody", "somebody"):
        await faults.renew("f1", 600.0, who)
    again = create(base, member)
    await again.adopt()
    await again.renew("f1", 600.0, "somebody")
    entries = AuditLog(base / "state/audit.jsonl").read(100)
    assert [entry.who for entry in entries if entry.what == "fault renew"] == ["tester", "somebody"]


async def test_a_client_that_hangs_up_leaves_nothing_half_done(base: Path, member: FakeMember) -> None:
    faults = create(base, member)
    await faults.adopt()
    call = asyncio.create_task(faults.inject(request(), "tester"))
    await until(lambda: bool(faults.list()))
    call.cancel()
    with suppress(asyncio.CancelledError):
        await call
    await until(lambda: faults.get("f1").state is FaultState.INJECTED)


@pytest.mark.parametrize(
    ("left", "healed_by", "state"),
    [
        ({"state": FaultState.PREPARED}, "agent-start", FaultState.HEALED),
        ({"state": FaultState.HEALING, "healed_by": "request"}, "agent-start", FaultState.HEALED),
        (
            {"state": FaultState.HEALING, "healed_by": "failed-injection"},
            "failed-injection",
            FaultState.FAILED,
        ),
        ({"state": FaultState.HEAL_FAILED}, "agent-start", FaultState.HEALED),
        ({"boot_id": "another"}, "agent-start", FaultState.HEALED),
        ({"expires_monotonic_ns": 1}, "lease", FaultState.HEALED),
    ],
)
async def test_what_a_crash_left_is_undone_by_the_next_agent(
    base: Path, member: FakeMember, left: dict[str, object], healed_by: str, state: FaultState
) -> None:
    faults = create(base, member)
    await faults.adopt()
    await faults.inject(request(), "tester")
    await rewrite(base, **left)
    successor = create(base, member)
    (undone,) = await successor.adopt()
    assert (undone.state, undone.healed_by) == (state, healed_by)
    assert member.lives()


async def test_a_fault_with_time_left_goes_on_under_the_next_agent(base: Path, member: FakeMember) -> None:
    faults = create(base, member)
    await faults.adopt()
    before = await faults.inject(request(spec=PauseFault()), "tester")
    successor = create(base, member)
    assert await successor.adopt() == ()
    after = successor.get("f1")
    assert after.state is FaultState.INJECTED
    assert 0 < after.lease_remaining_seconds <= before.lease_remaining_seconds
    assert member.calls == ["pause"]
    assert (await successor.heal("f1", "tester")).state is FaultState.HEALED


@asynccontextmanager
async def repeats(faults: FaultManager) -> AsyncIterator[None]:
    task = asyncio.create_task(faults.run_repeats())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


LOOP = CrashLoopFault(every_seconds=0.5)


async def test_a_crash_loop_goes_on_until_it_is_healed(base: Path, member: FakeMember) -> None:
    faults = create(base, member)
    await faults.adopt()
    async with repeats(faults):
        status = await faults.inject(request(spec=LOOP), "tester")
        assert "done again 0 times" in status.evidence
        first = member.process
        await until(lambda: member.calls.count("kill") >= 3)
        await until(lambda: "done again 2 times" in faults.get("f1").evidence)
        await until(lambda: on_disk(base).repeats == 2)
        assert first != member.process
        healed = await faults.heal("f1", "tester")
        assert healed.state is FaultState.HEALED
        assert "done again 2 times" in healed.evidence
        calls = member.calls.count("kill")
        await asyncio.sleep(0.7)
        assert member.calls.count("kill") == calls
    assert member.lives()


async def test_a_repetition_that_fails_is_told_and_the_next_one_comes(base: Path, member: FakeMember) -> None:
    faults = create(base, member)
    await faults.adopt()
    async with repeats(faults):
        await faults.inject(request(spec=LOOP), "tester")
        member.broken = {"recover": RefusedError("port 2380 is taken")}
        await until(lambda: "port 2380 is taken" in faults.get("f1").evidence)
        member.broken = {}
        await until(lambda: member.lives() and on_disk(base).repeats >= 2)
        assert (await faults.heal("f1", "tester")).state is FaultState.HEALED


async def test_the_next_agent_goes_on_with_a_crash_loop(base: Path, member: FakeMember) -> None:
    faults = create(base, member)
    await faults.adopt()
    await faults.inject(request(spec=LOOP), "tester")
    await asyncio.sleep(0.6)
    assert member.calls.count("kill") == 1, "the control: nobody repeats it"
    successor = create(base, member)
    await successor.adopt()
    async with repeats(successor):
        await until(lambda: member.calls.count("kill") == 2)
        await until(lambda: on_disk(base).repeats == 1)


async def test_a_fault_that_does_nothing_again_is_left_alone(base: Path, member: FakeMember) -> None:
    faults = create(base, member)
    await faults.adopt()
    async with repeats(faults):
        await faults.inject(request(spec=PauseFault()), "tester")
        await asyncio.sleep(0.05)
        assert member.calls == ["pause"]
        assert "again" not in faults.get("f1").evidence


async def test_newest_first_and_one_that_fails_stops_nobody(base: Path, member: FakeMember) -> None:
    faults = create(base, member)
    await faults.adopt()
    await faults.inject(request(), "tester")
    # A second one by hand, of the same kind: the manager itself would refuse it.
    await faults._journal.note(replace(on_disk(base), id="f0", sequence=2))
    member.broken = {"recover": RefusedError("no")}
    statuses = await faults.heal_all("heal-command", "tester")
    assert [(status.id, status.state) for status in statuses] == [
        ("f0", FaultState.HEAL_FAILED),
        ("f1", FaultState.HEAL_FAILED),
    ]


async def test_a_damaged_journal_stops_injections_and_is_named(base: Path, member: FakeMember) -> None:
    directory = base / "state" / "faults"
    directory.mkdir()
    (directory / "x.json").write_text('{"id": "x"')
    faults = create(base, member)
    await faults.adopt()
    assert faults.damaged == (directory / "x.json",)
    with pytest.raises(UnavailableError, match=r"x\.json"):
        await faults.inject(request(), "tester")


@pytest.mark.parametrize(
    ("state", "damaged"),
    [("healed", 0), ("failed", 0), ("injected", 1), ("heal_failed", 1), ("unheard-of", 1)],
)
async def test_what_another_version_wrote_matters_only_if_it_may_be_in_effect(
    base: Path, member: FakeMember, state: str, damaged: int
) -> None:
    directory = base / "state" / "faults"
    directory.mkdir()
    (directory / "old.json").write_text(json.dumps({"id": "old", "state": state, "how": "in another way"}))
    faults = create(base, member)
    await faults.adopt()
    assert len(faults.damaged) == damaged
    assert faults.list() == ()


async def test_memory_is_bounded(base: Path, member: FakeMember, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_KEPT_FINISHED", 3)
    faults = create(base, member)
    await faults.adopt()
    for number in range(5):
        await faults.inject(request(f"f{number}", PauseFault()), "tester")
        await faults.heal(f"f{number}", "tester")
    kept = ["f2", "f3", "f4"]
    assert [status.id for status in faults.list()] == kept
    assert sorted(path.stem for path in (base / "state" / "faults").glob("*.json")) == kept


async def test_a_full_disk_does_not_stop_a_heal(base: Path, member: FakeMember) -> None:
    faults = create(base, member)
    await faults.adopt()
    await faults.inject(request(), "tester")
    (base / "state" / "faults").rename(base / "gone")
    assert (await faults.heal("f1", "tester")).state is FaultState.HEALED
    assert member.lives()


@asynccontextmanager
async def hung_disk(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Within, no write of the journal or the audit log ends; after it, all do."""
    back = threading.Event()

    def late(path: Path, content: bytes) -> None:
        back.wait(PATIENCE_SECONDS)
        write_durably(path, content)

    write_line = AuditLog._write

    def late_line(log: AuditLog, line: bytes) -> None:
        back.wait(PATIENCE_SECONDS)
        write_line(log, line)

    monkeypatch.setattr(journal, "write_durably", late)
    monkeypatch.setattr(AuditLog, "_write", late_line)
    monkeypatch.setattr(diskwriter, "PATIENCE_SECONDS", 0.05)
    try:
        yield
    finally:
        back.set()


async def test_a_state_disk_that_hangs_delays_no_heal(
    base: Path, member: FakeMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = create(base, member)
    await faults.adopt()
    await faults.inject(request(spec=PauseFault()), "tester")
    async with hung_disk(monkeypatch):
        status = await faults.heal("f1", "tester")
        assert status.state is FaultState.HEALED
        assert member.calls == ["pause", "resume"]
        assert on_disk(base).state is FaultState.INJECTED, "the control: nothing was written"
    await until(lambda: on_disk(base).state is FaultState.HEALED)
    log = AuditLog(base / "state/audit.jsonl")
    await until(lambda: [entry.outcome for entry in log.read(10)] == ["injected", "healed"])


async def test_a_state_disk_that_hangs_takes_no_new_fault(
    base: Path, member: FakeMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = create(base, member)
    await faults.adopt()
    async with hung_disk(monkeypatch):
        with pytest.raises(UnavailableError, match="has not answered"):
            await faults.inject(request(), "tester")
        with pytest.raises(UnavailableError, match="has not answered"):
            await faults.inject(request("f2"), "tester")
        assert member.calls == []
        assert faults.list() == ()
    await until((base / "state/faults/f2.json").exists)
    await create(base, member).adopt()
    assert on_disk(base, "f2").state is FaultState.HEALED, "what landed late is cleared away"
    assert member.lives()


async def test_what_is_healed_before_it_comes_is_not_injected(base: Path, member: FakeMember) -> None:
    faults = create(base, member)
    await faults.adopt()
    with pytest.raises(NotFoundError):
        await faults.heal("f1", "tester")
    with pytest.raises(IllegalStateError, match="healed before it came"):
        await faults.inject(request(), "tester")
    assert member.calls == []
    assert (await faults.inject(request("f2"), "tester")).state is FaultState.INJECTED, "the control"


async def test_a_heal_that_overtakes_an_injection_under_way(
    base: Path, member: FakeMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = create(base, member)
    await faults.adopt()
    held, go = asyncio.Event(), asyncio.Event()

    async def slow(*_: object) -> None:
        held.set()
        await go.wait()

    monkeypatch.setattr(manager, "require_capability", slow)
    late = asyncio.create_task(faults.inject(request(), "tester"))
    await held.wait()
    with pytest.raises(NotFoundError):
        await faults.heal("f1", "tester")
    go.set()
    with pytest.raises(IllegalStateError, match="healed before it came"):
        await late
    assert member.calls == []


def test_tombstones_end_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    graves = Tombstones()
    graves.bury("first")
    assert graves.holds("first")
    for number in range(1000):
        graves.bury(f"f{number}")
    assert (graves.holds("first"), graves.holds("f0")) == (False, True)
    later = time.monotonic() + MAX_LEASE_SECONDS + 1
    monkeypatch.setattr(tombstones, "time", SimpleNamespace(monotonic=lambda: later))
    assert not graves.holds("f0")


async def test_a_host_that_must_not_be_touched(base: Path, member: FakeMember) -> None:
    held = create(base, member)
    await held.adopt()
    await held.inject(request(), "tester")
    settings = agent_settings(base, allow_faults=False)
    faults = FaultManager(settings, member.as_control(), AuditLog(base / "state" / "audit.jsonl"))
    await faults.adopt()
    with pytest.raises(RefusedError, match="etcd_chaos_allow is false"):
        await faults.inject(request("f2"), "tester")
    assert (await faults.heal("f1", "tester")).state is FaultState.HEALED, "a heal always works"
    kinds = await registry.capabilities(settings)
    assert kinds
    assert not any(kind.available for kind in kinds)
    assert {kind.reason for kind in kinds} == {"etcd_chaos_allow is false for it in the inventory"}


async def test_groups_of_faults_that_are_not_enabled_are_refused(base: Path, member: FakeMember) -> None:
    held = create(base, member)
    await held.adopt()
    await held.inject(request(), "tester")
    settings = agent_settings(base, faults=["network", "disk"])
    faults = FaultManager(settings, member.as_control(), AuditLog(base / "state" / "audit.jsonl"))
    await faults.adopt()
    with pytest.raises(RefusedError, match="group process are not in its etcd_agent_faults") as refused:
        await faults.inject(request("f2"), "tester")
    assert refused.value.remedy == "add process to etcd_agent_faults in the inventory, and deploy"
    assert (await faults.heal("f1", "tester")).state is FaultState.HEALED, "a heal always works"
    open_to = {one.kind: one for one in await registry.capabilities(agent_settings(base))}
    kinds = {one.kind: one for one in await registry.capabilities(settings)}
    for group, members in groups.KINDS.items():
        for kind in members:
            if group in settings.faults:
                assert kinds[kind] == open_to[kind], "the control"
            else:
                assert not kinds[kind].available
                assert f"group {group} " in kinds[kind].reason
    with_all = FaultManager(agent_settings(base), member.as_control(), AuditLog(base / "state" / "a.jsonl"))
    await with_all.adopt()
    assert (await with_all.inject(request("f3"), "tester")).state is FaultState.INJECTED, "the control"


def test_every_kind_is_in_one_group() -> None:
    kinds = [kind for members in groups.KINDS.values() for kind in members]
    specs = get_args(get_args(FaultSpec)[0])
    assert sorted(kinds) == sorted(spec.model_fields["kind"].default for spec in specs)
    assert set(groups.KINDS) == agent_settings(Path()).faults


async def test_a_state_disk_gone_read_only_stops_no_heal(
    base: Path, member: FakeMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(path: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(journal, "_KEPT_FINISHED", 1)
    monkeypatch.setattr(journal, "_remove", read_only)
    faults = create(base, member)
    await faults.adopt()
    await faults._journal.note(entry("old"))
    await faults.inject(request(), "tester")
    await faults._journal.note(replace(on_disk(base), id="f0", sequence=2))
    statuses = await faults.heal_all("heal-command", "tester")
    assert [status.state for status in statuses] == [FaultState.HEALED] * 2


async def test_two_heals_at_once_forget_each_fault_once(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (base / "faults").mkdir()
    monkeypatch.setattr(journal, "_KEPT_FINISHED", 1)
    store = Journal(base / "faults")
    for number in range(4):
        await store.note(entry(f"f{number}"))
    await asyncio.gather(store.forget_oldest(), store.forget_oldest())
    assert [one.id for one in store.oldest_first()] == ["f3"]
    assert [path.stem for path in (base / "faults").glob("*.json")] == ["f3"]


async def test_a_renewal_in_time_outruns_the_heal_that_waits_for_it(
    base: Path, member: FakeMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = create(base, member)
    await faults.adopt()
    await faults.inject(request(spec=PauseFault()), "tester")
    async with faults._lock_of("f1"):  # what a renewal under way holds
        expired = replace(faults._journal.get("f1"), expires_monotonic_ns=1)
        await faults._journal.note(expired)
        async with leases(faults):
            await asyncio.sleep(0.02)  # the lease has run out, and its heal waits
            await faults._journal.note(replace(expired, expires_monotonic_ns=2**62))
            await _let_go(faults, "f1")
            assert faults.get("f1").state is FaultState.INJECTED, "the tester was told that it goes on"


async def _let_go(faults: FaultManager, fault_id: str) -> None:
    lock = faults._lock_of(fault_id)
    lock.release()
    await asyncio.sleep(0.2)
    await lock.acquire()


async def test_nothing_is_injected_behind_the_back_of_an_agent_that_stops(
    base: Path, member: FakeMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = create(base, member)
    await faults.adopt()
    looked = asyncio.Event()

    async def slow(*_: object) -> None:
        looked.set()
        await asyncio.sleep(0.05)

    monkeypatch.setattr(manager, "require_capability", slow)
    early = asyncio.create_task(faults.inject(request(), "tester"))
    await looked.wait()  # no entry yet that could be healed
    assert await faults.heal_all("agent-stop", "agent") == ()
    assert early.done()
    with pytest.raises(UnavailableError, match="stops"):
        await early
    assert member.calls == []


async def test_a_fault_that_somebody_else_undid_was_not_held(base: Path, member: FakeMember) -> None:
    faults = create(base, member)
    await faults.adopt()
    await faults.inject(request(spec=PauseFault()), "tester")
    await member.resume()  # by hand, on the host
    status = await faults.heal("f1", "tester")
    assert (status.state, status.healed_by) == (FaultState.HEALED, "somebody-else")
    assert "is not stopped" in status.evidence


async def test_plans_touch_nothing(base: Path, member: FakeMember) -> None:
    member.end()
    plan = await create(base, member).plan(KillFault())
    assert plan.inject == ("send SIGKILL to etcd",)
    assert plan.undo == ("start etcd as it was, unless it runs",)
    assert member.calls == []


def test_retries_slow_down() -> None:
    assert [schedule.retry_delay_seconds(n) for n in (1, 2, 3, 7, 1000)] == [1.0, 2.0, 4.0, 60.0, 60.0]


# --- what ends the agent or the boot ----------------------------------------------------------------------------


@pytest.fixture
def quick_blows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "DELAY_SECONDS", 0.2)
    monkeypatch.setenv("NOTIFY_SOCKET", "/nonexistent")


def hanging(
    base: Path, member: FakeMember, monkeypatch: pytest.MonkeyPatch
) -> tuple[FaultManager, ProcessId]:
    """Faults of an agent that is another process than this one: the member's stand-in, of all things."""
    victim = member.process
    assert victim is not None
    monkeypatch.setattr(machine, "identify", lambda _: victim)
    return create(base, member), victim


@pytest.mark.usefixtures("quick_blows")
async def test_an_agent_stands_still_for_a_time(
    base: Path, member: FakeMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults, victim = hanging(base, member, monkeypatch)
    await faults.adopt()
    status = await faults.inject(request(spec=AgentHangFault(seconds=1.0)), "tester")
    assert status.state is FaultState.INJECTED
    await until(lambda: is_stopped(victim))
    await until(lambda: not is_stopped(victim))
    await until(lambda: (base / "state/strikes/f1").stat().st_size > 0)
    healed = await faults.heal("f1", "tester")
    assert (healed.state, healed.evidence) == (FaultState.HEALED, "the agent stood still for 1 s")
    assert not (base / "state/strikes").exists()


@pytest.mark.usefixtures("quick_blows")
async def test_a_blow_that_is_healed_before_it_falls_had_no_effect(
    base: Path, member: FakeMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults, victim = hanging(base, member, monkeypatch)
    await faults.adopt()
    await faults.inject(request(spec=AgentKillFault()), "tester")
    status = await faults.heal("f1", "tester")
    assert (status.state, status.healed_by) == (FaultState.FAILED, "failed-injection")
    assert "still is process" in status.evidence
    await asyncio.sleep(0.5)
    assert is_alive(victim), "it was called off"


@pytest.mark.usefixtures("quick_blows")
async def test_the_next_agent_says_that_the_last_one_was_killed(
    base: Path, member: FakeMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults, victim = hanging(base, member, monkeypatch)
    await faults.adopt()
    await faults.inject(request(spec=AgentKillFault()), "tester")
    assert await create(base, member).adopt("heal-command") == (), "not its business: the lease runs"
    await until(lambda: not is_alive(victim))
    (status,) = await create(base, member).adopt()
    assert (status.state, status.healed_by) == (FaultState.HEALED, "agent-start")
    assert "is gone" in status.evidence


async def test_a_blow_at_somebody_else_under_the_same_pid_misses(base: Path, member: FakeMember) -> None:
    victim = member.process
    assert victim is not None
    (base / "strikes").mkdir()
    monkey = ("kill", str(victim.pid), str(victim.start_ticks + 1))
    await orders.give(base / "strikes/f1", monkey)
    assert orders.stands(base / "strikes/f1")
    await until(lambda: not orders.stands(base / "strikes/f1"))
    assert is_alive(victim)


@pytest.mark.usefixtures("quick_blows")
async def test_a_reboot_is_undone_by_the_next_boot_and_not_on_the_way_down(
    base: Path, member: FakeMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "host_lack", lambda: None)
    given: list[tuple[str, ...]] = []

    async def give(order: Path, what: tuple[str, ...]) -> None:
        given.append(what)

    monkeypatch.setattr(orders, "give", give)
    monkeypatch.setattr(orders, "stands", lambda _: True)
    faults = create(base, member)
    await faults.adopt()
    assert (await faults.inject(request(spec=RebootFault()), "tester")).state is FaultState.INJECTED
    assert given == [("run", "systemctl", "reboot")]
    assert member.calls == ["foresee end"]
    assert await faults.heal_all("agent-stop", "agent") == ()
    assert on_disk(base).state is FaultState.INJECTED
    member.end()
    for module in (manager, machine_execute):
        monkeypatch.setattr(module, "boot_id", lambda: "the next boot")
    (status,) = await create(base, member).adopt()
    assert (status.state, status.healed_by) == (FaultState.HEALED, "agent-start")
    assert "the host has booted anew" in status.evidence
    assert member.calls == ["foresee end", "recover", "foresee no end"]


@pytest.mark.usefixtures("quick_blows")
async def test_a_host_that_never_went_down_is_no_success(
    base: Path, member: FakeMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "host_lack", lambda: None)
    planned = registry.plan_fault

    def harmless(fault_id: str, spec: FaultSpec, host: HostContext) -> FaultSteps:
        steps = planned(fault_id, spec, host)
        strike = steps.inject[1]
        assert isinstance(strike, Strike)
        return replace(steps, inject=(steps.inject[0], replace(strike, what=("run", "true"))))

    monkeypatch.setattr(manager, "plan_fault", harmless)
    faults = create(base, member)
    await faults.adopt()
    await faults.inject(request(spec=PowerOffFault()), "tester")
    status = await faults.heal("f1", "tester")
    assert (status.state, status.healed_by) == (FaultState.FAILED, "failed-injection")
    assert "has not booted since" in status.evidence


async def healed(faults: FaultManager, fault_id: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while faults.get(fault_id).state is not FaultState.HEALED:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.01)


@pytest.fixture
async def stuck(
    base: Path, member: FakeMember, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[FaultManager, asyncio.Event]]:
    """Two faults, of which the newer's undo hangs until the event is set."""
    go = asyncio.Event()

    async def nothing(*_: object) -> None:
        pass

    async def undone(_steps: FaultSteps, _member: object, cause: str) -> Undone:
        if cause == "fault newer":
            await go.wait()
        return Undone(gone=True, evidence="gone")

    monkeypatch.setattr(manager, "require_capability", nothing)
    monkeypatch.setattr(manager, "plan_fault", lambda *_: FaultSteps((), (), (), ()))
    monkeypatch.setattr(manager, "undo", undone)
    monkeypatch.setattr(manager, "_TURN_SECONDS", 0.05)
    faults = create(base, member)
    await faults.adopt()
    peers = (Peer(address="192.0.2.1", port=2380),)
    older = IsolateFault(peer_port=2380, peers=peers)
    await faults.inject(request("older", older, lease_seconds=1.4), "tester")
    await faults.inject(request("newer", PauseFault(), lease_seconds=1.0), "tester")
    yield faults, go
    go.set()


async def test_a_lease_whose_heal_hangs_keeps_no_other_from_ending(
    stuck: tuple[FaultManager, asyncio.Event],
) -> None:
    faults, go = stuck
    async with leases(faults):
        await healed(faults, "older")
        assert faults.get("newer").state is FaultState.HEALING
        go.set()
        await healed(faults, "newer")


async def test_healing_all_goes_on_beside_one_that_hangs_and_says_so(
    stuck: tuple[FaultManager, asyncio.Event],
) -> None:
    faults, go = stuck
    newer, older = await faults.heal_all("request", "tester")
    assert (newer.state, older.state) == (FaultState.HEALING, FaultState.HEALED)
    with pytest.raises(UnhealedError, match="fault newer"):
        require_healed((newer, older))
    go.set()
    await healed(faults, "newer")
