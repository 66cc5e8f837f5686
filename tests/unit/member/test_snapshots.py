"""Snapshots on a host: taken in whole or not at all, and data that appear only when they are whole."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent_service import builds, datadir, snapshots
from agent_service.errors import FaultFailedError, NotFoundError, RefusedError, UnavailableError
from agent_service.member import MemberControl
from agent_service.member_record import MemberRecord, load_record, save_record
from agent_service.models import MAX_SNAPSHOT_BYTES, MemberState, RestoreRequest
from agent_service.supervisor import create_supervisor
from tests.unit.member.settings import agent_settings, member_spec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent_service.settings import AgentSettings

CONTENT = b"a snapshot"
SUM = hashlib.sha256(CONTENT).hexdigest()

TOOL = """\
#!/bin/sh
case "$2" in
  status) echo '{"hash":1,"revision":7,"totalKey":3,"totalSize":24576}' ;;
  restore) for word in "$@"; do case $word in --data-dir=*) mkdir -p "${word#*=}/member" ;; esac; done ;;
esac
"""


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


@pytest.fixture
def settings(tmp_path: Path) -> AgentSettings:
    made = agent_settings(tmp_path)
    made.state_dir.mkdir()
    made.data_roots[0].mkdir()
    return made


def install(settings: AgentSettings, name: str, text: str = TOOL) -> None:
    path = settings.etcd_root / "3.5.1" / "bin" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def free_urls() -> dict[str, object]:
    with socket.socket() as peer, socket.socket() as client:
        for one in (peer, client):
            one.bind(("127.0.0.1", 0))
        urls = [f"http://127.0.0.1:{one.getsockname()[1]}" for one in (client, peer)]
    return {"client_url": urls[0], "peer_url": urls[1], "initial_cluster": {"m1": urls[1]}}


def kept(settings: AgentSettings) -> list[str]:
    return [path.name for path in (settings.state_dir / "snapshots").iterdir()]


def test_golden_command_lines() -> None:
    spec = member_spec(initial_cluster={"m2": "http://127.0.0.2:2380", "m1": "http://127.0.0.1:2380"})
    tool, snapshot = Path("/etcd/3.5.1/bin/etcdutl"), Path("/state/snapshots/aa.db")
    assert snapshots.status_argv(tool, snapshot) == (
        "/etcd/3.5.1/bin/etcdutl",
        "snapshot",
        "status",
        "/state/snapshots/aa.db",
        "--write-out=json",
    )
    assert snapshots.restore_argv(tool, snapshot, spec, Path("/data/m1.restoring/new")) == (
        "/etcd/3.5.1/bin/etcdutl",
        "snapshot",
        "restore",
        "/state/snapshots/aa.db",
        "--data-dir=/data/m1.restoring/new",
        "--name=m1",
        "--initial-cluster=m1=http://127.0.0.1:2380,m2=http://127.0.0.2:2380",
        "--initial-cluster-token=test",
        "--initial-advertise-peer-urls=http://127.0.0.1:2380",
    )


def test_etcdutl_comes_first(settings: AgentSettings) -> None:
    with pytest.raises(UnavailableError, match="neither etcdutl nor etcdctl"):
        builds.restore_tool(settings.etcd_root, "3.5.1")
    install(settings, "etcdctl")
    assert builds.restore_tool(settings.etcd_root, "3.5.1").name == "etcdctl"
    install(settings, "etcdutl")
    assert builds.restore_tool(settings.etcd_root, "3.5.1").name == "etcdutl"


async def test_the_last_snapshot_is_kept_and_no_other(settings: AgentSettings) -> None:
    await snapshots.store(settings, SUM, len(CONTENT), pieces(CONTENT[:3], CONTENT[3:]))
    assert kept(settings) == [f"{SUM}.db"]
    other = hashlib.sha256(b"other").hexdigest()
    foreign = settings.state_dir / "snapshots" / "mine.txt"
    foreign.touch()
    await snapshots.store(settings, other, 5, pieces(b"other"))
    assert sorted(kept(settings)) == sorted([f"{other}.db", "mine.txt"])
    snapshots.remove_all(settings)
    assert kept(settings) == ["mine.txt"]


@pytest.mark.parametrize(
    ("size", "content", "text"),
    [
        (len(CONTENT), (b"another...",), "with the sum"),
        (len(CONTENT), (CONTENT, b"x"), "more than the 10 bytes"),
        (len(CONTENT) + 1, (CONTENT,), "10 of 11 bytes came"),
        (0, (), "between 1 and"),
        (MAX_SNAPSHOT_BYTES + 1, (CONTENT,), "between 1 and"),
    ],
)
async def test_what_is_not_whole_is_not_kept(
    settings: AgentSettings, size: int, content: tuple[bytes, ...], text: str
) -> None:
    (settings.state_dir / "snapshots").mkdir()
    with pytest.raises(RefusedError, match=text):
        await snapshots.store(settings, SUM, size, pieces(*content))
    assert not kept(settings)


async def test_a_disk_without_room_is_told_before_anything_comes(
    settings: AgentSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 19})
    monkeypatch.setattr(snapshots.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UnavailableError, match="need twice as much"):
        await snapshots.store(settings, SUM, len(CONTENT), pieces(CONTENT))


async def test_restored_data_are_provisional_until_they_are_kept(settings: AgentSettings) -> None:
    install(settings, "etcdutl")
    roots, spec = settings.data_roots, member_spec()
    data, aside = roots[0] / "m1", roots[0] / "m1.aside-f"
    datadir.create_owned(data, roots, host="host1", purpose="data of member m1")
    (data / "member").mkdir()
    (data / "member" / "old").touch()
    await snapshots.store(settings, SUM, len(CONTENT), pieces(CONTENT))
    with pytest.raises(RefusedError, match="holds data of a member"):
        await snapshots.restore(settings, spec, SUM, data)

    datadir.rename_owned(data, aside, roots)
    restored = await snapshots.restore(settings, spec, SUM, data)
    assert (restored.revision, restored.total_keys, restored.tool) == (7, 3, "etcdutl")
    assert sorted(path.name for path in data.iterdir()) == [datadir.MARKER, "member"]
    datadir.restore_owned(data, aside, roots)
    assert (data / "member" / "old").exists(), "what was not kept gives way"
    assert not aside.exists()

    datadir.rename_owned(data, aside, roots)
    await snapshots.restore(settings, spec, SUM, data)
    snapshots.keep(settings, spec, data)
    datadir.restore_owned(data, aside, roots)
    assert not (data / "member" / "old").exists(), "what was kept stays"
    assert not aside.exists()


async def test_a_restoration_that_fails_leaves_no_data(settings: AgentSettings) -> None:
    data = settings.data_roots[0] / "m1"
    await snapshots.store(settings, SUM, len(CONTENT), pieces(CONTENT))
    with pytest.raises(NotFoundError, match="there is no snapshot 0000"):
        await snapshots.restore(settings, member_spec(), "0" * 64, data)
    install(settings, "etcdutl", "#!/bin/sh\necho expected sha256 differs >&2\nexit 1\n")
    with pytest.raises(FaultFailedError, match="snapshot status of etcdutl: expected sha256 differs"):
        await snapshots.restore(settings, member_spec(), SUM, data)
    install(settings, "etcdutl", TOOL.replace("mkdir", "exit 1; mkdir"))
    with pytest.raises(FaultFailedError, match="snapshot restore of etcdutl"):
        await snapshots.restore(settings, member_spec(), SUM, data)
    assert not (data / "member").exists()
    assert datadir.is_provisional(data)
    scratch = snapshots.scratch_of(data)
    (scratch / "new" / "half").mkdir(parents=True)  # an agent died in between
    install(settings, "etcdutl")
    await snapshots.restore(settings, member_spec(), SUM, data)
    assert not scratch.exists()
    assert sorted(path.name for path in data.iterdir()) == [datadir.MARKER, "member"]


async def test_a_restoration_that_comes_to_nothing_leaves_the_member_its_spec(
    settings: AgentSettings,
) -> None:
    spec = member_spec(**free_urls())
    old = spec.model_copy(update={"initial_cluster_token": "old"})
    record = MemberRecord(state=MemberState.STOPPED, spec=old)
    save_record(settings.state_dir / "member.json", record)
    for name in ("etcd", "etcdutl"):
        install(settings, name, TOOL.replace("mkdir", "exit 1; mkdir"))
    await snapshots.store(settings, SUM, len(CONTENT), pieces(CONTENT))
    data = settings.data_roots[0] / "m1"
    datadir.create_owned(data, settings.data_roots, host="host1", purpose="data of member m1")
    (data / "member").mkdir()
    control = MemberControl(settings, create_supervisor(settings))
    await control.adopt()
    try:
        with pytest.raises(RefusedError, match="holds data of a member"):
            await control.restore(RestoreRequest(spec=spec, sha256=SUM))
        assert control.spec == load_record(settings.state_dir / "member.json").spec == old
        (data / "member").rmdir()
        with pytest.raises(FaultFailedError, match="snapshot restore of etcdutl"):
            await control.restore(RestoreRequest(spec=spec, sha256=SUM))
        left = load_record(settings.state_dir / "member.json")
        assert (control.spec, left.spec, left.displaced) == (old, old, None)
        assert set(left.data_dirs) == {str(data), str(snapshots.scratch_of(data))}, (
            "to be removed all the same"
        )
        install(settings, "etcdutl")
        await control.restore(RestoreRequest(spec=spec, sha256=SUM))
        left = load_record(settings.state_dir / "member.json")
        assert (control.spec, left.spec, left.displaced) == (spec, spec, old)
    finally:
        control.close()


async def test_a_member_that_was_terminated_has_data_again(settings: AgentSettings) -> None:
    spec = member_spec(**free_urls())
    save_record(
        settings.state_dir / "member.json", MemberRecord(state=MemberState.TERMINATED, spec=member_spec())
    )
    for name in ("etcd", "etcdutl"):
        install(settings, name)
    await snapshots.store(settings, SUM, len(CONTENT), pieces(CONTENT))
    control = MemberControl(settings, create_supervisor(settings))
    await control.adopt()
    try:
        await control.restore(RestoreRequest(spec=spec, sha256=SUM))
        assert control.state is MemberState.STOPPED, (
            "what is terminated is passed by when a round is cleaned up"
        )
        await control.terminate()
    finally:
        control.close()
    assert not kept(settings)
    assert not list(settings.data_roots[0].iterdir())


async def test_two_that_send_the_same_at_once_leave_it_whole(settings: AgentSettings) -> None:
    control = MemberControl(settings, create_supervisor(settings))
    first_may_end = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield CONTENT
        await first_may_end.wait()

    async def broken() -> AsyncIterator[bytes]:
        yield CONTENT[:3]
        first_may_end.set()
        await asyncio.sleep(0.1)
        raise ConnectionError

    first = asyncio.create_task(control.store_snapshot(SUM, len(CONTENT), slow()))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(control.store_snapshot(SUM, len(CONTENT), broken()))
    await asyncio.sleep(0.05)
    first_may_end.set()
    await asyncio.gather(first, second, return_exceptions=True)
    whole = settings.state_dir / "snapshots" / f"{SUM}.db"
    assert not whole.exists() or whole.read_bytes() == CONTENT


async def test_a_link_in_the_way_leads_nowhere(settings: AgentSettings, tmp_path: Path) -> None:
    install(settings, "etcdutl")
    data, elsewhere = settings.data_roots[0] / "m1", tmp_path / "elsewhere"
    elsewhere.mkdir()
    await snapshots.store(settings, SUM, len(CONTENT), pieces(CONTENT))
    snapshots.scratch_of(data).symlink_to(elsewhere)
    with pytest.raises(RefusedError, match="not a directory"):
        await snapshots.restore(settings, member_spec(), SUM, data)
    assert not list(elsewhere.iterdir())
