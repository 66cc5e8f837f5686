"""Rules about a cluster that is lost and restored: what belongs together, and what cannot follow it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tester.scenario.actions import RestoreSnapshotSection, SaveSnapshotSection
from tester.scenario.faults import LoseDataSection
from tester.scenario.mistakes import Mistake, Where
from tester.scenario.tree import Branch, Tree, child, find, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tester.scenario.model import CaseSection

FOLLOW: Final = ("kv", "lease")
"""Stressers whose clients go on at another cluster as if nothing had been."""


def disaster_mistakes(tree: Tree, number: int, case: CaseSection) -> Iterator[Mistake]:
    """In one case."""
    saved = quiet = False
    for index, action in enumerate(case.actions):
        where: Where = ("cases", number, "actions", index)
        if isinstance(action, SaveSnapshotSection):
            saved = True
            quiet |= action.quiet
        elif isinstance(action, RestoreSnapshotSection):
            quiet = False
            yield from _restore_mistakes(tree, where, action, case, saved=saved)
    if quiet:
        index = next(
            n for n, one in enumerate(case.actions) if isinstance(one, SaveSnapshotSection) and one.quiet
        )
        where = ("cases", number, "actions", index, "quiet")
        hint = "add restore-snapshot after it, or remove it"
        yield Mistake(find(tree, where).position, where, "pauses the load for nothing", hint)


def _restore_mistakes(
    tree: Tree, where: Where, action: RestoreSnapshotSection, case: CaseSection, *, saved: bool
) -> Iterator[Mistake]:
    def mistake(key: str, what: str, hint: str) -> Mistake:
        place: Where = (*where, key)
        return Mistake(find(tree, place).position, place, what, hint)

    if not saved:
        yield mistake(
            "action", "there is no snapshot to restore", "put save-snapshot before it, in the same case"
        )
    if action.first:
        yield mistake("first", "comes before anything is lost", "remove it")
    if not case.load:
        yield mistake(
            "action", "ends with the load going on, and the case has none", "say quiet: true at save-snapshot"
        )
    if not any(isinstance(fault, LoseDataSection) for fault in case.faults):
        yield mistake("action", "nobody has lost anything", "say fault: lose-data in the case")
    elif not case.allow_quorum_loss:
        hint = "say allow_quorum_loss: true in the case"
        yield mistake("action", "takes every member away that still has data", hint)


def stresser_mistakes(tree: Tree, cases: Iterable[CaseSection]) -> Iterator[Mistake]:
    """Load that believes something of a cluster which is another one after a restoration."""
    if not any(isinstance(action, RestoreSnapshotSection) for case in cases for action in case.actions):
        return
    written = child(tree, "stressers")
    for number, part in enumerate(written.items if isinstance(written, Branch) else ()):
        kind = child(part, "kind")
        value = plain(kind) if kind is not None else None
        if kind is not None and isinstance(value, str) and value not in FOLLOW:
            what = f"{value} cannot go on at a cluster that was restored from a snapshot"
            hint = f"leave it out, or the action restore-snapshot; these can: {', '.join(FOLLOW)}"
            yield Mistake(kind.position, ("stressers", number, "kind"), what, hint)
