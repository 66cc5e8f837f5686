"""Looks through the layer whether it does what it should: on files of its own beside etcd's, in threads.

Nothing here may touch a file that the member has.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, assert_never

from agent_service.disk.messages import Delay, Fail, Full, Throttle
from agent_service.disk.unsynced import BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent_service.disk.messages import AnyRule, Operation, Scope

FOLDER: Final = ".etcd-chaos-probe"
_WHERE: Final[dict[Scope, str]] = {"wal": "wal", "db": "snap", "all": "other"}
"""Directories whose names make a layer take what is in them for such files."""
_ROOM: Final = "room"
_KEPT: Final = "kept"
_LOST: Final = "lost"
_CHUNK: Final = 64 * 1024
_MAKING: Final = threading.Lock()


def prepare(mount: Path) -> None:
    """Make the files, while it still is easy. Those that another fault has needed are there: nothing is written."""
    with _MAKING:  # or one fault would still be making what another, which fills the disk, has made
        for scope, directory in _WHERE.items():
            if not _is_long(_file(mount, scope), BLOCK):
                (mount / FOLDER / directory).mkdir(parents=True, exist_ok=True)
                _file(mount, scope).write_bytes(bytes(BLOCK))
        if not _is_long(mount / FOLDER / _ROOM, 0):
            (mount / FOLDER / _ROOM).write_bytes(b"")


def _is_long(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def remove(mount: Path) -> None:
    """Remove them all. Safe to repeat."""
    folder = mount / FOLDER
    if folder.is_dir():
        shutil.rmtree(folder)


def objection(mount: Path, rule: AnyRule) -> str | None:
    """What speaks against the rule's being in effect; ``None``: it is felt."""
    match rule:
        case Delay():
            return _not_delayed(mount, rule)
        case Fail():
            return _not_failing(mount, rule)
        case Full():
            return _not_full(mount / FOLDER / _ROOM, rule)
        case Throttle():
            return _not_throttled(_file(mount, "all"), rule)
    assert_never(rule)


def trouble(mount: Path) -> str | None:
    """What a write and a sync of every kind of file meet; ``None``: nothing."""
    try:
        prepare(mount)
        for scope in _WHERE:
            _do("write", _file(mount, scope))
            _do("fsync", _file(mount, scope))
    except OSError as error:
        return f"{error.filename or mount}: {error.strerror}"
    return None


def write_markers(mount: Path) -> None:
    """Two files, of which one is synced, with the directories above."""
    folder = mount / FOLDER
    folder.mkdir(exist_ok=True)
    for directory in (mount, folder):
        _sync(directory)
    for name in (_KEPT, _LOST):
        (folder / name).write_bytes(name.encode())
    _sync(folder / _KEPT)


def marker_objection(mount: Path) -> str | None:
    """What speaks against the loss of what was not synced, and of nothing else."""
    folder = mount / FOLDER
    if not (folder / _KEPT).is_file() or (folder / _KEPT).read_bytes() != _KEPT.encode():
        return "a file that was synced is not there"
    if (folder / _LOST).exists():
        return "a file that was not synced is still there"
    return None


def _file(mount: Path, scope: Scope) -> Path:
    return mount / FOLDER / _WHERE[scope] / "file"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    # Opened anew each time: that makes the kernel forget what it has of the file.
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _do(operation: Operation, path: Path, size: int = BLOCK) -> float:
    """Seconds that it took; raises ``OSError``."""
    with _opened(path) as descriptor:
        begin = time.monotonic()
        match operation:
            case "read":
                os.pread(descriptor, size, 0)
            case "write":
                os.pwrite(descriptor, bytes(size), 0)
            case "fsync":
                os.fsync(descriptor)
            case _:
                assert_never(operation)
        return time.monotonic() - begin


def _took(operation: Operation, path: Path, size: int = BLOCK) -> float:
    """Seconds that it took, also where another fault makes it fail in the end."""
    begin = time.monotonic()
    try:
        return _do(operation, path, size)
    except OSError as error:
        if error.errno in {errno.EIO, errno.ENOSPC}:
            return time.monotonic() - begin
        raise


def _not_delayed(mount: Path, rule: Delay) -> str | None:
    path = _file(mount, rule.scope)
    with ThreadPoolExecutor(len(rule.operations)) as pool:
        measured = pool.map(lambda operation: (operation, _took(operation, path)), rule.operations)
        for operation, took in measured:
            if took < rule.least_seconds:
                return f"{operation} of a {rule.scope} file took {took:.4f} s, not {rule.least_seconds:g} s"
    return None


def _not_failing(mount: Path, rule: Fail) -> str | None:
    for operation in rule.operations:
        try:
            _do(operation, _file(mount, rule.scope))
        except OSError as error:
            if error.errno == errno.EIO:
                continue
            raise
        return f"{operation} of a {rule.scope} file succeeded"
    return None


def _not_full(path: Path, rule: Full) -> str | None:
    with _opened(path) as descriptor:
        try:
            if rule.room_bytes < BLOCK:
                os.pwrite(descriptor, b"x", 0)
            else:
                os.posix_fallocate(descriptor, 0, rule.room_bytes + BLOCK)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                return None
            raise
        finally:
            os.ftruncate(descriptor, 0)
    return f"there was room for more than {rule.room_bytes} bytes"


def _not_throttled(path: Path, rule: Throttle) -> str | None:
    per_second = rule.bytes_per_second
    size = min(_CHUNK, per_second // 10 + 1) if per_second else BLOCK
    least = max(
        size / per_second if per_second else 0.0,
        1 / rule.operations_per_second if rule.operations_per_second else 0.0,
    )
    took = _took("write", path, size)
    return f"a write of {size} bytes took {took:.4f} s, not {least:.4f} s" if took < least else None
