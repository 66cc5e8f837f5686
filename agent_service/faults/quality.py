"""Plans faults of the network's quality: a packet queue for what comes in, netem or a rate for what goes out."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Final

from agent_service.errors import UnavailableError
from agent_service.faults.iptables import chain_rules
from agent_service.faults.network import check_own, check_protected
from agent_service.faults.quality_steps import (
    ChainAbsent,
    ChainQueues,
    EndQueue,
    LeafCount,
    QdiscRestored,
    QdiscShapes,
    QueueAttached,
    QueueCount,
    QueueGone,
    RemoveChain,
    RemoveQdisc,
    StartQueue,
)
from agent_service.faults.selectors import selectors
from agent_service.faults.shaping import (
    TC,
    check_replaceable,
    needs_netem,
    shaping_batch,
)
from agent_service.faults.steps import Exec, FaultSteps
from agent_service.quality.link import Qualities

if TYPE_CHECKING:
    from agent_service.faults.base import HostContext, NetworkMeans
    from agent_service.faults.selectors import Selector
    from agent_service.models import NetworkFault

QUEUE: Final = 60427
"""Number of the one packet queue that a host can have of ours; numbers go to 65535."""


def plan_network(fault_id: str, spec: NetworkFault, host: HostContext) -> FaultSteps:
    """Make packets late, lost, doubled, bent, disordered or slow.

    Raises:
        RefusedError: a protected port would be hit, a port is not the member's, or a device is not free.
        UnavailableError: this host cannot do it in that direction.
    """
    if host.network is None:
        raise ValueError("a fault of the network's quality is planned after a look at the host")
    own = [port for port in (spec.peer_port, spec.client_port) if port is not None]
    check_protected((*own, *(peer.port for peer in spec.peers)), host)
    if spec.peer_port is not None:
        check_own(spec.peer_port, host.peer_port, "peers")
    if spec.client_port is not None:
        check_own(spec.client_port, host.client_port, "clients")
    incoming, outgoing = directions(spec, host.network)
    selected = selectors(spec, host.network.families)
    nothing = FaultSteps((), (), (), ())
    return _joined(
        _queueing(fault_id, spec, host.network, host.protected_ports, selected) if incoming else nothing,
        _shaping(spec, host.network, host.protected_ports, selected) if outgoing else nothing,
    )


def directions(spec: NetworkFault, means: NetworkMeans) -> tuple[bool, bool]:
    """Whether to treat what comes in, and what goes out.

    ``any`` is what costs least: netem, or htb for a mere rate, or else the packet queue.

    Raises:
        UnavailableError: the host cannot do what is asked there.
    """
    in_lack = means.queue_lack or (means.duplicate_lack if spec.duplicate else None)
    out_lack = means.rate_lack or (means.netem_lack if needs_netem(spec) else None)
    if spec.direction == "any":
        if out_lack is None:
            return False, True
        if in_lack is None:
            return True, False
        raise UnavailableError(f"this host cannot do network: out: {out_lack}; in: {in_lack}")
    incoming, outgoing = spec.direction in {"in", "both"}, spec.direction in {"out", "both"}
    if outgoing and out_lack is not None:
        raise UnavailableError(
            f"this host cannot do that to what it sends: {out_lack}",
            remedy="ask for direction in or any; the time for a way and back is the same",
        )
    if incoming and in_lack is not None:
        raise UnavailableError(
            f"this host cannot do that to what it receives: {in_lack}",
            remedy="ask for direction out or any; the time for a way and back is the same",
        )
    return incoming, outgoing


def _queueing(
    fault_id: str,
    spec: NetworkFault,
    means: NetworkMeans,
    protected: tuple[int, ...],
    selected: tuple[Selector, ...],
) -> FaultSteps:
    path = f"{means.directory}/{fault_id}.json"
    seed = zlib.crc32(fault_id.encode())
    asked, good = qualities(spec)._asdict(), Qualities()._asdict()
    told = {name: value for name, value in asked.items() if value != good[name]}
    order = json.dumps({"queue": QUEUE, "seed": seed, "qualities": told})
    families = sorted({one.family for one in selected})
    tools = means.iptables
    chains = {family: tuple(one for one in selected if one.family == family) for family in families}
    return FaultSteps(
        inject=(
            StartQueue(path, order),
            *(
                Exec(tools.restore_argv(family), chain_rules(chosen, QUEUE, protected))
                for family, chosen in chains.items()
            ),
        ),
        verify_injected=(
            QueueAttached(path, QUEUE),
            *(
                ChainQueues(tools.save_argv(family), family, QUEUE, len(chosen), protected)
                for family, chosen in chains.items()
            ),
        ),
        undo=(
            *(
                RemoveChain(
                    tools.backend,
                    tools.infix,
                    family,
                    made_table=tools.backend == "nft" and family not in means.tables,
                )
                for family in reversed(chains)
            ),
            EndQueue(path),
        ),
        verify_healed=(
            *(ChainAbsent(tools.save_argv(family), family) for family in chains),
            QueueGone(path),
        ),
        counts=(QueueCount(QUEUE),),
    )


def _shaping(
    spec: NetworkFault, means: NetworkMeans, protected: tuple[int, ...], selected: tuple[Selector, ...]
) -> FaultSteps:
    if not means.devices:
        raise UnavailableError("no network interface leads to that traffic")
    for device in means.devices:
        check_replaceable(device)
    leaf = "netem" if needs_netem(spec) else "bfifo"
    queue = qualities(spec)
    return FaultSteps(
        inject=tuple(
            Exec((TC, "-batch", "-"), shaping_batch(device.name, selected, spec, protected, queue))
            for device in means.devices
        ),
        verify_injected=tuple(
            QdiscShapes(device.name, leaf, len(selected), 2 * len(protected)) for device in means.devices
        ),
        undo=tuple(RemoveQdisc(device.name) for device in reversed(means.devices)),
        verify_healed=tuple(QdiscRestored(device.name, device.kind) for device in means.devices),
        counts=tuple(LeafCount(device.name) for device in means.devices),
    )


def _joined(first: FaultSteps, second: FaultSteps) -> FaultSteps:
    """Both, undone in reverse."""
    return FaultSteps(
        inject=first.inject + second.inject,
        verify_injected=first.verify_injected + second.verify_injected,
        undo=second.undo + first.undo,
        verify_healed=first.verify_healed + second.verify_healed,
        counts=first.counts + second.counts,
    )


def qualities(spec: NetworkFault) -> Qualities:
    """What the packet queue's process is told."""
    return Qualities(
        delay_seconds=spec.delay_seconds,
        jitter_seconds=spec.jitter_seconds,
        distribution=spec.distribution,
        loss=spec.loss,
        loss_correlation=spec.loss_correlation,
        duplicate=spec.duplicate,
        corrupt=spec.corrupt,
        reorder=spec.reorder,
        rate_bits_per_second=spec.rate_bits_per_second or 0,
    )
