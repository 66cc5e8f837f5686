"""The layer as FUSE calls it: rules first, then the directory below."""

from __future__ import annotations

import errno
import itertools
import os
import re
from typing import TYPE_CHECKING, Any

from mfusepy import Operations

from agent_service.disk.backing import entries_of
from agent_service.disk.rules import scope_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_service.disk.backing import Backing, Handle
    from agent_service.disk.messages import Operation, Scope
    from agent_service.disk.rules import Rules

_ATTRIBUTES = (
    "st_mode", "st_ino", "st_nlink", "st_uid", "st_gid", "st_size", "st_blocks", "st_blksize"
)  # fmt: skip

_NAMELESS = re.compile(r"\.fuse_hidden[0-9a-f]{16}")
"""What libfuse renames a file to that is removed, or replaced, while it is open, and removes when that is closed.
It hears late of a close: whoever closes a file and removes it at once, as etcd does to try whether it may write,
would find such a name in a directory that has to be empty, and etcd panics on it. Its ``hard_remove`` is no way
out: ``fstat`` of such a file would fail then, and a member that has just been sent a snapshot goes on with the
database that this has replaced."""


class Passthrough(Operations):  # type: ignore[misc]  # mfusepy ships no types
    """Calls come from several threads at once. ``OSError`` is how one fails."""

    use_ns = True

    def __init__(self, backing: Backing, rules: Rules, on_mounted: Callable[[], None]) -> None:
        self._backing = backing
        self._rules = rules
        self._on_mounted = on_mounted
        self._open: dict[int, tuple[Handle, Scope]] = {}
        self._scopes: dict[int, Scope] = {}
        """Of open directories."""
        self._numbers = itertools.count(1)

    def init_with_config(self, _connection: Any, config: Any) -> None:  # noqa: ANN401 - C structures
        """Called once, when it is mounted."""
        config.use_ino = 1
        # Names and sizes change behind the kernel's back when the power goes.
        config.entry_timeout = config.negative_timeout = config.attr_timeout = 0.0
        self._on_mounted()

    # --- files ---------------------------------------------------------------------------------------------

    def open(self, path: str, flags: int) -> int:
        """A number for an open file."""
        return self._opened(self._backing.open(path, flags), path)

    def create(self, path: str, mode: int, flags: int) -> int:
        """A number for a new open file."""
        self._before("write", scope_of(path))
        return self._opened(self._backing.create(path, flags, mode), path)

    def _opened(self, handle: Handle, path: str) -> int:
        number = next(self._numbers)
        self._open[number] = (handle, scope_of(path))
        return number

    def release(self, path: str | None, fh: int) -> int:
        """The last descriptor of an open file is closed. No path: its directory was removed before it."""
        handle, _ = self._open.pop(fh)
        self._backing.close(handle)
        if path is None and all(other.inode != handle.inode for other, _ in tuple(self._open.values())):
            self._backing.let_go_of(handle)  # libfuse, which removes by path, does not
        return 0

    def read(self, _path: str, size: int, offset: int, fh: int) -> bytes:
        """At most ``size`` bytes."""
        handle, scope = self._open[fh]
        if self._rules.active:
            self._rules.before("read", scope, size)
        return handle.read(size, offset)

    def write(self, _path: str, data: bytes, offset: int, fh: int) -> int:
        """Bytes written."""
        handle, scope = self._open[fh]
        if self._rules.active:
            self._rules.before("write", scope, len(data))
        try:
            return self._backing.write(handle, data, offset)
        except OSError:
            self._rules.count_failure()
            raise

    def fsync(self, _path: str, datasync: int, fh: int) -> int:
        """To the disk for good."""
        handle, scope = self._open[fh]
        if self._rules.active:
            self._rules.before("fsync", scope, 0)
        self._backing.sync(handle, data_only=bool(datasync))
        return 0

    def truncate(self, path: str | None, length: int) -> int:
        """By name, also of an open file: mfusepy tells no more."""
        if path is None:  # its directory was removed
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        self._before("write", scope_of(path))
        handle = self._backing.open(path, os.O_RDWR)
        try:
            self._backing.truncate(handle, length)
        finally:
            self._backing.close(handle)
        return 0

    def fallocate(self, _path: str, mode: int, offset: int, size: int, fh: int) -> int:
        """Only the plain kind: etcd has another way where one is not supported."""
        if mode:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        handle, scope = self._open[fh]
        self._before("write", scope)
        self._backing.allocate(handle, offset, size)
        return 0

    # --- names ---------------------------------------------------------------------------------------------

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        """As ``stat``; times in nanoseconds."""
        found = self._backing.stat(path, None if fh is None else self._open[fh][0])
        times = {
            "st_atime": found.st_atime_ns,
            "st_mtime": found.st_mtime_ns,
            "st_ctime": found.st_ctime_ns,
        }
        return {name: getattr(found, name) for name in _ATTRIBUTES} | times

    def opendir(self, path: str) -> int:
        """A descriptor of its own: what is opened stays the same when it is renamed."""
        descriptor = self._backing.open_directory(path)
        self._scopes[descriptor] = scope_of(f"{path}/")
        return descriptor

    def releasedir(self, _path: str, fh: int) -> int:
        """The last descriptor of an open directory is closed."""
        del self._scopes[fh]
        os.close(fh)
        return 0

    def readdir(self, _path: str, fh: int) -> list[tuple[str, dict[str, int], int]]:
        """All names, each with its number: what has none is not shown."""
        return [(name, {"st_ino": inode}, 0) for name, inode in entries_of(fh)]

    def fsyncdir(self, _path: str, _datasync: int, fh: int) -> int:
        """Names to the disk for good."""
        self._before("fsync", self._scopes[fh])
        self._backing.sync_directory(fh)
        return 0

    def mkdir(self, path: str, mode: int) -> int:
        """Make a directory."""
        self._before("write", scope_of(path))
        self._backing.make_directory(path, mode)
        return 0

    def unlink(self, path: str) -> int:
        """Remove a file."""
        if self._backing.let_go(path.rpartition("/")[2]):  # nobody's call, and so under no rule
            return 0
        self._before("write", scope_of(path))
        self._backing.remove(path, is_directory=False)
        return 0

    def rmdir(self, path: str) -> int:
        """Remove a directory."""
        self._before("write", scope_of(path))
        self._backing.remove(path, is_directory=True)
        return 0

    def rename(self, old: str, new: str) -> int:
        """Move."""
        if _NAMELESS.fullmatch(name := new.rpartition("/")[2]):
            self._before("write", scope_of(old))
            self._backing.hide(old, name)
            return 0
        self._before("write", scope_of(new))
        self._backing.rename(old, new)
        return 0

    def chmod(self, path: str, mode: int) -> int:
        """Pass on."""
        self._backing.set_mode(path, mode)
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        """Pass on."""
        self._backing.set_owner(path, uid, gid)
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        """Pass on."""
        self._backing.set_times(path, times)
        return 0

    def statfs(self, _path: str) -> dict[str, int]:
        """Of the disk below, or of the room that is left."""
        found = self._backing.statvfs()
        figures = {name: getattr(found, name) for name in dir(found) if name.startswith("f_")}
        left = self._backing.blocks_left
        if left is not None:
            free = left * 4096 // found.f_frsize
            figures |= {"f_bfree": free, "f_bavail": free}
        return figures

    def _before(self, operation: Operation, scope: Scope) -> None:
        if self._rules.active:
            self._rules.before(operation, scope, 0)
