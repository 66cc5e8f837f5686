"""What a fault is made of: small values that say what to do and what must then be seen.

They are written to disk before anything is done, so that another process, after any crash, can still undo it.
``str(step)`` is what a person reads in a plan, in the journal's status and in ``--dry-run``.
"""

from __future__ import annotations

import shlex
from typing import Final, Literal, TypeAlias

import msgspec

from agent_service.models import FaultPlan


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="step"):
    """Base of all actions and checks."""


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


class StartQueue(Step, frozen=True, tag="start-packet-queue"):
    """Start the process of a packet queue with its order (JSON), which lives while ``path`` is there."""

    path: str
    order: str

    def __str__(self) -> str:
        return f"start a process for packets: {self.order}"


class EndQueue(Step, frozen=True, tag="end-packet-queue"):
    """Let everything that waits pass and end the process that lives by ``path``; nothing if nobody does."""

    path: str

    def __str__(self) -> str:
        return f"end the process that lives by {self.path}"


class RemoveChain(Step, frozen=True, tag="remove-iptables-chain"):
    """Remove the fault's own iptables chain and all that leads to it; nothing if there is none."""

    backend: str
    infix: str
    family: Literal["ip", "ip6"]
    made_table: bool
    """Whether nftables had no such table before: iptables-nft leaves it behind."""

    def __str__(self) -> str:
        return f"remove the iptables chain etcd-chaos-network ({self.family})"


class RemoveQdisc(Step, frozen=True, tag="remove-qdisc"):
    """Remove the fault's own root queueing discipline; nothing if it is not there."""

    device: str

    def __str__(self) -> str:
        return f"remove qdisc ec00: from {self.device}"


Action: TypeAlias = (
    Exec
    | StopMember
    | KillMember
    | PauseMember
    | ResumeMember
    | EnsureMemberRunning
    | StartQueue
    | EndQueue
    | RemoveChain
    | RemoveQdisc
)


# --- checks: they look, and change nothing -----------------------------------------------------------------


class ProcessGone(Step, frozen=True, tag="process-gone"):
    """That process of this boot is no more."""

    pid: int
    start_ticks: int

    def __str__(self) -> str:
        return f"process {self.pid} is gone"


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


class QueueAttached(Step, frozen=True, tag="packet-queue-attached"):
    """The kernel hands the queue's packets to the process that lives by ``path``."""

    path: str
    queue: int

    def __str__(self) -> str:
        return f"packet queue {self.queue} has its process"


class QueueGone(Step, frozen=True, tag="packet-queue-gone"):
    """Nobody lives by ``path``, and there is no such file."""

    path: str

    def __str__(self) -> str:
        return "there is no process of a packet queue"


class ChainQueues(Step, frozen=True, tag="iptables-chain-queues"):
    """The iptables chain is there: so many rules to the queue, after a return for ``protected``."""

    argv: tuple[str, ...]
    family: str
    queue: int
    rules: int
    protected: tuple[int, ...]

    def __str__(self) -> str:
        return f"iptables ({self.family}) hands {self.rules} kinds of incoming packets to queue {self.queue}"


class ChainAbsent(Step, frozen=True, tag="iptables-chain-absent"):
    """There is no such iptables chain, and nothing leads to one."""

    argv: tuple[str, ...]
    family: str

    def __str__(self) -> str:
        return f"there is no iptables chain of the fault's ({self.family})"


class QdiscShapes(Step, frozen=True, tag="qdisc-shapes"):
    """The fault's queueing discipline is the root of the device, with its leaf and its filters."""

    device: str
    leaf: str
    filters: int
    exempt: int
    """Filters that let protected ports pass by."""

    def __str__(self) -> str:
        return f"{self.leaf} treats {self.filters} kinds of outgoing packets on {self.device}"


class QdiscRestored(Step, frozen=True, tag="qdisc-restored"):
    """The root of the device is what the kernel had set up there, or the device is gone."""

    device: str
    kind: str

    def __str__(self) -> str:
        return f"the root qdisc of {self.device} is {self.kind} again"


Check: TypeAlias = (
    ProcessGone
    | ProcessStopped
    | ProcessNotStopped
    | MemberRuns
    | TableBlocks
    | TableAbsent
    | QueueAttached
    | QueueGone
    | ChainQueues
    | ChainAbsent
    | QdiscShapes
    | QdiscRestored
)

LASTING: Final = (ProcessStopped, TableBlocks, QueueAttached, ChainQueues, QdiscShapes)
"""What must be so for as long as the fault is held. That a process is gone cannot be undone, and a member that
ended after its restart is etcd's doing: neither is asked for again."""


# --- counts: how much a fault has done, read before it is undone ----------------------------------------------


class QueueCount(Step, frozen=True, tag="packet-queue-count"):
    """Packets that went through a queue."""

    queue: int

    def __str__(self) -> str:
        return f"packets through queue {self.queue}"


class LeafCount(Step, frozen=True, tag="qdisc-count"):
    """Packets that went through the fault's queueing discipline, and those it dropped."""

    device: str

    def __str__(self) -> str:
        return f"packets sent by {self.device}"


Count: TypeAlias = QueueCount | LeafCount


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
    counts: tuple[Count, ...] = ()

    def plan(self) -> FaultPlan:
        """The steps as a person reads them."""
        done = (*self.inject, self.repeat) if self.repeat is not None else self.inject
        return FaultPlan(inject=tuple(map(str, done)), undo=tuple(map(str, self.undo)))
