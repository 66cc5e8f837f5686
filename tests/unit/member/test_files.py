from __future__ import annotations

import errno
import os
import resource
from typing import TYPE_CHECKING

import pytest

from agent_service.durable import write_durably
from agent_service.errors import UnavailableError
from agent_service.logfile import MAX_LINE_CHARACTERS, dying_words, first_line, last_lines, log_size
from agent_service.statelock import StateLock

if TYPE_CHECKING:
    from pathlib import Path


def test_a_write_replaces_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_durably(path, b"one, longer")
    write_durably(path, b"two")
    assert path.read_bytes() == b"two"
    assert [found.name for found in tmp_path.iterdir()] == ["f"], "no temporary file stays"


def test_a_disk_that_does_not_take_it(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"cannot write .*No such file"):
        write_durably(tmp_path / "missing" / "f", b"x")
    path = tmp_path / "f"
    write_durably(path, b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(UnavailableError, match="cannot write"):
            write_durably(path, b"much too much")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"old"


def test_lines_from_the_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_lines(log, 5) == ()
    assert first_line(log, since=0) == ""
    assert log_size(log) == 0
    log.write_bytes(b"old\n" + b"".join(b"line %d\n" % number for number in range(100)) + b"\xff torn")
    assert last_lines(log, 2) == ("line 99", "\ufffd torn")
    assert last_lines(log, 1000, since=4)[0] == "line 0"
    assert first_line(log, since=4) == "line 0"
    assert last_lines(log, 0) == ()
    assert last_lines(log, 5, since=10_000) == (), "the log was moved away meanwhile"


@pytest.mark.parametrize(
    "why", ["panic: freepages: failed to get all", '{"level":"fatal","msg":"discovery failed"}']
)
def test_why_a_program_gave_up_is_found_before_its_stacks(tmp_path: Path, why: str) -> None:
    log = tmp_path / "member.log"
    earlier = "panic: of an earlier start\n"
    stacks = "\n".join(["goroutine 1 [running]:", "main.main()"] * 1000)
    log.write_text(f'{earlier}{{"level":"info"}}\n{why}\n{stacks}\n')
    assert dying_words(log, since=len(earlier)) == why
    log.write_text(f'{earlier}{{"level":"info","panic: ":1}}\n')
    assert dying_words(log, since=len(earlier)) == ""
    assert dying_words(tmp_path / "missing") == ""


def test_a_huge_log_is_read_in_bounded_pieces(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes((b"x" * 9_999 + b"\n") * 300)
    lines = last_lines(log, 10_000)
    assert len(lines) < 110
    assert {len(line) for line in lines} == {MAX_LINE_CHARACTERS}


async def test_one_owner_at_a_time(tmp_path: Path) -> None:
    first, second = StateLock(tmp_path), StateLock(tmp_path)
    await first.acquire(0)
    await first.acquire(0)
    with pytest.raises(UnavailableError, match=f"in use by process {os.getpid()}"):
        await second.acquire(0.1)
    first.release()
    first.release()
    await second.acquire(0)
    second.release()


async def test_a_lock_on_a_read_only_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = StateLock(tmp_path)
    await first.acquire(0)
    first.release()
    real = os.open

    def read_only(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & (os.O_RDWR | os.O_WRONLY | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", read_only)
    await first.acquire(0)
    with pytest.raises(UnavailableError, match="in use by process"):
        await StateLock(tmp_path).acquire(0)
    first.release()


def test_a_write_does_not_wait_for_what_lies_in_its_way(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".f.new")
    write_durably(tmp_path / "f", b"one")
    assert (tmp_path / "f").read_bytes() == b"one"
    assert [found.name for found in tmp_path.iterdir()] == ["f"]
