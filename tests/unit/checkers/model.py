"""A small etcd that is right: what real etcd answers, without Raft, disks or time.

Written from etcd's documented behaviour and apart from the checkers: neither inherits the other's mistakes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tester.history.records import (
    Compact,
    Compare,
    Delete,
    DeleteResult,
    Event,
    KeyValue,
    LeaseGrant,
    LeaseResult,
    LeaseRevoke,
    Operation,
    Put,
    PutResult,
    Range,
    RangeResult,
    Result,
    Txn,
    TxnResult,
)


class RefusedError(Exception):
    """etcd answers with an error and changes nothing."""


def within(key: str, first: str, end: str) -> bool:
    if not end:
        return key == first
    return key >= first and (end == "\0" or key < end)


@dataclass
class Store:
    revision: int = 1
    events: list[Event] = field(default_factory=list)
    """All changes, in order."""
    leases: set[int] = field(default_factory=set)
    live: dict[str, KeyValue] = field(default_factory=dict)
    states: dict[int, dict[str, KeyValue]] = field(default_factory=dict)
    """Content after each revision."""
    compacted: int = 0
    _changed: bool = False

    def __post_init__(self) -> None:
        self.states.setdefault(self.revision, {})

    def apply(self, op: Operation) -> tuple[int, Result | None]:
        """Revision of the answer's header and the answer."""
        self._check_leases(op)
        self._changed = False
        match op:
            case Compact():
                if op.r > self.revision or op.r <= self.compacted:
                    raise RefusedError("compact")
                self.compacted = op.r
                return self.revision, None
            case LeaseGrant():
                if op.l in self.leases:
                    raise RefusedError("lease exists")
                self.leases.add(op.l)
                return self.revision, LeaseResult(op.ttl)
            case LeaseRevoke():
                if op.l not in self.leases:
                    raise RefusedError("lease not found")
                self.expire(op.l)
                return self.revision, LeaseResult()
            case Put() | Range() | Delete() | Txn():
                paths = self._paths(op)
                self._check_revisions(op, paths)
                out = self._step(op, paths)
                self._commit()
                return self.revision, None if isinstance(op, Put) else out
            case _:
                raise AssertionError(op)

    def expire(self, lease: int) -> None:
        self._changed = False
        for key in sorted(kv.k for kv in self.live.values() if kv.l == lease):
            self._delete(key)
        self.leases.discard(lease)
        self._commit()

    def read(self, op: Range, revision: int) -> RangeResult:
        """A range as a member at ``revision`` answers it."""
        return _read(op, self.states[op.r or revision])

    def _commit(self) -> None:
        if self._changed:
            self.revision += 1
            self.states[self.revision] = dict(self.live)
            self._changed = False

    def _check_leases(self, op: Operation) -> None:
        if isinstance(op, Put) and op.l and op.l not in self.leases:
            raise RefusedError("lease not found")
        if isinstance(op, Txn):
            for branch in (op.then, op.orelse):
                for step in branch:
                    self._check_leases(step)

    def _check_revisions(self, op: Operation, paths: dict[int, bool]) -> None:
        """Of every range that is to run, before anything is written."""
        if isinstance(op, Txn):
            for step in op.then if paths[id(op)] else op.orelse:
                self._check_revisions(step, paths)
        if isinstance(op, Range):
            if op.r > self.revision:
                raise RefusedError("etcdserver: mvcc: required revision is a future revision")
            if op.r and op.r < self.compacted:
                raise RefusedError("etcdserver: mvcc: required revision has been compacted")

    def _paths(self, op: Operation) -> dict[int, bool]:
        """Which branch every nested transaction takes: all are decided before anything is written."""
        if not isinstance(op, Txn):
            return {}
        taken = all(self._holds(compare) for compare in op.cmp)
        paths = {id(op): taken}
        for step in op.then if taken else op.orelse:
            paths |= self._paths(step)
        return paths

    def _holds(self, compare: Compare) -> bool:
        chosen = [kv for kv in self.live.values() if within(kv.k, compare.k, compare.e)]
        if not chosen:
            return compare.target != "value" and _compare(0, compare)
        fields = {"version": "ver", "create": "c", "mod": "m", "lease": "l", "value": "v"}
        return all(_compare(getattr(kv, fields[compare.target]), compare) for kv in chosen)

    def _step(self, op: Put | Range | Delete | Txn, paths: dict[int, bool]) -> Result:
        match op:
            case Put():
                self._put(op)
                return PutResult()
            case Range():
                return _read(op, self.states[op.r] if op.r else self.live)
            case Delete():
                keys = sorted(key for key in self.live if within(key, op.k, op.e))
                for key in keys:
                    self._delete(key)
                return DeleteResult(len(keys))
            case Txn():
                taken = paths[id(op)]
                steps = op.then if taken else op.orelse
                return TxnResult(taken, tuple(self._step(step, paths) for step in steps))

    def _put(self, op: Put) -> None:
        revision, old = self.revision + 1, self.live.get(op.k)
        create, version = (old.c, old.ver + 1) if old else (revision, 1)
        self.live[op.k] = KeyValue(op.k, op.v, create, revision, version, op.l)
        self.events.append(Event(op.k, revision, op.v, create, version, op.l, p=old))
        self._changed = True

    def _delete(self, key: str) -> None:
        old = self.live.pop(key)
        self.events.append(Event(key, self.revision + 1, d=True, p=old))
        self._changed = True


def _compare(actual: str | int, compare: Compare) -> bool:
    x = compare.x
    if (isinstance(actual, str) and isinstance(x, str)) or (isinstance(actual, int) and isinstance(x, int)):
        order = (actual > x) - (actual < x)
    else:
        raise TypeError(compare)
    return {"=": order == 0, "!=": order != 0, "<": order < 0, ">": order > 0}[compare.op]


def _read(op: Range, state: dict[str, KeyValue]) -> RangeResult:
    found = [state[key] for key in sorted(state) if within(key, op.k, op.e)]
    count = len(found)
    if op.count_only:
        return RangeResult((), count)
    more = 0 < op.n < count
    if more:
        found = found[: op.n]
    if op.keys_only:
        found = [KeyValue(kv.k, "", kv.c, kv.m, kv.ver, kv.l) for kv in found]
    return RangeResult(tuple(found), count, more)
