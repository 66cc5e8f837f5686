"""Golden tests of every fault: what would be done, looked at and undone, from a spec and a host alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from agent_service.errors import IllegalStateError, RefusedError
from agent_service.faults.base import HostContext
from agent_service.faults.network import table_name
from agent_service.faults.registry import plan_fault
from agent_service.faults.steps import (
    EnsureMemberRunning,
    Exec,
    FaultSteps,
    KillMember,
    MemberRuns,
    PauseMember,
    ProcessGone,
    ProcessNotStopped,
    ProcessStopped,
    Repeat,
    ResumeMember,
    StopMember,
    TableAbsent,
    TableDrops,
)
from agent_service.models import (
    CrashLoopFault,
    FaultSpec,
    IsolateFault,
    KillFault,
    MemberState,
    PauseFault,
    Peer,
    RestartFault,
    StopFault,
)
from agent_service.processes import ProcessId

HOST = HostContext(
    member_state=MemberState.RUNNING,
    process=ProcessId(pid=42, start_ticks=7, boot_id="b"),
    peer_port=2380,
    protected_ports=(22, 9027),
)

ISOLATE = IsolateFault(
    peer_port=2380,
    peers=(Peer(address="10.0.0.2", port=2380), Peer(address="fd00::3", port=12380)),
)

RULESET = """\
add table inet etcd_chaos_run_1_case_2
delete table inet etcd_chaos_run_1_case_2
table inet etcd_chaos_run_1_case_2 {
  chain input {
    type filter hook input priority -300; policy accept;
    tcp dport { 22, 9027 } accept
    tcp dport 2380 drop
    ip saddr 10.0.0.2 tcp sport 2380 drop
    ip6 saddr fd00::3 tcp sport 12380 drop
  }
  chain output {
    type filter hook output priority -300; policy accept;
    tcp sport { 22, 9027 } accept
    tcp sport 2380 drop
    ip daddr 10.0.0.2 tcp dport 2380 drop
    ip6 daddr fd00::3 tcp dport 12380 drop
  }
}
"""

RESET = "add table inet etcd_chaos_run_1_case_2\ndelete table inet etcd_chaos_run_1_case_2\n"

GOLDEN: dict[str, tuple[FaultSpec, FaultSteps]] = {
    "stop": (
        StopFault(grace_seconds=3),
        FaultSteps(
            inject=(StopMember(3.0),),
            verify_injected=(ProcessGone(42, 7),),
            undo=(EnsureMemberRunning(),),
            verify_healed=(MemberRuns(),),
        ),
    ),
    "kill": (
        KillFault(),
        FaultSteps(
            inject=(KillMember(),),
            verify_injected=(ProcessGone(42, 7),),
            undo=(EnsureMemberRunning(),),
            verify_healed=(MemberRuns(),),
        ),
    ),
    "pause": (
        PauseFault(),
        FaultSteps(
            inject=(PauseMember(),),
            verify_injected=(ProcessStopped(42, 7),),
            undo=(ResumeMember(),),
            verify_healed=(ProcessNotStopped(42, 7),),
        ),
    ),
    "restart": (
        RestartFault(grace_seconds=3),
        FaultSteps(
            inject=(StopMember(3.0), EnsureMemberRunning()),
            verify_injected=(ProcessGone(42, 7), MemberRuns(42, 7)),
            undo=(EnsureMemberRunning(),),
            verify_healed=(MemberRuns(),),
        ),
    ),
    "crash-loop": (
        CrashLoopFault(every_seconds=3),
        FaultSteps(
            inject=(KillMember(), EnsureMemberRunning()),
            verify_injected=(ProcessGone(42, 7), MemberRuns(42, 7)),
            undo=(EnsureMemberRunning(),),
            verify_healed=(MemberRuns(),),
            repeat=Repeat(3.0, (KillMember(), EnsureMemberRunning())),
        ),
    ),
    "isolate": (
        ISOLATE,
        FaultSteps(
            inject=(Exec(("nft", "-f", "-"), RULESET),),
            verify_injected=(
                TableDrops(
                    ("nft", "-j", "list", "table", "inet", "etcd_chaos_run_1_case_2"),
                    "etcd_chaos_run_1_case_2",
                    3,
                    (22, 9027),
                ),
            ),
            undo=(Exec(("nft", "-f", "-"), RESET),),
            verify_healed=(TableAbsent(("nft", "-j", "list", "tables"), "etcd_chaos_run_1_case_2"),),
        ),
    ),
}


@pytest.mark.parametrize("kind", GOLDEN)
def test_golden(kind: str) -> None:
    spec, steps = GOLDEN[kind]
    assert plan_fault("run-1-case-2", spec, HOST) == steps


@pytest.mark.parametrize("kind", GOLDEN)
def test_steps_survive_the_journal(kind: str) -> None:
    steps = GOLDEN[kind][1]
    assert msgspec.json.decode(msgspec.json.encode(steps), type=FaultSteps) == steps


@pytest.mark.parametrize("kind", GOLDEN)
def test_steps_are_readable(kind: str) -> None:
    steps = GOLDEN[kind][1]
    for step in (*steps.inject, *steps.verify_injected, *steps.undo, *steps.verify_healed):
        assert str(step)
        assert "FaultSteps" not in str(step)
        assert type(step).__name__ not in str(step)


def test_what_is_done_again_is_told_in_the_plan() -> None:
    assert GOLDEN["crash-loop"][1].plan().inject == (
        "send SIGKILL to etcd",
        "start etcd as it was, unless it runs",
        "every 3 s: send SIGKILL to etcd, start etcd as it was, unless it runs",
    )


@pytest.mark.parametrize("seconds", [0, 0.4, -1, 301, float("inf"), float("nan"), "1", True])
def test_a_crash_loop_has_bounds(seconds: Any) -> None:
    with pytest.raises(ValidationError):
        CrashLoopFault(every_seconds=seconds)


def test_a_command_is_shown_as_a_person_would_type_it() -> None:
    assert str(Exec(("nft", "-f", "-"), "a\nb\n")) == "nft -f - <<EOF\na\nb\nEOF"
    assert str(Exec(("echo", "a b; rm"))) == "echo 'a b; rm'"


@pytest.mark.parametrize("kind", ["stop", "kill", "pause", "restart", "crash-loop"])
@pytest.mark.parametrize("state", [state for state in MemberState if state is not MemberState.RUNNING])
def test_process_faults_need_a_running_member(kind: str, state: MemberState) -> None:
    with pytest.raises(IllegalStateError) as caught:
        plan_fault("x", GOLDEN[kind][0], replace(HOST, member_state=state))
    assert caught.value.state == state


@pytest.mark.parametrize(
    ("changes", "host", "message"),
    [
        ({"peer_port": 22}, replace(HOST, peer_port=None), "port 22 is protected"),
        ({"peer_port": 9027}, replace(HOST, peer_port=9027), "port 9027 is protected"),
        ({"peers": (Peer(address="10.0.0.2", port=22),)}, HOST, "port 22 is protected"),
        ({"peer_port": 2379}, HOST, "on port 2380, not 2379"),
    ],
)
def test_isolation_that_must_not_be(changes: dict[str, Any], host: HostContext, message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        plan_fault("x", ISOLATE.model_copy(update=changes), host)


def test_tables_of_two_faults_never_meet() -> None:
    assert table_name("a-b") == "etcd_chaos_a_b"
    assert len({table_name(name) for name in ("a-b", "ab", "a--b", "a-b-")}) == 4
