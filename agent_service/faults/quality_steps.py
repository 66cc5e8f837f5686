"""Steps of faults of the network's quality: packet queues, iptables chains and queueing disciplines."""

from __future__ import annotations

from typing import Literal, TypeAlias

from agent_service.faults.step import Step

# --- actions: doing one twice is the same as doing it once ------------------------------------------------


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


QualityAction: TypeAlias = StartQueue | EndQueue | RemoveChain | RemoveQdisc


# --- checks: they look, and change nothing -----------------------------------------------------------------


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


QualityCheck: TypeAlias = QueueAttached | QueueGone | ChainQueues | ChainAbsent | QdiscShapes | QdiscRestored


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
