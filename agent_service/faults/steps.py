"""What a fault is made of: small values that say what to do and what must then be seen.

They are written to disk before anything is done, so that another process, after any crash, can still undo it.
``str(step)`` is what a person reads in a plan, in the journal's status and in ``--dry-run``.
"""

from __future__ import annotations

import shlex
from typing import Final, Literal, TypeAlias

import msgspec

from agent_service.faults.disksteps import DiskAction, DiskCheck
from agent_service.faults.machine_steps import (
    CgroupHolds,
    CgroupShows,
    ClockShifted,
    MachineAction,
    MachineCheck,
    WallClockIs,
)
from agent_service.faults.quality_steps import (
    ChainQueues,
    Count,
    QdiscShapes,
    QualityAction,
    QualityCheck,
    QueueAttached,
)
from agent_service.faults.step import Step
from agent_service.models import FaultPlan

# --- actions: doing one twice is the same as doing it once ------------------------------------------------


class Exec(Step, frozen=True, tag="exec"):
    """Run a command of the host's, never through a shell; any exit status but 0 is a failure."""

    argv: tuple[str, ...]
    stdin: str = ""

    def __str__(self) -> str:
        command = shlex.join(self.argv)
        return f"{command} <<EOF\n{self.stdin}EOF" if self.stdin else command


class StopMember(Step, frozen=True, tag="stop-member"):
    """SIGTERM, and SIGKILL after the grace."""

    grace_seconds: float

    def __str__(self) -> str:
        return f"send SIGTERM to etcd, SIGKILL after {self.grace_seconds:g} s"


class KillMember(Step, frozen=True, tag="kill-member"):
    """SIGKILL."""

    def __str__(self) -> str:
        return "send SIGKILL to etcd"


class QuitMember(Step, frozen=True, tag="quit-member"):
    """SIGQUIT, and SIGKILL if it does not end of it."""

    def __str__(self) -> str:
        return "send SIGQUIT to etcd, which writes its stacks to the log"


class PauseMember(Step, frozen=True, tag="pause-member"):
    """SIGSTOP."""

    def __str__(self) -> str:
        return "send SIGSTOP to etcd"


class ResumeMember(Step, frozen=True, tag="resume-member"):
    """SIGCONT; nothing if it has ended."""

    def __str__(self) -> str:
        return "send SIGCONT to etcd, if it lives"


class EnsureMemberRunning(Step, frozen=True, tag="ensure-member-running"):
    """Start it with its last spec if it has ended; nothing if it lives or was removed."""

    def __str__(self) -> str:
        return "start etcd as it was, unless it runs"


class SetFailpoints(Step, frozen=True, tag="set-failpoints"):
    """Set failpoints of the member, by name."""

    address: str
    terms: dict[str, str]

    def __str__(self) -> str:
        return "; ".join(f"PUT http://{self.address}/{name} {term}" for name, term in self.terms.items())


class DeleteFailpoints(Step, frozen=True, tag="delete-failpoints"):
    """Take failpoints of the member away; nothing if it does not run."""

    address: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        return "; ".join(f"DELETE http://{self.address}/{name}" for name in self.names)


Action: TypeAlias = (
    Exec
    | StopMember
    | KillMember
    | QuitMember
    | PauseMember
    | ResumeMember
    | EnsureMemberRunning
    | MachineAction
    | DiskAction
    | SetFailpoints
    | DeleteFailpoints
    | QualityAction
)


# --- checks: they look, and change nothing -----------------------------------------------------------------


class ProcessGone(Step, frozen=True, tag="process-gone"):
    """That process of this boot is no more."""

    pid: int
    start_ticks: int

    def __str__(self) -> str:
        return f"process {self.pid} is gone"


class PanicReached(Step, frozen=True, tag="panic-reached"):
    """That process has come by a failpoint that ended it."""

    pid: int
    start_ticks: int

    def __str__(self) -> str:
        return f"process {self.pid} came by a failpoint that panics, and is gone"


class ProcessStopped(Step, frozen=True, tag="process-stopped"):
    """Every thread of that process is in state T."""

    pid: int
    start_ticks: int

    def __str__(self) -> str:
        return f"every thread of process {self.pid} is stopped"


class ProcessNotStopped(Step, frozen=True, tag="process-not-stopped"):
    """That process is not in state T; it may have ended."""

    pid: int
    start_ticks: int

    def __str__(self) -> str:
        return f"process {self.pid} is not stopped"


class MemberRuns(Step, frozen=True, tag="member-runs"):
    """The member's process lives and is another one than ``not_pid`` (0: any), or the member was removed."""

    not_pid: int = 0
    not_start_ticks: int = 0

    def __str__(self) -> str:
        return f"etcd runs as another process than {self.not_pid}" if self.not_pid else "etcd runs"


class TableBlocks(Step, frozen=True, tag="nft-table-blocks"):
    """The nftables table is there and blocks: so many rules a direction, after an accept of ``protected``."""

    argv: tuple[str, ...]
    table: str
    incoming: int
    outgoing: int
    protected: tuple[int, ...]

    def __str__(self) -> str:
        rules = f"{self.incoming} rules on what comes in, {self.outgoing} on what goes out"
        return f"nftables table inet {self.table} blocks: {rules}"


class TableAbsent(Step, frozen=True, tag="nft-table-absent"):
    """There is no such nftables table."""

    argv: tuple[str, ...]
    table: str

    def __str__(self) -> str:
        return f"there is no nftables table inet {self.table}"


class FailpointsAre(Step, frozen=True, tag="failpoints-are"):
    """Each failpoint has this term (empty: none). Where none is wanted, a member that was removed will do."""

    address: str
    terms: dict[str, str]

    def __str__(self) -> str:
        return "; ".join(
            f"failpoint {name} is {f'set to {term}' if term else 'not set'}"
            for name, term in self.terms.items()
        )


Check: TypeAlias = (
    ProcessGone
    | PanicReached
    | ProcessStopped
    | ProcessNotStopped
    | MemberRuns
    | TableBlocks
    | TableAbsent
    | DiskCheck
    | FailpointsAre
    | QualityCheck
    | MachineCheck
)

LASTING: Final = (
    ProcessStopped,
    TableBlocks,
    FailpointsAre,
    QueueAttached,
    ChainQueues,
    QdiscShapes,
    CgroupHolds,
    CgroupShows,
    ClockShifted,
    WallClockIs,
)
"""What must be so for as long as the fault is held. That a process is gone cannot be undone, and a member that
ended after its restart is etcd's doing: neither is asked for again."""


class Repeat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is done again and again while a fault is held. Times are seconds from one round to the next."""

    every_seconds: float
    actions: tuple[Action, ...]

    def __str__(self) -> str:
        return f"every {self.every_seconds:g} s: {', '.join(map(str, self.actions))}"


class FaultSteps(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A planned fault. Each list runs in its order; ``undo`` is written last action first."""

    inject: tuple[Action, ...]
    verify_injected: tuple[Check, ...]
    undo: tuple[Action, ...]
    verify_healed: tuple[Check, ...]
    repeat: Repeat | None = None
    verify_effect: tuple[Check, ...] = ()
    """What can only be seen when it is over: that a host was down. Looked at before the undo."""
    until: Literal["heal", "next-agent", "next-boot"] = "heal"
    """What ends it: a fault that ends the agent or the boot is undone by the next one, as soon as it starts."""
    counts: tuple[Count, ...] = ()

    def plan(self) -> FaultPlan:
        """The steps as a person reads them."""
        done = (*self.inject, self.repeat) if self.repeat is not None else self.inject
        return FaultPlan(inject=tuple(map(str, done)), undo=tuple(map(str, self.undo)))
