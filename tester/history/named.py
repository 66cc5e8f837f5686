"""A file that somebody named as a history: whether it is one at all, and what of its end is left out."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from tester.errors import UsageError
from tester.history.parts import files_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

_FORMAT: Final = "docs/history.md describes the formats"

_BEGINNINGS: Final = (
    (b"\x1f\x8b", "is compressed by gzip", "unpack it first: gunzip"),
    (b"\x28\xb5\x2f\xfd", "is compressed by zstd", "unpack it first: unzstd"),
    (b"PAR1", "is one file of a history in Parquet", "name the directory that it is in"),
    (b"\xef\xbb\xbf", "begins with a byte order mark", "save it as UTF-8 without one"),
    (b"\xff\xfe", "is UTF-16", "save it as UTF-8 without a byte order mark"),
)
"""What files that are no history begin with, what they are, and what to do about it."""

_CHUNK_BYTES: Final = 1 << 16


def refuse_other_files(path: Path) -> None:
    """See that a file can be a history; a directory is looked at by whoever reads it.

    A file of a run that goes on, or whose tester was killed, can: it has its header, and perhaps a torn end.

    Raises:
        UsageError: it is no file, packed, of another encoding, or holds no whole record.
        OSError: it cannot be read.
    """
    if path.is_dir():
        return
    if not path.is_file():
        raise UsageError(f"{path} is no file", remedy="save what it gives, and name that")
    with path.open("rb") as file:
        beginning = file.read(_CHUNK_BYTES)
        for magic, what, remedy in _BEGINNINGS:
            if beginning.startswith(magic):
                raise UsageError(f"{path} {what}", remedy=remedy)
        if not beginning:
            raise UsageError(f"{path} is empty: it holds no record", remedy=_FORMAT)
        if path.suffix != ".edn" and not _has_line(beginning, file):
            raise UsageError(f"{path} holds no record: no newline ends its only line", remedy=_FORMAT)


def torn_ends(path: Path) -> Iterator[str]:
    """What readers leave out of a history, file by file: a line that no newline ends.

    Raises:
        OSError: it cannot be read.
    """
    if path.is_dir() or path.suffix == ".edn":
        return
    for file in files_of(path):
        if size := _torn_bytes(file):
            yield f"{file}: the last {size} bytes, which no newline ends, are left out"


def _has_line(beginning: bytes, file: BinaryIO) -> bool:
    while beginning and b"\n" not in beginning:
        beginning = file.read(_CHUNK_BYTES)
    return bool(beginning)


def _torn_bytes(path: Path) -> int:
    with path.open("rb") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end:
            begin = max(0, end - _CHUNK_BYTES)
            file.seek(begin)
            if newline := file.read(end - begin).rfind(b"\n") + 1:
                return size - begin - newline
            end = begin
    return size
