"""Whether a fault is in effect is read from what nft lists: each way in which it is not must be seen."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent_service.errors import UnavailableError
from agent_service.faults.nftables import is_listed, missing_rules
from agent_service.faults.steps import TableBlocks

TABLE = "etcd_chaos_x"
CHECK = TableBlocks(("nft",), TABLE, incoming=2, outgoing=2, protected=(22, 9027))


def rule(chain: str, verdict: str, port: object) -> dict[str, Any]:
    match = {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": port}
    return {
        "rule": {
            "family": "inet",
            "table": TABLE,
            "chain": chain,
            "expr": [{"match": match}, {verdict: None}],
        }
    }


def listing(*, without: int | None = None, hook: str = "output", ports: object = None) -> str:
    accepted = {"set": [22, 9027]} if ports is None else ports
    objects: list[dict[str, Any]] = [
        {"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
        {"table": {"family": "inet", "name": TABLE, "handle": 1}},
    ]
    for chain, its_hook in (("input", "input"), ("output", hook)):
        objects.append({"chain": {"family": "inet", "table": TABLE, "name": chain, "hook": its_hook}})
        objects += [rule(chain, "accept", accepted), rule(chain, "drop", 2380), rule(chain, "drop", 2380)]
    if without is not None:
        del objects[without]
    return json.dumps({"nftables": objects})


def test_all_there() -> None:
    assert missing_rules(listing(), CHECK) is None


@pytest.mark.parametrize("index", range(2, 10))
def test_anything_missing_is_seen(index: int) -> None:
    assert missing_rules(listing(without=index), CHECK) is not None


def test_a_chain_that_hangs_nowhere() -> None:
    assert missing_rules(listing(hook=""), CHECK) == f"table {TABLE} has no chain on output"


@pytest.mark.parametrize("ports", [22, {"set": [22]}, {"set": [22, 9027, 2380]}])
def test_other_ports_than_the_protected_ones(ports: object) -> None:
    assert "protected ports" in (missing_rules(listing(ports=ports), CHECK) or "")


def test_one_protected_port_is_listed_as_a_number() -> None:
    check = TableBlocks(("nft",), TABLE, incoming=2, outgoing=2, protected=(22,))
    assert missing_rules(listing(ports=22), check) is None


def test_a_rejecting_rule_blocks_too() -> None:
    assert missing_rules(listing().replace('"drop"', '"reject"'), CHECK) is None


@pytest.mark.parametrize(
    ("incoming", "outgoing", "missing"),
    [(2, 0, None), (0, 2, None), (1, 0, "input has 2 rules that block instead of 1"), (3, 2, "input has 2")],
)
def test_each_direction_is_counted(incoming: int, outgoing: int, missing: str | None) -> None:
    check = TableBlocks(("nft",), TABLE, incoming=incoming, outgoing=outgoing, protected=(22, 9027))
    said = missing_rules(listing(), check)
    assert said is None if missing is None else said is not None and missing in said


def test_absence() -> None:
    def tables(family: str) -> str:
        table = {"family": family, "name": TABLE, "handle": 1}
        return json.dumps({"nftables": [{"metainfo": {}}, {"table": table}]})

    assert is_listed(tables("inet"), TABLE)
    assert not is_listed(tables("inet"), "etcd_chaos_y")
    assert not is_listed(tables("ip"), TABLE), "somebody else's, of another family"


@pytest.mark.parametrize("text", ["", "{}", '{"nftables": 1}', "Error: no such file"])
def test_an_answer_that_cannot_be_read_proves_nothing(text: str) -> None:
    with pytest.raises(UnavailableError):
        is_listed(text, TABLE)
    with pytest.raises(UnavailableError):
        missing_rules(text, CHECK)
