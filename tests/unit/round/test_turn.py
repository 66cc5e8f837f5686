"""The turn from one cluster to another: nobody asks and nobody watches across the line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tester.actions.disaster import Snapshot
from tester.clock import RunClock
from tester.history.records import EpochRecord, RestoredRecord
from tester.turn import EpochTurn

if TYPE_CHECKING:
    from tester.history.records import HistoryRecord


class Heard:
    """Load, watchers and writer in one."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.records: list[HistoryRecord] = []

    async def pause(self) -> None:
        self.told.append("pause")

    async def resume(self) -> None:
        self.told.append("resume")

    async def left(self, member: str) -> None:
        self.told.append(f"left {member}")

    async def joined(self, member: str) -> None:
        self.told.append(f"joined {member}")

    def write(self, record: HistoryRecord) -> None:
        self.told.append(type(record).__name__)
        self.records.append(record)

    def flush(self) -> None:
        self.told.append("flush")


async def test_in_order() -> None:
    heard = cast("Any", Heard())
    turn = EpochTurn(heard, heard, heard, RunClock(), "k/")
    await turn.resume()
    assert heard.told == [], "nothing was paused"
    await turn.close(["m1", "m2"])
    assert turn.is_midway
    turn.begin(7, Snapshot(Path("s.db"), "m1", 1, 2, 3))
    turn.told("m1", 7, ())
    await turn.watch(["m1", "m2"])
    assert not turn.is_midway
    await turn.resume()
    await turn.resume()
    assert heard.told == [
        *("pause", "left m1", "left m2", "EpochRecord", "flush", "RestoredRecord"),
        *("joined m1", "joined m2", "resume"),
    ]
    epoch, restored = heard.records
    assert isinstance(epoch, EpochRecord)
    assert (epoch.n, epoch.rev, epoch.m, epoch.asked, epoch.taken) == (2, 7, "m1", 1, 2)
    assert isinstance(restored, RestoredRecord)
    turn.begin(9, Snapshot(Path("s.db"), "m1", 1, 2, 3))
    assert heard.records[-1].n == 3


async def test_a_load_that_is_quiet_before_the_loss_goes_on_after_it() -> None:
    heard = cast("Any", Heard())
    turn = EpochTurn(heard, heard, heard, RunClock(), "k/")
    await turn.quiet()
    assert not turn.is_midway
    await turn.resume()
    assert heard.told == ["pause", "resume"]
