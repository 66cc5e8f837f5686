"""A made-up run, event by event: for the tests, and to look at (``python -m tests.unit.console.fakerun``)."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from tester.console import choose_mode, make_console
from tester.errors import ExitCode
from tester.events import (
    CaseFinished,
    Event,
    FaultHealed,
    FaultInjected,
    LeaderChanged,
    LoadSample,
    MemberExited,
    Notice,
    Phase,
    PhaseStarted,
    Progress,
    RoundFinished,
    RoundStarted,
    RunFinished,
    RunStarted,
)
from tester.results import (
    CaseResult,
    CaseState,
    CheckResult,
    Finding,
    PhaseStats,
    Recovery,
    RoundResult,
    RunResult,
    ServiceGap,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

SECOND = 1_000_000_000
DIRECTORY = "runs/20260102T030405Z-quick-42"

QUIET = PhaseStats(seconds=1.0, ok=5210, p50=0.0021, p95=0.0044, p99=0.0084, max=0.02, rate=5210.0)
HURT = PhaseStats(
    seconds=3.0,
    ok=9120,
    fail=12,
    info=31,
    p50=0.0024,
    p95=0.07,
    p99=0.912,
    max=2.4,
    errors={"UNAVAILABLE": 43},
    rate=3040.0,
    gaps=(ServiceGap(5 * SECOND, 5 * SECOND + 412_000_000),),
    gaps_total=1,
    gap_seconds=0.412,
)
HURT_MORE = replace(
    HURT,
    errors={"DEADLINE_EXCEEDED": 3, "UNAVAILABLE": 29, "etcdserver: request timed out": 11},
    gaps=(
        ServiceGap(4 * SECOND, 4 * SECOND + 150_000_000),
        *HURT.gaps,
        ServiceGap(6 * SECOND, 6 * SECOND + 300_000_000),
        ServiceGap(7 * SECOND, 8 * SECOND + 560_000_000),
    ),
    gaps_total=6,
    gap_seconds=2.6,
)
AFTERWARDS = replace(
    QUIET, info=2, errors={"UNAVAILABLE": 2}, gaps=HURT_MORE.gaps[-1:], gaps_total=1, gap_seconds=0.2
)

PASSED = CaseResult(
    "kill-follower",
    "kill",
    ("etcd-2",),
    CaseState.PASSED,
    "",
    3.004,
    0,
    QUIET,
    HURT,
    QUIET,
    Recovery(0.0, 0.412, 0.415, 30.0),
    (CheckResult("durability", Verdict.VALID, "All 12,345 writes are there"),),
    0.21,
    5.8,
)
VIOLATED = CaseResult(
    "kill-leader-under-load",
    "kill",
    ("etcd-1",),
    CaseState.VIOLATED,
    "durability: 2 acknowledged writes are missing",
    3.002,
    2,
    QUIET,
    HURT_MORE,
    AFTERWARDS,
    Recovery(1.12, 1.419, 1.43, 30.0),
    (
        CheckResult("kv-hash", Verdict.VALID, "All members agree at revision 4711"),
        CheckResult(
            "durability",
            Verdict.INVALID,
            "2 of 12,345 acknowledged writes are missing",
            (
                Finding(
                    "Write of key k/0017 was acknowledged at revision 4102, but no member has it",
                    (8123,),
                    (4102,),
                ),
                Finding(
                    "Key k/0023 is older than its last acknowledged write",
                    (8200, 8231),
                    (4110, 4122),
                    ("etcd-3",),
                ),
            ),
            9,
        ),
    ),
    0.24,
    6.9,
)
UNKNOWN = CaseResult(
    "isolate-majority",
    "isolate",
    ("etcd-1", "etcd-3"),
    CaseState.UNKNOWN,
    "kv-hash: member etcd-3 did not answer HashKV within 5 s",
    3.01,
    1,
    QUIET,
    PhaseStats(
        seconds=3.0,
        info=128,
        errors={"DEADLINE_EXCEEDED": 128},
        gaps=(ServiceGap(41 * SECOND, None),),
        gaps_total=1,
        gap_seconds=2.9,
    ),
    QUIET,
    Recovery(2.2, None, None, 30.0),
    (CheckResult("kv-hash", Verdict.UNKNOWN, "Member etcd-3 did not answer HashKV within 5 s"),),
    0.3,
    37.1,
)
ERROR = CaseResult(
    "pause-all",
    "pause",
    ("etcd-1", "etcd-2", "etcd-3"),
    CaseState.ERROR,
    "The agent on etcd-2 says that process 4242 is not stopped (state S \x1b[31m)",
    elapsed_seconds=1.2,
)
SKIPPED = CaseResult("restart-one", "restart", (), CaseState.SKIPPED, "an earlier case failed")

ROUND_1 = RoundResult(
    1,
    (PASSED, VIOLATED),
    provision_seconds=2.31,
    bootstrap_seconds=1.2,
    cleanup_seconds=1.87,
    elapsed_seconds=18.2,
    exit_code=ExitCode.INVALID,
)
ROUND_2 = RoundResult(
    2,
    (UNKNOWN, ERROR, SKIPPED),
    error="Host etcd-2 cannot be reached over ssh",
    remedy="Look whether it is powered on",
    provision_seconds=2.2,
    cleanup_seconds=1.9,
    elapsed_seconds=47.4,
    exit_code=ExitCode.INFRASTRUCTURE,
)
RUN = RunResult(
    "quick",
    42,
    "inventory/",
    DIRECTORY,
    (ROUND_1, ROUND_2),
    ExitCode.INVALID,
    "round 1, kill-leader-under-load: durability: 2 acknowledged writes are missing",
    65.9,
    rounds_total=2,
    cases_total=dict(Counter(case.state for case in (*ROUND_1.cases, *ROUND_2.cases))),
)


def events() -> Iterator[Event]:
    """The whole run."""
    names = tuple(case.name for case in (*ROUND_1.cases, *ROUND_2.cases))
    yield RunStarted("quick", 42, 2, names, ("etcd-1", "etcd-2", "etcd-3"), "3.5.1", DIRECTORY)
    for result in (ROUND_1, ROUND_2):
        yield from _round(result)
    yield RunFinished(RUN)


def _round(result: RoundResult) -> Iterator[Event]:
    at = result.number * 20 * SECOND
    yield RoundStarted(result.number, at)
    yield PhaseStarted(at, result.number, None, Phase.PROVISION)
    for task in ("gather facts", "start the agent", "check the version"):
        yield Progress(f"provision: {task}")
    yield PhaseStarted(at, result.number, None, Phase.BOOTSTRAP)
    yield LeaderChanged(at + SECOND, "etcd-1", 2)
    for case in result.cases:
        yield from _case(result.number, case, at + 2 * SECOND)
    yield PhaseStarted(at + 15 * SECOND, result.number, None, Phase.COMPACT)
    yield PhaseStarted(at + 16 * SECOND, result.number, None, Phase.CLEANUP)
    yield RoundFinished(result)


def _case(number: int, case: CaseResult, at: int) -> Iterator[Event]:
    if case.state is not CaseState.SKIPPED:
        yield PhaseStarted(at, number, case.name, Phase.STEADY, 1.0)
        yield from _load(at, 0)
        yield PhaseStarted(at + SECOND, number, case.name, Phase.INJECT)
        for member in case.targets:
            yield FaultInjected(
                at + SECOND, f"r{number}-{case.name}", case.fault, member, "process 4242 is gone"
            )
        if case.fault == "kill":
            yield MemberExited(at + SECOND, case.targets[0], True, "killed by signal 9")  # noqa: FBT003
        if case.leader_changes:
            yield LeaderChanged(at + SECOND, None, 2)
        yield PhaseStarted(at + SECOND, number, case.name, Phase.HOLD, 3.0)
        if case.leader_changes:
            yield LeaderChanged(at + 2 * SECOND, "etcd-2", 3)
        yield from _load(at + SECOND, 31)
        yield PhaseStarted(at + 4 * SECOND, number, case.name, Phase.RECOVER)
        for member in case.targets:
            yield FaultHealed(
                at + 4 * SECOND, f"r{number}-{case.name}", case.fault, member, "process 4250 runs"
            )
        if case.state is CaseState.VIOLATED:
            yield MemberExited(at + 4 * SECOND, "etcd-3", False, "exit status 2: panic: failed to commit")  # noqa: FBT003
            yield Notice("member etcd-3 is 1.2 s behind on its clock", warning=True)
        yield PhaseStarted(at + 5 * SECOND, number, case.name, Phase.SETTLE, 1.0)
        yield from _load(at + 5 * SECOND, 31)
        yield PhaseStarted(at + 6 * SECOND, number, case.name, Phase.CHECK)
    yield CaseFinished(number, case)


def _load(at: int, info: int) -> Iterator[Event]:
    for step in range(8):
        rate = 5200 + 900 * math.sin(step) if not info else 200.0 * step
        errors = {"UNAVAILABLE": info, "DEADLINE_EXCEEDED": 2} if info else {}
        yield LoadSample(at + step * SECOND // 8, rate, 650 * (step + 1), 0, info, 0.0021, 0.0084, errors)


def main() -> None:
    """Replay it slowly on this terminal."""
    pause = float(sys.argv[1]) if len(sys.argv) > 1 else 0.12
    with make_console(choose_mode(sys.stdout, json="--json" in sys.argv), sys.stdout) as console:
        for event in events():
            console.listener(event)
            time.sleep(pause)


if __name__ == "__main__":
    main()
