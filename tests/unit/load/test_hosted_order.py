"""An order on its way to a load host, and what is no order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tester.clock import RunClock
from tester.errors import LoadError
from tester.etcd.credentials import ClientTls, Login
from tester.etcd.endpoint import Endpoint
from tester.history.parts import part_of
from tester.load.hosts.worker import on_run_clock, wire_order
from tester.load.share import Share
from tester.load.workers.hosted import order_of
from tester.load.workers.messages import Order, Report, Stretch
from tester.scenario.stressers import STRESSERS, KvStresser

PEM = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
TLS = ClientTls(PEM, PEM, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
LOGIN = Login("etcd-chaos-load", "s3cret-passw0rd")


def order(**changes: Any) -> Order:
    stressers = (
        KvStresser.model_validate(
            {
                "kind": "kv",
                "rate": "0.5/s",
                "value_size": "1KiB",
                "weights": {"put": 0.1, "get": 2},
                "timeout": "250ms",
            }
        ),
        *(section.model_validate({"kind": kind}) for kind, section in STRESSERS.items()),
    )
    fields: dict[str, Any] = {
        "stressers": stressers,
        "endpoints": (
            Endpoint("m1", "10.0.0.1", 2379, TLS, LOGIN),
            Endpoint("m2", "fd00::2", 2379, TLS, LOGIN),
        ),
        "clock": RunClock(),
        "seed": 2**63 - 1,
        "prefix": "etcd-chaos/load/",
        "share": Share(1, 3),
        "history": part_of(Path("history.jsonl"), 2),
        "over_grpc": True,
    }
    return Order(**(fields | changes))


def sent(**changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(wire_order(order(**changes)).model_dump_json())
    return body


@pytest.mark.parametrize("secrets", [{}, {"endpoints": (Endpoint("m1", "10.0.0.1", 2379),)}])
def test_an_order_arrives_as_it_was_but_for_clock_and_file(secrets: dict[str, Any]) -> None:
    meant = order(**secrets)
    got = order_of(wire_order(meant).model_dump_json().encode())
    for name in ("stressers", "endpoints", "seed", "prefix", "share", "over_grpc"):
        assert getattr(got, name) == getattr(meant, name), name
    assert got.clock.origin_ns == 0  # its times are the host's own


def test_nothing_secret_is_shown_by_accident() -> None:
    assert LOGIN.password not in repr(wire_order(order()))
    assert "PRIVATE" not in repr(wire_order(order()))


def test_endpoints_are_asked_by_one_client() -> None:
    with pytest.raises(ValueError, match="differ"):
        wire_order(order(endpoints=(Endpoint("m1", "10.0.0.1", 1), Endpoint("m2", "10.0.0.2", 1, TLS))))


@pytest.mark.parametrize(
    ("where", "value", "place"),
    [
        (("stressers", 0, "clients"), 10**9, "0.kv.clients"),
        (("stressers", 0, "clients"), "16", "0.kv.clients"),
        (("stressers", 0, "timeout"), "1s", "0.kv.timeout"),
        (("stressers", 0, "command"), "rm -rf /", "0.kv.command"),
        (("stressers", 0, "kind"), "__import__", "0"),
        (("stressers",), [], "stressers"),
        (("endpoints", 0, "address"), "etcd.example.org", "endpoints.0.address"),
        (("endpoints", 0, "port"), 0, "endpoints.0.port"),
        (("prefix",), "a\nb", "prefix"),
        (("tls", "ca"), "no certificate", "tls.ca"),
        (("login", "user"), "root; true", "login.user"),
        (("history",), "/etc/passwd", "history"),
        (("number",), 3, "there is no worker 3 of 3"),
        (("transport",), "carrier-pigeon", "transport"),
    ],
)
def test_what_is_no_order_is_refused_by_its_field(
    where: tuple[str | int, ...], value: object, place: str
) -> None:
    body: Any = sent()
    target = body
    for step in where[:-1]:
        target = target[step]
    target[where[-1]] = value
    with pytest.raises(LoadError) as caught:
        order_of(json.dumps(body).encode())
    assert caught.value.message.startswith(place), caught.value.message
    assert LOGIN.password not in caught.value.message


@pytest.mark.parametrize("line", [b"", b"pause\n", b"\x80\x04\x95 a pickle", b"[]", b"{" * 10_000])
def test_what_is_no_json_is_no_order(line: bytes) -> None:
    with pytest.raises(LoadError, match="the order"):
        order_of(line)


def test_reports_move_to_the_run_clock() -> None:
    stretch = Stretch(1_000, 0, 0, 5, 0, {}, {})
    moved = on_run_clock(Report(1, 2, 3, 0.5, [stretch], [(1_100, 1_200)], 1_300, [4]), 900)
    assert moved == Report(1, 2, 3, 0.5, [Stretch(100, 0, 0, 5, 0, {}, {})], [(200, 300)], 400, [4])
    assert on_run_clock(Report(1, 2, 3, 0.5, [], [], None, []), 900).waiting_since_ns is None
