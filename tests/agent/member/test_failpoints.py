"""Failpoints of a real etcd that was built with gofail: listed, set, fired, taken away; and one that never fires."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from agent_service import failpoints
from agent_service.audit import AuditLog
from agent_service.errors import FaultFailedError, RefusedError, UnavailableError, UnreachedError
from agent_service.faults.manager import FaultManager
from agent_service.faults.registry import capabilities
from agent_service.models import FailpointFault, FaultRequest, FaultState, MemberSpec, MemberState
from tester.etcd.client import EtcdClient
from tester.etcd.endpoint import Endpoint
from tester.etcd.errors import RpcError
from tester.etcd.h2.channel import H2Channel
from tests.unit.member.settings import member_spec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent_service.member import MemberControl
    from agent_service.settings import AgentSettings

pytestmark = pytest.mark.etcd

PLACE = "127.0.0.1:2381"
SLEEP_MS = 400


def with_failpoints(version: str) -> MemberSpec:
    return member_spec(version).model_copy(update={"env": {"GOFAIL_HTTP": PLACE}})


def request(terms: dict[str, str], fault_id: str = "f-1") -> FaultRequest:
    return FaultRequest(id=fault_id, spec=FailpointFault(terms=terms), lease_seconds=600, reason="test")


@pytest.fixture
async def faults(member: MemberControl, settings: AgentSettings) -> FaultManager:
    manager = FaultManager(settings, member, AuditLog(settings.state_dir / "audit.jsonl"))
    await manager.adopt()
    return manager


@pytest.fixture
async def client(member: MemberControl, gofail_etcd: str) -> AsyncIterator[EtcdClient]:
    spec = with_failpoints(gofail_etcd)
    await member.start(spec)
    endpoint = Endpoint(spec.name, "127.0.0.1", int(spec.client_url.rpartition(":")[2]))
    made = EtcdClient(endpoint, H2Channel(endpoint), 10.0)
    await until_written(made)
    yield made
    await made.close()


async def until_written(client: EtcdClient) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await client.put("a", b"1")
            except RpcError:
                await asyncio.sleep(0.05)
            else:
                return


async def seconds_of_a_put(client: EtcdClient) -> float:
    started = time.monotonic()
    await client.put("a", b"2")
    return time.monotonic() - started


async def test_failpoints_are_listed(member: MemberControl, client: EtcdClient) -> None:
    terms = (await member.failpoints()).terms
    assert {name.rpartition("/")[2] for name in terms} >= {"raftBeforeSave", "raftBeforeSaveWaitWalSync"}
    assert set(terms.values()) == {""}


async def test_a_sleep_slows_writes_until_it_is_healed(
    faults: FaultManager, member: MemberControl, client: EtcdClient
) -> None:
    term = f"sleep({SLEEP_MS})"
    terms = {"raftBeforeSaveWaitWalSync": term, "beforeCommit": "5%sleep(1)"}
    status = await faults.inject(request(terms), "tester")
    assert (status.state, term in status.evidence) == (FaultState.INJECTED, True)
    assert "beforeCommit is set to 5.0%sleep(1)" in status.evidence, "gofail wants a point"
    assert await seconds_of_a_put(client) >= SLEEP_MS / 1000
    healed = await faults.heal("f-1", "tester")
    assert (healed.state, healed.healed_by) == (FaultState.HEALED, "request")
    assert set((await member.failpoints()).terms.values()) == {""}
    assert member.status().exits == ()


async def test_failpoints_may_be_there_from_the_start(
    member: MemberControl, client: EtcdClient, gofail_etcd: str
) -> None:
    known = (await member.failpoints()).terms
    assert set(known.values()) == {""}, "the control"
    wanted = {
        failpoints.full_name("raftBeforeSaveWaitWalSync", known): f"sleep({SLEEP_MS})",
        failpoints.full_name("afterCommit", known): "5.0%sleep(1)",
    }
    given = ";".join(f"{name}={term}" for name, term in wanted.items())
    await member.stop(5, "test")
    spec = with_failpoints(gofail_etcd)
    await member.start(spec.model_copy(update={"env": spec.env | {"GOFAIL_FAILPOINTS": given}}))
    for _ in range(2):
        await until_written(client)
        terms = (await member.failpoints()).terms
        assert {name: term for name, term in terms.items() if term} == wanted
        assert await seconds_of_a_put(client) >= SLEEP_MS / 1000
        await member.restart(5, "test")  # each start sets them anew


async def test_a_panic_ends_the_member_and_the_heal_starts_it(
    faults: FaultManager, member: MemberControl, client: EtcdClient
) -> None:
    pressed = asyncio.create_task(_press(client))
    try:
        status = await faults.inject(
            request({"raftBeforeSaveWaitWalSync": 'panic("etcd-chaos")', "raftBeforeLeaderSend": "sleep(1)"}),
            "tester",
        )
        assert status.state is FaultState.INJECTED
        async with asyncio.timeout(10):
            while not member.status().exits:  # noqa: ASYNC110 - its exit status is known a moment after its end
                await asyncio.sleep(0.01)
        assert member.state is MemberState.STOPPED
        (end,) = member.status().exits
        assert (end.expected, end.cause) == (True, "fault f-1")
        healed = await faults.heal("f-1", "tester")
        assert healed.state is FaultState.HEALED
        assert member.state is MemberState.RUNNING
        assert set((await member.failpoints()).terms.values()) == {""}
    finally:
        pressed.cancel()


async def test_a_panic_that_never_fires_is_no_fault(
    faults: FaultManager, member: MemberControl, client: EtcdClient
) -> None:
    with pytest.raises(UnreachedError, match="had no effect: etcd came by no failpoint that panics"):
        await faults.inject(request({"raftBeforeApplySnap": "panic"}), "tester")
    assert faults.get("f-1").state is FaultState.FAILED
    assert set((await member.failpoints()).terms.values()) == {""}
    assert await seconds_of_a_put(client) < SLEEP_MS / 1000 * 10


async def test_what_there_is_not_is_refused(
    faults: FaultManager, member: MemberControl, settings: AgentSettings, client: EtcdClient
) -> None:
    with pytest.raises(FaultFailedError, match="has no failpoint raftBeforeLunch") as refused:
        await faults.inject(request({"raftBeforeLunch": "off"}), "tester")
    assert not isinstance(refused.value, UnreachedError)
    # Somebody took it away: the heal tells.
    await faults.inject(request({"raftBeforeSave": "sleep(1)"}, "f-2"), "tester")
    await failpoints.delete(PLACE, ["raftBeforeSave"])
    assert (await faults.heal("f-2", "tester")).healed_by == "somebody-else"
    kinds = {item.kind: item.available for item in await capabilities(settings)}
    assert kinds["failpoint"]


async def test_a_member_without_failpoints(
    faults: FaultManager, member: MemberControl, any_version: str
) -> None:
    await member.start(member_spec(any_version))
    with pytest.raises(UnavailableError, match="place for failpoints"):
        await faults.inject(request({"raftBeforeSave": "panic"}), "tester")
    await member.stop(5, "test")
    await member.start(with_failpoints(any_version))  # it ignores the variable
    with pytest.raises(FaultFailedError, match="was not built with gofail"):
        await faults.inject(request({"raftBeforeSave": "panic"}, "f-2"), "tester")
    assert faults.get("f-2").state is FaultState.FAILED
    await member.stop(5, "test")
    far = member_spec(any_version).model_copy(update={"env": {"GOFAIL_HTTP": "0.0.0.0:2381"}})
    with pytest.raises(RefusedError, match="opens a port"):
        await member.start(far)


async def _press(client: EtcdClient) -> None:
    while True:
        try:
            await client.put("b", b"x")
        except RpcError:
            await asyncio.sleep(0.05)
