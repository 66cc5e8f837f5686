from __future__ import annotations

import errno
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from agent_service import beneath, datadir
from agent_service.errors import RefusedError, UnavailableError
from agent_service.ownership import MARKER, read_marker

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir()
    return path


def create(path: Path, root: Path) -> None:
    datadir.create_owned(path, [root], host="host1", purpose="test")


def test_made_marked_and_removed(root: Path) -> None:
    path = root / "m1"
    create(path, root)
    marker = read_marker(path)
    assert marker is not None
    assert (marker.host, marker.purpose) == ("host1", "test")
    assert path.stat().st_mode & 0o777 == 0o700
    (path / "member" / "wal").mkdir(parents=True)
    (path / "member" / "wal" / "0.wal").write_bytes(b"x" * 5000)
    assert (datadir.tree_bytes(path) or 0) >= 5000
    create(path, root)
    assert (path / "member").is_dir(), "a directory that is ours stays as it is"
    assert datadir.remove_owned(path, [root])
    assert not path.exists()
    assert not datadir.remove_owned(path, [root]), "gone already"
    assert datadir.tree_bytes(path) is None


def test_an_empty_directory_is_taken_over(root: Path) -> None:
    (root / "m1").mkdir()
    create(root / "m1", root)
    assert read_marker(root / "m1") is not None


@pytest.mark.parametrize("marker", [None, "", "{}", '{"host": 1}'])
def test_somebody_elses_data_are_neither_used_nor_removed(root: Path, marker: str | None) -> None:
    path = root / "precious"
    path.mkdir()
    (path / "file").write_text("precious")
    if marker is not None:
        (path / MARKER).write_text(marker)
    with pytest.raises(RefusedError, match="not made by this agent"):
        create(path, root)
    with pytest.raises(RefusedError, match="not made by this agent"):
        datadir.remove_owned(path, [root])
    assert (path / "file").read_text() == "precious"


def test_symbolic_links_are_refused(root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    create(root / "real", root)
    (root / "real").rename(elsewhere)  # marked, but not under the root any more
    (root / "link").symlink_to(elsewhere)
    with pytest.raises(RefusedError, match="not a directory"):
        datadir.remove_owned(root / "link", [root])
    (root / "parent").symlink_to(tmp_path)
    with pytest.raises(RefusedError, match="does not lie under"):
        datadir.remove_owned(root / "parent" / "elsewhere", [root])
    assert read_marker(elsewhere) is not None


def test_a_marker_that_is_a_link_proves_nothing(root: Path) -> None:
    create(root / "ours", root)
    (root / "theirs").mkdir()
    (root / "theirs" / MARKER).symlink_to(root / "ours" / MARKER)
    with pytest.raises(RefusedError):
        datadir.remove_owned(root / "theirs", [root])


def test_links_within_are_removed_and_not_followed(root: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    create(root / "m1", root)
    (root / "m1" / "link").symlink_to(precious)
    datadir.remove_owned(root / "m1", [root])
    assert (precious / "file").exists()


@pytest.mark.parametrize("path", ["", "../elsewhere", "m1/../../elsewhere", "/etc"])
def test_places_outside_the_roots_are_refused(root: Path, path: str) -> None:
    target = root / path
    for refuse in (lambda: create(target, root), lambda: datadir.remove_owned(target, [root])):
        with pytest.raises(RefusedError, match="does not lie under"):
            refuse()


def test_mounts_are_found_on_and_under_a_path(tmp_path: Path) -> None:
    blank = tmp_path / "a b"
    lines = [
        "22 1 0:20 / / rw - ext4 /dev/vda rw",
        f"23 22 0:21 / {str(blank).replace(' ', chr(92) + '040')} rw - tmpfs tmpfs rw",
        f"24 22 0:22 / {tmp_path}/abc rw shared:1 - tmpfs tmpfs rw",
    ]
    mountinfo = "\n".join(lines) + "\n"
    assert datadir.mounts_within(blank, mountinfo) == (blank,)
    assert datadir.mounts_within(tmp_path, mountinfo) == (blank, tmp_path / "abc")
    assert datadir.mounts_within(tmp_path / "ab", mountinfo) == (), "a shared prefix is not a parent"


def test_a_mounted_directory_is_not_removed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(root / "m1", root)
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(f"24 22 0:22 / {root}/m1/member rw - fuse x rw\n")
    monkeypatch.setattr(datadir, "_MOUNTINFO", mountinfo)
    with pytest.raises(RefusedError, match="is mounted on"):
        datadir.remove_owned(root / "m1", [root])
    mountinfo.write_text("")
    assert datadir.remove_owned(root / "m1", [root])


def test_moved_with_its_marker(root: Path, tmp_path: Path) -> None:
    create(root / "m1", root)
    datadir.move_owned(root / "m1", [root], tmp_path / "aside")
    assert read_marker(tmp_path / "aside") is not None
    assert not (root / "m1").exists()


def test_a_copy_on_another_disk_is_durable_before_the_original_goes(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(root / "m1", root)
    (root / "m1" / "member").mkdir()
    (root / "m1" / "member" / "db").write_text("precious")
    steps: list[str] = []
    sync, unlink = os.fsync, os.unlink

    def rename(*_names: object, **_places: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    def note(descriptor: int) -> None:
        steps.append(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115 - as open
        sync(descriptor)

    def remove(name: str, *, dir_fd: int | None = None) -> None:
        steps.append("removed")
        unlink(name, dir_fd=dir_fd)

    aside = tmp_path / "aside"
    with monkeypatch.context() as patch:
        for name, instead in (("rename", rename), ("fsync", note), ("unlink", remove)):
            patch.setattr(os, name, instead)
        datadir.move_owned(root / "m1", [root], aside)
    copied = (aside / "member/db", aside / "member", aside / MARKER, aside, tmp_path)
    assert {str(path) for path in copied} == set(steps[: steps.index("removed")])
    assert (aside / "member/db").read_text() == "precious"
    assert not (root / "m1").exists()


def test_an_unknown_user_is_said_so(root: Path) -> None:
    with pytest.raises(UnavailableError, match="no user nobody-of-this-name"):
        datadir.create_owned(root / "m", [root], host="h", purpose="p", user="nobody-of-this-name")
    assert not os.path.lexists(root / "m")


@pytest.mark.parametrize("left", [(), (f".{MARKER}.new",)])
def test_what_an_agent_died_over_making_or_removing_is_in_nobodys_way(
    root: Path, left: tuple[str, ...]
) -> None:
    aside = moved(root / "m1", root)
    (root / "m1").mkdir()
    for name in left:
        (root / "m1" / name).write_text('{"ho')
    datadir.restore_owned(root / "m1", aside, [root])
    assert (root / "m1" / "member" / "db").read_text() == "precious"
    (root / "m2").mkdir()
    for name in left:
        (root / "m2" / name).write_text('{"ho')
    create(root / "m2", root)
    assert [path.name for path in (root / "m2").iterdir()] == [MARKER]


def test_an_empty_directory_of_somebody_elses_is_not_removed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "m1").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(RefusedError, match="not made by this agent"):
        datadir.remove_owned(root / "m1", [root])


def test_what_cannot_be_looked_at_keeps_nobody_from_healing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(root / "m1", root)
    (root / "m1" / "member").mkdir()
    listed = os.listdir

    def broken(directory: int) -> list[str]:
        if MARKER not in (found := listed(directory)):
            raise OSError(errno.EIO, "Input/output error")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", broken)
        assert datadir.tree_bytes(root / "m1") is not None
    descriptor = beneath.open_directory(root / "m1")
    for _ in range(1100):
        os.mkdir("d", dir_fd=descriptor)
        inner = os.open("d", beneath.DIRECTORY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)
    assert datadir.tree_bytes(root / "m1") is None
    subprocess.run(["/bin/rm", "-r", root / "m1"], check=True)  # deeper than Python goes


def moved(path: Path, root: Path) -> Path:
    """Data of etcd's, set aside."""
    create(path, root)
    (path / "member").mkdir()
    (path / "member" / "db").write_text("precious")
    aside = path.with_name(f"{path.name}.aside")
    datadir.rename_owned(path, aside, [root])
    return aside


def test_what_was_set_aside_comes_back(root: Path) -> None:
    aside = moved(root / "m1", root)
    datadir.restore_owned(root / "m1", aside, [root])
    assert (root / "m1" / "member" / "db").read_text() == "precious"
    assert not aside.exists()
    datadir.restore_owned(root / "m1", aside, [root])
    assert (root / "m1" / "member" / "db").read_text() == "precious", "again is harmless"


def test_a_start_that_came_to_nothing_is_no_new_data(root: Path) -> None:
    aside = moved(root / "m1", root)
    create(root / "m1", root)
    datadir.restore_owned(root / "m1", aside, [root])
    assert (root / "m1" / "member" / "db").read_text() == "precious"


def test_new_data_stay_and_the_old_ones_go(root: Path) -> None:
    aside = moved(root / "m1", root)
    create(root / "m1", root)
    (root / "m1" / "member").mkdir()
    datadir.restore_owned(root / "m1", aside, [root])
    assert list((root / "m1" / "member").iterdir()) == []
    assert not aside.exists()


def test_after_a_restoration_that_came_to_nothing_new_data_are_no_restored_data(root: Path) -> None:
    aside = moved(root / "m1", root)
    datadir.create_owned(root / "m1", [root], host="host1", purpose=datadir.PROVISIONAL)
    create(root / "m1", root)
    (root / "m1" / "member").mkdir()
    datadir.restore_owned(root / "m1", aside, [root])
    assert list((root / "m1" / "member").iterdir()) == [], (
        "a member that was made anew is not sent back in time"
    )
    assert not aside.exists()
