"""A judge of exported registers that knows nothing but the file: Wing and Gong's search, with Lowe's memory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def is_linearizable(path: Path) -> bool:
    """Whether some order of the operations on each key explains every answer in a file for porcupine."""
    keys: dict[str, list[dict[str, Any]]] = {}
    for line in path.read_text().splitlines():
        operation = json.loads(line)
        keys.setdefault(operation["Input"]["Key"], []).append(operation)
    return all(map(_has_order, keys.values()))


def _has_order(operations: list[dict[str, Any]]) -> bool:
    sure = {place for place, operation in enumerate(operations) if not operation["Output"]["Unknown"]}
    tried: set[tuple[frozenset[int], str | None]] = set()
    open_: list[tuple[frozenset[int], str | None]] = [(frozenset(range(len(operations))), None)]
    while open_:
        left, state = open_.pop()
        if not left & sure:  # what nobody knows of need not have happened
            return True
        if (left, state) in tried:
            continue
        tried.add((left, state))
        first_end = min(operations[place]["Return"] for place in left)
        for place in left:
            if operations[place]["Call"] <= first_end:
                fits, after = _step(operations[place], state)
                if fits:
                    open_.append((left - {place}, after))
    return False


def _step(operation: dict[str, Any], state: str | None) -> tuple[bool, str | None]:
    asked, told = operation["Input"], operation["Output"]
    if asked["Op"] == "read":
        return told["Value"] == state, state
    if asked["Op"] == "write":
        return True, asked["Value"]
    assert asked["Op"] == "cas"
    return (True, asked["Value"]) if state == asked["Old"] else (told["Unknown"], state)
