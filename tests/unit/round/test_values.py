"""Codes, verdicts, records: how findings add up."""

from __future__ import annotations

import pytest

from tester.case import judge, skipped
from tester.errors import ExitCode
from tester.events import FaultHealed, FaultInjected, LeaderChanged, MemberExited, Notice, Phase, PhaseStarted
from tester.history.records import FaultRecord, LeaderRecord, MemberRecord, PhaseRecord
from tester.results import CaseState, CheckResult, Verdict
from tester.roundlog import RoundLog, to_record
from tests.unit.scenario.cases import single


@pytest.mark.parametrize(
    ("codes", "worst"),
    [
        ((), ExitCode.VALID),
        ((ExitCode.VALID, ExitCode.INFRASTRUCTURE), ExitCode.INFRASTRUCTURE),
        ((ExitCode.INVALID, ExitCode.INFRASTRUCTURE, ExitCode.INTERRUPTED), ExitCode.INVALID),
        ((ExitCode.INTERRUPTED, ExitCode.INFRASTRUCTURE), ExitCode.INTERRUPTED),
        ((ExitCode.INVALID, ExitCode.UNHEALED), ExitCode.UNHEALED),
    ],
)
def test_the_worst_code_is_kept(codes, worst) -> None:
    assert ExitCode.worst(*codes) is worst
    assert ExitCode.worst(*reversed(codes)) is worst


def test_no_verdict_is_unknown() -> None:
    assert Verdict.worst() is Verdict.UNKNOWN
    assert Verdict.worst(Verdict.VALID, Verdict.UNKNOWN) is Verdict.UNKNOWN
    assert Verdict.worst(Verdict.INVALID, Verdict.UNKNOWN) is Verdict.INVALID


def check(verdict: Verdict) -> CheckResult:
    return CheckResult(f"c-{verdict}", verdict, f"says {verdict}")


def test_a_case_is_judged_by_its_worst_verdict() -> None:
    assert judge((check(Verdict.VALID),)) == (CaseState.PASSED, "")
    assert judge((check(Verdict.VALID), check(Verdict.UNKNOWN))) == (
        CaseState.UNKNOWN,
        "c-unknown: says unknown",
    )
    assert judge((check(Verdict.UNKNOWN), check(Verdict.INVALID))) == (
        CaseState.VIOLATED,
        "c-invalid: says invalid",
    )


def test_a_skipped_case_says_why() -> None:
    case = single("kill", "kill-one")
    result = skipped(case, "interrupted")
    assert (result.state, result.reason, result.targets) == (CaseState.SKIPPED, "interrupted", ())


def test_events_that_matter_become_records() -> None:
    assert to_record(PhaseStarted(1, 2, None, Phase.CLEANUP)) == PhaseRecord(1, 2, "cleanup", "")
    assert to_record(FaultInjected(3, "f", "kill", "m", "gone")) == FaultRecord(
        3, "f", "kill", "m", "injected"
    )
    assert to_record(FaultHealed(4, "f", "kill", "m", "runs")) == FaultRecord(4, "f", "kill", "m", "healed")
    assert to_record(LeaderChanged(5, None, 7)) == LeaderRecord(5, "", 7)
    assert to_record(MemberExited(6, "m", expected=False, text="why")) == MemberRecord(
        6, "m", "exited", expected=False, text="why"
    )
    assert to_record(Notice("only for people")) is None


def test_the_log_writes_what_has_a_record() -> None:
    written: list[object] = []

    class Sink:
        def write(self, record: object) -> None:
            written.append(record)

    log = RoundLog(Sink())
    log(Notice("no"))
    log(LeaderChanged(5, "m", 7))
    assert written == [LeaderRecord(5, "m", 7)]
