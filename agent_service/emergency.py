"""The emergency stop: a file that says that nothing may be injected on this host until it is cleared.

It lies in the agent's state directory, so that it outlives the agent and the boot.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from agent_service.diskwriter import DiskWriter
from agent_service.durable import remove_durably, write_durably
from agent_service.errors import IllegalStateError
from agent_service.models import EmergencyStop

if TYPE_CHECKING:
    from pathlib import Path

    from agent_service.audit import AuditLog
    from agent_service.faults.manager import FaultManager

FILE: Final = "emergency-stop.json"


def read_stop(state_dir: Path) -> EmergencyStop:
    """The stop as it is on disk. A file that says nothing, damaged or unreadable, is a stop as well."""
    try:
        return EmergencyStop.model_validate_json((state_dir / FILE).read_bytes())
    except FileNotFoundError:
        return EmergencyStop(engaged=False)
    except (OSError, ValidationError):
        return EmergencyStop(engaged=True, who="unknown", reason=f"{state_dir / FILE} cannot be read")


def describe(stop: EmergencyStop) -> str:
    """The stop as a person reads it."""
    return f"emergency stop by {stop.who}: {stop.reason or 'no reason given'}; etcd-chaos clear ends it"


def require_no_stop(state_dir: Path) -> None:
    """Raise ``IllegalStateError`` while the stop is engaged. Reads one small file, and waits for nothing."""
    stop = read_stop(state_dir)
    if stop.engaged:
        raise IllegalStateError(
            f"no fault is injected here: emergency stop by {stop.who}: {stop.reason or 'no reason given'}",
            state="emergency-stop",
            remedy="etcd-chaos clear ends it, on all hosts of the inventory",
        )


class EmergencyBrake:
    """Engages and clears the stop of this host."""

    def __init__(self, state_dir: Path, faults: FaultManager, audit: AuditLog) -> None:
        self._state_dir = state_dir
        self._faults = faults
        self._audit = audit
        self._writer = DiskWriter()

    def status(self) -> EmergencyStop:
        """Whether it is engaged, by whom, why, since when."""
        return read_stop(self._state_dir)

    async def engage(self, reason: str, who: str) -> EmergencyStop:
        """First refuse new faults, then heal all there are, newest first; again is harmless.

        An injection under way is healed as soon as it is through.

        Raises:
            UnavailableError: the disk does not take the stop. Everything has been healed all the same.
        """
        stop = EmergencyStop(engaged=True, who=who, reason=reason, since_realtime_ns=time.time_ns())
        try:
            path, content = self._state_dir / FILE, stop.model_dump_json(exclude={"faults"}).encode()
            await self._writer.write(lambda: write_durably(path, content), str(path))
        finally:
            faults = await self._faults.heal_all("emergency-stop", who)
        await self._tell(who, "emergency stop", reason)
        return stop.model_copy(update={"faults": faults})

    async def clear(self, who: str) -> EmergencyStop:
        """Allow faults again."""
        before = self.status()
        await asyncio.to_thread(remove_durably, self._state_dir / FILE)
        if before.engaged:
            await self._tell(who, "emergency clear", before.reason)
        return self.status()

    async def _tell(self, who: str, what: str, reason: str) -> None:
        await self._audit.tell(who, what, {"reason": reason}, "done")
