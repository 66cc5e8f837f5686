"""The ``systemd`` supervisor: the member is a transient unit of its own, beside the agent's."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_service import commands
from agent_service.errors import IllegalStateError, UnavailableError
from agent_service.processes import ProcessId, boot_id, identify, is_alive
from agent_service.supervisor.base import ExitStatus

if TYPE_CHECKING:
    from agent_service.supervisor.base import Launch

UNIT: Final = "etcd-chaos-member.service"
SLICE: Final = "etcdchaos.slice"

LIMITS: Final = Path("/run/systemd/system.control") / f"{UNIT}.d"
"""Where systemd keeps what ``set-property --runtime`` says of the unit."""

_EXIT_TIMEOUT_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.005

_NOT_LOADED: Final = 5
"""Exit status of ``systemctl stop`` for a unit that nobody knows."""

# siginfo codes, as systemd shows them in ExecMainCode
_CLD_EXITED: Final = 1
_CLD_KILLED: Final = 2
_CLD_DUMPED: Final = 3

_SHOW_PROPERTIES: Final = (
    "LoadState",
    "ActiveState",
    "MainPID",
    "ExecMainPID",
    "ExecMainCode",
    "ExecMainStatus",
    "ExecMainExitTimestampMonotonic",
)


@dataclass(frozen=True, slots=True)
class Service:
    """A transient unit; ``properties`` beside those that every one has."""

    unit: str
    description: str
    properties: tuple[str, ...] = ()


MEMBER: Final = Service(UNIT, "etcd member under test (etcd-chaos)")


def start_argv(launch: Launch, service: Service = MEMBER) -> tuple[str, ...]:
    """``systemd-run`` command line that starts a process; it returns when that was executed.

    ``RemainAfterExit`` and the lack of ``--collect`` keep the exit status readable until the unit's release.
    """
    properties = (
        "Type=exec",
        "RemainAfterExit=yes",
        "Restart=no",
        "KillMode=mixed",
        "TimeoutStopSec=10s",
        "LimitNOFILE=65536",
        f"StandardOutput=append:{launch.log}",
        f"StandardError=append:{launch.log}",
        *service.properties,
    )
    return (
        "systemd-run",
        "--quiet",
        "--no-ask-password",
        f"--unit={service.unit}",
        f"--slice={SLICE}",
        f"--description={service.description}",
        *(f"--property={item}" for item in properties),
        *((f"--uid={launch.user}",) if launch.user is not None else ()),
        *(f"--setenv={name}={value}" for name, value in sorted(launch.env.items())),
        "--",
        # systemd expands variables in arguments; a doubled dollar is one that stays
        *(argument.replace("$", "$$") for argument in launch.argv),
    )


def show_argv(unit: str = UNIT) -> tuple[str, ...]:
    """``systemctl`` command line that shows the unit's state."""
    return ("systemctl", "show", unit, f"--property={','.join(_SHOW_PROPERTIES)}")


def stop_argv(unit: str = UNIT) -> tuple[str, ...]:
    """Ends a unit, also one that remained after its process exited."""
    return ("systemctl", "stop", unit)


def stop_slice_argv() -> tuple[str, ...]:
    """Ends the slice once nothing is in it."""
    return ("systemctl", "stop", SLICE)


def revert_argv() -> tuple[str, ...]:
    """Forgets properties that were set while the unit ran."""
    return ("systemctl", "revert", UNIT)


def reset_argv(unit: str = UNIT) -> tuple[str, ...]:
    """Forgets a unit that failed."""
    return ("systemctl", "reset-failed", unit)


@dataclass(frozen=True, slots=True)
class UnitState:
    """What ``systemctl show`` says about the unit; ``main_pid`` is 0 when nothing runs."""

    loaded: bool
    active_state: str
    main_pid: int
    last_pid: int
    exit: ExitStatus | None


def parse_show(text: str) -> UnitState:
    """Read the output of ``show_argv``."""
    values = dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)
    code, status = int(values["ExecMainCode"] or 0), int(values["ExecMainStatus"] or 0)
    exit_us = int(values["ExecMainExitTimestampMonotonic"] or 0)
    exit_ns = exit_us * 1000 or None
    ended: ExitStatus | None = None
    if code == _CLD_EXITED:
        ended = ExitStatus(status, None, exit_ns)
    elif code in {_CLD_KILLED, _CLD_DUMPED}:
        ended = ExitStatus(None, status, exit_ns)
    return UnitState(
        loaded=values["LoadState"] == "loaded",
        active_state=values["ActiveState"],
        main_pid=int(values["MainPID"] or 0),
        last_pid=int(values["ExecMainPID"] or 0),
        exit=ended,
    )


class SystemdSupervisor:
    """Implements ``Supervisor`` with ``systemd-run`` and ``systemctl``."""

    def __init__(self, service: Service = MEMBER) -> None:
        self._service = service

    async def launch(self, launch: Launch) -> ProcessId:
        """Start the unit."""
        unit = await self._show()
        if unit.main_pid:
            raise IllegalStateError(
                f"{self._service.unit} runs already (pid {unit.main_pid}), and this agent did not know of it",
                state="running",
                remedy=f"end it: systemctl stop {self._service.unit}",
            )
        await self._release(unit)
        started = await commands.run(start_argv(launch.on_its_clock(), self._service))
        if started.code != 0:
            await self.release()
            raise UnavailableError(
                f"systemd cannot start {launch.argv[0]}: {started.complaint}",
                remedy=f"journalctl -u {self._service.unit}",
            )
        unit = await self._show()
        if not unit.last_pid:
            raise UnavailableError(f"systemd started {self._service.unit} and knows no process of it")
        # It may have ended between the two calls; then its start time cannot be read any more.
        process = identify(unit.main_pid) if unit.main_pid else None
        return process or ProcessId(unit.last_pid, 0, boot_id())

    async def find(self) -> ProcessId | None:
        """The unit's main process."""
        unit = await self._show()
        process = identify(unit.main_pid) if unit.main_pid else None
        return process if process is not None and is_alive(process) else None

    async def exit_status(self, process: ProcessId) -> ExitStatus | None:
        """As systemd reaped it; waits until it has."""
        deadline = time.monotonic() + _EXIT_TIMEOUT_SECONDS
        while process.boot_id == boot_id():
            unit = await self._show()
            if unit.last_pid != process.pid:
                break
            if unit.exit is not None or time.monotonic() > deadline:
                return unit.exit
            await asyncio.sleep(_POLL_SECONDS)
        return None

    async def release(self) -> None:
        """Let systemd forget the unit and its slice."""
        await self._release(await self._show())
        if LIMITS.is_dir():
            # What a fault limited and lifted again; systemd remembers even that until the next boot.
            await commands.check(revert_argv())
        stopped = await commands.run(stop_slice_argv())
        if stopped.code not in {0, _NOT_LOADED}:
            raise UnavailableError(f"cannot stop {SLICE}: {stopped.complaint}")

    async def stop(self) -> None:
        """End the process by SIGTERM, whatever it does, and forget the unit."""
        unit = await self._show()
        if unit.loaded:
            await commands.check(stop_argv(self._service.unit))
            await self._release(await self._show())

    async def _release(self, unit: UnitState) -> None:
        if unit.main_pid or not unit.loaded:
            return
        # A failed unit is forgotten by a reset alone, one that remained after exit by a stop.
        await commands.check(
            reset_argv(self._service.unit) if unit.active_state == "failed" else stop_argv(self._service.unit)
        )

    async def _show(self) -> UnitState:
        return parse_show((await commands.check(show_argv(self._service.unit))).stdout)
