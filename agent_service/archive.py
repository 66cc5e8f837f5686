"""Moves a member's log and data aside, under a label, into a directory of the agent's."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from agent_service import datadir
from agent_service.errors import NotFoundError, RefusedError, UnavailableError
from agent_service.models import ArchiveResult

if TYPE_CHECKING:
    from pathlib import Path

    from agent_service.settings import AgentSettings


def store(settings: AgentSettings, label: str, log: Path, data: Path | None) -> ArchiveResult:
    """Move ``log``, and ``data`` unless it is ``None``, to ``archive_dir/label``.

    Once moved, the same again changes nothing. Nothing in an archive is ever overwritten.

    Raises:
        NotFoundError: there is nothing to move and no such archive.
        RefusedError: the archive holds another log or other data, or the data are not the agent's.
        UnavailableError: the disk does not take it.
    """
    destination = settings.archive_dir / label
    moves = [(log, destination / "member.log")]
    if data is not None:
        moves.append((data, destination / "data"))
    pending = [(source, target) for source, target in moves if source.exists()]
    if not pending and not destination.exists():
        raise NotFoundError("there is neither a log nor data to archive")
    for source, target in pending:
        if target.exists():
            raise RefusedError(f"archive {label} holds {target.name} already", remedy="choose another label")
        if source == data:
            datadir.check_owned(source, settings.data_roots)
    settings.archive_dir.mkdir(parents=True, exist_ok=True, mode=0o755)
    purpose = f"archive {label}"
    datadir.create_owned(destination, [settings.archive_dir], host=settings.host, purpose=purpose)
    for source, target in pending:
        if source == data:
            datadir.move_owned(source, settings.data_roots, target)
        else:
            _move_file(source, target)
    return ArchiveResult(path=str(destination), size_bytes=datadir.tree_bytes(destination) or 0)


def _move_file(source: Path, target: Path) -> None:
    try:
        shutil.move(source, target)
    except OSError as error:
        raise UnavailableError(f"cannot move {source} to {target}: {error.strerror}") from error
