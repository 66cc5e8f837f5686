"""The run directory: everything a run leaves behind.

::

    runs/latest -> 20260102T030405Z-quick-42
    runs/20260102T030405Z-quick-42/
    ├── .etcd-chaos-run           the mark: this directory is ours
    ├── scenario.yml              as given, with the cases of included files written out
    ├── scenario.resolved.json    with every default filled in
    ├── run.json                  seed, versions, hosts, command (``RunInfo``)
    ├── result.json               ``RunResult``, at the end
    └── rounds/001/
        ├── history.jsonl         streamed by the load; while it runs in workers, beside history.worker-N.jsonl
        ├── end-state-CASE.json   what the members said when a case was checked
        ├── result.json           ``RoundResult``
        ├── ansible/              output of the playbooks
        ├── scripts/              output of the scripts of fault ``external``
        └── members/HOST/         logs (and data) of members, collected

Files appear whole or not at all: written beside, synced, renamed. The evidence of valid rounds is removed where
``--keep-rounds`` says so (``RoundDirectory.prune``), and nothing else ever is.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from tester.errors import InfrastructureError, UsageError
from tester.results import RoundResult, RunResult

if TYPE_CHECKING:
    from collections.abc import Iterator

MARKER = ".etcd-chaos-run"
FORMAT_VERSION = 1
_ROUND = re.compile(r"[0-9]{3,}")
_END_STATE = "end-state-"
_MEMBERS = "members"
_SAME_SECOND = 100
"""Runs of one scenario and seed that may start within one second."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What was run, with what, where and how."""

    scenario: str
    seed: int
    started_realtime_ns: int
    tool_version: str
    etcd_version: str
    command: tuple[str, ...]
    """As typed, to be typed again."""
    hosts: dict[str, str] = field(default_factory=dict)
    """Addresses by name."""
    agent_versions: dict[str, str] = field(default_factory=dict)
    """By host."""
    rounds: int = 1
    """As asked for; 0: until stopped."""
    keep_rounds: int | None = None
    """Valid rounds whose evidence is kept, as asked for."""
    keep_data: bool = False
    exit_on_failure: bool = False


class RoundDirectory:
    """The directory of one round."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def number(self) -> int:
        """From 1."""
        return int(self.path.name)

    @property
    def history(self) -> Path:
        """Where the load streams its records."""
        return self.path / "history.jsonl"

    def prune(self) -> None:
        """Remove the evidence of a valid round: history, end states, snapshots, output of playbooks and scripts.

        The result stays.

        Raises:
            InfrastructureError: something could not be removed.
        """
        with _disk_errors(self.path):
            ends, snapshots = self.path.glob(f"{_END_STATE}*.json"), self.path.glob("snapshot-*.db")
            for file in (self.history, *ends, *snapshots):
                file.unlink(missing_ok=True)
            for folder in (self.ansible, self.scripts, self.path / _MEMBERS):
                if folder.is_dir() and not folder.is_symlink():
                    shutil.rmtree(folder)

    @property
    def ansible(self) -> Path:
        """Where playbooks leave their output."""
        return self.path / "ansible"

    @property
    def scripts(self) -> Path:
        """Where scripts of fault ``external`` leave theirs."""
        return self.path / "scripts"

    def end_state(self, case: str) -> Path:
        """The file with the end state of a case."""
        return self.path / f"{_END_STATE}{case}.json"

    def snapshot(self, case: str) -> Path:
        """Where the snapshot goes that a case saves."""
        return self.path / f"snapshot-{case}.db"

    def member(self, host: str) -> Path:
        """Where logs and data of a host's member are collected."""
        return self.path / _MEMBERS / host

    def write_end_state(self, case: str, encoded: bytes) -> None:
        """Keep the end state of a case, already encoded as JSON.

        Raises:
            InfrastructureError: it could not be written.
        """
        _write(self.end_state(case), encoded)

    def write_result(self, result: RoundResult) -> None:
        """Keep the result of the round.

        Raises:
            InfrastructureError: it could not be written.
        """
        _write(self.path / "result.json", _encode(result))

    def read_result(self) -> RoundResult | None:
        """The result of the round; ``None`` if it did not get that far.

        Raises:
            UsageError: the file is damaged.
        """
        return _read(self.path / "result.json", RoundResult)


class RunDirectory:
    """The directory of one run. ``create`` makes a new one, ``open`` finds one that a run has left."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, base: Path, scenario: str, seed: int, *, started: datetime | None = None) -> RunDirectory:
        """Make and mark ``base/TIME-SCENARIO-SEED``, and point ``base/latest`` at it.

        Args:
            base: usually ``runs``; made if it is missing.
            scenario: the scenario's name (a slug).
            seed: of the run.
            started: aware; default: now.

        Raises:
            InfrastructureError: the file system does not let us.
        """
        stamp = (started or datetime.now(UTC)).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        name = f"{stamp}-{scenario}-{seed}"
        with _disk_errors(base / name):
            base.mkdir(parents=True, exist_ok=True)
            path = _make_fresh(base, name)
        _write(path / MARKER, msgspec.json.encode({"format": FORMAT_VERSION}) + b"\n")
        with _disk_errors(base / "latest"):
            _point(base / "latest", path.name)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """The run directory at ``path``, to read it.

        Raises:
            UsageError: it is no run directory, or of a format that this version does not know.
        """
        marker = _read(path / MARKER, dict[str, int])
        if marker is None:
            raise UsageError(f"{path}: no run directory", remedy=f"Name a directory that has {MARKER} in it.")
        if marker.get("format") != FORMAT_VERSION:
            raise UsageError(
                f"{path}: format {marker.get('format')}, this version reads {FORMAT_VERSION}",
                remedy="Read it with the version that wrote it: run.json names it.",
            )
        return cls(path.resolve())

    @property
    def scenario(self) -> Path:
        """The scenario: all that it needs is in this one file."""
        return self.path / "scenario.yml"

    @property
    def resolved_scenario(self) -> Path:
        """The scenario with every default filled in, as JSON."""
        return self.path / "scenario.resolved.json"

    def write_scenario(self, text: str, resolved: str) -> None:
        """Keep the scenario: a text that needs no other file, and the resolved one as JSON text.

        Raises:
            InfrastructureError: it could not be written.
        """
        _write(self.scenario, text.encode())
        _write(self.resolved_scenario, resolved.encode())

    def write_info(self, info: RunInfo) -> None:
        """Keep what was run; again when more is known (agents' versions).

        Raises:
            InfrastructureError: it could not be written.
        """
        _write(self.path / "run.json", _encode(info))

    def read_info(self) -> RunInfo | None:
        """What was run; ``None`` if the run ended before it was known.

        Raises:
            UsageError: the file is damaged.
        """
        return _read(self.path / "run.json", RunInfo)

    def make_round(self, number: int) -> RoundDirectory:
        """The directory of a round that begins, with ``ansible/`` and ``members/`` in it.

        Raises:
            InfrastructureError: it could not be made.
        """
        found = RoundDirectory(self.path / "rounds" / f"{number:03d}")
        with _disk_errors(found.path):
            found.ansible.mkdir(parents=True, exist_ok=True)
            (found.path / _MEMBERS).mkdir(exist_ok=True)
        return found

    def set_aside(self, number: int) -> None:
        """Rename a round that was broken off, so that it can be done anew; nothing if there is none.

        Raises:
            InfrastructureError: it could not be renamed.
        """
        path = self.path / "rounds" / f"{number:03d}"
        with _disk_errors(path):
            if path.is_dir():
                names = (f"{path.name}-broken-off-{attempt}" for attempt in count(1))
                path.rename(next(aside for name in names if not (aside := path.with_name(name)).exists()))

    def rounds(self) -> tuple[RoundDirectory, ...]:
        """The rounds that were begun, in order."""
        parent = self.path / "rounds"
        names = sorted(parent.iterdir()) if parent.is_dir() else []
        found = (RoundDirectory(path) for path in names if path.is_dir() and _ROUND.fullmatch(path.name))
        return tuple(sorted(found, key=lambda one: one.number))

    def write_result(self, result: RunResult) -> None:
        """Keep the result of the run.

        Raises:
            InfrastructureError: it could not be written.
        """
        _write(self.path / "result.json", _encode(result))

    def read_result(self) -> RunResult | None:
        """The result of the run; ``None`` if it was killed before its end: see ``rounds`` then.

        Raises:
            UsageError: the file is damaged.
        """
        return _read(self.path / "result.json", RunResult)


def _make_fresh(base: Path, name: str) -> Path:
    for attempt in range(1, _SAME_SECOND + 1):
        path = base / (name if attempt == 1 else f"{name}-{attempt}")
        with suppress(FileExistsError):
            path.mkdir()
            return path
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(base / name))


def _point(link: Path, target: str) -> None:
    """Let ``link`` point at ``target``; something there that is no symlink stays as it is."""
    if link.exists() and not link.is_symlink():
        return
    fresh = link.with_name(f".{link.name}.{secrets.token_hex(4)}")
    fresh.symlink_to(target)
    fresh.replace(link)


def _encode(value: RunInfo | RoundResult | RunResult) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def _read(path: Path, kind: type[_T]) -> _T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:  # its subclass ValidationError included
        raise UsageError(f"{path}: damaged: {error}") from error


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all: a reader, or a crash, never meets half a file."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with _disk_errors(path):
        try:
            with fresh.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        except OSError:
            with suppress(OSError):  # the write's own error says more than this one would
                fresh.unlink(missing_ok=True)
            raise
        _sync(path.parent)


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        remedy = "Free some space there." if full else "Look at the directory's owner, mode and mount."
        raise InfrastructureError(
            f"{path}: cannot be written: {error.strerror}; whatever was written there before is kept",
            remedy=f"{remedy} What this run has found so far stays in {_nearest(path)}.",
        ) from error


def _nearest(path: Path) -> Path:
    """The closest directory above that exists."""
    return next((parent for parent in path.parents if parent.is_dir()), Path())
