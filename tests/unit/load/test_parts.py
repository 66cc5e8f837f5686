"""Parts of a history: read as one, joined to one, at whatever moment somebody is killed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from tester.errors import LoadError
from tester.history.loading import load_history, records_of
from tester.history.parts import PartsReader, files_of, join_parts, part_of
from tester.history.records import Header, HistoryRecord, Invoke, Ok, PhaseRecord, Put

HEADER = Header(1, "r", 1, "s", 1, 0, "p/", ("m1",))


def operation(number: int, at: int, ended: int) -> list[HistoryRecord]:
    return [
        Invoke(id=number, at=at, c=number, m="m1", op=Put(k="p/k", v=f"{number}:9")),
        Ok(id=number, at=ended, rev=number + 1),
    ]


WHOLE: dict[int, list[HistoryRecord]] = {
    0: [HEADER, PhaseRecord(at=5, round=1, phase="hold"), PhaseRecord(at=25, round=1, phase="check")],
    1: [*operation(1, 1, 10), *operation(3, 12, 30)],
    2: operation(2, 4, 26),
}
TIMES = [-1, 1, 4, 5, 10, 12, 25, 26, 30]


@pytest.fixture
def history(tmp_path: Path) -> Path:
    path = tmp_path / "history.jsonl"
    for number, records in WHOLE.items():
        file = part_of(path, number) if number else path
        file.write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in records))
    return path


def times(path: Path) -> list[int]:
    return [getattr(record, "at", -1) for record in PartsReader(path).read_new()]


def test_parts_read_as_one_in_order_of_time(history: Path) -> None:
    assert times(history) == TIMES
    assert [getattr(record, "at", -1) for record in records_of(history)] == TIMES
    assert len(load_history(history).operations) == 3


def test_what_grows_is_followed_in_all_files(history: Path) -> None:
    reader = PartsReader(history)
    assert len(reader.read_new()) == 9
    with part_of(history, 2).open("ab") as file:
        file.write(msgspec.json.encode(operation(7, 40, 41)[0]) + b"\n" + b'{"torn')
    assert [record.at for record in reader.read_new() if isinstance(record, Invoke)] == [40]


def test_joined_they_are_one_file(history: Path) -> None:
    with part_of(history, 1).open("ab") as file:
        file.write(b'{"t":"inv')  # of a worker that was killed
    join_parts(history)
    assert [path.name for path in history.parent.iterdir()] == ["history.jsonl"]
    assert times(history) == TIMES
    join_parts(history)
    assert times(history) == TIMES


@pytest.mark.parametrize("step", ["replace", "unlink"])
def test_killed_while_joining_nothing_is_lost_or_doubled(
    history: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    class KilledError(BaseException):
        pass

    real = getattr(Path, step)
    for survived in range(3):
        done = 0

        def dies(path: Path, *arguments: Path) -> object:
            nonlocal done
            if done == survived:  # noqa: B023 - called within this turn
                raise KilledError
            done += 1
            return real(path, *arguments)

        monkeypatch.setattr(Path, step, dies)
        with suppress(KilledError):
            join_parts(history)
        monkeypatch.undo()
        assert times(history) == TIMES
    join_parts(history)
    assert files_of(history) == (history,)
    assert times(history) == TIMES


def test_a_full_disk_leaves_the_parts(history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(LoadError, match="No space left"):
        join_parts(history)
    monkeypatch.undo()
    assert times(history) == TIMES
