"""A store that runs one operation at a time and can take it back: for the search."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tester.checkers.linearizability.compares import compare_values
from tester.history.columns import NONE
from tester.history.keyranges import END_OF_KEYS
from tester.history.records import Compare, Delete, LeaseRevoke, Put, Txn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tester.checkers.keyorder import KeyOrder
    from tester.history.history import History
    from tester.history.records import Operation


class Version(NamedTuple):
    """A state of a key; ``value`` of ``NONE``: it is not there."""

    revision: int
    value: int
    create: int = 0
    version: int = 0
    lease: int = 0


class Change(NamedTuple):
    """What an operation does to a key; ``value`` of ``NONE``: it deletes it."""

    key: int
    value: int
    lease: int = 0


ABSENT = Version(0, NONE)


@dataclass(frozen=True, slots=True)
class Span:
    """A key, or the keys from a rank up to another."""

    key: int
    low: int
    high: int


class Store:
    """All versions of all keys."""

    def __init__(self, history: History, order: KeyOrder) -> None:
        self._history = history
        self._by_rank: list[int] = order.by_rank.tolist()
        self._rank: list[int] = order.rank.tolist()
        self._versions: defaultdict[int, list[Version]] = defaultdict(lambda: [ABSENT])
        self._done: list[int] = []
        """Keys in order of their changes."""

    def span(self, key: str, end: str) -> Span:
        """The keys of ``[key, end)``, or the single one; texts that the history never had included."""
        keys = self._history.keys
        low = self._bound(key)
        if not end:
            number = keys.find(key)
            return Span(NONE if number is None else number, low, low + (number is not None))
        return Span(NONE, low, len(self._by_rank) if end == END_OF_KEYS else max(low, self._bound(end)))

    def _bound(self, text: str) -> int:
        low, high = 0, len(self._by_rank)
        while low < high:
            middle = (low + high) // 2
            if self._history.keys.texts[self._by_rank[middle]] < text:
                low = middle + 1
            else:
                high = middle
        return low

    def mark(self) -> int:
        """A point to come back to."""
        return len(self._done)

    def undo(self, mark: int) -> None:
        """Take back everything since ``mark``."""
        while len(self._done) > mark:
            self._versions[self._done.pop()].pop()

    def force(self, key: int, version: Version) -> None:
        """Set a state as it is told, whatever was before."""
        self._versions[key].append(version)
        self._done.append(key)

    def commit(self, revision: int, changes: Sequence[Change]) -> None:
        """Apply changes as one revision."""
        for change in changes:
            old = self._versions[change.key][-1]
            if change.value == NONE:
                self.force(change.key, Version(revision, NONE))
            elif old.value == NONE:
                self.force(change.key, Version(revision, change.value, revision, 1, change.lease))
            else:
                new = Version(revision, change.value, old.create, old.version + 1, change.lease)
                self.force(change.key, new)

    def get(self, key: int, revision: int = 0) -> Version:
        """The state of a key, now or after a revision."""
        versions = self._versions[key]
        if not revision:
            return versions[-1]
        return next(version for version in reversed(versions) if version.revision <= revision)

    def live(self, span: Span, revision: int = 0) -> list[tuple[int, Version]]:
        """Keys that are there, in order."""
        found = ((key, self.get(key, revision)) for key in self._by_rank[span.low : span.high])
        return [(key, version) for key, version in found if version.value != NONE]

    def attached(self, lease: int) -> list[Change]:
        """What the end of a lease would change."""
        everything = Span(NONE, 0, len(self._by_rank))
        return [Change(key, NONE) for key, version in self.live(everything) if version.lease == lease]

    def holds(self, compare: Compare) -> bool | None:
        """Whether a condition holds; ``None``: the padding of a value decides, which is not recorded."""
        found = self.live(self.span(compare.k, compare.e))
        if not found:
            return compare.target != "value" and _ordered(0, compare.op, compare.x)
        results = [self._holds_for(version, compare) for _, version in found]
        return False if False in results else None if None in results else True

    def _holds_for(self, version: Version, compare: Compare) -> bool | None:
        if compare.target == "value" and isinstance(compare.x, str):
            actual = self._history.values.texts[version.value]
            if compare.op in {"=", "!="}:
                return (actual == compare.x) == (compare.op == "=")
            order = compare_values(actual, compare.x)
            return None if order is None else _ordered(order, compare.op, 0)
        fields = {"version": version.version, "create": version.create, "mod": version.revision}
        return _ordered(fields.get(compare.target, version.lease), compare.op, compare.x)

    def imagine(self, revision: int, op: Operation) -> Iterator[list[Change]]:
        """What an operation would change as ``revision``; several ways where a condition is undecided."""
        if isinstance(op, LeaseRevoke):
            yield self.attached(op.l)
            return
        for leaves in self._paths(op):
            mark = self.mark()
            changes: list[Change] = []
            for leaf in leaves:
                made = self._imagine_leaf(leaf)
                self.commit(revision, made)
                changes += made
            self.undo(mark)
            yield changes

    def _imagine_leaf(self, leaf: Put | Delete) -> list[Change]:
        if isinstance(leaf, Put):
            keys, values = self._history.keys, self._history.values
            return [Change(keys.numbers[leaf.k], values.numbers[leaf.v], leaf.l)]
        return [Change(key, NONE) for key, _ in self.live(self.span(leaf.k, leaf.e))]

    def _paths(self, op: Operation) -> Iterator[list[Put | Delete]]:
        """The writing leaves of each branch that the conditions allow: all are judged before any write."""
        match op:
            case Put() | Delete():
                yield [op]
            case Txn():
                held = [self.holds(compare) for compare in op.cmp]
                if False not in held:
                    yield from self._all_paths(op.then)
                if False in held or None in held:
                    yield from self._all_paths(op.orelse)
            case _:
                yield []

    def _all_paths(self, steps: Sequence[Operation]) -> Iterator[list[Put | Delete]]:
        if not steps:
            yield []
            return
        for head in self._paths(steps[0]):
            for tail in self._all_paths(steps[1:]):
                yield head + tail


def _ordered(one: int, operator: str, other: int | str) -> bool:
    if not isinstance(other, int):
        raise TypeError(f"{other!r} is compared with a number")
    return {"=": one == other, "!=": one != other, "<": one < other, ">": one > other}[operator]
