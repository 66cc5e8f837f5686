"""The status of a made-up run, asked for over HTTP while it goes on."""

from __future__ import annotations

import json
import re
import socket
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tester.errors import ExitCode, InfrastructureError, UsageError
from tester.events import CaseFinished, EventBus, FaultHealed, LoadSample, RoundFinished, RoundStarted
from tester.status.address import StatusAddress, parse_address
from tester.status.board import Board
from tester.status.metrics import Metrics
from tester.status.server import serving
from tests.unit.console import fakerun

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tester.events import Event

LOCAL = StatusAddress("127.0.0.1", 0)
DASHBOARD = Path(__file__).parents[3] / "docs" / "grafana-dashboard.json"


def values(text: str) -> dict[tuple[str, ...], float]:
    """Each sample by its name and the values of its labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def exposed(events: Iterable[Event]) -> dict[tuple[str, ...], float]:
    metrics = Metrics()
    for event in events:
        metrics(event)
    return values(metrics.expose().decode())


def test_the_worst_exit_code_is_the_one_that_matters_most() -> None:
    """By what a person must do, as the command's own: not the largest number."""
    board = Board()
    for number, code in enumerate((ExitCode.INVALID, ExitCode.INFRASTRUCTURE, ExitCode.INTERRUPTED), start=1):
        board(RoundFinished(replace(fakerun.ROUND_1, number=number, exit_code=code)))
    board(next(fakerun.events()))
    status = board.status()
    assert status is not None
    assert status.worst_exit_code == ExitCode.INVALID


async def test_a_run_is_followed_over_http() -> None:
    bus = EventBus()
    async with serving(LOCAL, bus) as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
        assert (await client.get("/status")).json() is None, "nothing has begun"
        events = fakerun.events()
        for event in events:
            bus.publish(event)
            if isinstance(event, LoadSample) and event.info:
                break
        status = (await client.get("/status")).json()
        assert (status["scenario"], status["seed"], status["round"], status["rounds"]) == ("quick", 42, 1, 2)
        assert status["phase"] == "hold"
        (fault,) = status["faults"]
        assert fault["kind"] == fakerun.ROUND_1.cases[0].fault
        assert (
            values((await client.get("/metrics")).text)[
                ("etcd_chaos_active_faults", fault["kind"], fault["member"])
            ]
            == 1
        )
        for event in events:
            bus.publish(event)
        status = (await client.get("/status")).json()
        assert status["faults"] == []
        assert sum(status["cases"].values()) == len(fakerun.ROUND_1.cases) + len(fakerun.ROUND_2.cases)
        assert status["rounds_done"] == 2
        after = values((await client.get("/metrics")).text)
        assert after["etcd_chaos_rounds_total", "invalid"] == after["etcd_chaos_rounds_total", "error"] == 1
        assert not [key for key in after if key[0] == "etcd_chaos_active_faults"]
        assert (await client.get("/docs")).status_code == 404
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"http://{address}/status")


def test_operations_are_counted_over_rounds_although_samples_start_anew() -> None:
    def sample(ok: int, info: int) -> LoadSample:
        return LoadSample(0, 1.0, ok, 0, info, 0.002, None)

    seen = exposed([RoundStarted(1, 0), sample(5, 0), sample(9, 2), RoundStarted(2, 0), sample(4, 1)])
    assert seen["etcd_chaos_operations_total", "ok"] == 13
    assert seen["etcd_chaos_operations_total", "info"] == 3
    assert seen["etcd_chaos_latency_seconds", "0.5"] == 0.002
    assert seen["etcd_chaos_latency_seconds", "0.99"] != seen["etcd_chaos_latency_seconds", "0.99"], (
        "not a number"
    )


def test_a_round_does_not_begin_with_the_load_of_the_one_before() -> None:
    events: list[Event] = [RoundStarted(1, 0), LoadSample(0, 70.0, 5, 0, 0, 0.002, 0.004)]
    seen = exposed(events)
    assert seen["etcd_chaos_operations_per_second",] == 70
    assert seen["etcd_chaos_latency_seconds", "0.99"] == 0.004
    seen = exposed([*events, RoundStarted(2, 0)])
    assert seen["etcd_chaos_operations_per_second",] == 0
    assert not [key for key in seen if key[0] == "etcd_chaos_latency_seconds"]
    assert seen["etcd_chaos_operations_total", "ok"] == 5


def test_recovery_is_a_histogram_and_what_was_missed_is_counted_apart() -> None:
    seen = exposed(event for event in fakerun.events() if isinstance(event, CaseFinished))
    recoveries = [c.recovery for r in (fakerun.ROUND_1, fakerun.ROUND_2) for c in r.cases if c.recovery]
    reached = sum(recovery.writes is not None for recovery in recoveries)
    assert seen["etcd_chaos_recovery_seconds_count", "writes"] == reached
    missed = seen.get(("etcd_chaos_recovery_missed_total", "writes"), 0)
    assert missed == len(recoveries) - reached


def test_what_the_tester_itself_takes_is_there() -> None:
    seen = exposed([])
    assert seen["process_resident_memory_bytes",] > 1024 * 1024
    assert seen["process_open_fds",] > 0
    assert {"process_cpu_seconds_total", "process_open_fds"} <= Metrics().names()


def test_a_fault_that_was_never_seen_to_come_may_go() -> None:
    seen = exposed([FaultHealed(1, "f", "kill", "h1", "etcd runs")])
    assert seen["etcd_chaos_faults_healed_total", "kill"] == 1


def test_the_dashboard_asks_for_nothing_that_is_not_there() -> None:
    text = DASHBOARD.read_text(encoding="utf-8")
    asked = {
        word
        for panel in json.loads(text)["panels"]
        for target in panel.get("targets", [])
        for word in target["expr"].translate(str.maketrans("()[]{}", "      ")).split()
        if word.startswith("etcd_chaos_")
    }
    assert asked
    assert asked <= Metrics().names()
    assert not re.search(r"\[\d+s\]", text), "a scrape a minute has no two samples in seconds"


async def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = StatusAddress("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(InfrastructureError, match=f"--status {address}: Address already in use"):
            async with serving(address, EventBus()):
                pass


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":9270", StatusAddress("127.0.0.1", 9270)),
        ("10.0.0.1:0", StatusAddress("10.0.0.1", 0)),
        ("[::1]:9270", StatusAddress("::1", 9270)),
    ],
)
def test_addresses(text: str, expected: StatusAddress) -> None:
    assert parse_address(text) == expected
    assert parse_address(str(expected)) == expected


@pytest.mark.parametrize(
    "text", ["", "9270", "localhost:9270", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:-1", "a:b"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="not an address and a port"):
        parse_address(text)
