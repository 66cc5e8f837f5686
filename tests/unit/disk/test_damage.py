"""Damage to files that look like etcd's: what is changed, that it comes back, and when it must not."""

from __future__ import annotations

import errno
import os
import shutil
import struct
from typing import TYPE_CHECKING

import pytest

from agent_service import damage
from agent_service.errors import FaultFailedError, RefusedError, UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

PAGE = 4096


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A log of ten records that was allocated in advance, an older one, and a store of four pages."""
    log = b"".join(struct.pack("<q", 24) + bytes([number]) * 24 for number in range(1, 11))
    wal, snap = tmp_path / "d/member/wal", tmp_path / "d/member/snap"
    wal.mkdir(parents=True)
    snap.mkdir()
    (wal / "0000-00.wal").write_bytes(b"older")
    (wal / "0001-0a.wal").write_bytes(log + bytes(100_000))
    (snap / "0001-05.snap").write_bytes(bytes(100))
    (snap / "0001-0a.snap").write_bytes(bytes(range(200)))
    (snap / "0009.snap.db").write_bytes(b"not a snapshot")
    (snap / "db").write_bytes(b"".join(bytes([number]) * PAGE for number in range(1, 5)))
    return tmp_path / "d"


def place(data: Path) -> damage.Place:
    return damage.Place(data, [data.parent])


def everything(data: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in data.rglob("*") if path.is_file()}


@pytest.mark.parametrize("file", ["wal", "db", "snap"])
@pytest.mark.parametrize("how", ["bit-flip", "truncate"])
def test_one_file_changes_and_comes_back(data: Path, tmp_path: Path, file: str, how: str) -> None:
    record, before = tmp_path / "records/f.json", everything(data)
    assert damage.objection(record, [tmp_path]) == "nothing was damaged"
    damage.inflict(record, place(data), file, how, 1)
    damaged = everything(data)
    name = {"wal": "0001-0a.wal", "snap": "0001-0a.snap", "db": "db"}[file]
    assert {other for other in before if before[other] != damaged[other]} == {name}
    assert (len(damaged[name]) < len(before[name])) is (how == "truncate")
    assert damage.objection(record, [tmp_path]) is None
    damage.inflict(record, place(data), file, how, 2)
    assert everything(data) == damaged, "once"
    damage.put_back(record, [tmp_path])
    assert everything(data) == before
    assert not record.parent.exists(), "the agent's own files are as before, too"
    assert damage.read(record) is None
    damage.put_back(record, [tmp_path])
    assert everything(data) == before


def test_a_disk_that_fails_is_no_defect_of_the_agents(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, before = tmp_path / "record.json", everything(data)
    damage.inflict(record, place(data), "wal", "bit-flip", 1)

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", broken)
        with pytest.raises(UnavailableError, match="cannot put the file back: Input/output error"):
            damage.put_back(record, (data.parent,))
        assert damage.read(record) is not None, "it still is to be undone"
        with pytest.raises(UnavailableError, match="cannot damage the file: Input/output error"):
            damage.inflict(tmp_path / "another.json", place(data), "db", "bit-flip", 1)
    damage.put_back(record, [data.parent])
    assert everything(data) == before


def test_a_bit_flips_between_the_first_and_the_last_record(data: Path, tmp_path: Path) -> None:
    for seed in range(20):
        damage.inflict(tmp_path / "f.json", place(data), "wal", "bit-flip", seed)
        made = damage.read(tmp_path / "f.json")
        assert made is not None
        assert 32 + 8 <= made.edits[0].offset < 9 * 32
        damage.put_back(tmp_path / "f.json", [tmp_path])


def test_the_log_ends_within_its_last_record(data: Path, tmp_path: Path) -> None:
    damage.inflict(tmp_path / "f.json", place(data), "wal", "truncate", 1)
    assert 9 * 32 + 8 < (data / "member/wal/0001-0a.wal").stat().st_size < 10 * 32


def test_what_has_changed_since_is_not_put_back(data: Path, tmp_path: Path) -> None:
    record, path = tmp_path / "f.json", data / "member/snap/db"
    damage.inflict(record, place(data), "db", "bit-flip", 1)
    with path.open("r+b") as file:
        file.write(b"etcd went on")
    os.utime(path, ns=(1, 1))
    after = path.read_bytes()
    with pytest.raises(FaultFailedError, match="has changed since it was damaged"):
        damage.put_back(record, [tmp_path])
    assert path.read_bytes() == after
    assert damage.read(record) is not None


def test_damage_that_is_gone_is_no_effect(data: Path, tmp_path: Path) -> None:
    path = data / "member/snap/db"
    before = path.read_bytes()
    damage.inflict(tmp_path / "f.json", place(data), "db", "bit-flip", 1)
    path.write_bytes(before)
    assert "is whole at byte" in str(damage.objection(tmp_path / "f.json", [tmp_path]))


def test_too_little_to_damage(data: Path, tmp_path: Path) -> None:
    (data / "member/snap/db").write_bytes(bytes(PAGE))
    (data / "member/wal/0001-0a.wal").write_bytes(struct.pack("<q", 8) + b"x" * 8)
    for file in ("wal", "db"):
        with pytest.raises(FaultFailedError, match="there are only"):
            damage.inflict(tmp_path / "f.json", place(data), file, "bit-flip", 1)
    (data / "member/snap/0001-0a.snap").write_bytes(bytes(16))
    with pytest.raises(FaultFailedError, match="there are only 16 bytes in the snapshot"):
        damage.inflict(tmp_path / "f.json", place(data), "snap", "bit-flip", 1)
    for path in (*data.rglob("*.wal"), *data.rglob("*.snap")):
        path.unlink()
    with pytest.raises(FaultFailedError, match="there is no snapshot") as told:
        damage.inflict(tmp_path / "f.json", place(data), "snap", "bit-flip", 1)
    assert "snapshot-count" in str(told.value.remedy)
    with pytest.raises(FaultFailedError, match="there is no log"):
        damage.inflict(tmp_path / "f.json", place(data), "wal", "bit-flip", 1)
    assert damage.read(tmp_path / "f.json") is None


def test_a_snapshot_that_etcd_set_aside_comes_back_under_its_name(data: Path, tmp_path: Path) -> None:
    record, before = tmp_path / "f.json", everything(data)
    damage.inflict(record, place(data), "snap", "truncate", 1)
    snapshot = data / "member/snap/0001-0a.snap"
    snapshot.rename(f"{snapshot}.broken")
    damage.put_back(record, [tmp_path])
    assert everything(data) == before


# --- what etcd's user may have put there ------------------------------------------------------------------------


def link(path: Path, target: Path) -> None:
    """Another thing under that name."""
    path.rename(path.with_name(f"{path.name}.real"))
    path.symlink_to(target)


@pytest.fixture
def precious(data: Path, tmp_path: Path) -> Path:
    """Somebody else's data of the same shape: what a link would lead to."""
    shutil.copytree(data, tmp_path / "precious")
    return tmp_path / "precious"


@pytest.mark.parametrize("file", ["wal", "db", "snap"])
@pytest.mark.parametrize("where", ["", "member", "member/wal", "member/snap", "file"])
def test_no_link_is_followed(data: Path, tmp_path: Path, precious: Path, file: str, where: str) -> None:
    name = {"wal": "wal/0001-0a.wal", "snap": "snap/0001-0a.snap", "db": "snap/db"}[file]
    led = f"member/{name}" if where == "file" else where
    if led in {"member/wal", "member/snap"} and not f"member/{name}".startswith(led):
        led = "member"
    before = everything(precious)
    link(data / led, precious / led)
    with pytest.raises(RefusedError, match=r"is not touched: (a link is in its place|Not a directory)"):
        damage.inflict(tmp_path / "f.json", place(data), file, "truncate", 1)
    assert everything(precious) == before
    assert damage.read(tmp_path / "f.json") is None


@pytest.mark.parametrize("led", ["member", "member/snap", "member/snap/db"])
def test_nothing_is_put_back_through_a_link(data: Path, tmp_path: Path, precious: Path, led: str) -> None:
    record, before = tmp_path / "f.json", everything(precious)
    damage.inflict(record, place(data), "db", "truncate", 1)
    link(data / led, precious / led)
    with pytest.raises(RefusedError, match="is not touched"):
        damage.objection(record, [tmp_path])
    with pytest.raises(RefusedError, match="is not touched"):
        damage.put_back(record, [tmp_path])
    assert everything(precious) == before
    assert damage.read(record) is not None, "what lay there is not forgotten"


@pytest.mark.parametrize("what", ["pipe", "directory", "foreign"])
def test_what_is_no_file_of_etcds_is_not_touched(data: Path, tmp_path: Path, what: str) -> None:
    path = data / "member/snap/db"
    if what == "foreign":
        if os.geteuid() != 0:
            pytest.skip("needs root to give files away")
        os.chown(path, 12345, -1)
    else:
        path.unlink()
        os.mkfifo(path) if what == "pipe" else path.mkdir()
    with pytest.raises((RefusedError, FaultFailedError), match="db"):
        damage.inflict(tmp_path / "f.json", place(data), "db", "bit-flip", 1)
    assert what != "foreign" or path.read_bytes()[64] == 1


def test_a_file_too_large_to_keep_is_left_alone(data: Path, tmp_path: Path) -> None:
    os.truncate(data / "member/snap/db", 3 << 30)  # a hole
    with pytest.raises(FaultFailedError, match="too much to keep"):
        damage.inflict(tmp_path / "f.json", place(data), "db", "truncate", 1)
