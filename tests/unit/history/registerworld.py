"""Histories of etcd that checkers of registers can judge whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tester.history.records import Compare, Delete, Info, Invoke, Ok, Put, Range, Txn
from tests.unit.checkers.model import Store

if TYPE_CHECKING:
    from random import Random

    from tester.history.records import HistoryRecord


def register_history(rng: Random) -> list[HistoryRecord]:
    """Thirty overlapping operations of thirty clients on two keys, as etcd answers them; some answers lost."""
    store, moments = Store(), []
    acknowledged = {"k0": 0, "k1": 0}
    for number in range(1, 31):
        key = f"k{rng.randrange(2)}"
        compare = Compare(key, "mod", "=", acknowledged[key])
        op = rng.choice(
            (
                Put(key, f"{number}:4"),
                Range(key),
                Delete(key),
                Txn((compare,), (Put(key, f"{number}:4"),), (Range(key),)),
            )
        )
        revision, out = store.apply(op)
        ended = number * 100 + rng.randrange(100, 300)
        lost = rng.random() < 0.1
        if not lost and key in store.live:
            acknowledged[key] = acknowledged[key] if store.live[key].m < revision else revision
        moments.append((number * 100 - rng.randrange(300), Invoke(number, 0, number, "m1", op)))
        moments.append((ended, Info(number, 0, "X") if lost else Ok(number, 0, revision, 1, out)))
    moments.sort(key=lambda moment: moment[0])
    return [msgspec.structs.replace(record, at=at) for at, record in moments]
