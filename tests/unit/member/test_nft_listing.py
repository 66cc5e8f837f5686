"""Whether a fault is in effect is read from what nft lists: each way in which it is not must be seen."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent_service.errors import UnavailableError
from agent_service.faults.network import is_listed, missing_drops
from agent_service.faults.steps import TableDrops

TABLE = "etcd_chaos_x"
CHECK = TableDrops(("nft",), TABLE, drops=2, protected=(22, 9027))


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
    assert missing_drops(listing(), CHECK) is None


@pytest.mark.parametrize("index", range(2, 10))
def test_anything_missing_is_seen(index: int) -> None:
    assert missing_drops(listing(without=index), CHECK) is not None


def test_a_chain_that_hangs_nowhere() -> None:
    assert missing_drops(listing(hook=""), CHECK) == f"table {TABLE} has no chain on output"


@pytest.mark.parametrize("ports", [22, {"set": [22]}, {"set": [22, 9027, 2380]}])
def test_other_ports_than_the_protected_ones(ports: object) -> None:
    assert "protected ports" in (missing_drops(listing(ports=ports), CHECK) or "")


def test_one_protected_port_is_listed_as_a_number() -> None:
    check = TableDrops(("nft",), TABLE, drops=2, protected=(22,))
    assert missing_drops(listing(ports=22), check) is None


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
        missing_drops(text, CHECK)
