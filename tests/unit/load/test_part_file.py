"""A load host's part of the history on a disk that fills up."""

from __future__ import annotations

import resource
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tester.errors import LoadError
from tester.history.parts import PartsReader, join_parts, part_of
from tester.history.records import HistoryRecord, Invoke, Ok, Put
from tester.load.hosts.partfile import PartFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def records(first: int, end: int) -> list[HistoryRecord]:
    return [
        one for n in range(first, end) for one in (Invoke(n, n, 1, "m1", Put("k", f"{n}:9")), Ok(n, n, n + 1))
    ]


@contextmanager
def full_after(more: int, path: Path) -> Iterator[None]:
    """No file of this process grows beyond ``more`` bytes behind the end of this one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("more", [0, 1000])
def test_a_part_that_could_not_be_written_ends_with_a_whole_line(tmp_path: Path, more: int) -> None:
    history = tmp_path / "history.jsonl"
    history.touch()
    path = part_of(history, 1)
    part = PartFile(path)
    part.create()
    part.append(records(1, 100))
    with full_after(more, path), pytest.raises(LoadError, match="cannot be written: File too large") as first:
        part.append(records(100, 300))
    assert "free space" in (first.value.remedy or "")
    with pytest.raises(LoadError) as again:
        part.append(records(300, 310))  # there would be room again
    assert again.value is first.value
    assert PartsReader(history).read_new() == records(1, 100)
    join_parts(history)
    assert PartsReader(history).read_new() == records(1, 100)


def test_a_part_takes_everything_in_order(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    part = PartFile(path)
    part.create()
    for first in range(1, 50, 7):
        part.append(records(first, first + 7))
        part.append([])
    assert PartsReader(path).read_new() == records(1, 50)
    with pytest.raises(FileExistsError):
        part.create()
