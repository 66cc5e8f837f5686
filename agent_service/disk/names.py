"""What a loss of power takes from directories: names made, moved or removed since their last sync. Pure.

What ext4, xfs and btrfs all promise, and no more: a sync of a directory keeps every change of names in it; a
sync of a file keeps the name it was made under, with the directories above, and (unless only its data are
synced) those it was moved to since. Whatever is kept keeps what came before it under the same name.

Directories and files are inode numbers: a directory may have another name by the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

Slot: TypeAlias = tuple[int, str]
"""A directory and a name in it."""


class Kind(Enum):
    """What happened to a name."""

    MADE = "made"
    REMOVED = "removed"
    MOVED = "moved"


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """One change; ``number`` counts on. ``grave``: under which name what was there before is kept, if it is."""

    number: int
    kind: Kind
    inode: int
    slot: Slot
    """Where it is made or removed, or moved to."""
    source: Slot | None = None
    """Where it is moved from."""
    grave: str | None = None

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Every name that it changes."""
        return (self.slot,) if self.source is None else (self.source, self.slot)


class UnsyncedNames:
    """All changes that a loss of power would undo, oldest first. Not safe for threads."""

    def __init__(self) -> None:
        self._changes: list[Change] = []

    def add(self, change: Change) -> None:
        """It has just happened."""
        self._changes.append(change)

    def newest_first(self) -> tuple[Change, ...]:
        """In the order in which they are undone."""
        return tuple(reversed(self._changes))

    def clear(self) -> None:
        """Nothing is left to undo."""
        self._changes.clear()

    def sync_directory(self, inode: int, until: int) -> tuple[Change, ...]:
        """A directory was synced when change ``until`` had happened; returns the changes that are for good now."""
        return self._settle(
            {
                change
                for change in self._changes
                if change.number <= until
                and (change.inode == inode or any(directory == inode for directory, _ in change.slots))
            }
        )

    def sync_file(self, inode: int, until: int, *, data_only: bool) -> tuple[Change, ...]:
        """A file was synced when change ``until`` had happened; returns the changes that are for good now."""
        kinds = {Kind.MADE} if data_only else {Kind.MADE, Kind.MOVED}
        return self._settle(
            {
                change
                for change in self._changes
                if change.number <= until and change.inode == inode and change.kind in kinds
            }
        )

    def _settle(self, kept: set[Change]) -> tuple[Change, ...]:
        if not kept:
            return ()
        grown = True
        while grown:
            grown = False
            later: set[Slot] = set()
            above: set[int] = set()
            gone: set[int] = set()
            for change in reversed(self._changes):
                directories = {directory for directory, _ in change.slots}
                related = later & set(change.slots) or change.inode in above or directories <= gone
                if change not in kept and related:
                    kept.add(change)
                    grown = True
                if change in kept:
                    later.update(change.slots)
                    above |= directories
                    if change.kind is Kind.REMOVED:
                        gone.add(change.inode)  # with a directory goes what happened in it
        settled = tuple(change for change in self._changes if change in kept)
        self._changes = [change for change in self._changes if change not in kept]
        return settled
