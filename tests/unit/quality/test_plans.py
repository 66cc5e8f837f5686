"""Golden tests of faults of the network's quality: what a host that has this and that would do."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from agent_service.errors import RefusedError, UnavailableError
from agent_service.faults.base import HostContext, NetworkMeans
from agent_service.faults.iptables import Iptables
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
from agent_service.faults.registry import plan_fault
from agent_service.faults.shaping import Device
from agent_service.faults.steps import Exec, FaultSteps
from agent_service.models import MemberState, NetworkFault, Peer

PEERS = (Peer(address="10.0.0.2", port=2380), Peer(address="fd00::3", port=12380))
SLOW = NetworkFault(
    peer_port=2380, peers=PEERS, delay_seconds=0.5, jitter_seconds=0.05, distribution="normal"
)
EVERYTHING = NetworkFault(
    peer_port=2380,
    peers=PEERS[:1],
    client_port=2379,
    direction="both",
    delay_seconds=0.5,
    jitter_seconds=0.05,
    distribution="pareto",
    loss=0.1,
    loss_correlation=0.25,
    duplicate=0.01,
    corrupt=0.001,
    reorder=0.05,
    rate_bits_per_second=10_000_000,
)
NARROW = NetworkFault(client_port=2379, rate_bits_per_second=1_000_000)

NO_NETEM = NetworkMeans(
    directory="/state/network",
    queue_lack=None,
    duplicate_lack=None,
    netem_lack="this kernel has no netem (sch_netem)",
    rate_lack=None,
    iptables=Iptables("nft", "-nft"),
    families=("ip", "ip6"),
    tables=frozenset({"ip6"}),
    devices=(Device("eth0", "noqueue", "0:"),),
)
NETEM = replace(NO_NETEM, netem_lack=None)
NO_QUEUE = replace(NO_NETEM, queue_lack="there is no iptables; install it")
PATH = "/state/network/f-1.json"


def host(means: NetworkMeans | None) -> HostContext:
    return HostContext(MemberState.RUNNING, None, 2379, 2380, (22, 9027), network=means)


def order(**qualities: float | str) -> str:
    return json.dumps({"queue": 60427, "seed": 3270456405, "qualities": qualities})


def chain(*rules: str) -> str:
    lines = (
        "*mangle",
        ":etcd-chaos-network - [0:0]",
        "-A etcd-chaos-network -p tcp --dport 22 -j RETURN",
        "-A etcd-chaos-network -p tcp --dport 9027 -j RETURN",
        *(
            f"-A etcd-chaos-network ! -i lo -p tcp {rule} -j NFQUEUE --queue-num 60427 --queue-bypass"
            for rule in rules
        ),
        "-I INPUT 1 -j etcd-chaos-network",
        "COMMIT",
    )
    return "".join(f"{line}\n" for line in lines)


def restore(tool: str) -> tuple[str, ...]:
    return (f"{tool}-restore", "--wait", "5", "--noflush")


def save(tool: str) -> tuple[str, ...]:
    return (f"{tool}-save", "--table", "mangle")


QUEUED = FaultSteps(
    inject=(
        StartQueue(PATH, order(delay_seconds=0.5, jitter_seconds=0.05, distribution="normal")),
        Exec(restore("iptables-nft"), chain("-s 10.0.0.2 --dport 2380", "-s 10.0.0.2 --sport 2380")),
        Exec(restore("ip6tables-nft"), chain("-s fd00::3 --dport 2380", "-s fd00::3 --sport 12380")),
    ),
    verify_injected=(
        QueueAttached(PATH, 60427),
        ChainQueues(save("iptables-nft"), "ip", 60427, 2, (22, 9027)),
        ChainQueues(save("ip6tables-nft"), "ip6", 60427, 2, (22, 9027)),
    ),
    undo=(
        RemoveChain("nft", "-nft", "ip6", made_table=False),
        RemoveChain("nft", "-nft", "ip", made_table=True),
        EndQueue(PATH),
    ),
    verify_healed=(
        ChainAbsent(save("iptables-nft"), "ip"),
        ChainAbsent(save("ip6tables-nft"), "ip6"),
        QueueGone(PATH),
    ),
    counts=(QueueCount(60427),),
)

EXEMPT = """\
filter add dev eth0 parent ec00: protocol ip prio 1 u32 match ip protocol 6 0xff match ip sport 22 0xffff flowid ec00:0
filter add dev eth0 parent ec00: protocol ip prio 1 u32 match ip protocol 6 0xff match ip sport 9027 0xffff flowid ec00:0
filter add dev eth0 parent ec00: protocol ipv6 prio 2 u32 match ip6 protocol 6 0xff match ip6 sport 22 0xffff flowid ec00:0
filter add dev eth0 parent ec00: protocol ipv6 prio 2 u32 match ip6 protocol 6 0xff match ip6 sport 9027 0xffff flowid ec00:0
"""  # noqa: E501 - as they are

SLOW_BATCH = f"""\
qdisc add dev eth0 root handle ec00: htb default 0
class add dev eth0 parent ec00: classid ec00:1 htb rate 32000000000bit ceil 32000000000bit burst 40000000b cburst 40000000b quantum 60000
qdisc add dev eth0 parent ec00:1 handle ec01: netem limit 70000 delay 500000us 50000us distribution normal
{EXEMPT}\
filter add dev eth0 parent ec00: protocol ip prio 3 u32 match ip protocol 6 0xff match ip dst 10.0.0.2/32 match ip sport 2380 0xffff flowid ec00:1
filter add dev eth0 parent ec00: protocol ip prio 3 u32 match ip protocol 6 0xff match ip dst 10.0.0.2/32 match ip dport 2380 0xffff flowid ec00:1
filter add dev eth0 parent ec00: protocol ipv6 prio 4 u32 match ip6 protocol 6 0xff match ip6 dst fd00::3/128 match ip6 sport 2380 0xffff flowid ec00:1
filter add dev eth0 parent ec00: protocol ipv6 prio 4 u32 match ip6 protocol 6 0xff match ip6 dst fd00::3/128 match ip6 dport 12380 0xffff flowid ec00:1
"""  # noqa: E501 - as they are

NARROW_BATCH = f"""\
qdisc add dev eth0 root handle ec00: htb default 0
class add dev eth0 parent ec00: classid ec00:1 htb rate 1000000bit ceil 1000000bit burst 5000b cburst 5000b quantum 60000
qdisc add dev eth0 parent ec00:1 handle ec01: bfifo limit 262144
{EXEMPT}\
filter add dev eth0 parent ec00: protocol ip prio 3 u32 match ip protocol 6 0xff match ip sport 2379 0xffff flowid ec00:1
filter add dev eth0 parent ec00: protocol ipv6 prio 4 u32 match ip6 protocol 6 0xff match ip6 sport 2379 0xffff flowid ec00:1
"""  # noqa: E501 - as they are


def shaped(batch: str, leaf: str, filters: int) -> FaultSteps:
    return FaultSteps(
        inject=(Exec(("tc", "-batch", "-"), batch),),
        verify_injected=(QdiscShapes("eth0", leaf, filters, 4),),
        undo=(RemoveQdisc("eth0"),),
        verify_healed=(QdiscRestored("eth0", "noqueue"),),
        counts=(LeafCount("eth0"),),
    )


@pytest.mark.parametrize(
    ("spec", "means", "steps"),
    [
        (SLOW, NO_NETEM, QUEUED),
        (SLOW, NETEM, shaped(SLOW_BATCH, "netem", 4)),
        (NARROW, NO_NETEM, shaped(NARROW_BATCH, "bfifo", 2)),
        (NARROW, NETEM, shaped(NARROW_BATCH, "bfifo", 2)),
    ],
)
def test_golden(spec: NetworkFault, means: NetworkMeans, steps: FaultSteps) -> None:
    assert plan_fault("f-1", spec, host(means)) == steps
    assert msgspec.json.decode(msgspec.json.encode(steps), type=FaultSteps) == steps


def test_both_ways_are_undone_in_reverse() -> None:
    steps = plan_fault("f-1", EVERYTHING, host(NETEM))
    batch = steps.inject[-1]
    assert isinstance(batch, Exec)
    assert (
        "netem limit 23437 delay 500000us 50000us distribution pareto loss 10.0000% 25.0000% "
        "duplicate 1.0000% corrupt 0.1000% reorder 5.0000%\n"
    ) in batch.stdin
    assert "htb rate 10000000bit ceil 10000000bit burst 12500b cburst 12500b" in batch.stdin
    assert [type(step) for step in steps.inject] == [StartQueue, Exec, Exec, Exec]
    assert [type(step) for step in steps.undo] == [RemoveQdisc, RemoveChain, RemoveChain, EndQueue]
    assert steps.counts == (QueueCount(60427), LeafCount("eth0"))
    for step in (*steps.inject, *steps.verify_injected, *steps.undo, *steps.verify_healed, *steps.counts):
        assert type(step).__name__ not in str(step)


@pytest.mark.parametrize(
    ("spec", "means", "message"),
    [
        (SLOW, NO_QUEUE, "out: this kernel has no netem .*; in: there is no iptables"),
        (SLOW.model_copy(update={"direction": "in"}), NO_QUEUE, "receives: there is no iptables"),
        (SLOW.model_copy(update={"direction": "out"}), NO_NETEM, "sends: this kernel has no netem"),
        (EVERYTHING, NO_NETEM, "sends: this kernel has no netem"),
        (NARROW, replace(NO_QUEUE, rate_lack="there is no tc"), "out: there is no tc; in: there is no ip"),
        (
            EVERYTHING.model_copy(update={"direction": "in"}),
            replace(NETEM, duplicate_lack="the agent lacks CAP_NET_RAW"),
            "lacks CAP_NET_RAW",
        ),
        (NARROW, replace(NETEM, devices=()), "no network interface"),
    ],
)
def test_what_a_host_cannot_do_it_says(spec: NetworkFault, means: NetworkMeans, message: str) -> None:
    with pytest.raises(UnavailableError, match=message):
        plan_fault("f-1", spec, host(means))


def test_a_queueing_discipline_of_somebody_elses_stays() -> None:
    taken = replace(NETEM, devices=(Device("eth0", "noqueue", "0:"), Device("eth1", "fq_codel", "8001:")))
    with pytest.raises(RefusedError, match=r"eth1 has .* \(fq_codel 8001:\)") as caught:
        plan_fault("f-1", SLOW, host(taken))
    assert caught.value.remedy is not None
    assert "tc qdisc del dev eth1 root" in caught.value.remedy
    assert plan_fault("f-1", SLOW.model_copy(update={"direction": "in"}), host(taken)), (
        "what comes in is free"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peer_port": 22}, "port 22 is protected"),
        ({"client_port": 9027}, "port 9027 is protected"),
        ({"peers": (Peer(address="10.0.0.2", port=22),)}, "port 22 is protected"),
        ({"peer_port": 2379}, "peers on port 2380, not 2379"),
        ({"client_port": 2380}, "clients on port 2379, not 2380"),
    ],
)
def test_ports_that_must_not_be_hit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        plan_fault("f-1", SLOW.model_copy(update=changes), host(NO_NETEM))


WIRE = {"client_port": 2379, "delay_seconds": 0.5, "loss": 0.5, "rate_bits_per_second": 8000}


@pytest.mark.parametrize(
    "changes",
    [
        {"client_port": None},
        {"peer_port": 2380},
        {"peers": [{"address": "10.0.0.2", "port": 2380}]},
        {"delay_seconds": 0.0, "loss": 0.0, "rate_bits_per_second": None},
        {"delay_seconds": 0.0, "jitter_seconds": 0.1},
        {"delay_seconds": 0.0, "reorder": 0.1},
        {"loss": 0.0, "loss_correlation": 0.1},
        {"distribution": "normal; reboot"},
        {"direction": "IN"},
        *({"delay_seconds": bad} for bad in (-1, 61, "1", float("nan"), float("inf"), True)),
        *({"loss": bad} for bad in (-0.1, 1.1, 0.00001, "10%", float("nan"))),
        *({"rate_bits_per_second": bad} for bad in (0, 7999, 10**12, "1mbit", 1.5)),
        *(
            {"peer_port": 2380, "peers": [{"address": bad, "port": 2380}]}
            for bad in ("10.0.0.2 -j ACCEPT", "fe80::1%eth0", "10.0.0.2/0", "h2", "10.0.0.2\n-F")
        ),
    ],
)
def test_every_part_is_typed_and_bounded(changes: dict[str, Any]) -> None:
    NetworkFault.model_validate_json(json.dumps(WIRE))
    with pytest.raises(ValidationError):
        NetworkFault.model_validate_json(json.dumps(WIRE | changes))
