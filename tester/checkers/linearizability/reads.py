"""Rules about answers: every range is the state at its place, whole, in order and no more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tester.checkers.base import MAX_FINDINGS
from tester.checkers.linearizability.changelog import UNSEEN
from tester.checkers.linearizability.quote import author_of, key_state
from tester.history.columns import NONE, Flag, Kind, KvCol, LeafCol, OpCol

if TYPE_CHECKING:
    from tester.checkers.linearizability.assembly import Assembly
    from tester.checkers.linearizability.ruling import Ruling
    from tester.history.endstate import EndState
    from tester.history.table import Columns, Mask


@dataclass(frozen=True, slots=True)
class _Reads:
    """Range leaves with their place in the log and their answered keys."""

    leaves: Columns
    """All leaves, of ranges or not."""
    rows: Columns
    """Of the ranges among them; all that follows is of those alone."""
    revision: Columns
    """The newest revision that the answer may show."""
    place: Columns
    answered: Columns
    """Number of keys in the answer."""

    # A column at a time: what is gathered, looked at and let go stays in the processor's cache.
    def column(self, field: LeafCol, reads: Columns | slice | int = slice(None)) -> Columns:
        """One column of some of the ranges; of one of them, its number."""
        found: Columns = self.leaves[field, self.rows[reads]]
        return found


@dataclass(frozen=True, slots=True)
class _Detail:
    """What is wrong with an answer."""

    text: str
    key: int = NONE
    """Whose state shows it: with the operation that made that state, this one is a counter-example."""


def judge_reads(case: Assembly, ruling: Ruling, *, local: bool = False) -> None:
    """Linearizable answers, or with ``local`` those that a member gave from its own state."""
    reads = _reads(case, local=local)
    wrong = np.zeros(reads.rows.size, dtype=bool)
    detail: dict[int, _Detail] = {}
    _judge_single(case, reads, wrong, detail)
    _judge_ranged(case, reads, wrong, detail)
    ops = case.calls.ops
    found = np.flatnonzero(wrong)
    ruling.more(found.size - MAX_FINDINGS)
    for leaf in _earliest(reads, found):
        operation = int(ops[OpCol.ID, reads.column(LeafCol.OP, leaf)])
        told = detail.get(leaf, _Detail("it answered another state"))
        author = author_of(case, told.key, int(reads.place[leaf]))
        ruling.violation(
            f"{case.history.describe(operation)}; {told.text}",
            operations=[operation] if author in {None, operation} else [operation, author],
            revisions=[int(reads.revision[leaf])],
            certain=reads.revision[leaf] < case.free_from,
        )


def _earliest(reads: _Reads, leaves: Columns) -> list[int]:
    """The few that are told, of the lowest revisions: what comes later may be a consequence."""
    order = np.argsort(reads.revision[leaves], kind="stable")[:MAX_FINDINGS]
    return [int(leaf) for leaf in leaves[order]]


def _reads(case: Assembly, *, local: bool) -> _Reads:
    leaves, ops, log = case.calls.leaves, case.calls.ops, case.log
    is_local = ops[OpCol.LOCAL] == 1
    kind = leaves[LeafCol.KIND] == Kind.RANGE
    mask = kind if not (local or is_local.any()) else kind & (is_local[leaves[LeafCol.OP]] == local)
    rows = np.flatnonzero(mask)
    if not case.watch.covers_span(2, case.base):
        # Of the time before the history nobody told.
        header, asked = ops[OpCol.REV, leaves[LeafCol.OP, rows]], leaves[LeafCol.AT, rows]
        rows = rows[np.where(asked > 0, np.minimum(asked, header), header) >= case.base]
    owner, asked = leaves[LeafCol.OP, rows], leaves[LeafCol.AT, rows]
    revision = ops[OpCol.REV, owner]
    place = log.after(revision)
    inside = np.flatnonzero((ops[OpCol.WROTE, owner] > 0) & (asked == 0))
    place[inside] = log.before(revision[inside]) + leaves[LeafCol.SLOT, rows[inside]]
    past = np.flatnonzero(asked > 0)
    place[past] = log.after(asked[past])
    revision[past] = np.minimum(asked[past], revision[past])
    following = np.append(leaves[LeafCol.KV], case.calls.answers.shape[1])[rows + 1]
    return _Reads(leaves, rows, revision, place, following - leaves[LeafCol.KV, rows])


def _judge_single(case: Assembly, reads: _Reads, wrong: Mask, detail: dict[int, _Detail]) -> None:
    log = case.log
    wrong |= reads.revision < reads.column(LeafCol.AT)
    single = np.flatnonzero(reads.column(LeafCol.END) == NONE)
    key, count, flags = (reads.column(field, single) for field in (LeafCol.KEY, LeafCol.COUNT, LeafCol.FLAGS))
    answered = reads.answered[single]
    row = log.row_at(key, reads.place[single])
    there = log.is_live(row)
    there |= (count == 1) & case.replay.is_open(key, row)
    bad = count != there
    bad |= answered != (there & ((flags & Flag.COUNT_ONLY) == 0))
    bad |= (flags & Flag.MORE) != 0
    given = np.flatnonzero(answered == 1)
    at = reads.column(LeafCol.KV, single[given])
    differs = ~_equal(case, at, row[given], (flags[given] & Flag.KEYS_ONLY) != 0)
    differs |= case.calls.answers[KvCol.KEY, at] != key[given]
    bad[given] |= differs
    wrong[single] |= bad
    for leaf in _earliest(reads, single[bad]):
        asked = int(reads.column(LeafCol.KEY, leaf))
        state = key_state(case, asked, int(reads.place[leaf]))
        detail[leaf] = _Detail(f"it answered {_answer(case, reads, leaf)}, but {state}", asked)


def _equal(case: Assembly, at: Columns, row: Columns, keys_only: Mask) -> Mask:
    """Whether keys at these rows of the answers are the states that these rows of the log tell."""
    log, kvs = case.log, case.calls.answers
    old: Mask = log.is_open(kvs[KvCol.KEY, at], row) & (kvs[KvCol.MOD, at] <= case.base)
    old |= case.replay.is_foreign(kvs[KvCol.KEY, at], row)
    if log.size == 0:
        return old
    equal = log.is_live(row)
    for field, told in (
        (KvCol.MOD, log.revision),
        (KvCol.CREATE, log.create),
        (KvCol.VERSION, log.version),
        (KvCol.LEASE, log.lease),
    ):
        equal &= kvs[field, at] == told[row]
    value = log.value[row]
    nothing = case.history.values.find("")
    expected = np.where(keys_only, NONE if nothing is None else nothing, value)
    equal &= (kvs[KvCol.VALUE, at] == expected) | (~keys_only & (value == UNSEEN))
    result: Mask = equal | old
    return result


def _judge_ranged(case: Assembly, reads: _Reads, wrong: Mask, detail: dict[int, _Detail]) -> None:
    ranged = np.flatnonzero(reads.column(LeafCol.END) != NONE)
    if not ranged.size:
        return
    order, texts = case.replay.order, case.history.keys.texts
    leaves = reads.leaves[:, reads.rows[ranged]]
    flags, limit = leaves[LeafCol.FLAGS], leaves[LeafCol.LIMIT]
    place, answered = reads.place[ranged], reads.answered[ranged]
    low, high = order.spans(leaves[LeafCol.KEY], leaves[LeafCol.END])
    total = case.replay.live.count(place, low, high)
    inside = order.inside(leaves[LeafCol.KEY], leaves[LeafCol.END], case.history.prefix)
    # More may have been there, of other people or from before; each that was answered is looked at below.
    known = total
    total = np.where(inside & (not case.log.unsure), total, np.maximum(total, leaves[LeafCol.COUNT]))
    counted = (flags & Flag.COUNT_ONLY) != 0
    cut = (limit > 0) & (total > limit)
    expected = np.where(counted, 0, np.where(cut, limit, total))
    bad = leaves[LeafCol.COUNT] != total
    bad |= answered != expected
    miscounted = bad.copy()
    more = (flags & Flag.MORE) != 0
    bad |= more != (cut & ~counted)
    for leaf in np.flatnonzero(bad)[:MAX_FINDINGS]:
        lacks = NONE if counted[leaf] or cut[leaf] else _missing(case, reads, int(ranged[leaf]))
        detail[int(ranged[leaf])] = (
            _Detail(
                f"it answered {answered[leaf]} keys and counted {leaves[LeafCol.COUNT, leaf]},"
                f" {total[leaf]} were there{'' if lacks == NONE else f': {texts[lacks]} is missing'}",
                lacks,
            )
            if miscounted[leaf]
            else _Detail(
                f"it said {_more(more[leaf])}, which should be {_more(not more[leaf])}: it answered"
                f" {answered[leaf]} of {total[leaf]} keys"
            )
        )
    # Every answered key: in the range, in order, and as it was. With a limit, none before it is left out.
    owner = np.repeat(np.arange(ranged.size), answered)
    offset = np.arange(owner.size) - np.repeat(np.cumsum(answered) - answered, answered)
    at = leaves[LeafCol.KV, owner] + offset
    kv = case.calls.answers[:, at]
    row = case.log.row_at(kv[KvCol.KEY], place[owner])
    rank = order.rank[kv[KvCol.KEY]]
    stranger = ~_equal(case, at, row, (flags[owner] & Flag.KEYS_ONLY) != 0)
    stranger |= (rank < low[owner]) | (rank >= high[owner])
    disordered = np.zeros(owner.size, dtype=bool)
    disordered[1:] = (owner[1:] == owner[:-1]) & (rank[1:] <= rank[:-1])
    disordered &= ~stranger
    stranger |= disordered
    bad[owner[stranger]] = True
    for position in np.flatnonzero(stranger)[:MAX_FINDINGS]:
        leaf = int(ranged[owner[position]])
        key = int(kv[KvCol.KEY, position])
        told = (
            f"its keys are out of order: {texts[key]} after {texts[kv[KvCol.KEY, position - 1]]}"
            if disordered[position]
            else f"it answered {_kv(case, kv[:, position])};"
            f" {key_state(case, key, int(place[owner[position]]))}"
        )
        detail.setdefault(leaf, _Detail(told, key))
    unknown = np.bincount(owner[case.replay.is_open(kv[KvCol.KEY], row)], minlength=ranged.size)
    lacking = np.flatnonzero(~cut & ~counted & ~bad & (known != answered - unknown))
    bad[lacking] = True
    for leaf in _earliest(reads, ranged[lacking]):
        missing = _missing(case, reads, leaf)
        detail[leaf] = _Detail(f"its answer leaves out {_name(case, missing)}", missing)
    partial = np.flatnonzero(cut & (answered > 0) & ~bad)
    if partial.size:
        last = np.cumsum(answered)[partial] - 1
        upto = case.replay.live.count(place[partial], low[partial], rank[last] + 1)
        left_out = partial[upto != answered[partial] - unknown[partial]]
        bad[left_out] = True
        for leaf in _earliest(reads, ranged[left_out]):
            missing = _missing(case, reads, leaf)
            text = (
                f"its answer leaves out {_name(case, missing)}, which comes before the last key that it has"
            )
            detail[leaf] = _Detail(text, missing)
    wrong[ranged] |= bad


def _name(case: Assembly, key: int) -> str:
    return "a key" if key == NONE else case.history.keys.texts[key]


def _missing(case: Assembly, reads: _Reads, leaf: int) -> int:
    """The first key of a range that was there and is not in the answer; ``NONE``: none is missing."""
    order, log = case.replay.order, case.log
    columns = reads.leaves[:, reads.rows[[leaf]]]
    low, high = order.spans(columns[LeafCol.KEY], columns[LeafCol.END])
    keys = order.by_rank[low[0] : high[0]]
    live = log.is_live(log.row_at(keys, np.full(keys.shape, reads.place[leaf])))
    first = int(columns[LeafCol.KV, 0])
    given = case.calls.answers[KvCol.KEY, first : first + int(reads.answered[leaf])]
    missing = keys[live & ~np.isin(keys, given)]
    return int(missing[0]) if missing.size else NONE


def _more(said: object) -> str:
    return f"more: {'true' if said else 'false'}"


def _answer(case: Assembly, reads: _Reads, leaf: int) -> str:
    first, number = int(reads.column(LeafCol.KV, leaf)), int(reads.answered[leaf])
    kvs = [_kv(case, case.calls.answers[:, at]) for at in range(first, first + min(number, 3))]
    return ", ".join(kvs) or f"no key (count {reads.column(LeafCol.COUNT, leaf)})"


def _kv(case: Assembly, kv: Columns) -> str:
    key, value = case.history.keys.texts[kv[KvCol.KEY]], case.history.values.texts[kv[KvCol.VALUE]]
    lease = f", lease {kv[KvCol.LEASE]}" if kv[KvCol.LEASE] else ""
    revisions = f"mod {kv[KvCol.MOD]}, create {kv[KvCol.CREATE]}, version {kv[KvCol.VERSION]}"
    return f"{key} = {value} ({revisions}{lease})"


def judge_content(case: Assembly, ruling: Ruling, end: EndState) -> None:
    """The content that each member returned at the end is the state at its revision."""
    log, keys = case.log, case.history.keys
    number = np.arange(len(keys))
    prefix = case.history.prefix
    for name, member in sorted(end.members.items()):
        if member.content is None:
            continue
        place = np.full(number.shape, int(log.after(np.array([member.hash_revision]))[0]))
        row = log.row_at(number, place)
        live = np.flatnonzero(log.is_live(row))
        expected = {keys.texts[key]: int(row[key]) for key in live if keys.texts[key].startswith(prefix)}
        content = {kv.k: kv for kv in member.content}
        for key in sorted({*expected, *content}):
            kv, at = content.get(key), expected.get(key)
            if kv is not None and at is not None and _same(case, at, (kv.v, kv.m, kv.c, kv.ver, kv.l)):
                continue
            there = f"{kv.v} (mod {kv.m}, create {kv.c}, version {kv.ver})" if kv else "nothing"
            known = keys.find(key)
            state = key_state(case, known, int(place[0])) if known is not None else f"nobody wrote {key}"
            ruling.violation(
                f"{name} has {there} at {key} at revision {member.hash_revision}, but {state}",
                revisions=[member.hash_revision],
                members=[name],
                certain=member.hash_revision < case.free_from,
            )


def _same(case: Assembly, row: int, kv: tuple[str, int, int, int, int]) -> bool:
    log, value = case.log, int(case.log.value[row])
    numbers = (int(log.revision[row]), int(log.create[row]), int(log.version[row]), int(log.lease[row]))
    return numbers == kv[1:] and (value == UNSEEN or case.history.values.texts[value] == kv[0])
