"""The faults of this host on disk: one JSON file each, written before the fault is."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec
from pydantic import TypeAdapter, ValidationError

from agent_service.diskwriter import DiskWriter
from agent_service.durable import write_durably
from agent_service.errors import NotFoundError, UnavailableError
from agent_service.faults.steps import FaultSteps
from agent_service.models import FaultSpec, FaultState, FaultStatus

if TYPE_CHECKING:
    from pathlib import Path

HealedBy: TypeAlias = Literal[
    "request",
    "somebody-else",
    "lease",
    "agent-start",
    "agent-stop",
    "heal-command",
    "failed-injection",
    "emergency-stop",
]

ACTIVE: Final = frozenset(
    {FaultState.PREPARED, FaultState.INJECTED, FaultState.HEALING, FaultState.HEAL_FAILED}
)
"""States in which something may be left to undo."""

NS: Final = 1_000_000_000
_KEPT_FINISHED: Final = 200
_log = logging.getLogger(__name__)

_SPEC: TypeAdapter[FaultSpec] = TypeAdapter(FaultSpec)


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault. ``sequence`` orders faults of all boots; ``*_monotonic_ns`` belong to ``boot_id``."""

    id: str
    sequence: int
    spec: msgspec.Raw
    """The wire model as JSON: an undo never depends on it."""
    reason: str
    steps: FaultSteps
    state: FaultState
    boot_id: str
    expires_monotonic_ns: int
    evidence: str = ""
    injected_monotonic_ns: int | None = None
    healed_monotonic_ns: int | None = None
    repeats: int = 0
    """How often it was done again while it was held, failures included."""
    repeat_problem: str = ""
    """Why the last repetition that failed did."""
    healed_by: HealedBy | None = None
    """Who healed it or, until that has worked, tries to."""
    renewed_by: str = ""
    """Who keeps it up: the last client to renew it."""

    @property
    def active(self) -> bool:
        """Whether something may be left to undo."""
        return self.state in ACTIVE

    def fault_spec(self) -> FaultSpec:
        """The spec as a wire model."""
        return _SPEC.validate_json(bytes(self.spec))

    def status(self) -> FaultStatus:
        """The fault as the wire shows it."""
        injected = self.state is FaultState.INJECTED
        remaining = (self.expires_monotonic_ns - time.monotonic_ns()) / NS if injected else 0.0
        return FaultStatus(
            id=self.id,
            spec=self.fault_spec(),
            state=self.state,
            reason=self.reason,
            undo=tuple(map(str, self.steps.undo)),
            evidence="; ".join(filter(None, (self.evidence, self._repeated()))),
            injected_monotonic_ns=self.injected_monotonic_ns,
            healed_monotonic_ns=self.healed_monotonic_ns,
            lease_remaining_seconds=max(0.0, remaining),
            healed_by=None if self.active else self.healed_by,
        )

    def _repeated(self) -> str:
        if self.steps.repeat is None:
            return ""
        problem = f", and the last that failed: {self.repeat_problem}" if self.repeat_problem else ""
        return f"done again {self.repeats} times{problem}"


class _Outline(msgspec.Struct):
    """What entries of every version have."""

    state: FaultState


def encode_spec(spec: FaultSpec) -> msgspec.Raw:
    """The spec as an entry keeps it."""
    return msgspec.Raw(_SPEC.dump_json(spec))


class Journal:
    """All faults of this host, in memory and on disk."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._entries: dict[str, Entry] = {}
        self._writer = DiskWriter()
        self.damaged: tuple[Path, ...] = ()
        """Files that cannot be read: what they describe may still be in effect, and a person must look."""

    async def load(self) -> None:
        """Read the directory; it is made when it is missing."""
        self._entries, self.damaged = await asyncio.to_thread(_read_all, self._directory)
        for path in self.damaged:
            _log.error("the fault journal %s is damaged: what it describes may still be in effect", path)

    def oldest_first(self) -> tuple[Entry, ...]:
        """Every entry in the order of injection."""
        return tuple(self._entries.values())

    def newest_first(self) -> tuple[Entry, ...]:
        """Every entry in the order of undo."""
        return tuple(reversed(self._entries.values()))

    def find(self, fault_id: str) -> Entry | None:
        """The entry, if there is one."""
        return self._entries.get(fault_id)

    def get(self, fault_id: str) -> Entry:
        """The entry; raises ``NotFoundError``."""
        try:
            return self._entries[fault_id]
        except KeyError:
            raise NotFoundError(f"there is no fault {fault_id}") from None

    def next_sequence(self) -> int:
        """One more than any before."""
        return max((entry.sequence for entry in self._entries.values()), default=0) + 1

    async def begin(self, entry: Entry) -> None:
        """Write a new entry, its undo within; when this returns it survives any crash.

        Raises:
            UnavailableError: the disk does not take it, or not in time. Then there is no entry, and must be no
                fault. A late write may still land: its undo finds nothing to do.
        """
        self._entries[entry.id] = entry
        try:
            await self._write(entry)
        except BaseException:
            del self._entries[entry.id]
            raise

    async def note(self, entry: Entry) -> None:
        """Write what has happened to a fault.

        A disk that is full or hangs only costs an undo too many later: no undo waits for it.
        """
        self._entries[entry.id] = entry
        try:
            await self._write(entry)
        except UnavailableError as error:
            _log.error("%s", error.detail)

    async def forget_oldest(self) -> None:
        """Keep a bounded number of faults that are over."""
        finished = [entry for entry in self._entries.values() if not entry.active]
        for entry in finished[:-_KEPT_FINISHED]:
            if self._entries.pop(entry.id, None) is None:
                continue  # a heal at the same time was faster
            path = self._path(entry.id)
            try:
                await self._writer.write(partial(_remove, path), str(path))
            except (OSError, UnavailableError) as error:
                _log.error("cannot remove %s: %s", path, error)

    async def _write(self, entry: Entry) -> None:
        path, content = self._path(entry.id), msgspec.json.encode(entry)
        await self._writer.write(lambda: write_durably(path, content), str(path))

    def _path(self, fault_id: str) -> Path:
        return self._directory / f"{fault_id}.json"


def _remove(path: Path) -> None:
    """Not for good: one that is back after a loss of power is one that is over."""
    path.unlink(missing_ok=True)


def _read_all(directory: Path) -> tuple[dict[str, Entry], tuple[Path, ...]]:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    entries: list[Entry] = []
    damaged: list[Path] = []
    for path in sorted(directory.glob("*.json")):
        try:
            entry = msgspec.json.decode(path.read_bytes(), type=Entry)
            entry.fault_spec()
        except (msgspec.MsgspecError, ValidationError):
            if not _is_over(path):
                damaged.append(path)
        else:
            entries.append(entry)
    entries.sort(key=lambda entry: entry.sequence)
    return {entry.id: entry for entry in entries}, tuple(damaged)


def _is_over(path: Path) -> bool:
    """Whether nothing can be left to undo of a fault that another version of the agent wrote down."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Outline).state not in ACTIVE
    except msgspec.MsgspecError:
        return False
