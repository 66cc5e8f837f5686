"""Which clients a stresser has, whole and dealt out to several processes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from pydantic import TypeAdapter

from tester.clock import RunClock
from tester.history.records import Invoke, LeaseGrant
from tester.load import engine
from tester.load.engine import Load
from tester.load.share import WHOLE, Share
from tester.scenario.stressers import STRESSERS, Stresser
from tests.unit.load.fakes import ENDPOINTS, FakeChannel, Sink, connect_to

if TYPE_CHECKING:
    from tester.etcd.channel import Method


async def clients_of(kind: str, share: Share) -> list[Invoke]:
    """First operations of the clients of one process."""

    async def silent(method: Method, request: bytes) -> bytes:
        await asyncio.Event().wait()
        return b""

    sink, channels = Sink(), dict[str, FakeChannel]()
    load = Load(
        [TypeAdapter[Stresser](Stresser).validate_python({"kind": kind, "clients": 5})],
        ENDPOINTS,
        sink,  # type: ignore[arg-type]
        RunClock(),
        7,
        "p/",
        connect=connect_to(channels, silent),
        share=share,
    )
    await load.start()
    await asyncio.sleep(0.4)
    await load.stop()
    return [record for record in sink.records if isinstance(record, Invoke)]


@pytest.mark.parametrize("kind", [kind for kind in STRESSERS if kind != "watcher"])
async def test_clients_are_dealt_out_and_none_is_lost(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_STOP_SECONDS", 0.05)
    whole, *parts = await asyncio.gather(
        clients_of(kind, WHOLE), *(clients_of(kind, Share(number, 2)) for number in range(2))
    )
    apart = [invoke for part in parts for invoke in part]
    assert {invoke.c for invoke in apart} == {invoke.c for invoke in whole}
    assert len({invoke.c for invoke in whole}) == 5
    assert {(invoke.c, invoke.m) for invoke in apart} == {(invoke.c, invoke.m) for invoke in whole}
    assert len({invoke.id for invoke in apart}) == len(apart)
    leases = [invoke.op.l for invoke in apart if isinstance(invoke.op, LeaseGrant)]
    assert len(set(leases)) == len(leases)
