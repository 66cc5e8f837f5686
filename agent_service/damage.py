"""Damages a file of a member that does not run, so that it can be put back, byte for byte.

What is put back is written down, and on disk, before anything is changed. It is only put back into a file that nobody
has changed since: a member that ran on it has moved on, and must never be sent back in time.

The files lie in directories of etcd's user, who may have put links there: none is followed (``beneath``), and only
files of that user are touched.
"""

from __future__ import annotations

import errno
import os
import random
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from agent_service import beneath
from agent_service.durable import remove_durably, write_durably
from agent_service.errors import FaultFailedError, RefusedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_META_PAGES: Final = 2
_PAGE: Final = 4096
_META_TRANSACTION: Final = 64
"""Offset in a meta page of bbolt of what its checksum covers; both pages must be wrong, or the other one is used."""
_LENGTH_BYTES: Final = 8
_LENGTH_MASK: Final = (1 << 56) - 1
_FEWEST_RECORDS: Final = 3
_SNAPSHOT_HEAD: Final = 16
"""A checksum and a length come before what they are about."""
_MOST_BYTES: Final = 2 << 30
"""More is not read into memory: etcd's own limit for a store is that, unless it is raised."""
_BROKEN: Final = ".broken"
"""What etcd appends to the name of a snapshot that it cannot read."""


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


@contextmanager
def _told(what: str) -> Iterator[None]:
    """A disk that fails is no defect of the agent's."""
    try:
        yield
    except OSError as error:
        raise UnavailableError(f"{what}: {error.strerror}") from error


@_told("cannot damage the file")
def inflict(record: Path, place: Place, file: str, damage: str, seed: int) -> None:
    """Damage the newest log (``wal``), the newest snapshot (``snap``) or the store (``db``) once.

    ``record`` says how to undo it.

    Raises:
        FaultFailedError: there is no such file, or too little in it.
        RefusedError: a link is in its place, or what is somebody else's.
        UnavailableError: it cannot be written down, or the disk does not give or take it.
    """
    if read(record) is not None:
        return
    directory = "wal" if file == "wal" else "snap"
    with place.opened(directory) as above:
        name = "db" if file == "db" else _newest(above, f".{file}", place.data)
        with place.file(above, directory, name) as descriptor:
            size = os.fstat(descriptor).st_size
            if size > _MOST_BYTES:
                raise FaultFailedError(f"{name} has {size} bytes: too much to keep")
            match file:
                case "wal":
                    planned = _in_log(descriptor, size, damage, random.Random(seed))  # noqa: S311 - no secret
                case "snap":
                    planned = _in_snapshot(descriptor, size, damage, random.Random(seed))  # noqa: S311 - no secret
                case _:
                    planned = _in_store(descriptor, size, damage)
            made = Damage(str(place.data / "member" / directory / name), size, *planned)
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


def objection(record: Path, roots: Sequence[Path]) -> str | None:
    """What speaks against the file's being damaged as it was meant."""
    damage = read(record)
    if damage is None or not damage.changed_ns:
        return "nothing was damaged"
    with _opened(damage, roots) as descriptor:
        found = os.fstat(descriptor)
        if found.st_size != damage.damaged_size:
            return f"{damage.path} has {found.st_size} bytes instead of {damage.damaged_size}"
        if damage.damaged_size == damage.size:
            for edit in damage.edits:
                if os.pread(descriptor, len(edit.original), edit.offset) != _flipped(edit.original):
                    return f"{damage.path} is whole at byte {edit.offset}"
    return None


@_told("cannot put the file back")
def put_back(record: Path, roots: Sequence[Path]) -> None:
    """Make the file what it was, and forget the damage. Safe to repeat.

    Raises:
        FaultFailedError: somebody has changed the file since, or it is not there.
        RefusedError: a link is in its place, or what is somebody else's.
        UnavailableError: the disk does not take it.
    """
    damage = read(record)
    if damage is None:
        return
    _named_again(damage, roots)
    with _opened(damage, roots) as descriptor:
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


@dataclass(frozen=True, slots=True)
class Place:
    """Where a member's data are: ``data`` lies below one of ``roots``."""

    data: Path
    roots: Sequence[Path]

    @contextmanager
    def opened(self, directory: str) -> Iterator[int]:
        """One of etcd's directories; its owner is whose files are touched."""
        root = beneath.root_of(self.data, self.roots)
        if root is None:
            raise RefusedError(f"{self.data} does not lie under the agent's data roots")
        names = (*self.data.relative_to(root).parts, "member", directory)
        try:
            descriptor = beneath.open_directory(root, *names)
        except OSError as error:
            raise _cannot_open(Path(str(error.filename)), error) from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def file(self, above: int, directory: str, name: str) -> Iterator[int]:
        """A file there, to be read and written."""
        try:
            descriptor = beneath.open_file(name, os.O_RDWR, above=above, owner=os.fstat(above).st_uid)
        except OSError as error:
            raise _cannot_open(self.data / "member" / directory / name, error) from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _cannot_open(path: Path, error: OSError) -> FaultFailedError | RefusedError:
    if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.EINVAL, errno.EPERM}:
        why = "a link is in its place" if error.errno == errno.ELOOP else error.strerror
        return RefusedError(
            f"{path} is not touched: {why}", remedy="see who put it there; etcd's files are of etcd's user"
        )
    return FaultFailedError(f"cannot open {path}: {error.strerror}")


def _found(damage: Damage, roots: Sequence[Path]) -> tuple[Place, str, str]:
    """Where the damaged file is, its directory and its name."""
    path = Path(damage.path)
    return Place(path.parents[2], roots), path.parent.name, path.name


@contextmanager
def _opened(damage: Damage, roots: Sequence[Path]) -> Iterator[int]:
    place, directory, name = _found(damage, roots)
    with place.opened(directory) as above, place.file(above, directory, name) as descriptor:
        yield descriptor


def _named_again(damage: Damage, roots: Sequence[Path]) -> None:
    """Give a snapshot its name back that etcd has set aside when it could not read it."""
    place, directory, name = _found(damage, roots)
    with place.opened(directory) as above:
        if name not in (names := beneath.names(above)) and name + _BROKEN in names:
            os.rename(name + _BROKEN, name, src_dir_fd=above, dst_dir_fd=above)


def _newest(above: int, suffix: str, data: Path) -> str:
    names = sorted(name for name in beneath.names(above) if name.endswith(suffix))
    if names:
        return names[-1]
    if suffix == ".snap":
        raise FaultFailedError(
            f"there is no snapshot under {data}",
            remedy='write more than cluster.flags says in snapshot-count first, or set that lower: "100"',
        )
    raise FaultFailedError(f"there is no log under {data}", remedy="let the member run first")


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


def _in_snapshot(
    descriptor: int, size: int, damage: str, chance: random.Random
) -> tuple[int, tuple[Edit, ...]]:
    """Anywhere in what the checksum is about, or its second half cut off."""
    if size <= _SNAPSHOT_HEAD:
        raise FaultFailedError(f"there are only {size} bytes in the snapshot", remedy="write more first")
    if damage == "bit-flip":
        offset = chance.randrange(_SNAPSHOT_HEAD, size)
        return size, (Edit(offset, os.pread(descriptor, 1, offset)),)
    cut = max(_SNAPSHOT_HEAD, size // 2)
    return cut, (Edit(cut, os.pread(descriptor, size - cut, cut)),)


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
