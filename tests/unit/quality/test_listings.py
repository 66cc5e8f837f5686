"""Whether a fault is in effect is read from what iptables, tc and the kernel list: what lacks must be seen."""

from __future__ import annotations

import json
import struct

import pytest

from agent_service.errors import UnavailableError
from agent_service.faults import iptables, shaping
from agent_service.faults.quality_steps import ChainQueues, QdiscShapes
from agent_service.quality import netlink
from agent_service.quality.nfqueue import Packet, listed_owner, listed_total, read_packet

TO_QUEUE = "-j NFQUEUE --queue-num 60427 --queue-bypass"
RULES = [
    "-A INPUT -j etcd-chaos-network",
    "-A INPUT -j etcd-chaos-network-of-another",
    "-A etcd-chaos-network -p tcp -m tcp --dport 22 -j RETURN",
    "-A etcd-chaos-network -p tcp -m tcp --dport 9027 -j RETURN",
    f"-A etcd-chaos-network -s 10.0.0.2/32 ! -i lo -p tcp -m tcp --dport 2380 {TO_QUEUE}",
    f"-A etcd-chaos-network -s 10.0.0.2/32 ! -i lo -p tcp -m tcp --sport 2380 {TO_QUEUE}",
]
LISTING = "\n".join(
    ("# Generated", "*mangle", ":INPUT ACCEPT [0:0]", ":etcd-chaos-network - [0:0]", *RULES, "COMMIT", "")
)
CHAIN = ChainQueues(("iptables-save",), "ip", 60427, 2, (22, 9027))


def test_a_chain_that_is_all_there() -> None:
    assert iptables.missing_rules(LISTING, CHAIN) is None


@pytest.mark.parametrize("rule", [*RULES[:1], *RULES[2:]])
def test_a_rule_that_lacks_is_seen(rule: str) -> None:
    assert iptables.missing_rules(LISTING.replace(f"{rule}\n", ""), CHAIN)


@pytest.mark.parametrize(
    ("old", "new"),
    [("--queue-bypass", ""), ("--queue-num 60427", "--queue-num 1"), ("--dport 22 ", "--dport 23 ")],
)
def test_a_rule_that_is_another_is_seen(old: str, new: str) -> None:
    assert iptables.missing_rules(LISTING.replace(old, new), CHAIN)


def test_only_what_is_ours_is_removed() -> None:
    assert iptables.removal(LISTING) == (
        "*mangle\n:etcd-chaos-network - [0:0]\n-D INPUT -j etcd-chaos-network\n-X etcd-chaos-network\nCOMMIT\n"
    )
    others = "*mangle\n:INPUT ACCEPT [0:0]\n:etcd-chaos-network-of-another - [0:0]\nCOMMIT\n"
    assert iptables.removal(others) is None
    half = others.replace("COMMIT", ":etcd-chaos-network - [0:0]\nCOMMIT")
    assert iptables.is_listed(half)
    assert "-D" not in (iptables.removal(half) or "")


TABLE = {"table": {"family": "ip", "name": "mangle", "handle": 2}}
INPUT = {"chain": {"family": "ip", "table": "mangle", "name": "INPUT", "handle": 1, "hook": "input"}}
OTHER = {"chain": {"family": "ip", "table": "mangle", "name": "theirs", "handle": 3}}
RULE = {"rule": {"family": "ip", "table": "mangle", "chain": "INPUT", "handle": 4, "expr": []}}
SET = {"set": {"family": "ip", "name": "theirs", "table": "mangle", "type": "ipv4_addr", "handle": 5}}


@pytest.mark.parametrize(
    ("listed", "script"),
    [
        ([TABLE, INPUT], "delete chain ip mangle INPUT\ndelete table ip mangle\n"),
        ([TABLE], "delete table ip mangle\n"),
        ([TABLE, INPUT, RULE], None),
        ([TABLE, INPUT, OTHER], None),
        ([TABLE, SET], None),
    ],
)
def test_a_table_goes_with_its_empty_hook_and_never_with_anything_else(
    listed: list[dict[str, object]], script: str | None
) -> None:
    listing = json.dumps({"nftables": [{"metainfo": {"version": "1.0.6"}}, *listed]})
    assert iptables.table_removal(listing, "ip") == script


QDISCS = [
    {"kind": "noqueue", "handle": "0:", "dev": "lo", "root": True},
    {"kind": "htb", "handle": "ec00:", "dev": "eth0", "root": True, "options": {"default": "0"}},
    {
        "kind": "bfifo",
        "handle": "ec01:",
        "dev": "eth0",
        "parent": "ec00:1",
        "packets": 3,
        "bytes": 9,
        "drops": 1,
    },
]
FILTERS = [
    {"parent": "ec00:", "kind": "u32"},
    {"parent": "ec00:", "kind": "u32", "options": {"fh": "800:", "ht_divisor": 1}},
    *[{"options": {"flowid": "ec00:", "match": {}}}] * 2,
    *[{"options": {"flowid": "ec00:1", "match": {}}}] * 3,
]
SHAPE = QdiscShapes("eth0", "bfifo", 3, 2)


def test_a_shape_that_is_all_there() -> None:
    assert shaping.missing_shape(json.dumps(QDISCS), json.dumps(FILTERS), SHAPE) is None


@pytest.mark.parametrize("index", [1, 2])
def test_a_queueing_discipline_that_lacks_is_seen(index: int) -> None:
    left = json.dumps([one for number, one in enumerate(QDISCS) if number != index])
    assert shaping.missing_shape(left, json.dumps(FILTERS), SHAPE)


@pytest.mark.parametrize("index", [2, 6])
def test_a_filter_that_lacks_is_seen(index: int) -> None:
    left = json.dumps([one for number, one in enumerate(FILTERS) if number != index])
    assert shaping.missing_shape(json.dumps(QDISCS), left, SHAPE)


def test_another_leaf_is_seen() -> None:
    assert shaping.missing_shape(json.dumps(QDISCS), json.dumps(FILTERS), QdiscShapes("eth0", "netem", 3, 2))


@pytest.mark.parametrize("text", ["", "{}", '[{"kind": 1}]', "Error"])
def test_what_is_no_listing_is_said(text: str) -> None:
    with pytest.raises(UnavailableError, match="what tc lists"):
        shaping.root_of(text, "eth0")


QUEUES = "60427   2024     7 2     1     3     4      812  1\n    5  99 0 1 0 0 0 1 1\n"


def test_the_kernels_list_of_queues() -> None:
    assert (listed_owner(QUEUES, 60427), listed_total(QUEUES, 60427)) == (2024, 812)
    assert (listed_owner(QUEUES, 5), listed_owner(QUEUES, 6), listed_total("", 5)) == (99, None, None)


def packet_message(*, cut: int | None = None, kind: int = 0x300) -> bytes:
    body = netlink.netfilter(2, 60427) + b"".join(
        (
            netlink.attribute(1, struct.pack(">IHB", 7, 0x0800, 1)),
            netlink.attribute(13, struct.pack(">I", 1500)),
            netlink.attribute(10, b"E..."),
        )
    )
    return netlink.message(kind, 0, body)[:cut]


def test_a_packet_out_of_the_kernels_message() -> None:
    assert read_packet(packet_message()) == Packet(7, 1500, b"E...")
    assert read_packet(packet_message(cut=20)) is None
    assert read_packet(packet_message(kind=2)) is None


@pytest.mark.parametrize("cut", range(60))
def test_a_message_that_is_cut_off_is_no_crash(cut: int) -> None:
    assert read_packet(packet_message(cut=cut)) in {
        None,
        Packet(7, 0, b""),
        Packet(7, 1500, b""),
        Packet(7, 1500, b"E..."),
    }
    list(netlink.messages(memoryview(packet_message(cut=cut))))
