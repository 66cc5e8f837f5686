"""Random register histories as Jepsen writes them, and their truth by trying every order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import permutations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True)
class Call:
    process: int
    f: str
    call: int
    ret: int
    kind: str
    """``ok``, ``fail`` or ``info``."""
    value: object
    key: int = 0

    def applied(self, state: object) -> tuple[bool, object]:
        if self.f == "read":
            return state == self.value, state
        if self.f == "write":
            return True, self.value
        old, new = self.value
        return state == old, new


def simulate(rng: Random, calls: int, keys: int = 1) -> list[Call]:
    """Calls of three processes that took effect in one order, between call and return."""
    free = [0, 0, 0]
    state: dict[int, object] = {}
    found = []
    effect = 0
    for _ in range(calls):
        effect += rng.randrange(1, 8)
        process = min(range(3), key=free.__getitem__)
        call = max(free[process], effect - rng.randrange(12))
        effect = max(effect, call + 1)
        ret = effect + rng.randrange(1, 12)
        free[process] = ret + 1
        key, f = rng.randrange(keys), rng.choice(("read", "write", "cas"))
        kind = rng.choices(("ok", "info", "fail"), (8, 1, 1))[0]
        value: object = state.get(key)
        if f == "write":
            value = rng.choice((None, *range(4)))
        elif f == "cas":
            value = [rng.choice((state.get(key), rng.randrange(4))), rng.randrange(4)]
            if kind == "ok" and value[0] != state.get(key):
                kind = "fail"
        happens = kind == "ok" or (kind == "info" and rng.random() < 0.5)
        if happens and f == "write":
            state[key] = value
        elif happens and f == "cas" and value[0] == state.get(key):
            state[key] = value[1]
        found.append(Call(process, f, call, ret, kind, value, key))
    return found


def bend(calls: list[Call], rng: Random) -> list[Call]:
    """One read returns something else."""
    reads = [place for place, call in enumerate(calls) if call.f == "read" and call.kind == "ok"]
    if not reads:
        return calls
    place = rng.choice(reads)
    return [*calls[:place], replace(calls[place], value=rng.choice((None, *range(4)))), *calls[place + 1 :]]


def is_linearizable(calls: list[Call]) -> bool:
    return all(_one_key([call for call in calls if call.key == key]) for key in {c.key for c in calls})


def _one_key(calls: list[Call]) -> bool:
    sure = [call for call in calls if call.kind == "ok"]
    unknown = [call for call in calls if call.kind == "info" and call.f != "read"]
    return any(
        _has_order([*sure, *chosen]) for size in range(len(unknown) + 1) for chosen in _subsets(unknown, size)
    )


def _subsets(calls: list[Call], size: int) -> list[tuple[Call, ...]]:
    return [
        tuple(c for n, c in enumerate(calls) if bits >> n & 1)
        for bits in range(1 << len(calls))
        if bits.bit_count() == size
    ]


def _has_order(calls: list[Call]) -> bool:
    return any(_explains(order) for order in permutations(calls))


def _explains(order: tuple[Call, ...]) -> bool:
    state: object = None
    for place, call in enumerate(order):
        if any(later.kind == "ok" and later.ret < call.call for later in order[place + 1 :]):
            return False
        fits, state = call.applied(state)
        if not fits:
            return False
    return True


def to_edn(calls: list[Call], *, keyed: bool) -> str:
    """As Jepsen would have written it."""
    moments = [(call.call, 0, call) for call in calls] + [(call.ret, 1, call) for call in calls]
    lines = []
    processes: dict[int, int] = {}
    for at, ends, call in sorted(moments, key=lambda moment: moment[:2]):
        process = processes.setdefault(call.process, call.process)
        kind = call.kind if ends else "invoke"
        value = None if call.f == "read" and kind != "ok" else call.value
        told = f"[{call.key} {_edn(value)}]" if keyed else _edn(value)
        lines.append(f"{{:type :{kind}, :f :{call.f}, :value {told}, :process {process}, :time {at}}}")
        if kind == "info":
            processes[call.process] = process + 3
    return "\n".join(lines) + "\n"


def _edn(value: object) -> str:
    if isinstance(value, list):
        return f"[{' '.join(map(_edn, value))}]"
    return "nil" if value is None else str(value)
