from __future__ import annotations

import re

import pytest

from agent_service.models import (
    ClientPortFault,
    CrashLoopFault,
    FaultRequest,
    FaultSpec,
    IsolateFault,
    KillFault,
    PartitionFault,
    PauseFault,
    Peer,
    PeerPortFault,
    RestartFault,
    StopFault,
)
from tester.faults import fault_id, fault_spec
from tester.partitions import Cut
from tester.scenario.model import CaseSection, FaultKind, PortAction
from tests.unit.scenario.hosts import inventory


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (FaultKind.STOP, StopFault(grace_seconds=2)),
        (FaultKind.KILL, KillFault()),
        (FaultKind.PAUSE, PauseFault()),
        (FaultKind.RESTART, RestartFault(grace_seconds=2)),
        (FaultKind.ROLLING_RESTART, RestartFault(grace_seconds=2)),
        (FaultKind.CRASH_LOOP, CrashLoopFault(every_seconds=3)),
        (FaultKind.CLIENT_PORT, ClientPortFault(port=2379, action="reject")),
        (FaultKind.PEER_PORT, PeerPortFault(port=2380, action="reject")),
        (
            FaultKind.PARTITION,
            PartitionFault(peer_port=2380, peers=(Peer(address="10.207.0.3", port=2380),), direction="in"),
        ),
        (
            FaultKind.ISOLATE,
            IsolateFault(
                peer_port=2380,
                peers=(Peer(address="10.207.0.1", port=2380), Peer(address="10.207.0.3", port=2380)),
            ),
        ),
    ],
)
def test_a_case_becomes_the_fault_of_a_host(kind: FaultKind, expected: FaultSpec) -> None:
    hosts = inventory(3).hosts
    case = CaseSection(name="c", fault=kind, grace="2s", every="3s", action=PortAction.REJECT)
    assert fault_spec(case, hosts[1], hosts, Cut(("h3",), "in")) == expected


def test_no_fault_is_no_fault() -> None:
    hosts = inventory(3).hosts
    with pytest.raises(ValueError, match="has no fault"):
        fault_spec(CaseSection(name="c", fault=FaultKind.NONE), hosts[0], hosts)


def test_a_partition_without_a_cut_is_none() -> None:
    hosts = inventory(3).hosts
    with pytest.raises(ValueError, match="nothing is cut at h1"):
        fault_spec(CaseSection(name="c", fault=FaultKind.PARTITION), hosts[0], hosts)


def test_nobody_is_isolated_from_nobody() -> None:
    hosts = inventory(1).hosts
    with pytest.raises(ValueError, match="peers"):
        fault_spec(CaseSection(name="c", fault=FaultKind.ISOLATE), hosts[0], hosts)


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
