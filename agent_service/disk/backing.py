"""A directory on the host's disk, and what of it a loss of power would take. Paths are relative to it.

Everything is written to the disk at once: nothing is lost when this process goes. What is removed or replaced is
kept in a hidden directory beside the rest until the change is synced.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from agent_service.disk.names import Change, Kind, UnsyncedNames
from agent_service.disk.room import Room
from agent_service.disk.unsynced import Unsynced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HIDDEN: Final = ".etcd-chaos-disk"
"""Holds what was removed and not synced, or is still open; nobody sees it through the layer."""

_SELF_AND_PARENT: Final = (".", "..")
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OWN_FLAGS: Final = os.O_TRUNC | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_DIRECT


class _File:
    """One inode that was changed. ``descriptor`` stays open, so that it can be put back under any name."""

    __slots__ = ("descriptor", "inode", "lock", "unsynced")

    def __init__(self, descriptor: int, *, is_new: bool) -> None:
        self.descriptor = os.dup(descriptor)
        found = os.fstat(descriptor)
        self.inode = found.st_ino
        self.lock = threading.Lock()
        self.unsynced = Unsynced(0 if is_new else found.st_size)


@dataclass(frozen=True, slots=True)
class Handle:
    """An open file."""

    descriptor: int
    inode: int
    read: Callable[[int, int], bytes]
    """At most so many bytes from this offset."""


@dataclass(frozen=True, slots=True)
class Lost:
    """What a loss of power took: blocks put back, and changes of names undone."""

    blocks: int
    names: int


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class Backing:
    """The directory. Safe for threads."""

    def __init__(self, directory: str) -> None:
        self._root = os.open(directory, _DIRECTORY)
        with suppress(FileExistsError):
            os.mkdir(HIDDEN, 0o700, dir_fd=self._root)
        owner = os.fstat(self._root)
        # Made by root before the layer goes on as the owner of the rest.
        os.chown(HIDDEN, owner.st_uid, owner.st_gid, dir_fd=self._root, follow_symlinks=False)
        self._graves = os.open(HIDDEN, _DIRECTORY, dir_fd=self._root)
        self._names = UnsyncedNames()
        self._lock = threading.RLock()
        """Around names, room and the table of files; a file's own lock is never held when it is taken."""
        self._files: dict[int, _File] = {}
        self._directories: dict[int, int] = {}
        self._nameless: dict[str, int] = {}
        """What files that were removed while they were open are called until they are closed."""
        self._returned: set[str] = set()
        """Those of them that a loss of power has put back where they were."""
        self._changes = 0
        self._room: Room | None = None
        self.powerless = False
        self._torn = ""
        """Why a loss of power came to no end; empty if none did. What lies below is then neither old nor new."""
        for name, _ in entries_of(self._graves):  # of a layer that was killed: they were removed
            if name not in _SELF_AND_PARENT:
                self._bury(name)

    # --- files ---------------------------------------------------------------------------------------------

    def open(self, path: str, flags: int) -> Handle:
        """Open a file that is there."""
        handle = _handle(os.open(self._place(path), _flags(flags), dir_fd=self._root))
        if flags & os.O_TRUNC:
            self.truncate(handle, 0)
        return handle

    def create(self, path: str, flags: int, mode: int) -> Handle:
        """Make a file and open it."""
        with self._lock:
            self._need_power()
            slot, parent = self._slot(path)
            descriptor = os.open(slot[1], _flags(flags) | os.O_CREAT | os.O_EXCL, mode, dir_fd=parent)
            handle = _handle(descriptor)
            self._forget(handle.inode)  # the number may have been another file's
            self._files[handle.inode] = _File(descriptor, is_new=True)
            self._names.add(Change(self._next(), Kind.MADE, handle.inode, slot))
            return handle

    def close(self, handle: Handle) -> None:
        """Close it; what was not synced stays unsynced."""
        os.close(handle.descriptor)

    def write(self, handle: Handle, data: bytes, offset: int) -> int:
        """Write at an offset; returns how many bytes there was room for."""
        end = offset + len(data)
        if self._room is not None:
            end = self._take_room(handle, offset, end)
            data = data[: end - offset]
        file = self._file(handle)
        with file.lock:
            self._need_power()
            file.unsynced.before_change(handle.read, offset, end)
            return os.pwrite(handle.descriptor, data, offset)

    def allocate(self, handle: Handle, offset: int, size: int) -> None:
        """Reserve room, and make the file so long."""
        if self._room is not None and self._take_room(handle, offset, offset + size) < offset + size:
            self._give_room_back(handle.inode, os.fstat(handle.descriptor).st_size)
            raise _error(errno.ENOSPC)
        file = self._file(handle)
        with file.lock:
            self._need_power()
            os.posix_fallocate(handle.descriptor, offset, size)

    def truncate(self, handle: Handle, size: int) -> None:
        """Cut or extend a file."""
        file = self._file(handle)
        with file.lock:
            self._need_power()
            file.unsynced.before_change(handle.read, size, None)
            os.ftruncate(handle.descriptor, size)
        self._give_room_back(handle.inode, size)

    def sync(self, handle: Handle, *, data_only: bool) -> None:
        """Bring a file to the disk for good."""
        file, until = self._file(handle), self._changes
        with file.lock:
            self._need_power()
            begun = file.unsynced.begin_sync(os.fstat(handle.descriptor).st_size)
        done = False
        try:
            (os.fdatasync if data_only else os.fsync)(handle.descriptor)
            done = True
        finally:
            with file.lock:
                if not self.powerless:  # a sync that ends after the power went has saved nothing
                    file.unsynced.end_sync(begun, done=done)
        with self._lock:
            self._need_power()
            self._settle(self._names.sync_file(handle.inode, until, data_only=data_only))

    # --- names ---------------------------------------------------------------------------------------------

    def stat(self, path: str, handle: Handle | None) -> os.stat_result:
        """As ``lstat``; of an open file also when it has no name any more."""
        if handle is not None:
            return os.fstat(handle.descriptor)
        return os.stat(self._place(path), dir_fd=self._root, follow_symlinks=False)

    def open_directory(self, path: str) -> int:
        """A descriptor, to be closed with ``os.close``."""
        return os.open(_relative(path), _DIRECTORY, dir_fd=self._root)

    def sync_directory(self, descriptor: int) -> None:
        """Bring a directory's names to the disk for good."""
        with self._lock:
            self._need_power()
            until = self._changes
        os.fsync(descriptor)
        with self._lock:
            self._need_power()
            self._settle(self._names.sync_directory(os.fstat(descriptor).st_ino, until))

    def make_directory(self, path: str, mode: int) -> None:
        """Make a directory."""
        with self._lock:
            self._need_power()
            slot, parent = self._slot(path)
            os.mkdir(slot[1], mode, dir_fd=parent)
            self._names.add(Change(self._next(), Kind.MADE, _inode(slot[1], parent), slot))

    def remove(self, path: str, *, is_directory: bool) -> None:
        """Remove a file, or an empty directory."""
        with self._lock:
            self._need_power()
            if is_directory:
                self._need_empty(path)
            inode = self._take_away(*self._slot(path))
        self._give_room_back(inode)

    def _take_away(self, slot: tuple[int, str], parent: int) -> int:
        inode, number = _inode(slot[1], parent), self._next()
        os.rename(slot[1], str(number), src_dir_fd=parent, dst_dir_fd=self._graves)
        self._names.add(Change(number, Kind.REMOVED, inode, slot, grave=str(number)))
        return inode

    def hide(self, path: str, name: str) -> None:
        """Remove a file that is open: until it is let go, it is reached as ``name``, whatever the directory."""
        with self._lock:
            self._need_power()
            slot, parent = self._slot(path)
            os.link(slot[1], name, src_dir_fd=parent, dst_dir_fd=self._graves, follow_symlinks=False)
            try:
                self._nameless[name] = self._take_away(slot, parent)
            except OSError:
                os.unlink(name, dir_fd=self._graves)
                raise

    def let_go(self, name: str) -> bool:
        """A file that was hidden is closed, and with that it is gone; whether there was one."""
        with self._lock:
            inode = self._nameless.pop(name, None)
            if inode is None:
                return False
            self._bury(name)
            is_there = name in self._returned
            self._returned.discard(name)
        if not is_there:
            self._give_room_back(inode)
        return True

    def let_go_of(self, handle: Handle) -> None:
        """As ``let_go``, of the file that was opened so, if it was hidden."""
        for name, inode in tuple(self._nameless.items()):
            if inode == handle.inode:
                self.let_go(name)

    def _need_empty(self, path: str) -> None:
        descriptor = self.open_directory(path)
        try:
            if len(entries_of(descriptor)) > len(_SELF_AND_PARENT):
                raise _error(errno.ENOTEMPTY)
        finally:
            os.close(descriptor)

    def rename(self, old: str, new: str) -> None:
        """Move a file or directory, over what is there as ``rename(2)`` does."""
        with self._lock:
            self._need_power()
            (source, source_parent), (slot, parent) = self._slot(old), self._slot(new)
            inode, number = _inode(source[1], source_parent), self._next()
            grave = self._save(slot[1], parent, str(number))
            try:
                os.rename(source[1], slot[1], src_dir_fd=source_parent, dst_dir_fd=parent)
            except OSError:
                if grave is not None:
                    os.unlink(grave, dir_fd=self._graves)
                raise
            self._names.add(Change(number, Kind.MOVED, inode, slot, source, grave))

    def _save(self, name: str, parent: int, grave: str) -> str | None:
        """Keep what is about to be replaced; a file has both names until it is."""
        try:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if stat.S_ISDIR(found.st_mode):
            raise _error(errno.ENOTEMPTY)  # empty or not: etcd replaces no directory
        os.link(name, grave, src_dir_fd=parent, dst_dir_fd=self._graves, follow_symlinks=False)
        self._give_room_back(found.st_ino)
        return grave

    def set_mode(self, path: str, mode: int) -> None:
        """As ``chmod``. Not among what a loss of power takes."""
        os.chmod(self._place(path), mode, dir_fd=self._root)

    def set_owner(self, path: str, user: int, group: int) -> None:
        """As ``lchown``. Not among what a loss of power takes."""
        os.chown(self._place(path), user, group, dir_fd=self._root, follow_symlinks=False)

    def set_times(self, path: str, times: tuple[int, int] | None) -> None:
        """Access and modification, in nanoseconds. Not among what a loss of power takes."""
        name = self._place(path)
        if times is None:
            os.utime(name, dir_fd=self._root, follow_symlinks=False)
        else:
            os.utime(name, ns=times, dir_fd=self._root, follow_symlinks=False)

    # --- room ----------------------------------------------------------------------------------------------

    def limit_room(self, room_bytes: int | None) -> None:
        """From now on there is so much room left; ``None``: as much as the disk has."""
        with self._lock:
            self._room = None if room_bytes is None else Room(room_bytes, self._everything())

    def statvfs(self) -> os.statvfs_result:
        """Of the disk."""
        return os.fstatvfs(self._root)

    @property
    def blocks_left(self) -> int | None:
        """Blocks of 4 KiB, if the room is limited."""
        room = self._room
        return None if room is None else room.left

    def _everything(self) -> Iterator[int]:
        for _, _, files, parent in os.fwalk(".", dir_fd=self._root):
            for name in files:
                with suppress(
                    FileNotFoundError, PermissionError
                ):  # what is not the member's takes none of its room
                    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
                    try:
                        yield descriptor
                    finally:
                        os.close(descriptor)

    def _take_room(self, handle: Handle, start: int, end: int) -> int:
        with self._lock:
            return end if self._room is None else self._room.take(handle.inode, start, end)

    def _give_room_back(self, inode: int, size: int = 0) -> None:
        if self._room is not None:
            with self._lock:
                if self._room is not None:
                    self._room.give_back(inode, size)

    # --- loss of power -------------------------------------------------------------------------------------

    def lose_power(self) -> Lost:
        """Put back what was never synced. Nothing is changed any more until ``revive``.

        Raises:
            OSError: something could not be put back: there is no way on from here but to end the layer.
        """
        with self._lock:
            if self.powerless:
                return Lost(0, 0)
            self.powerless = True
            try:
                return self._put_back()
            except (OSError, KeyError, RuntimeError) as error:
                self._torn = f"a loss of power came to no end: {error}"
                raise OSError(errno.EIO, self._torn) from error

    def _put_back(self) -> Lost:
        blocks = 0
        for file in self._files.values():
            with file.lock:
                blocks += file.unsynced.blocks
                file.unsynced.restore(
                    partial(os.pwrite, file.descriptor), partial(os.ftruncate, file.descriptor)
                )
        changes = self._names.newest_first()
        for change in changes:
            self._undo(change)
        self._names.clear()
        for name in self._nameless:
            if os.stat(name, dir_fd=self._graves).st_nlink > 1:
                self._returned.add(name)
        for inode in tuple(self._files):
            self._forget(inode)
        return Lost(blocks, len(changes))

    def revive(self) -> None:
        """The power is back.

        Raises:
            OSError: what was never synced could not all be put back: no member may start on it.
        """
        with self._lock:
            if self._torn:
                raise OSError(errno.EIO, self._torn)
            self.powerless = False

    def _undo(self, change: Change) -> None:
        parent, name = self._directories[change.slot[0]], change.slot[1]
        match change.kind:
            case Kind.MADE:
                if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                    os.rmdir(name, dir_fd=parent)
                    self._leave_directory(change.inode)
                else:
                    os.unlink(name, dir_fd=parent)
            case Kind.REMOVED:
                os.rename(str(change.number), name, src_dir_fd=self._graves, dst_dir_fd=parent)
            case Kind.MOVED:
                if change.source is None:
                    raise RuntimeError("what was moved was somewhere before")
                directory, old = change.source
                os.rename(name, old, src_dir_fd=parent, dst_dir_fd=self._directories[directory])
                if change.grave is not None:
                    os.rename(change.grave, name, src_dir_fd=self._graves, dst_dir_fd=parent)

    # --- within --------------------------------------------------------------------------------------------

    def _need_power(self) -> None:
        if self.powerless:
            raise _error(errno.EIO)

    def _next(self) -> int:
        self._changes += 1
        return self._changes

    def _file(self, handle: Handle) -> _File:
        file = self._files.get(handle.inode)
        if file is None:
            with self._lock:
                self._need_power()  # or an open file would be forgotten with the rest and then taken for synced
                file = self._files.setdefault(handle.inode, _File(handle.descriptor, is_new=False))
        return file

    def _forget(self, inode: int) -> None:
        file = self._files.pop(inode, None)
        if file is not None:
            os.close(file.descriptor)

    def _place(self, path: str) -> str:
        """Where it lies, from the root."""
        name = path.rpartition("/")[2]
        return f"{HIDDEN}/{name}" if name in self._nameless else _relative(path)

    def _slot(self, path: str) -> tuple[tuple[int, str], int]:
        """Directory and name of a path, and the directory opened: it is found again when it has moved."""
        above, _, name = _relative(path).rpartition("/")
        if name in {".", HIDDEN}:
            raise _error(errno.EACCES)
        inode = os.stat(above or ".", dir_fd=self._root, follow_symlinks=False).st_ino
        if inode not in self._directories:
            self._directories[inode] = os.open(above or ".", _DIRECTORY, dir_fd=self._root)
        return (inode, name), self._directories[inode]

    def _settle(self, changes: tuple[Change, ...]) -> None:
        for change in changes:
            if change.grave is not None:
                self._bury(change.grave)

    def _bury(self, name: str) -> None:
        found = os.stat(name, dir_fd=self._graves, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            os.rmdir(name, dir_fd=self._graves)
            self._leave_directory(found.st_ino)
            return
        os.unlink(name, dir_fd=self._graves)
        if found.st_nlink == 1:
            self._forget(found.st_ino)

    def _leave_directory(self, inode: int) -> None:
        descriptor = self._directories.pop(inode, None)
        if descriptor is not None:
            os.close(descriptor)


def entries_of(descriptor: int) -> list[tuple[str, int]]:
    """Names in a directory with their inode numbers, without those that nobody is to see."""
    own = os.fstat(descriptor).st_ino
    with os.scandir(descriptor) as found:
        entries = [(entry.name, entry.inode()) for entry in found if entry.name != HIDDEN]
    return [*((name, own) for name in _SELF_AND_PARENT), *entries]


def _handle(descriptor: int) -> Handle:
    return Handle(descriptor, os.fstat(descriptor).st_ino, partial(os.pread, descriptor))


def _relative(path: str) -> str:
    relative = path.lstrip("/") or "."
    if relative.split("/", 1)[0] == HIDDEN:
        raise _error(errno.ENOENT)
    return relative


def _flags(flags: int) -> int:
    """What is written without being read would leave nothing to put back; the kernel says where to append."""
    access = os.O_RDWR if flags & os.O_ACCMODE == os.O_WRONLY else flags & os.O_ACCMODE
    return (flags & ~_OWN_FLAGS & ~os.O_ACCMODE) | access | os.O_NOFOLLOW | os.O_CLOEXEC


def _inode(name: str, parent: int) -> int:
    return os.stat(name, dir_fd=parent, follow_symlinks=False).st_ino
