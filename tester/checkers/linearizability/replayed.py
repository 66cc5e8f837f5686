"""Whether one acknowledged operation, run on the store, gives the answer that was recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tester.checkers.linearizability.store import Change, Span, Store, Version
from tester.history.columns import (
    NONE,
    OPERATORS,
    TARGETS,
    CompareCol,
    Flag,
    Kind,
    KvCol,
    LeafCol,
    NodeCol,
    OpCol,
)
from tester.history.records import Compare

if TYPE_CHECKING:
    from tester.checkers.linearizability.calls import Calls
    from tester.history.history import History


class Replayer:
    """Runs rows of ``Calls``."""

    def __init__(self, history: History, calls: Calls, store: Store) -> None:
        self._history = history
        self._calls = calls
        self._store = store
        self._leaf = np.append(calls.ops[OpCol.LEAF], calls.leaves.shape[1])
        self._node = np.searchsorted(calls.nodes[NodeCol.OP], np.arange(calls.ops.shape[1] + 1))
        self._compare = np.searchsorted(calls.compares[CompareCol.NODE], np.arange(calls.nodes.shape[1] + 1))
        self._kv = np.append(calls.leaves[LeafCol.KV], calls.answers.shape[1])

    def run(self, row: int) -> list[Change] | None:
        """Apply the writes of an operation as its revision. ``None``: its answer is not what the store says.

        The caller takes the changes back with ``Store.undo``, also after ``None``.
        """
        if not all(self._branch_is_right(node) for node in range(self._node[row], self._node[row + 1])):
            return None
        revision = int(self._calls.ops[OpCol.REV, row])
        changes: list[Change] = []
        for leaf in range(self._leaf[row], self._leaf[row + 1]):
            made = self._run_leaf(leaf, revision)
            if made is None:
                return None
            self._store.commit(revision, made)
            changes += made
        return changes

    def _branch_is_right(self, node: int) -> bool:
        held = [
            self._store.holds(self._condition(row))
            for row in range(self._compare[node], self._compare[node + 1])
        ]
        if self._calls.nodes[NodeCol.SUCCEEDED, node]:
            return False not in held
        return False in held or None in held

    def _condition(self, row: int) -> Compare:
        _, key, end, target, operator, x = self._calls.compares[:, row].tolist()
        keys, values = self._history.keys.texts, self._history.values.texts
        wanted = values[x] if TARGETS[target] == "value" else x
        return Compare(
            keys[key], TARGETS[target], OPERATORS[operator], wanted, "" if end == NONE else keys[end]
        )

    def _run_leaf(self, row: int, revision: int) -> list[Change] | None:
        leaf = self._calls.leaves[:, row].tolist()
        kind, key = leaf[LeafCol.KIND], leaf[LeafCol.KEY]
        if kind == Kind.PUT:
            return [Change(key, leaf[LeafCol.VALUE], leaf[LeafCol.LEASE])]
        if kind not in {Kind.DELETE, Kind.RANGE}:
            return []
        texts = self._history.keys.texts
        span = self._store.span(texts[key], "" if leaf[LeafCol.END] == NONE else texts[leaf[LeafCol.END]])
        if kind == Kind.RANGE:
            return [] if self._range_is_right(row, leaf, span, revision) else None
        changes = [Change(found, NONE) for found, _ in self._store.live(span)]
        return changes if len(changes) == leaf[LeafCol.COUNT] else None

    def _range_is_right(self, row: int, leaf: list[int], span: Span, revision: int) -> bool:
        if leaf[LeafCol.AT] > revision:
            return False
        found = self._store.live(span, leaf[LeafCol.AT])
        flags, limit = leaf[LeafCol.FLAGS], leaf[LeafCol.LIMIT]
        if leaf[LeafCol.COUNT] != len(found):
            return False
        shown = [] if flags & Flag.COUNT_ONLY else found
        more = 0 < limit < len(shown)
        shown = shown[:limit] if more else shown
        answered = self._calls.answers[:, self._kv[row] : self._kv[row + 1]].T.tolist()
        if bool(flags & Flag.MORE) != more or len(answered) != len(shown):
            return False
        blank = self._history.values.find("")
        hidden = None if not flags & Flag.KEYS_ONLY else NONE if blank is None else blank
        return all(_is(kv, key, version, hidden) for kv, (key, version) in zip(answered, shown, strict=True))


def _is(kv: list[int], key: int, version: Version, hidden: int | None) -> bool:
    told = (kv[KvCol.VALUE], kv[KvCol.MOD], kv[KvCol.CREATE], kv[KvCol.VERSION], kv[KvCol.LEASE])
    value = version.value if hidden is None else hidden
    return kv[KvCol.KEY] == key and told == (
        value,
        version.revision,
        version.create,
        version.version,
        version.lease,
    )
