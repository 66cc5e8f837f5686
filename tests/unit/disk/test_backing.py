"""What a loss of power leaves, on a real directory, against a model that only remembers the last sync."""

from __future__ import annotations

import errno
import os
import random
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from agent_service.disk.backing import HIDDEN, Backing, Lost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent_service.disk.backing import Handle

RW = os.O_RDWR


@pytest.fixture
def backing(tmp_path: Path) -> Backing:
    return Backing(str(tmp_path))


def new(backing: Backing, path: str, content: bytes = b"", *, synced: bool = False) -> Handle:
    handle = backing.create(path, RW, 0o600)
    if content:
        backing.write(handle, content, 0)
    if synced:
        backing.sync(handle, data_only=False)
    return handle


def sync_directory(backing: Backing, path: str = "/") -> None:
    descriptor = backing.open_directory(path)
    backing.sync_directory(descriptor)
    os.close(descriptor)


def names(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if HIDDEN not in path.parts}


def graves(directory: Path) -> list[Path]:
    return list((directory / HIDDEN).iterdir())


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, call: str) -> Iterator[None]:
    """The disk below refuses a call of the operating system."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "the disk below")

    with monkeypatch.context() as broken:
        broken.setattr(os, call, fail)
        yield


def test_what_was_there_before_stays(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    backing = Backing(str(tmp_path))
    handle = backing.open("/old", RW)
    backing.write(handle, b"new and longer", 0)
    backing.truncate(handle, 2)
    assert backing.lose_power() == Lost(blocks=1, names=0)
    assert (tmp_path / "old").read_bytes() == b"old"


def test_a_sync_of_a_file_keeps_its_name_and_those_above_it(backing: Backing, tmp_path: Path) -> None:
    backing.make_directory("/a", 0o700)
    backing.make_directory("/a/b", 0o700)
    new(backing, "/a/b/kept", b"x", synced=True)
    new(backing, "/a/b/lost", b"x")
    backing.lose_power()
    assert names(tmp_path) == {"a", "a/b", "a/b/kept"}


def test_a_move_needs_a_sync_of_its_directory(backing: Backing, tmp_path: Path) -> None:
    new(backing, "/target", b"old", synced=True)
    new(backing, "/new", b"new", synced=True)
    backing.rename("/new", "/target")
    assert (tmp_path / "target").read_bytes() == b"new"
    backing.lose_power()
    assert (tmp_path / "target").read_bytes() == b"old"
    assert (tmp_path / "new").read_bytes() == b"new"
    backing.revive()
    backing.rename("/new", "/target")
    sync_directory(backing)
    backing.lose_power()
    assert names(tmp_path) == {"target"}
    assert (tmp_path / "target").read_bytes() == b"new"
    assert graves(tmp_path) == []


def test_what_was_removed_comes_back_unless_the_directory_was_synced(
    backing: Backing, tmp_path: Path
) -> None:
    for name in ("/a", "/b"):
        new(backing, name, b"x", synced=True)
    backing.remove("/a", is_directory=False)
    sync_directory(backing)
    backing.remove("/b", is_directory=False)
    assert names(tmp_path) == set()
    backing.lose_power()
    assert names(tmp_path) == {"b"}


def test_a_directory_that_moved_is_found_under_its_old_name(backing: Backing, tmp_path: Path) -> None:
    """As etcd makes its log: ``wal.tmp`` with a file, moved to ``wal``."""
    backing.make_directory("/wal.tmp", 0o700)
    handle = new(backing, "/wal.tmp/0", b"head")
    backing.rename("/wal.tmp", "/wal")
    backing.sync(handle, data_only=True)
    new(backing, "/wal/1", b"lost")
    backing.lose_power()
    assert names(tmp_path) == {"wal.tmp", "wal.tmp/0"}
    assert (tmp_path / "wal.tmp/0").read_bytes() == b"head"


def test_a_directory_that_is_gone_for_good_takes_its_history_with_it(
    backing: Backing, tmp_path: Path
) -> None:
    backing.make_directory("/d", 0o700)
    os.close(new(backing, "/d/f", b"x").descriptor)
    with pytest.raises(OSError, match="not empty"):
        backing.remove("/d", is_directory=True)
    backing.remove("/d/f", is_directory=False)
    backing.remove("/d", is_directory=True)
    sync_directory(backing)
    assert graves(tmp_path) == []
    assert backing.lose_power() == Lost(0, 0)


def test_without_power_nothing_changes(backing: Backing, tmp_path: Path) -> None:
    handle = new(backing, "/a", b"x", synced=True)
    backing.lose_power()
    for change in (
        lambda: backing.write(handle, b"y", 0),
        lambda: backing.truncate(handle, 0),
        lambda: backing.sync(handle, data_only=True),
        lambda: backing.allocate(handle, 0, 10),
        lambda: backing.rename("/a", "/b"),
        lambda: backing.remove("/a", is_directory=False),
        lambda: backing.make_directory("/d", 0o700),
        lambda: backing.create("/c", RW, 0o600),
    ):
        with pytest.raises(OSError, match="Input/output error"):
            change()
    assert (tmp_path / "a").read_bytes() == b"x"
    assert handle.read(10, 0) == b"x"
    backing.revive()
    assert backing.write(backing.open("/a", RW), b"y", 0) == 1


def test_a_sync_that_ends_after_the_power_went_saved_nothing(
    backing: Backing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = new(backing, "/a", b"old", synced=True)
    backing.write(handle, b"new", 0)
    monkeypatch.setattr(os, "fdatasync", lambda _: backing.lose_power())
    with pytest.raises(OSError, match="Input/output error"):
        backing.sync(handle, data_only=True)
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_sync_that_fails_saves_nothing(
    backing: Backing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = new(backing, "/a", b"old", synced=True)
    backing.write(handle, b"new", 0)
    with failing(monkeypatch, "fdatasync"), pytest.raises(OSError, match="the disk below"):
        backing.sync(handle, data_only=True)
    backing.write(handle, b"X", 0)
    backing.lose_power()
    assert (tmp_path / "a").read_bytes() == b"old"


def test_what_a_killed_layer_had_removed_is_gone(backing: Backing, tmp_path: Path) -> None:
    new(backing, "/a", b"x", synced=True)
    backing.remove("/a", is_directory=False)
    assert graves(tmp_path)
    Backing(str(tmp_path))
    assert graves(tmp_path) == []


def test_what_is_hidden_has_the_owner_of_the_rest(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    os.chown(tmp_path, 4711, 4712)
    Backing(str(tmp_path))
    found = (tmp_path / HIDDEN).stat()
    assert (found.st_uid, found.st_gid) == (4711, 4712)


NAMELESS, OTHER = ".fuse_hidden0000000800000001", ".fuse_hidden0000000900000002"


def test_what_is_removed_while_it_is_open_is_in_no_directory(backing: Backing, tmp_path: Path) -> None:
    backing.make_directory("/wal.tmp", 0o700)
    handle = new(backing, "/wal.tmp/.touch", b"open")
    backing.hide("/wal.tmp/.touch", NAMELESS)
    assert names(tmp_path) == {"wal.tmp"}
    backing.rename("/wal.tmp", "/wal")
    path = f"/wal/{NAMELESS}"
    assert backing.stat(path, None).st_ino == handle.inode
    again = backing.open(path, RW)
    assert backing.write(again, b" still", 4) == 6
    backing.truncate(again, 8)
    assert handle.read(100, 0) == b"open sti"
    for one in (handle, again):
        backing.close(one)
    sync_directory(backing, "/wal")
    assert [grave.name for grave in graves(tmp_path)] == [NAMELESS]
    assert backing.let_go(NAMELESS)
    assert graves(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        backing.stat(path, None)
    assert not backing.let_go(NAMELESS)
    backing.remove("/wal", is_directory=True)


def test_what_was_removed_while_it_was_open_comes_back_after_a_loss_of_power(
    backing: Backing, tmp_path: Path
) -> None:
    new(backing, "/db", b"synced", synced=True)
    sync_directory(backing)
    backing.hide("/db", NAMELESS)
    assert names(tmp_path) == set()
    backing.lose_power()
    assert (tmp_path / "db").read_bytes() == b"synced"
    assert backing.let_go(NAMELESS), "its process is gone"
    assert (tmp_path / "db").read_bytes() == b"synced"
    assert graves(tmp_path) == []


def test_what_cannot_be_removed_stays_as_it_is(
    backing: Backing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new(backing, "/db", b"here")
    with failing(monkeypatch, "rename"), pytest.raises(OSError, match="the disk below"):
        backing.hide("/db", NAMELESS)
    assert names(tmp_path) == {"db"}
    assert graves(tmp_path) == []
    assert not backing.let_go(NAMELESS)


def test_room_of_what_is_back_after_a_loss_of_power_is_not_given_back(backing: Backing) -> None:
    new(backing, "/db", b"x" * 4096 * 10, synced=True)
    sync_directory(backing)
    backing.limit_room(4096 * 100)
    backing.hide("/db", NAMELESS)
    new(backing, "/never-synced", b"x" * 4096 * 5)
    backing.hide("/never-synced", OTHER)
    assert backing.blocks_left == 95
    backing.lose_power()
    backing.revive()
    for name in (NAMELESS, OTHER):
        assert backing.let_go(name)
    assert backing.blocks_left == 100
    backing.hide("/db", NAMELESS)
    assert backing.blocks_left == 100, "its process has it open"
    assert backing.let_go(NAMELESS)
    assert backing.blocks_left == 110


def test_nobody_reaches_what_is_hidden(backing: Backing) -> None:
    for reach in (
        lambda: backing.open(f"/{HIDDEN}", os.O_RDONLY),
        lambda: backing.stat(f"/{HIDDEN}/1", None),
        lambda: backing.create(f"/{HIDDEN}/x", RW, 0o600),
    ):
        with pytest.raises(FileNotFoundError):
            reach()


@pytest.mark.parametrize("seed", range(20))
def test_files_are_as_they_were_when_last_synced(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    backing = Backing(str(tmp_path))
    synced: dict[str, bytes] = {}
    handles = {}
    for name in ("/a", "/b"):
        handles[name] = new(backing, name, synced=True)
        synced[name] = b""
    for _ in range(150):
        name = chance.choice(list(handles))
        handle = handles[name]
        match chance.choice(["write", "write", "write", "truncate", "allocate", "sync", "sync", "crash"]):
            case "write":
                backing.write(handle, chance.randbytes(chance.randrange(1, 9000)), chance.randrange(40_000))
            case "truncate":
                backing.truncate(handle, chance.randrange(50_000))
            case "allocate":
                backing.allocate(handle, chance.randrange(20_000), chance.randrange(1, 30_000))
            case "sync":
                backing.sync(handle, data_only=chance.random() < 0.5)
                synced[name] = (tmp_path / name[1:]).read_bytes()
            case _ if chance.random() < 0.3:
                backing.lose_power()
                assert {name: (tmp_path / name[1:]).read_bytes() for name in handles} == synced
                backing.revive()


@pytest.mark.parametrize("seed", range(20))
def test_names_are_as_they_were_when_the_directory_was_last_synced(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    backing = Backing(str(tmp_path))

    def listing() -> dict[str, int]:
        return {path.name: path.stat().st_ino for path in tmp_path.iterdir() if path.name != HIDDEN}

    synced = listing()
    for _ in range(150):
        there = sorted(listing())
        free = [name for name in "abcdef" if name not in there]
        match chance.choice(["create", "create", "remove", "rename", "rename", "mkdir", "sync", "crash"]):
            case "create" if free:
                backing.close(backing.create(f"/{chance.choice(free)}", RW, 0o600))
            case "mkdir" if free:
                backing.make_directory(f"/{chance.choice(free)}", 0o700)
            case "remove" if there:
                name = chance.choice(there)
                backing.remove(f"/{name}", is_directory=(tmp_path / name).is_dir())
            case "rename" if there:
                old, to = chance.choice(there), chance.choice("abcdef")
                if old != to and not (tmp_path / to).is_dir():
                    with suppress(NotADirectoryError):
                        backing.rename(f"/{old}", f"/{to}")
            case "sync":
                sync_directory(backing)
                synced = listing()
            case "crash" if chance.random() < 0.3:
                backing.lose_power()
                assert listing() == synced
                backing.revive()


def test_a_loss_of_power_that_comes_to_no_end_is_never_over(
    backing: Backing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new(backing, "/a", b"a")
    with failing(monkeypatch, "unlink"), pytest.raises(OSError, match="came to no end"):
        backing.lose_power()
    assert backing.powerless
    with pytest.raises(OSError, match="came to no end"):
        backing.revive()
    assert backing.powerless
