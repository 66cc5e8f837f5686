"""Snapshots that come over the wire, and data directories that are made of them.

A data directory appears in steps, so that a crash leaves nothing that etcd would take for data::

    DATA/.etcd-chaos-owned      marked as provisional
    DATA.restoring/new/member   written by etcdutl or etcdctl, where nobody but the agent can reach
    DATA/member                 moved there when it is whole, and given to the member's user

etcd's own tool compares the hash that a snapshot carries; it is never told to skip that.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import pwd
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, Field, ValidationError

from agent_service import commands, datadir
from agent_service.builds import restore_tool
from agent_service.datadir import ETCD_DATA
from agent_service.durable import sync_directory
from agent_service.errors import FaultFailedError, NotFoundError, RefusedError, UnavailableError
from agent_service.models import MAX_SNAPSHOT_BYTES, RestoredData, StoredSnapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent_service.models import MemberSpec
    from agent_service.settings import AgentSettings

RESTORE_SECONDS: Final = 300.0
_NEW: Final = "new"
_WRITE_BYTES: Final = 1024 * 1024
_NAME: Final = re.compile(r"[0-9a-f]{64}\.db(\.new)?")


class _Status(BaseModel):
    """What ``snapshot status --write-out=json`` says that matters here."""

    revision: int = Field(ge=0)
    total_keys: int = Field(alias="totalKey", ge=0)


def scratch_of(data: Path) -> Path:
    """Beside the data, where they are made: a directory of the agent's alone, gone when they are whole."""
    return data.with_name(f"{data.name}.restoring")


def _folder(settings: AgentSettings) -> Path:
    return settings.state_dir / "snapshots"


async def store(
    settings: AgentSettings, sha256: str, size: int, pieces: AsyncIterator[bytes]
) -> StoredSnapshot:
    """Take a snapshot in, in place of the one before.

    Args:
        settings: of the agent.
        sha256: the sum that it must have, in hexadecimal.
        size: in bytes, as announced.
        pieces: its content.

    Raises:
        RefusedError: it is larger than announced or allowed, or has another sum.
        UnavailableError: the disk does not take it, or has no room for it and for the data made of it.
    """
    if not 0 < size <= MAX_SNAPSHOT_BYTES:
        raise RefusedError(f"a snapshot has between 1 and {MAX_SNAPSHOT_BYTES} bytes, not {size}")
    folder = _folder(settings)
    target = folder / f"{sha256}.db"
    unfinished = folder / f"{sha256}.db.new"
    await asyncio.to_thread(remove_all, settings)
    await asyncio.to_thread(_make_room, folder, size)
    digest, written = hashlib.sha256(), 0
    try:
        with await asyncio.to_thread(unfinished.open, "xb") as file:
            async for piece in _gathered(pieces):
                written += len(piece)
                if written > size:
                    raise RefusedError(f"more than the {size} bytes came that were announced")
                digest.update(piece)
                await asyncio.to_thread(file.write, piece)
            await asyncio.to_thread(_to_disk, file.fileno(), file.flush)
        if written != size or digest.hexdigest() != sha256:
            raise RefusedError(
                f"{written} of {size} bytes came, with the sum {digest.hexdigest()} and not {sha256}",
                remedy="send it again",
            )
        await asyncio.to_thread(unfinished.replace, target)
        await asyncio.to_thread(sync_directory, folder)
    except OSError as error:
        raise UnavailableError(f"cannot write {unfinished}: {error.strerror}") from error
    finally:
        await asyncio.to_thread(unfinished.unlink, missing_ok=True)
    return StoredSnapshot(sha256=sha256, size_bytes=size)


def remove_all(settings: AgentSettings) -> None:
    """Remove every snapshot that was taken in, and nothing else. Raises ``UnavailableError``."""
    folder = _folder(settings)
    try:
        for path in folder.iterdir() if folder.is_dir() else ():
            if _NAME.fullmatch(path.name):
                path.unlink(missing_ok=True)
    except OSError as error:
        raise UnavailableError(f"cannot remove {error.filename or folder}: {error.strerror}") from error


def check(settings: AgentSettings, spec: MemberSpec, sha256: str, data: Path) -> tuple[Path, Path]:
    """Everything that can be judged before anything is changed; the snapshot, and the tool that restores it.

    Raises:
        NotFoundError: there is no such snapshot here.
        RefusedError: there are data.
        UnavailableError: this version has no such tool.
    """
    snapshot = _folder(settings) / f"{sha256}.db"
    if not snapshot.is_file():
        raise NotFoundError(f"there is no snapshot {sha256} on this host", remedy="send it first")
    if os.path.lexists(data / ETCD_DATA):
        raise RefusedError(
            f"{data} holds data of a member",
            remedy="lose them first (fault lose-data sets them aside), or terminate the member",
        )
    return snapshot, restore_tool(settings.etcd_root, spec.version)


async def restore(settings: AgentSettings, spec: MemberSpec, sha256: str, data: Path) -> RestoredData:
    """Make the data of a member out of a snapshot. ``data`` must hold none; it is provisional afterwards.

    Raises:
        NotFoundError: there is no such snapshot here.
        RefusedError: there are data, or the directory is not the agent's.
        FaultFailedError: etcd's tool does not take the snapshot.
        UnavailableError: this version has no such tool, or the disk does not take the data.
    """
    snapshot, tool = await asyncio.to_thread(check, settings, spec, sha256, data)
    status = await _run(status_argv(tool, snapshot))
    try:
        said = _Status.model_validate_json(status.stdout)
    except ValidationError as error:
        raise FaultFailedError(
            f"{tool.name} does not say what is in the snapshot: {status.stdout[:200]}"
        ) from error
    await asyncio.to_thread(_prepare, settings, data)
    await _run(restore_argv(tool, snapshot, spec, scratch_of(data) / _NEW))
    await asyncio.to_thread(_settle, settings, data)
    return RestoredData(revision=said.revision, total_keys=said.total_keys, tool=tool.name)


def keep(settings: AgentSettings, spec: MemberSpec, data: Path) -> None:
    """Restored data stay from now on, also when the loss of the old ones is healed. Raises as ``check_owned``."""
    if datadir.is_provisional(data):
        purpose = f"data of member {spec.name}"
        datadir.mark_again(data, settings.data_roots, host=settings.host, purpose=purpose)


def status_argv(tool: Path, snapshot: Path) -> tuple[str, ...]:
    """What asks for a snapshot's revision."""
    return (str(tool), "snapshot", "status", str(snapshot), "--write-out=json")


def restore_argv(tool: Path, snapshot: Path, spec: MemberSpec, target: Path) -> tuple[str, ...]:
    """What makes a data directory of a snapshot. ``target`` must not exist."""
    cluster = ",".join(f"{name}={url}" for name, url in sorted(spec.initial_cluster.items()))
    return (
        str(tool),
        "snapshot",
        "restore",
        str(snapshot),
        f"--data-dir={target}",
        f"--name={spec.name}",
        f"--initial-cluster={cluster}",
        f"--initial-cluster-token={spec.initial_cluster_token}",
        f"--initial-advertise-peer-urls={spec.peer_url}",
    )


async def _run(argv: tuple[str, ...]) -> commands.Completed:
    done = await commands.run(argv, timeout_seconds=RESTORE_SECONDS)
    if done.code != 0:
        words = (done.stderr or done.stdout).strip()[-600:] or f"exit status {done.code}"
        raise FaultFailedError(f"{' '.join(argv[1:3])} of {Path(argv[0]).name}: {words}")
    return done


async def _gathered(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Larger pieces: each costs a turn of a thread."""
    buffer = bytearray()
    async for piece in pieces:
        buffer += piece
        if len(buffer) >= _WRITE_BYTES:
            yield bytes(buffer)
            buffer.clear()
    if buffer:
        yield bytes(buffer)


def _to_disk(descriptor: int, flush: object) -> None:
    if callable(flush):
        flush()
    os.fsync(descriptor)


def _make_room(folder: Path, size: int) -> None:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise UnavailableError(f"cannot make {folder}: {error.strerror}") from error
    if free < 2 * size:  # itself, and the data made of it
        raise UnavailableError(
            f"{free} bytes are free in {folder}, and a snapshot of {size} bytes and its data need twice as much",
            remedy="make room for the agent's state",
        )


def _prepare(settings: AgentSettings, data: Path) -> None:
    roots, host = settings.data_roots, settings.host
    datadir.create_owned(data, roots, host=host, purpose=datadir.PROVISIONAL, user=settings.member_user)
    datadir.mark_again(data, roots, host=host, purpose=datadir.PROVISIONAL)
    scratch = scratch_of(data)
    datadir.remove_owned(scratch, roots)  # of an agent that died meanwhile
    datadir.create_owned(scratch, roots, host=host, purpose="data that are being restored")


def _settle(settings: AgentSettings, data: Path) -> None:
    """Give what the tool made to the member's user, and let it appear as a whole."""
    scratch = scratch_of(data)
    try:
        if settings.member_user is not None:
            owner = pwd.getpwnam(settings.member_user)
            for folder, _, files in os.walk(scratch / _NEW):
                for path in (Path(folder), *(Path(folder) / name for name in files)):
                    os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
    except (OSError, KeyError) as error:
        raise UnavailableError(f"cannot give {scratch} to the member's user: {error}") from error
    datadir.move_between(scratch, _NEW, data, settings.data_roots)
    datadir.remove_owned(scratch, settings.data_roots)
