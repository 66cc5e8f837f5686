"""Damage to files that look like etcd's: what is changed, that it comes back, and when it must not."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import pytest

from agent_service import damage
from agent_service.errors import FaultFailedError

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
    (snap / "db").write_bytes(b"".join(bytes([number]) * PAGE for number in range(1, 5)))
    return tmp_path / "d"


def everything(data: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in data.rglob("*") if path.is_file()}


@pytest.mark.parametrize("file", ["wal", "db"])
@pytest.mark.parametrize("how", ["bit-flip", "truncate"])
def test_one_file_changes_and_comes_back(data: Path, tmp_path: Path, file: str, how: str) -> None:
    record, before = tmp_path / "records/f.json", everything(data)
    assert damage.objection(record) == "nothing was damaged"
    damage.inflict(record, data, file, how, 1)
    damaged = everything(data)
    name = "0001-0a.wal" if file == "wal" else "db"
    assert {other for other in before if before[other] != damaged[other]} == {name}
    assert (len(damaged[name]) < len(before[name])) is (how == "truncate")
    assert damage.objection(record) is None
    damage.inflict(record, data, file, how, 2)
    assert everything(data) == damaged, "once"
    damage.put_back(record)
    assert everything(data) == before
    assert not record.parent.exists(), "the agent's own files are as before, too"
    assert damage.read(record) is None
    damage.put_back(record)
    assert everything(data) == before


def test_a_bit_flips_between_the_first_and_the_last_record(data: Path, tmp_path: Path) -> None:
    for seed in range(20):
        damage.inflict(tmp_path / "f.json", data, "wal", "bit-flip", seed)
        made = damage.read(tmp_path / "f.json")
        assert made is not None
        assert 32 + 8 <= made.edits[0].offset < 9 * 32
        damage.put_back(tmp_path / "f.json")


def test_the_log_ends_within_its_last_record(data: Path, tmp_path: Path) -> None:
    damage.inflict(tmp_path / "f.json", data, "wal", "truncate", 1)
    assert 9 * 32 + 8 < (data / "member/wal/0001-0a.wal").stat().st_size < 10 * 32


def test_what_has_changed_since_is_not_put_back(data: Path, tmp_path: Path) -> None:
    record, path = tmp_path / "f.json", data / "member/snap/db"
    damage.inflict(record, data, "db", "bit-flip", 1)
    with path.open("r+b") as file:
        file.write(b"etcd went on")
    os.utime(path, ns=(1, 1))
    after = path.read_bytes()
    with pytest.raises(FaultFailedError, match="has changed since it was damaged"):
        damage.put_back(record)
    assert path.read_bytes() == after
    assert damage.read(record) is not None


def test_damage_that_is_gone_is_no_effect(data: Path, tmp_path: Path) -> None:
    path = data / "member/snap/db"
    before = path.read_bytes()
    damage.inflict(tmp_path / "f.json", data, "db", "bit-flip", 1)
    path.write_bytes(before)
    assert "is whole at byte" in str(damage.objection(tmp_path / "f.json"))


def test_too_little_to_damage(data: Path, tmp_path: Path) -> None:
    (data / "member/snap/db").write_bytes(bytes(PAGE))
    (data / "member/wal/0001-0a.wal").write_bytes(struct.pack("<q", 8) + b"x" * 8)
    for file in ("wal", "db"):
        with pytest.raises(FaultFailedError, match="there are only"):
            damage.inflict(tmp_path / "f.json", data, file, "bit-flip", 1)
    for path in data.rglob("*.wal"):
        path.unlink()
    with pytest.raises(FaultFailedError, match="there is no log"):
        damage.inflict(tmp_path / "f.json", data, "wal", "bit-flip", 1)
    assert damage.read(tmp_path / "f.json") is None
