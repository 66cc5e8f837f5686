"""The short form of a case: a single fault whose keys stand beside those of the case.

::

    - {name: kill-leader, fault: kill, target: leader, hold: 10s}

means what this says in full::

    - {name: kill-leader, hold: 10s, faults: [{fault: kill, target: leader}]}

Worked out on the tree, so that every mistake keeps its place in the file; ``as_written`` takes the way to a
mistake back to what the file has.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tester.scenario.faults import FAULTS
from tester.scenario.mistakes import Mistake, Position, Where
from tester.scenario.model import NO_FAULT, CaseSection, NemesisItem
from tester.scenario.tree import Branch, Leaf, Mapping, Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

_CASE_KEYS: Final = frozenset(CaseSection.model_fields)
_ITEM_KEYS: Final = frozenset(NemesisItem.model_fields) - {"fault"}


@dataclass(frozen=True, slots=True)
class InFull:
    """The tree without short forms, and the ways that are longer for it."""

    tree: Mapping
    lifted: tuple[Where, ...]
    mistakes: tuple[Mistake, ...]
    """Of the short forms themselves."""

    def as_written(self, mistake: Mistake) -> Mistake:
        """The mistake with its way as the file has it."""
        for way in self.lifted:
            size = len(way)
            if mistake.where[:size] == way:
                parent = way[:-2] if isinstance(way[-1], int) else way[:-1]
                return replace(mistake, where=(*parent, *mistake.where[size:]))
        return mistake


def in_full(tree: Mapping) -> InFull:
    """Write every case, and every entry of a nemesis' menu, in its long form."""
    lifted: list[Where] = []
    mistakes: list[Mistake] = []

    def case(part: Mapping, where: Where) -> Mapping:
        if "faults" in part.items:
            return part
        fault, rest = _apart(part, _CASE_KEYS)
        only = fault.items.get("fault")
        if only is None:
            hint = f"one of {', '.join((NO_FAULT, *FAULTS))}"
            mistakes.append(Mistake(part.position, (*where, "fault"), "is missing", hint))
            return _with(rest, "faults", Branch(part.position, ()), part.position)
        if isinstance(only, Leaf) and only.value == NO_FAULT:
            mistakes.extend(_idle(fault, rest, where))
            return _with(rest, "faults", Branch(part.position, ()), part.position)
        lifted.append((*where, "faults", 0))
        return _with(rest, "faults", Branch(part.keys["fault"], (fault,)), part.keys["fault"])

    def item(part: Mapping, where: Where) -> Mapping:
        if "fault" not in part.items or isinstance(part.items["fault"], Mapping):
            return part
        fault, rest = _apart(part, _ITEM_KEYS)
        lifted.append((*where, "fault"))
        return _with(rest, "fault", fault, part.keys["fault"])

    def nemesis(part: Tree) -> Tree:
        if isinstance(part, Leaf) and isinstance(part.value, str):
            return Mapping(part.position, {"kind": part}, {"kind": part.position})
        return _changed(part, "menu", lambda menu: _each(menu, ("nemesis", "menu"), item))

    tree = _mapping(_changed(tree, "cases", lambda cases: _each(cases, ("cases",), case)))
    tree = _mapping(_changed(tree, "nemesis", nemesis))
    return InFull(tree, tuple(lifted), tuple(mistakes))


def _idle(fault: Mapping, rest: Mapping, where: Where) -> Iterator[Mistake]:
    """Keys that say nothing where there is no fault."""
    places = {**fault.keys, **{key: rest.keys[key] for key in rest.keys if key == "allow_quorum_loss"}}
    for key, place in places.items():
        if key != "fault":
            yield Mistake(place, (*where, key), "means nothing where the fault is none", "remove it")


def _apart(part: Mapping, own: Collection[str]) -> tuple[Mapping, Mapping]:
    """The keys that are not the section's own, and those that are."""
    halves = [
        Mapping(
            part.position,
            {key: item for key, item in part.items.items() if (key in own) is mine},
            {key: place for key, place in part.keys.items() if (key in own) is mine},
        )
        for mine in (False, True)
    ]
    return halves[0], halves[1]


def _with(part: Mapping, key: str, item: Tree, place: Position) -> Mapping:
    return Mapping(part.position, {**part.items, key: item}, {**part.keys, key: place})


def _changed(part: Tree, key: str, change: Callable[[Tree], Tree]) -> Tree:
    if not isinstance(part, Mapping) or key not in part.items:
        return part
    return replace(part, items={**part.items, key: change(part.items[key])})


def _each(part: Tree, where: Where, change: Callable[[Mapping, Where], Mapping]) -> Tree:
    if not isinstance(part, Branch):
        return part
    items = (
        change(item, (*where, number)) if isinstance(item, Mapping) else item
        for number, item in enumerate(part.items)
    )
    return replace(part, items=tuple(items))


def _mapping(tree: Tree) -> Mapping:
    assert isinstance(tree, Mapping)  # noqa: S101 - a change of a part leaves the whole what it was
    return tree
