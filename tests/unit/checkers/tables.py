"""Tables of histories that were read differently, made comparable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tester.history.columns import NONE, TABLES, TARGETS, CompareCol

if TYPE_CHECKING:
    from tester.history.history import History


def texts_of(history: History) -> dict[str, list[list[int | str]]]:
    """Every table, column by column; texts instead of their numbers, which depend on who was seen first."""
    keys = history.keys.texts
    texts = {"KEY": keys, "END": keys, "VALUE": history.values.texts, "MEMBER": history.members.texts}
    found = {}
    for name, table in history.tables.items():
        columns: list[list[int | str]] = table.columns.tolist()
        for column in TABLES[name]:
            if column.name in texts:
                columns[column] = ["" if n == NONE else texts[column.name][int(n)] for n in columns[column]]
        found[name] = columns
    operands, targets = found["conditions"][CompareCol.X], found["conditions"][CompareCol.TARGET]
    found["conditions"][CompareCol.X] = [
        history.values.texts[int(x)] if TARGETS[int(target)] == "value" else x
        for x, target in zip(operands, targets, strict=True)
    ]
    return found
