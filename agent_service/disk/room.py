"""How much more a file system takes, counted in blocks of 4 KiB as one of its own size would."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from agent_service.disk.unsynced import BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterable


class Room:
    """Blocks that are left, and the blocks that each file has. Not safe for threads."""

    def __init__(self, room_bytes: int, descriptors: Iterable[int]) -> None:
        """``descriptors``: the files that are there, open; they are only looked at."""
        self.left = room_bytes // BLOCK
        self._has: dict[int, bytearray] = {}
        for descriptor in descriptors:
            self._has[os.fstat(descriptor).st_ino] = _allocated(descriptor)

    def take(self, inode: int, start: int, end: int) -> int:
        """Take what bytes ``start`` to ``end`` of a file need; returns the end of what there is room for.

        Raises:
            OSError: ENOSPC, when there is room for nothing.
        """
        has = self._has.setdefault(inode, bytearray())
        first, behind = start // BLOCK, -(-end // BLOCK)
        if len(has) < behind:
            has.extend(bytes(behind - len(has)))
        for number in range(first, behind):
            if not has[number]:
                if not self.left:
                    if number == first:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    return number * BLOCK
                self.left -= 1
                has[number] = 1
        return end

    def give_back(self, inode: int, size: int = 0) -> None:
        """A file was cut to ``size`` bytes, or is gone."""
        has = self._has.get(inode)
        if has is not None:
            keeps = -(-size // BLOCK)
            self.left += sum(has[keeps:])
            del has[keeps:]


def _allocated(descriptor: int) -> bytearray:
    """One byte a block: 1 where the file has it. What was allocated in advance counts, holes do not."""
    found = os.fstat(descriptor)
    blocks = -(-found.st_size // BLOCK)
    if found.st_blocks * 512 >= found.st_size:
        return bytearray(b"\1" * blocks)
    has = bytearray(blocks)
    offset = 0
    while offset < found.st_size:
        try:
            begin = os.lseek(descriptor, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                break
            raise
        offset = os.lseek(descriptor, begin, os.SEEK_HOLE)
        first, behind = begin // BLOCK, -(-offset // BLOCK)
        has[first:behind] = b"\1" * (behind - first)
    return has
