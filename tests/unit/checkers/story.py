"""Histories written by hand: each call is one record or one joined operation, a millisecond apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tester.history.endstate import EndState, MemberEnd
from tester.history.history import History
from tester.history.records import (
    Delete,
    DeleteResult,
    Event,
    Fail,
    Header,
    HistoryRecord,
    Info,
    Invoke,
    KeyValue,
    Ok,
    Operation,
    Put,
    Result,
    Watched,
    WatchStart,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

STEP_NS = 1_000_000
MEMBERS = ("m1", "m2", "m3")


class Story:
    """Appends records; ``history`` joins them."""

    def __init__(self) -> None:
        self.records: list[HistoryRecord] = [
            Header(1, "run", 1, "test", 7, 0, prefix="k", members=MEMBERS),
        ]
        self.ids = 0
        self.at = 0

    @property
    def history(self) -> History:
        return History(self.records)

    def tick(self) -> int:
        self.at += STEP_NS
        return self.at

    def invoke(self, op: Operation, member: str = "m1") -> int:
        self.ids += 1
        self.records.append(Invoke(self.ids, self.tick(), 1, member, op))
        return self.ids

    def ok(self, op: Operation, rev: int, out: Result | None = None, member: str = "m1") -> int:
        operation = self.invoke(op, member)
        self.records.append(Ok(operation, self.tick(), rev, 1, out))
        return operation

    def put(self, key: str, value: str, rev: int, lease: int = 0) -> int:
        return self.ok(Put(key, value, lease), rev)

    def delete(self, key: str, rev: int, end: str = "", deleted: int = 1) -> int:
        return self.ok(Delete(key, end), rev, DeleteResult(deleted))

    def info(self, op: Operation) -> int:
        operation = self.invoke(op)
        self.records.append(Info(operation, self.tick(), "UNAVAILABLE"))
        return operation

    def fail(self, op: Operation) -> int:
        operation = self.invoke(op)
        self.records.append(Fail(operation, self.tick(), "FAILED_PRECONDITION"))
        return operation

    def watch(self, *events: Event, rev: int = 0, start: int = 1, watcher: int = 1) -> None:
        """One session from ``start`` that delivers each event alone, then a bookmark at ``rev``."""
        self.records.append(WatchStart(watcher, self.tick(), "m1", "k", start, "l"))
        self.records.extend(Watched(watcher, self.tick(), event.m, (event,)) for event in events)
        if rev:
            self.records.append(Watched(watcher, self.tick(), rev))

    def end(self, rev: int, *content: KeyValue, members: Iterable[str] = MEMBERS) -> EndState:
        member = MemberEnd(
            revision=rev,
            applied_index=rev,
            hash=11,
            hash_revision=rev,
            compact_revision=1,
            content=content,
            exits=(),
        )
        return EndState(self.tick(), dict.fromkeys(members, member))


def kv(
    key: str, value: str, mod: int, create: int | None = None, version: int = 1, lease: int = 0
) -> KeyValue:
    return KeyValue(key, value, create if create is not None else mod, mod, version, lease)
