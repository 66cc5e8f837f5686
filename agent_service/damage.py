"""Damages a file of a member that does not run, so that it can be put back, byte for byte.

What is put back is written down, and on disk, before anything is changed. It is only put back into a file that nobody
has changed since: a member that ran on it has moved on, and must never be sent back in time.
"""

from __future__ import annotations

import os
import random
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from agent_service.durable import remove_durably, write_durably
from agent_service.errors import FaultFailedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

_META_PAGES: Final = 2
_PAGE: Final = 4096
_META_TRANSACTION: Final = 64
"""Offset in a meta page of bbolt of what its checksum covers; both pages must be wrong, or the other one is used."""
_LENGTH_BYTES: Final = 8
_LENGTH_MASK: Final = (1 << 56) - 1
_FEWEST_RECORDS: Final = 3


class Edit(msgspec.Struct, frozen=True):
    """``original`` is what lay at ``offset``."""

    offset: int
    original: bytes


class Damage(msgspec.Struct, frozen=True):
    """What was done to a file; ``changed_ns`` is its time of change after that, 0 until it is done."""

    path: str
    size: int
    damaged_size: int
    edits: tuple[Edit, ...]
    changed_ns: int = 0


def inflict(record: Path, data: Path, file: str, damage: str, seed: int) -> None:
    """Damage the newest log (``wal``) or the store (``db``) under ``data`` once; ``record`` says how to undo it.

    Raises:
        FaultFailedError: there is no such file, or too little in it.
        UnavailableError: it cannot be written down.
    """
    if read(record) is not None:
        return
    path = _newest_log(data) if file == "wal" else data / "member" / "snap" / "db"
    with _opened(path) as descriptor:
        size = os.fstat(descriptor).st_size
        if file == "wal":
            planned = _in_log(descriptor, size, damage, random.Random(seed))  # noqa: S311 - no secret
        else:
            planned = _in_store(descriptor, size, damage)
        made = Damage(str(path), size, *planned)
        record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(record, msgspec.json.encode(made))
        if made.damaged_size < size:
            os.ftruncate(descriptor, made.damaged_size)
        else:
            for edit in made.edits:
                os.pwrite(descriptor, _flipped(edit.original), edit.offset)
        os.fsync(descriptor)
        changed = os.fstat(descriptor).st_mtime_ns
    write_durably(record, msgspec.json.encode(msgspec.structs.replace(made, changed_ns=changed)))


def read(record: Path) -> Damage | None:
    """What was done; ``None``: nothing that is left to undo."""
    try:
        return msgspec.json.decode(record.read_bytes(), type=Damage)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise UnavailableError(f"cannot read {record}: {error}") from error


def objection(record: Path) -> str | None:
    """What speaks against the file's being damaged as it was meant."""
    damage = read(record)
    if damage is None or not damage.changed_ns:
        return "nothing was damaged"
    with _opened(Path(damage.path)) as descriptor:
        found = os.fstat(descriptor)
        if found.st_size != damage.damaged_size:
            return f"{damage.path} has {found.st_size} bytes instead of {damage.damaged_size}"
        if damage.damaged_size == damage.size:
            for edit in damage.edits:
                if os.pread(descriptor, len(edit.original), edit.offset) != _flipped(edit.original):
                    return f"{damage.path} is whole at byte {edit.offset}"
    return None


def put_back(record: Path) -> None:
    """Make the file what it was, and forget the damage. Safe to repeat.

    Raises:
        FaultFailedError: somebody has changed the file since.
    """
    damage = read(record)
    if damage is None:
        return
    with _opened(Path(damage.path)) as descriptor:
        if damage.changed_ns and os.fstat(descriptor).st_mtime_ns != damage.changed_ns:
            raise FaultFailedError(
                f"{damage.path} has changed since it was damaged: it is not put back",
                remedy=f"see whether etcd needs it; what lay there is in {record}",
            )
        # From here on it is ours to finish, also after a crash.
        write_durably(record, msgspec.json.encode(msgspec.structs.replace(damage, changed_ns=0)))
        for edit in damage.edits:
            os.pwrite(descriptor, edit.original, edit.offset)
        os.ftruncate(descriptor, damage.size)
        os.fsync(descriptor)
    forget(record)


def forget(record: Path) -> None:
    """The member lives with it: nothing will be put back."""
    if record.exists():
        remove_durably(record)
        with suppress(OSError):  # of another fault there still is one in it
            record.parent.rmdir()


def _newest_log(data: Path) -> Path:
    logs = sorted((data / "member" / "wal").glob("*.wal"))
    if not logs:
        raise FaultFailedError(f"there is no log under {data}", remedy="let the member run first")
    return logs[-1]


def _in_log(descriptor: int, size: int, damage: str, chance: random.Random) -> tuple[int, tuple[Edit, ...]]:
    """In the middle of a record that others follow, or the end cut off within the last one."""
    records = _records(descriptor, size)
    if len(records) < _FEWEST_RECORDS:
        raise FaultFailedError(f"there are only {len(records)} records in the log", remedy="write more first")
    if damage == "bit-flip":
        begin, end = chance.choice(records[1:-1])
        offset = (begin + _LENGTH_BYTES + end) // 2
        return size, (Edit(offset, os.pread(descriptor, 1, offset)),)
    begin, end = records[-1]
    cut = (begin + _LENGTH_BYTES + end) // 2
    return cut, (Edit(cut, os.pread(descriptor, end - cut, cut)),)  # behind it there are only zeros


def _in_store(descriptor: int, size: int, damage: str) -> tuple[int, tuple[Edit, ...]]:
    """In both meta pages, or all but the first page cut off."""
    if size <= _META_PAGES * _PAGE:
        raise FaultFailedError(f"there are only {size} bytes in the store", remedy="write more first")
    if damage == "bit-flip":
        offsets = [page * _PAGE + _META_TRANSACTION for page in range(_META_PAGES)]
        return size, tuple(Edit(offset, os.pread(descriptor, 1, offset)) for offset in offsets)
    rest = b"".join(os.pread(descriptor, 1 << 20, offset) for offset in range(_PAGE, size, 1 << 20))
    return _PAGE, (Edit(_PAGE, rest[: size - _PAGE].rstrip(b"\0")),)


def _records(descriptor: int, size: int) -> list[tuple[int, int]]:
    """Begin and end of each record: a length of 56 bits and 3 of padding, and so many bytes; zeros are the end."""
    found, offset = [], 0
    while offset + _LENGTH_BYTES <= size:
        length = int.from_bytes(os.pread(descriptor, _LENGTH_BYTES, offset), "little")
        if not length:
            break
        padding = length >> 56 & 0x7 if length >> 63 else 0
        end = offset + _LENGTH_BYTES + (length & _LENGTH_MASK) + padding
        if end > size:
            break
        found.append((offset, end))
        offset = end
    return found


def _flipped(original: bytes) -> bytes:
    return bytes([original[0] ^ 1]) + original[1:]


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise FaultFailedError(f"cannot open {path}: {error.strerror}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)
