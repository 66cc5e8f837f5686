from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from agent_service.faults.registry import resource_of
from agent_service.models import (
    AgentHangFault,
    AgentKillFault,
    ClientPortFault,
    ClockOffsetFault,
    CorruptFileFault,
    CpuThrottleFault,
    CrashLoopFault,
    DiskFullFault,
    DiskThrottleFault,
    FaultRequest,
    FaultSpec,
    FreezeFault,
    IoErrorFault,
    IsolateFault,
    KillFault,
    LoseDataFault,
    MemoryLimitFault,
    NetworkFault,
    PartitionFault,
    PauseFault,
    Peer,
    PeerPortFault,
    PowerLossFault,
    PowerOffFault,
    RebootFault,
    RestartFault,
    SlowFsyncFault,
    SlowIoFault,
    StopFault,
    WallClockFault,
)
from tester.errors import FaultIneffectiveError
from tester.faults import fault_id
from tester.partitions import Cut
from tester.scenario.faults import FAULTS, FaultSection, Place
from tests.lab.examples import KEYS
from tests.unit.scenario.cases import fault
from tests.unit.scenario.hosts import inventory

PLACES = [Place(host, inventory(3).hosts, Cut(("h3",), "in")) for host in inventory(3).hosts]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (fault("stop", grace="2s"), StopFault(grace_seconds=2)),
        (fault("kill"), KillFault()),
        (fault("pause"), PauseFault()),
        (fault("kill", signal="SIGQUIT"), KillFault(signal="SIGQUIT")),
        (fault("lose-data"), LoseDataFault()),
        (fault("freeze"), FreezeFault()),
        (fault("cpu-throttle", percent=20), CpuThrottleFault(percent=20.0)),
        (fault("memory-limit", limit="32MiB"), MemoryLimitFault(limit_bytes=32 * 1024**2)),
        (
            fault("clock-offset", offset="-90s", grace="1s"),
            ClockOffsetFault(offset_seconds=-90, grace_seconds=1),
        ),
        (fault("wall-clock", offset="-500ms"), WallClockFault(offset_seconds=-0.5)),
        (fault("reboot", abrupt=True), RebootFault(abrupt=True)),
        (fault("power-off"), PowerOffFault()),
        (fault("agent-kill"), AgentKillFault()),
        (fault("agent-hang", hang="2s"), AgentHangFault(seconds=2.0)),
        (fault("restart", grace="2s"), RestartFault(grace_seconds=2)),
        (fault("rolling-restart", grace="2s"), RestartFault(grace_seconds=2)),
        (fault("crash-loop", every="3s"), CrashLoopFault(every_seconds=3)),
        (fault("client-port", action="reject"), ClientPortFault(port=2379, action="reject")),
        (fault("peer-port", action="reject"), PeerPortFault(port=2380, action="reject")),
        (
            fault("slow-fsync", delay="200ms", jitter="50ms", distribution="normal"),
            SlowFsyncFault(delay_seconds=0.2, jitter_seconds=0.05, distribution="normal"),
        ),
        (fault("slow-io", delay="1s", files="db"), SlowIoFault(scope="db", delay_seconds=1)),
        (
            fault("io-error", files="all", operations=["read", "write"]),
            IoErrorFault(scope="all", operations=("read", "write")),
        ),
        (fault("power-loss"), PowerLossFault()),
        (fault("corrupt-file"), CorruptFileFault(file="wal", damage="bit-flip")),
        (
            fault("corrupt-file", file="db", damage="truncate"),
            CorruptFileFault(file="db", damage="truncate"),
        ),
        (fault("disk-full"), DiskFullFault()),
        (fault("disk-full", room="1MiB"), DiskFullFault(room_bytes=1 << 20)),
        (
            fault("disk-throttle", bandwidth="1MiB", operations="50/s"),
            DiskThrottleFault(bytes_per_second=1 << 20, operations_per_second=50),
        ),
        (
            fault("partition", partition="to-leader"),
            PartitionFault(peer_port=2380, peers=(Peer(address="10.207.0.3", port=2380),), direction="in"),
        ),
        (
            fault("isolate", action="reject"),
            IsolateFault(
                peer_port=2380,
                peers=(Peer(address="10.207.0.1", port=2380), Peer(address="10.207.0.3", port=2380)),
                action="reject",
            ),
        ),
        (
            fault("network", preset="slow", towards=["h3", "h2"]),
            NetworkFault(
                peer_port=2380,
                peers=(Peer(address="10.207.0.3", port=2380),),
                delay_seconds=0.5,
                jitter_seconds=0.05,
                distribution="normal",
            ),
        ),
        (
            fault(
                "network",
                traffic="client",
                direction="in",
                delay="1s",
                jitter="100ms",
                distribution="pareto",
                loss="10%",
                loss_correlation="25%",
                duplicate="0.5%",
                corrupt="0.01%",
                reorder="100%",
                rate="1.5Mbit/s",
            ),
            NetworkFault(
                client_port=2379,
                direction="in",
                delay_seconds=1.0,
                jitter_seconds=0.1,
                distribution="pareto",
                loss=0.1,
                loss_correlation=0.25,
                duplicate=0.005,
                corrupt=0.0001,
                reorder=1.0,
                rate_bits_per_second=1_500_000,
            ),
        ),
        (
            fault("isolate"),
            IsolateFault(
                peer_port=2380,
                peers=(Peer(address="10.207.0.1", port=2380), Peer(address="10.207.0.3", port=2380)),
            ),
        ),
    ],
)
def test_a_fault_becomes_what_the_agent_of_a_host_is_asked_for(
    written: FaultSection, expected: FaultSpec
) -> None:
    assert written.spec(PLACES[1]) == expected
    assert expected.kind == written.on_agent


def test_a_partition_without_a_cut_is_none() -> None:
    with pytest.raises(ValueError, match="nothing is cut at h1"):
        fault("partition").spec(Place(PLACES[0].host, PLACES[0].members))


def test_a_link_with_itself_is_none() -> None:
    with pytest.raises(FaultIneffectiveError, match="h1 has no peer"):
        fault("network", delay="1s", towards=["h1"]).spec(PLACES[0])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "nothing is asked for"),
        ({"preset": "slow", "delay": "1s"}, "preset says the delay"),
        ({"loss": "10%", "jitter": "1s"}, "about a delay"),
        ({"delay": "1s", "distribution": "normal"}, "about jitter"),
        ({"delay": "1s", "loss_correlation": "5%"}, "about loss"),
        ({"delay": "1s", "traffic": "both", "towards": ["h2"]}, "traffic: peer alone"),
        ({"loss": "0.001%"}, "out of bounds"),
        ({"loss": "101%"}, "out of bounds"),
        ({"loss": 10}, "not a share"),
        ({"loss": "10"}, "not a share"),
        ({"rate": "10mbit"}, "not a rate"),
        ({"rate": "7kbit/s"}, "out of bounds"),
        ({"rate": 1000}, "not a rate"),
        ({"delay": "61s"}, "less than or equal to 60"),
        ({"delay": "0s"}, "greater than 0"),
        ({"delay": "1s", "towards": []}, "at least 1 item"),
    ],
)
def test_a_quality_that_means_nothing(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        fault("network", **keys)


def test_nobody_is_isolated_from_nobody() -> None:
    hosts = inventory(1).hosts
    with pytest.raises(ValueError, match="peers"):
        fault("isolate").spec(Place(hosts[0], hosts))


@pytest.mark.parametrize("kind", FAULTS)
def test_what_a_fault_occupies_is_what_its_agent_says(kind: str) -> None:
    if FAULTS[kind].on_agent is None:
        pytest.skip("agents have no part in it")
    spec = fault(kind, **KEYS[kind]).spec(PLACES[1])
    assert FAULTS[kind].occupies.value == resource_of(spec).value


def test_fault_ids_are_readable_and_apart() -> None:
    base = fault_id("run1", 3, "kill-leader", "h2")
    assert re.fullmatch(r"r3-kill-leader-h2-[0-9a-f]{8}", base)
    others = {
        fault_id("run2", 3, "kill-leader", "h2"),
        fault_id("run1", 4, "kill-leader", "h2"),
        fault_id("run1", 3, "kill-one", "h2"),
        fault_id("run1", 3, "kill-leader", "h3"),
    }
    assert len(others | {base}) == 5
    assert fault_id("run1", 3, "kill-leader", "h2") == base


def test_long_names_stay_valid_and_apart() -> None:
    ids = [fault_id("run", 1_000_000, "c" * 40, "h" * 62 + end) for end in "ab"]
    assert len(set(ids)) == 2
    for one in (*ids, fault_id("run", 1, "c" * 40, "h" * 8 + "-" + "x" * 40)):
        assert FaultRequest(id=one, spec=KillFault(), lease_seconds=15, reason="r").id == one


def test_any_host_name_makes_a_valid_id() -> None:
    one = fault_id("run", 1, "kill-one", "DB_1.Example.org")
    assert one.startswith("r1-kill-one-db-1-example-org-")
    assert FaultRequest(id=one, spec=KillFault(), lease_seconds=15, reason="r").id == one
