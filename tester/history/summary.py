"""What a history holds, in numbers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from tester.history.describe import describe_clock
from tester.history.mismatch import without_question
from tester.history.records import (
    ClockRecord,
    EpochRecord,
    Fail,
    FaultRecord,
    Header,
    HistoryRecord,
    Info,
    Invoke,
    LeaderRecord,
    Ok,
    Watched,
    WatchStart,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


class Summary(msgspec.Struct):
    """Counts. ``operations`` is by what was asked for, then by outcome."""

    header: bool = False
    """Whether there is one: without it, run, round and scenario are not known."""
    run: str = ""
    round: int = 0
    scenario: str = ""
    first_ns: int = 0
    last_ns: int = 0
    """Of the run clock: the earliest and the latest record."""
    operations: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)
    members: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)
    revisions: tuple[int, int] = (0, 0)
    """Of answers: the lowest and the highest."""
    watches: int = 0
    responses: int = 0
    changes: int = 0
    leader_changes: int = 0
    faults: list[str] = msgspec.field(default_factory=list)
    epochs: list[str] = msgspec.field(default_factory=list)
    """Clusters that were restored from a snapshot."""
    clocks: list[str] = msgspec.field(default_factory=list)
    """Of load hosts, one line a reading."""

    def text(self) -> str:
        """As a person reads it."""
        span = (self.last_ns - self.first_ns) / 1e9
        of = (
            f"{self.run}, round {self.round}, scenario {self.scenario}"
            if self.header
            else "unknown: there is no header"
        )
        lines = [
            f"run       {of}",
            f"span      {span:.3f} s, from {self.first_ns / 1e9:.3f} s of the run",
            f"revisions {self.revisions[0]} to {self.revisions[1]}",
            f"watched   {self.changes} changes in {self.responses} responses to {self.watches} watches",
            f"leaders   {self.leader_changes} changes",
        ]
        for title, rows in (("operation", self.operations), ("member", self.members)):
            lines.append(f"\n{title:<16}{'ok':>10}{'fail':>10}{'info':>10}{'open':>10}")
            for name, row in sorted(rows.items()):
                lines.append(
                    f"{name:<16}" + "".join(f"{row.get(x, 0):>10}" for x in ("ok", "fail", "info", "open"))
                )
        told_of = (("faults", self.faults), ("epochs", self.epochs), ("clocks of load hosts", self.clocks))
        for title, told in told_of:
            lines += ["", title, *told] if told else []
        return "\n".join(lines)


def summarize(records: Iterable[HistoryRecord]) -> Summary:  # noqa: C901 - a case per kind of record
    """Count; memory does not grow with the history.

    Raises:
        HistoryMismatchError: an operation ends that was not invoked.
    """
    summary = Summary()
    opened: dict[int, Invoke] = {}
    counts: Counter[tuple[str, str, str]] = Counter()
    lowest, highest = 0, 0
    times: list[int] = []
    for record in records:
        if (at := getattr(record, "at", None)) is not None:
            times = [min([at, *times[:1]]), max([at, *times[1:]])]
        match record:
            case Invoke():
                opened[record.id] = record
            case Ok() | Fail() | Info():
                if record.id not in opened:
                    raise without_question(record.id)
                invoke = opened.pop(record.id)
                counts[_kind(invoke), invoke.m, type(record).__name__.lower()] += 1
                if isinstance(record, Ok):
                    lowest, highest = min(lowest or record.rev, record.rev), max(highest, record.rev)
            case WatchStart():
                summary.watches += 1
            case Watched():
                summary.responses += 1
                summary.changes += len(record.ev)
            case LeaderRecord():
                summary.leader_changes += bool(record.m)
            case FaultRecord():
                summary.faults.append(
                    f"{record.at / 1e9:10.3f} s  {record.kind} on {record.member} {record.state}"
                )
            case EpochRecord():
                summary.epochs.append(
                    f"{record.at / 1e9:10.3f} s  cluster {record.n}, restored at revision {record.rev} from {record.m}"
                )
            case ClockRecord():
                summary.clocks.append(f"{record.at / 1e9:10.3f} s  {describe_clock(record)}")
            case Header():
                summary.header = True
                summary.run, summary.round, summary.scenario = record.run, record.round, record.scenario
            case _:
                pass
    for invoke in opened.values():
        counts[_kind(invoke), invoke.m, "open"] += 1
    for (kind, member, outcome), number in counts.items():
        for rows, name in ((summary.operations, kind), (summary.members, member)):
            row = rows.setdefault(name, {})
            row[outcome] = row.get(outcome, 0) + number
    summary.revisions = (lowest, highest)
    summary.first_ns, summary.last_ns = (times[0], times[-1]) if times else (0, 0)
    return summary


def _kind(invoke: Invoke) -> str:
    return str(invoke.op.__struct_config__.tag)
