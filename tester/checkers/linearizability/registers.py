"""Histories without revisions (somebody else's): each key is a register, and an order is searched for.

Keys are judged one by one; a history is linearizable if and only if each of them is.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tester.checkers.base import Evidence
from tester.checkers.linearizability.register import ANYTHING, PRESENT, Step, TooManyStatesError, search
from tester.checkers.linearizability.smallest import smallest
from tester.history.columns import NONE, OPERATORS, TARGETS, CompareCol, Kind, KvCol, LeafCol, NodeCol, OpCol
from tester.history.jepsen import MEMBER as JEPSEN
from tester.history.records import Compare, Delete, Put, Txn
from tester.history.table import NEVER

if TYPE_CHECKING:
    from tester.history.history import History
    from tester.history.records import Invoke
    from tester.results import CheckResult


class NotARegisterError(Exception):
    """An operation does something that a register cannot."""


def judge_registers(history: History) -> CheckResult:
    """The verdict ``linearizable`` on a history whose answers carry no revisions."""
    evidence = Evidence("linearizable")
    registers: dict[int, list[Step]] = {}
    try:
        registers = _registers(history)
        for key, steps in registers.items():
            stuck = search(steps)
            if stuck is not None:
                _tell(history, evidence, key, steps, *stuck)
    except NotARegisterError as reason:
        evidence.doubt(f"answers carry no revisions, and {reason}: only registers can be judged then")
    except TooManyStatesError as reason:
        evidence.doubt(str(reason))
    number = sum(map(len, registers.values()))
    return evidence.result(
        f"{number} operations on {len(registers)} registers have an order; answers carry no"
        " revisions, it was found by search"
    )


def _registers(history: History) -> dict[int, list[Step]]:
    """By key, what was done to it."""
    found: defaultdict[int, list[Step]] = defaultdict(list)
    operations = history.operations
    ops, leaves = operations.rows.columns, operations.leaves.columns
    # Jepsen's writes of nil do not say whether there was anything to delete.
    counted = history.header is None or history.header.members != (JEPSEN,)
    ends = [*ops[OpCol.LEAF, 1:].tolist(), leaves.shape[1]]
    for row, (op, end) in enumerate(zip(ops.T.tolist(), ends, strict=True)):
        leaf = leaves[:, op[OpCol.LEAF]].tolist() if end == op[OpCol.LEAF] + 1 else None
        if leaf is None or not _is_access(leaf) or op[OpCol.LOCAL]:
            raise NotARegisterError(f"operation {op[OpCol.ID]} is more than one access to one key")
        needs, after = ANYTHING, leaf[LeafCol.VALUE]
        if leaf[LeafCol.KIND] == Kind.RANGE:
            answer = operations.answers.columns[KvCol.VALUE, leaf[LeafCol.KV] : leaf[LeafCol.KV] + 1]
            needs = after = int(answer[0]) if leaf[LeafCol.COUNT] else NONE
        if leaf[LeafCol.KIND] == Kind.DELETE and counted:
            needs = PRESENT if leaf[LeafCol.COUNT] else NONE
        if op[OpCol.KIND] == Kind.TXN:
            compared = _needs_of_row(history, row, leaf[LeafCol.KEY])
            if leaf[LeafCol.KIND] != Kind.PUT or compared is None:
                raise NotARegisterError(f"operation {op[OpCol.ID]} is no comparison with a write")
            needs = compared
        found[leaf[LeafCol.KEY]].append(Step(op[OpCol.ID], op[OpCol.CALL], op[OpCol.RET], needs, after))
    for invoke in history.unknown_writes():
        key, needs, after = _unknown(history, invoke)
        found[key].append(Step(invoke.id, invoke.at, NEVER, needs, after))
    return found


def _is_access(leaf: list[int]) -> bool:
    simple = leaf[LeafCol.KIND] in {Kind.PUT, Kind.DELETE, Kind.RANGE} and leaf[LeafCol.END] == NONE
    return simple and not any(leaf[column] for column in (LeafCol.LEASE, LeafCol.AT, LeafCol.FLAGS))


def _needs_of_row(history: History, row: int, key: int) -> int | None:
    """The value that a transaction compared its key with, if it did just that and it was so."""
    nodes, compares = history.operations.nodes.columns, history.operations.compares.columns
    node = int(nodes[NodeCol.OP].searchsorted(row))
    mine = compares[:, compares[CompareCol.NODE] == node].T.tolist()
    if len(mine) != 1 or not nodes[NodeCol.SUCCEEDED, node]:
        return None
    _, compared, end, target, operator, x = mine[0]
    if compared != key or end != NONE:
        return None
    return _needed(TARGETS[target], OPERATORS[operator], x)


def _needed(target: str, operator: str, x: int) -> int | None:
    """``x`` is the number of a value, or a number."""
    if operator != "=":
        return None
    if target == "value":
        return x
    return NONE if target in {"version", "create", "mod"} and x == 0 else None


def _unknown(history: History, invoke: Invoke) -> tuple[int, int, int]:
    """Key, what it needs and what it leaves, of a write that may have happened."""
    key, value = history.keys.numbers, history.values.numbers
    match invoke.op:
        case Put(k=k, v=v, l=0):
            return key[k], ANYTHING, value[v]
        case Delete(k=k, e=""):
            return key[k], ANYTHING, NONE
        case Txn(cmp=(Compare(e="") as compare,), then=(Put(k=k, v=v, l=0),), orelse=()) if compare.k == k:
            x = value[compare.x] if isinstance(compare.x, str) else compare.x
            needs = _needed(compare.target, compare.op, x)
            if needs is not None:
                return key[k], needs, value[v]
    raise NotARegisterError(f"operation {invoke.id} is more than one access to one key")


def _tell(
    history: History, evidence: Evidence, key: int, steps: list[Step], stuck: Step, possible: set[int]
) -> None:
    values = sorted("absent" if value == NONE else history.values.texts[value] for value in possible)
    against = [step.id for step in smallest(steps, stuck)]
    others = "; ".join(history.describe(number) for number in against if number != stuck.id)
    evidence.violation(
        f"{history.describe(stuck.id)}; no order of the operations on {history.keys.texts[key]} explains it:"
        f" its value could only be {' or '.join(values)}{f', after {others}' if others else ''}",
        operations=[stuck.id, *(number for number in against if number != stuck.id)],
    )
