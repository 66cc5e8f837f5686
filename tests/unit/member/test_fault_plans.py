"""Golden tests of every fault: what would be done, looked at and undone, from a spec and a host alone."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from agent_service.disk.messages import AnyRule, Delay, Fail, Full, Throttle
from agent_service.errors import IllegalStateError, RefusedError, UnavailableError
from agent_service.faults.base import HostContext
from agent_service.faults.disksteps import (
    DamageFile,
    DiskPowered,
    DiskRuleFelt,
    DiskRuleGone,
    DropDiskRule,
    ExcuseEnd,
    ExcuseNothing,
    FileDamaged,
    LoseMemberPower,
    MarkerLost,
    NoDamage,
    PutBack,
    RestoreMemberPower,
    SetDiskRule,
    StartOnDamage,
    WriteMarkers,
)
from agent_service.faults.nftables import table_name
from agent_service.faults.registry import plan_fault
from agent_service.faults.steps import (
    DeleteFailpoints,
    EnsureMemberRunning,
    Exec,
    FailpointsAre,
    FaultSteps,
    KillMember,
    MemberRuns,
    PanicReached,
    PauseMember,
    ProcessGone,
    ProcessNotStopped,
    ProcessStopped,
    QuitMember,
    Repeat,
    ResumeMember,
    SetFailpoints,
    StopMember,
    TableAbsent,
    TableBlocks,
)
from agent_service.models import (
    ClientPortFault,
    CorruptFileFault,
    CrashLoopFault,
    DiskFullFault,
    DiskThrottleFault,
    FailpointFault,
    FaultSpec,
    IoErrorFault,
    IsolateFault,
    KillFault,
    MemberState,
    PartitionFault,
    PauseFault,
    Peer,
    PeerPortFault,
    PowerLossFault,
    RestartFault,
    SlowFsyncFault,
    SlowIoFault,
    StopFault,
)
from agent_service.processes import ProcessId

HOST = HostContext(
    member_state=MemberState.RUNNING,
    process=ProcessId(pid=42, start_ticks=7, boot_id="b"),
    client_port=2379,
    peer_port=2380,
    protected_ports=(22, 9027),
    disk_layer=True,
    failpoint_address="127.0.0.1:2381",
)

ISOLATE = IsolateFault(
    peer_port=2380,
    peers=(Peer(address="10.0.0.2", port=2380), Peer(address="fd00::3", port=12380)),
)

TABLE = "etcd_chaos_run_1_case_2"
RESET = f"add table inet {TABLE}\ndelete table inet {TABLE}\n"
HEAD = {
    "input": """\
  chain input {
    type filter hook input priority -300; policy accept;
    tcp dport { 22, 9027 } accept
""",
    "output": """\
  chain output {
    type filter hook output priority -300; policy accept;
    tcp sport { 22, 9027 } accept
""",
}


def blocking(incoming: tuple[str, ...], outgoing: tuple[str, ...]) -> FaultSteps:
    """The steps of a table with these rules."""
    chains = {"input": incoming, "output": outgoing}
    body = "".join(
        HEAD[hook] + "".join(f"    {rule}\n" for rule in rules) + "  }\n"
        for hook, rules in chains.items()
        if rules
    )
    listing = ("nft", "-j", "list", "table", "inet", TABLE)
    return FaultSteps(
        inject=(Exec(("nft", "-f", "-"), f"{RESET}table inet {TABLE} {{\n{body}}}\n"),),
        verify_injected=(TableBlocks(listing, TABLE, len(incoming), len(outgoing), (22, 9027)),),
        undo=(Exec(("nft", "-f", "-"), RESET),),
        verify_healed=(TableAbsent(("nft", "-j", "list", "tables"), TABLE),),
    )


PARTITION = PartitionFault(peer_port=2380, peers=ISOLATE.peers, direction="both")
RECEIVED = (
    "ip saddr 10.0.0.2 tcp dport 2380 drop",
    "ip saddr 10.0.0.2 tcp sport 2380 drop",
    "ip6 saddr fd00::3 tcp dport 2380 drop",
    "ip6 saddr fd00::3 tcp sport 12380 drop",
)
SENT = (
    "ip daddr 10.0.0.2 tcp sport 2380 drop",
    "ip daddr 10.0.0.2 tcp dport 2380 drop",
    "ip6 daddr fd00::3 tcp sport 2380 drop",
    "ip6 daddr fd00::3 tcp dport 12380 drop",
)


def on_disk(rule: AnyRule) -> FaultSteps:
    """The steps of a rule that slows etcd's disk down."""
    return FaultSteps(
        inject=(SetDiskRule("run-1-case-2", rule),),
        verify_injected=(DiskRuleFelt("run-1-case-2", rule),),
        undo=(DropDiskRule("run-1-case-2"),),
        verify_healed=(DiskRuleGone("run-1-case-2"),),
    )


def ending(rule: AnyRule) -> FaultSteps:
    """The steps of a rule by which etcd may end itself."""
    return FaultSteps(
        inject=(ExcuseEnd("fault run-1-case-2"), SetDiskRule("run-1-case-2", rule)),
        verify_injected=(DiskRuleFelt("run-1-case-2", rule),),
        undo=(DropDiskRule("run-1-case-2"), EnsureMemberRunning(), ExcuseNothing()),
        verify_healed=(DiskRuleGone("run-1-case-2"), MemberRuns()),
    )


RESET_IT = "tcp flags & rst == 0 reject with tcp reset"

GOLDEN: dict[str, tuple[FaultSpec, FaultSteps]] = {
    "slow-fsync": (
        SlowFsyncFault(delay_seconds=0.2, jitter_seconds=0.1, distribution="normal"),
        on_disk(Delay("wal", ("fsync",), 0.2, 0.1, "normal")),
    ),
    "slow-io": (
        SlowIoFault(scope="db", delay_seconds=0.2),
        on_disk(Delay("db", ("read", "write", "fsync"), 0.2)),
    ),
    "disk-throttle": (
        DiskThrottleFault(bytes_per_second=1000, operations_per_second=5),
        on_disk(Throttle(1000, 5)),
    ),
    "io-error": (
        IoErrorFault(scope="all", operations=("read", "write")),
        ending(Fail("all", ("read", "write"))),
    ),
    "corrupt-file": (
        CorruptFileFault(file="wal", damage="truncate", seed=4),
        FaultSteps(
            inject=(
                KillMember(),
                ExcuseEnd("fault run-1-case-2"),
                DamageFile("run-1-case-2", "wal", "truncate", 4, "recover"),
            ),
            verify_injected=(ProcessGone(42, 7), FileDamaged("run-1-case-2")),
            undo=(
                StartOnDamage("run-1-case-2"),
                PutBack("run-1-case-2"),
                EnsureMemberRunning(),
                ExcuseNothing(),
            ),
            verify_healed=(NoDamage("run-1-case-2"), MemberRuns()),
        ),
    ),
    "disk-full": (DiskFullFault(room_bytes=5), ending(Full(5))),
    "power-loss": (
        PowerLossFault(),
        FaultSteps(
            inject=(WriteMarkers(), LoseMemberPower()),
            verify_injected=(ProcessGone(42, 7), MarkerLost()),
            undo=(RestoreMemberPower(), EnsureMemberRunning()),
            verify_healed=(DiskPowered(), MemberRuns()),
        ),
    ),
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
    "kill-quit": (
        KillFault(signal="SIGQUIT"),
        FaultSteps(
            inject=(QuitMember(),),
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
        blocking(
            (
                "tcp dport 2380 drop",
                "ip saddr 10.0.0.2 tcp sport 2380 drop",
                "ip6 saddr fd00::3 tcp sport 12380 drop",
            ),
            (
                "tcp sport 2380 drop",
                "ip daddr 10.0.0.2 tcp dport 2380 drop",
                "ip6 daddr fd00::3 tcp dport 12380 drop",
            ),
        ),
    ),
    "partition": (PARTITION, blocking(RECEIVED, SENT)),
    "partition-in": (PARTITION.model_copy(update={"direction": "in"}), blocking(RECEIVED, ())),
    "partition-out": (PARTITION.model_copy(update={"direction": "out"}), blocking((), SENT)),
    "partition-reject": (
        PARTITION.model_copy(update={"action": "reject"}),
        blocking(*(tuple(rule.replace("drop", RESET_IT) for rule in rules) for rules in (RECEIVED, SENT))),
    ),
    "isolate-reject": (
        IsolateFault(peer_port=2380, peers=ISOLATE.peers[:1], action="reject"),
        blocking(
            (f"tcp dport 2380 {RESET_IT}", f"ip saddr 10.0.0.2 tcp sport 2380 {RESET_IT}"),
            (f"tcp sport 2380 {RESET_IT}", f"ip daddr 10.0.0.2 tcp dport 2380 {RESET_IT}"),
        ),
    ),
    "client-port": (
        ClientPortFault(port=2379, action="drop"),
        blocking(("tcp dport 2379 drop",), ("tcp sport 2379 drop",)),
    ),
    "client-port-reject": (
        ClientPortFault(port=2379, action="reject"),
        blocking(("tcp dport 2379 reject with tcp reset",), ("tcp sport 2379 tcp flags & rst == 0 drop",)),
    ),
    "peer-port": (
        PeerPortFault(port=2380, action="drop"),
        blocking(("tcp dport 2380 drop",), ("tcp sport 2380 drop",)),
    ),
    "failpoint": (
        FailpointFault(terms={"raftBeforeSave": "5%sleep(50)", "beforeCommit": "3*off->2.5%off"}),
        FaultSteps(
            inject=(
                SetFailpoints(
                    "127.0.0.1:2381", {"beforeCommit": "3*off->2.5%off", "raftBeforeSave": "5.0%sleep(50)"}
                ),
            ),
            verify_injected=(
                FailpointsAre(
                    "127.0.0.1:2381", {"beforeCommit": "3*off->2.5%off", "raftBeforeSave": "5.0%sleep(50)"}
                ),
            ),
            undo=(
                DeleteFailpoints("127.0.0.1:2381", ("beforeCommit", "raftBeforeSave")),
                EnsureMemberRunning(),
            ),
            verify_healed=(
                MemberRuns(),
                FailpointsAre("127.0.0.1:2381", {"beforeCommit": "", "raftBeforeSave": ""}),
            ),
        ),
    ),
    "failpoint-panic": (
        FailpointFault(terms={"beforeCommit": "panic"}),
        FaultSteps(
            inject=(
                ExcuseEnd("fault run-1-case-2"),
                SetFailpoints("127.0.0.1:2381", {"beforeCommit": "panic"}),
            ),
            verify_injected=(PanicReached(42, 7),),
            undo=(
                DeleteFailpoints("127.0.0.1:2381", ("beforeCommit",)),
                EnsureMemberRunning(),
                ExcuseNothing(),
            ),
            verify_healed=(MemberRuns(), FailpointsAre("127.0.0.1:2381", {"beforeCommit": ""})),
        ),
    ),
}


@pytest.mark.parametrize("kind", GOLDEN)
def test_golden(kind: str) -> None:
    spec, steps = GOLDEN[kind]
    assert plan_fault("run-1-case-2", spec, HOST) == steps


def test_failpoints_need_a_place() -> None:
    with pytest.raises(UnavailableError, match="not started with a place for failpoints"):
        plan_fault("x", GOLDEN["failpoint"][0], replace(HOST, failpoint_address=None))


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
@pytest.mark.parametrize("spec", [ISOLATE, PARTITION])
def test_cuts_that_must_not_be(
    changes: dict[str, Any], host: HostContext, message: str, spec: FaultSpec
) -> None:
    with pytest.raises(RefusedError, match=message):
        plan_fault("x", spec.model_copy(update=changes), host)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ClientPortFault(port=22, action="drop"), "clients on port 2379, not 22"),
        (ClientPortFault(port=2380, action="drop"), "clients on port 2379, not 2380"),
        (PeerPortFault(port=2379, action="reject"), "peers on port 2380, not 2379"),
    ],
)
def test_ports_that_are_not_the_members(spec: FaultSpec, message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        plan_fault("x", spec, HOST)


@pytest.mark.parametrize("port", [22, 9027])
@pytest.mark.parametrize("kind", [ClientPortFault, PeerPortFault])
def test_a_protected_port_is_never_blocked(kind: type[ClientPortFault | PeerPortFault], port: int) -> None:
    nobody = replace(HOST, client_port=None, peer_port=None)
    with pytest.raises(RefusedError, match=f"port {port} is protected"):
        plan_fault("x", kind(port=port, action="drop"), nobody)


@pytest.mark.parametrize("text", ["fe80::1%} } flush ruleset", "10.0.0.2 drop; flush ruleset", "::1\n", "h2"])
@pytest.mark.parametrize("spec", [ISOLATE, PARTITION])
def test_no_address_carries_a_rule(spec: IsolateFault | PartitionFault, text: str) -> None:
    body = spec.model_dump(mode="json")
    body["peers"][0]["address"] = text
    with pytest.raises(ValidationError):
        type(spec).model_validate_json(json.dumps(body))


@pytest.mark.parametrize("value", ["x; flush ruleset", 0, -1, 65536, 2.5, "22", None, ["in"], True])
@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("partition", "direction"),
        ("partition", "peer_port"),
        ("partition", "action"),
        ("isolate", "action"),
        ("client-port", "port"),
        ("client-port", "action"),
        ("peer-port", "port"),
        ("peer-port", "action"),
    ],
)
def test_every_part_of_a_rule_is_typed(kind: str, field: str, value: object) -> None:
    spec = GOLDEN[kind][0]
    body = spec.model_dump(mode="json")
    assert type(spec).model_validate_json(json.dumps(body)) == spec, "the control"
    with pytest.raises(ValidationError):
        type(spec).model_validate_json(json.dumps(body | {field: value}))


def test_tables_of_two_faults_never_meet() -> None:
    assert table_name("a-b") == "etcd_chaos_a_b"
    assert len({table_name(name) for name in ("a-b", "ab", "a--b", "a-b-")}) == 4


@pytest.mark.parametrize("kind", ["slow-fsync", "slow-io", "io-error", "disk-full", "power-loss"])
def test_faults_on_the_disk_need_the_layer(kind: str) -> None:
    bare = replace(HOST, disk_layer=False)
    with pytest.raises(IllegalStateError, match="no disk layer"):
        plan_fault("run-1-case-2", GOLDEN[kind][0], bare)


def test_a_throttle_that_limits_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="needs bytes_per_second, operations_per_second or both"):
        DiskThrottleFault()
