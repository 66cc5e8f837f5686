import asyncio
import errno
import os
from pathlib import Path

import msgspec
import pytest

from tester.errors import LoadError
from tester.history.reader import HistoryFormatError, HistoryReader, read_history
from tester.history.records import FORMAT_VERSION, Fail, Header, HistoryRecord, Invoke, Ok, Put, Range
from tester.history.writer import HistoryWriter

RECORDS: list[HistoryRecord] = [
    Invoke(id=1, at=10, c=0, m="m1", op=Put(k="a", v="1:20")),
    Ok(id=1, at=20, rev=2, term=1),
    Invoke(id=2, at=30, c=1, m="m2", op=Range(k="ä", e="b")),
    Fail(id=2, at=40, error="UNAVAILABLE", text='etcdserver: "no leader"\n'),
]


async def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    writer = HistoryWriter(path)
    for record in RECORDS:
        writer.write(record)
    await writer.close()
    await writer.close()
    assert list(read_history(path)) == RECORDS


def test_without_a_loop_a_record_is_in_the_file_at_once(tmp_path: Path) -> None:
    writer = HistoryWriter(tmp_path / "h.jsonl")
    writer.write(RECORDS[0])
    assert list(read_history(tmp_path / "h.jsonl")) == RECORDS[:1]
    asyncio.run(writer.close())


async def test_records_of_a_turn_are_in_the_file_before_what_the_turn_scheduled(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    writer = HistoryWriter(path)
    seen: list[int] = []

    async def client(number: int) -> None:
        writer.write(Invoke(id=number, at=0, c=number, m="m", op=Range(k="k")))
        asyncio.get_running_loop().call_soon(lambda: seen.append(on_disk(number)))
        await asyncio.sleep(0)

    def on_disk(number: int) -> int:
        return sum(isinstance(r, Invoke) and r.id == number for r in read_history(path))

    await asyncio.gather(*(client(number) for number in range(50)))
    await asyncio.sleep(0)
    assert seen == [1] * 50
    await writer.close()


async def test_a_reader_follows_a_growing_file(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    writer = HistoryWriter(path)
    reader = HistoryReader(path)
    assert reader.read_new() == []
    for record in RECORDS:
        writer.write(record)
        writer.flush()
        assert reader.read_new() == [record]
    await writer.close()
    assert reader.read_new() == []


async def test_a_torn_last_line_is_left_until_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    writer = HistoryWriter(path)
    for record in RECORDS:
        writer.write(record)
    await writer.close()
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for cut in range(last, len(whole)):
        path.write_bytes(whole[:cut])
        reader = HistoryReader(path)
        assert reader.read_new() == RECORDS[:-1]
        path.write_bytes(whole)
        assert reader.read_new() == RECORDS[-1:]


@pytest.mark.parametrize(
    "bad",
    [b"{}\n", b"not json\n", b'{"t":"ok","id":"x"}\n', b'{"t":"news"}\n', b"\xff\xfe\n", b"\n", b"\0\0\n"],
)
def test_a_bad_line_is_named(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "h.jsonl"
    good = b'{"t":"ok","id":1,"at":2,"rev":3}\n'
    path.write_bytes(good + bad + good)
    with pytest.raises(HistoryFormatError) as raised:
        list(read_history(path))
    assert raised.value.line == 2
    assert str(raised.value).startswith(f"{path}:2:")


def test_a_history_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "h.jsonl").write_text("precious")
    with pytest.raises(LoadError, match="cannot create"):
        HistoryWriter(tmp_path / "h.jsonl")


async def test_a_full_disk_is_said_and_leaves_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "h.jsonl"
    writer = HistoryWriter(path)
    writer.write(RECORDS[0])
    writer.flush()
    write = os.write
    room = [7]

    def full(fd: int, data: bytes) -> int:
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data[: room.pop()])

    monkeypatch.setattr(os, "write", full)
    writer.write(RECORDS[1])
    writer.flush()
    monkeypatch.undo()
    with pytest.raises(LoadError, match="No space left") as raised:
        writer.write(RECORDS[2])
    assert "free space" in (raised.value.remedy or "")
    with pytest.raises(LoadError):
        writer.check()
    with pytest.raises(LoadError):
        await writer.close()
    assert path.read_bytes().endswith(b"\n")
    assert list(read_history(path)) == RECORDS[:1]


@pytest.mark.parametrize("version", [0, FORMAT_VERSION + 1])
def test_a_version_that_nobody_knows_is_refused(tmp_path: Path, version: int) -> None:
    path = tmp_path / "history.jsonl"
    header = msgspec.to_builtins(Header(FORMAT_VERSION, "run", 1, "test", 7, 0, "k", ("m1",)))
    path.write_bytes(msgspec.json.encode(header | {"version": version}) + b"\n")
    with pytest.raises(HistoryFormatError, match=f":1: version {version} of the format"):
        list(read_history(path))
