"""The packet queue's process alone, between two hosts: what becomes of thousands of numbered packets."""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import subprocess
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from agent_service.errors import UnavailableError
from agent_service.quality import lifeline
from agent_service.quality.link import Qualities
from tests.agent.hosts import inside
from tests.agent.pair import Pair, pair_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for namespaces of its own")

PACKETS = 2000
LATE = 0.05


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with pair_of(tmp_path) as made:
        yield made


async def test_nobody_there_is_a_good_link(pair: Pair) -> None:
    seen = await pair.send(PACKETS)
    assert seen.numbers == list(range(PACKETS))
    assert statistics.median(seen.delays) < LATE / 2
    async with pair.queue(Qualities()):
        assert (await pair.send(PACKETS)).numbers == list(range(PACKETS)), (
            "nor does a queue that does nothing"
        )


async def test_all_packets_are_late_and_in_order(pair: Pair) -> None:
    asked = Qualities(delay_seconds=LATE, jitter_seconds=LATE / 10)
    async with pair.queue(asked):
        seen = await pair.send(PACKETS)
    assert seen.numbers == list(range(PACKETS))
    assert min(seen.delays) > 0.9 * LATE
    assert (await pair.send(10)).delays[0] < LATE / 2, "the control: it is gone"


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
async def test_losses_and_duplicates_are_as_many_as_asked_for(
    pair: Pair, family: socket.AddressFamily
) -> None:
    pair = replace(pair, family=family)
    await pair.until_connected()
    async with pair.queue(Qualities(delay_seconds=LATE, loss=0.2, duplicate=0.3)):
        seen = await pair.send(PACKETS)
    arrived = len(set(seen.numbers))
    assert arrived / PACKETS == pytest.approx(0.8, abs=0.05)
    assert len(seen.numbers) / arrived == pytest.approx(1.3, abs=0.06)


async def test_bent_packets_do_not_get_through(pair: Pair) -> None:
    before = await pair.bad_checksums()
    async with pair.queue(Qualities(corrupt=0.25)):
        seen = await pair.send(PACKETS)
    lost = PACKETS - len(seen.numbers)
    assert lost / PACKETS == pytest.approx(0.25, abs=0.05)
    assert await pair.bad_checksums() - before > 0.8 * lost, "a checksum has found them"


async def test_some_overtake_the_others(pair: Pair) -> None:
    async with pair.queue(Qualities(delay_seconds=LATE, reorder=0.1)):
        seen = await pair.send(PACKETS)
    assert sorted(seen.numbers) == list(range(PACKETS))
    early = sum(delay < LATE / 2 for delay in seen.delays)
    assert early / PACKETS == pytest.approx(0.1, abs=0.04)
    late = [number for number, delay in zip(seen.numbers, seen.delays, strict=True) if delay > LATE / 2]
    # One that overtook and then waited for a processor counts as late: a few, when the machine stalls.
    backwards = sum(after < before for before, after in pairwise(late))
    assert backwards < PACKETS / 50


async def test_what_waits_is_let_go_at_the_end(pair: Pair) -> None:
    async with pair.queue(Qualities(delay_seconds=30.0)):
        sending = asyncio.create_task(pair.send(100, patience_seconds=3.0))
        await pair.until_queued(100)
    seen = await sending
    assert seen.numbers == list(range(100))


async def test_it_ends_when_its_file_is_taken_away(pair: Pair, tmp_path: Path) -> None:
    async with pair.queue(Qualities()) as line:
        line.unlink()
        async with asyncio.timeout(10):
            while await pair.owner() is not None:  # noqa: ASYNC110 - the kernel's list
                await asyncio.sleep(0.05)


async def test_a_file_that_was_taken_away_starts_nothing(pair: Pair, tmp_path: Path) -> None:
    line = tmp_path / "line.json"
    argv = lifeline.command(line)
    assert await inside(pair.receiver, lambda: subprocess.run(argv, check=False).returncode) == 1
    assert await pair.owner() is None


@pytest.mark.parametrize("order", ["", "{}", '{"queue": 1, "seed": 1, "qualities": {"nonsense": 1}}'])
async def test_an_order_that_cannot_be_read_is_said(pair: Pair, tmp_path: Path, order: str) -> None:
    with pytest.raises(UnavailableError, match=r"the packet queue does not start: .+"):
        await lifeline.start(tmp_path / "line.json", order)
    await lifeline.end(tmp_path / "line.json")
    assert not (tmp_path / "line.json").exists()
