"""What a loss of power takes from the content of one file: all that was written after the last sync. Pure.

The disk below always holds the newest content; here is kept what would be there had it lost its power: old
blocks, and the old size. A sync that has begun but not ended saves nothing yet, so a file may have several
generations: each holds the blocks as they were when it began.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK: Final = 4096
_ZEROS: Final = bytes(BLOCK)
_CHUNK: Final = 256 * BLOCK


class Generation:
    """``size``: of the file when it began, in bytes. ``old``: its blocks of then that were changed since."""

    __slots__ = ("old", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.old: dict[int, bytes] = {}


class Unsynced:
    """One file. Not safe for threads: whoever owns it holds a lock."""

    __slots__ = ("_generations",)

    def __init__(self, size: int) -> None:
        """``size``: how much of the file is on disk for good, in bytes."""
        self._generations = [Generation(size)]

    @property
    def synced_size(self) -> int:
        """The size after a loss of power, in bytes."""
        return self._generations[0].size

    @property
    def blocks(self) -> int:
        """Blocks that a loss of power would put back."""
        return sum(len(each.old) for each in self._generations)

    def before_change(self, read: Callable[[int, int], bytes], start: int, end: int | None) -> None:
        """Keep what bytes ``start`` to ``end`` hold before they are changed; ``None``: to the end of the file.

        Args:
            read: gives at most so many bytes from this offset.
            start: the first byte that changes.
            end: the first that does not.
        """
        newest = self._generations[-1]
        until = newest.size if end is None else min(end, newest.size)
        if start >= until:
            return
        first, last = start // BLOCK, (until - 1) // BLOCK
        missing = [number for number in range(first, last + 1) if number not in newest.old]
        if len(missing) <= 2:
            for number in missing:
                newest.old[number] = _kept(read(BLOCK, number * BLOCK))
            return
        for offset in range(first * BLOCK, (last + 1) * BLOCK, _CHUNK):
            chunk = read(_CHUNK, offset)
            for number in range(offset // BLOCK, min((offset + _CHUNK) // BLOCK, last + 1)):
                begin = number * BLOCK - offset
                newest.old.setdefault(number, _kept(chunk[begin : begin + BLOCK]))

    def begin_sync(self, size: int) -> Generation:
        """A sync begins; ``size`` is the file's now, in bytes."""
        self._generations.append(Generation(size))
        return self._generations[-1]

    def end_sync(self, begun: Generation, *, done: bool) -> None:
        """It has ended; unless it was ``done``, nothing of it counts."""
        if begun not in self._generations:
            return  # one that began later was done earlier
        at = self._generations.index(begun)
        if done:
            del self._generations[:at]
            return
        before = self._generations[at - 1]
        before.old = {**begun.old, **before.old}
        del self._generations[at]

    def restore(self, write: Callable[[bytes, int], object], truncate: Callable[[int], object]) -> None:
        """Make the file what a loss of power leaves of it."""
        for generation in reversed(self._generations):
            for number, content in generation.old.items():
                write(content or _ZEROS, number * BLOCK)
        truncate(self.synced_size)


def _kept(content: bytes) -> bytes:
    """Zeros, of which a log that was allocated in advance is full, take no memory."""
    return b"" if not content.rstrip(b"\0") else content
