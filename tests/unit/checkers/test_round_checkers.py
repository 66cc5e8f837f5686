"""``availability``, ``logs`` and ``alarms``: what they must catch, and what they must not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest

from agent_client import AgentUnreachableError
from agent_service.models import LogTail
from tester.checkers import run_checkers
from tester.checkers.logs import kind_of
from tester.history.endstate import CaseRecovery, EndState, LogEvidence, MemberEnd
from tester.history.records import (
    Compact,
    Fail,
    FaultRecord,
    Info,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseResult,
    MemberRecord,
    Ok,
    Operation,
    PhaseRecord,
    Put,
    Range,
    Txn,
)
from tester.memberlogs import MemberLogs, Scan
from tester.results import CheckResult, Recovery, Verdict
from tests.unit.checkers.story import MEMBERS, Story, kv

if TYPE_CHECKING:
    from pathlib import Path

S = 1_000_000_000


def judge(name: str, story: Story, end: EndState) -> CheckResult:
    (result,) = run_checkers([name], story.history, end)
    return result


def steadily(story: Story, start: float, end: float, step: float = 0.5) -> None:
    """A put every ``step`` seconds."""
    at = start
    while at < end:
        story.at = int(at * S)
        story.put(f"k{story.ids}", f"{story.ids + 1}:4", story.ids + 2)
        at += step


def available(story: Story, limit: float | None = 2.0) -> CheckResult:
    return judge("availability", story, EndState(story.tick(), {}, gap_limit=limit))


def case(story: Story, start: float, end: float) -> None:
    story.records.append(PhaseRecord(int(start * S), 1, "steady", "one"))
    story.records.append(PhaseRecord(int((start + 0.1) * S), 1, "hold", "one"))
    story.records.append(PhaseRecord(int(end * S), 1, "check", "one"))


def test_service_without_a_gap() -> None:
    story = Story()
    steadily(story, 1, 10)
    case(story, 1, 10)
    result = available(story)
    assert result.verdict is Verdict.VALID
    assert result.message.startswith("the longest time without any acknowledged operation was 0.001 s")


def test_a_gap_is_told_with_its_times_operations_and_faults() -> None:
    story = Story()
    steadily(story, 1, 4)
    story.at = int(4.2 * S)
    story.records.append(FaultRecord(int(4.1 * S), "f", "pause", "m1", "injected"))
    waiting = story.info(Put("kx", "900:4"))
    steadily(story, 8, 10)
    case(story, 1, 10)
    result = available(story)
    assert result.verdict is Verdict.INVALID
    assert "case one: no member acknowledged anything for 3.801 s (limit 2 s)" in result.message
    assert (
        "from 4.201 s to 8.002 s, with pause on m1; the first to wait: operation 7: put kx" in result.message
    )
    assert result.findings[0].operations == (waiting, waiting + 1)
    assert available(story, 4.0).verdict is Verdict.VALID


def test_what_is_no_gap() -> None:
    story = Story()  # nobody asks for five seconds
    steadily(story, 1, 3)
    steadily(story, 8, 10)
    case(story, 1, 10)
    assert available(story).verdict is Verdict.VALID
    story = Story()  # the load is paused between two cases
    steadily(story, 1, 3)
    case(story, 1, 3)
    steadily(story, 20, 22)
    case(story, 20, 22)
    assert available(story).verdict is Verdict.VALID


def test_a_gap_that_lasts_to_the_end_and_one_that_an_answer_ends() -> None:
    story = Story()
    steadily(story, 1, 3)
    story.at = 3 * S
    story.info(Put("kx", "900:4"))
    case(story, 1, 9)
    result = available(story)
    assert (result.verdict, "ended with the end of the load" in result.message) == (Verdict.INVALID, True)
    story = Story()
    steadily(story, 1, 3)
    story.at = 3 * S
    operation = story.invoke(Put("kx", "900:4"))
    story.at = 8 * S
    story.records.append(Ok(operation, story.tick(), 50))
    case(story, 1, 9)
    assert available(story).verdict is Verdict.INVALID


def test_answers_from_memory_do_not_count_as_service() -> None:
    story = Story()
    steadily(story, 1, 3)
    for second in range(3, 9):
        story.at = second * S
        story.ok(LeaseKeepAlive(7), 6, LeaseResult(5))
    story.info(Put("kx", "900:4"))
    steadily(story, 9, 10)
    case(story, 1, 10)
    assert available(story).verdict is Verdict.VALID  # nobody asked for more until the ninth second
    story = Story()
    story.at = S
    story.info(Put("kx", "900:4"))
    case(story, 1, 10)
    assert available(story).verdict is Verdict.INVALID


@pytest.mark.parametrize("op", [Range("ka"), Txn((), (Range("ka"),)), LeaseGrant(7, 5), Compact(3)])
@pytest.mark.parametrize("end", [Fail, Info, None])
def test_reads_grants_and_compactions_that_are_not_answered_wait_too(
    op: Operation, end: type[Fail | Info] | None
) -> None:
    def told(*, answered: bool) -> CheckResult:
        story = Story()
        steadily(story, 1, 3)
        for second in range(3, 9):
            story.at = second * S
            operation = story.invoke(op)
            if answered and second % 2:
                story.records.append(
                    Fail(operation, story.tick(), "OUT_OF_RANGE", "etcdserver: mvcc: compacted")
                )
                story.put("kb", f"{second}:4", 50 + second)
            elif end is not None:
                story.records.append(end(operation, story.tick(), "UNAVAILABLE", "etcdserver: no leader"))
        case(story, 1, 10)
        return available(story, 4.0)

    result = told(answered=False)
    assert result.verdict is Verdict.INVALID
    assert "from 3.001 s to 10.000 s" in result.message
    assert "the first to wait: operation 5: " in result.message
    assert told(answered=True).verdict is Verdict.VALID


@pytest.mark.parametrize("times", [5, 25, 60])
def test_a_gap_is_found_among_longer_times_in_which_nobody_asked(times: int) -> None:
    def waited(seconds: float) -> CheckResult:
        story = Story()
        steadily(story, 6, 6 * times, 6)
        story.at = (6 * times + 1) * S
        operation = story.invoke(Put("kx", "900:4"))
        story.at += int(seconds * S)
        story.records.append(Ok(operation, story.at, 500))
        return available(story, 3.0)

    result = waited(4)
    assert result.verdict is Verdict.INVALID
    assert "no member acknowledged anything for 4.000 s" in result.message
    result = waited(2)
    assert result.verdict is Verdict.VALID
    assert "was 2.000 s" in result.message  # the longest in which anybody waited, not the longest of all


def test_reads_from_memory_and_refusals_wait_for_nobody() -> None:
    story = Story()
    steadily(story, 1, 3)
    for second in range(3, 9):
        story.at = second * S
        local, refused = story.invoke(Range("ka", s=True)), story.invoke(Range("ka", r=1))
        story.records.append(Fail(local, story.tick(), "UNAVAILABLE", "connection refused"))
        story.records.append(Fail(refused, story.tick(), "OUT_OF_RANGE", "etcdserver: mvcc: compacted"))
    case(story, 1, 10)
    assert available(story).verdict is Verdict.VALID


def test_availability_needs_a_limit_and_somebody_who_asks() -> None:
    story = Story()
    steadily(story, 1, 3)
    assert "limits.gap" in available(story, None).message
    assert available(Story()).verdict is Verdict.UNKNOWN
    assert available(story).verdict is Verdict.VALID  # without phases all the time counts


LINES = {
    "panic: runtime error: index out of range [5]": "panic",
    "fatal error: all goroutines are asleep - deadlock!": "panic",
    '{"level":"panic","ts":"2026-01-01","msg":"failed to unmarshal"}': "panic",
    '{"level":"fatal","ts":"2026-01-01","msg":"failed to publish"}': "panic",
    "2026-01-01 10:00:00.000001 C | etcdserver: read wal error": "panic",
    '{"level":"panic","msg":"tocommit(12) is out of range [lastIndex(3)]. Was the raft log corrupted, truncated, or '
    'lost?"}': "panic",
    "2026-01-01 10:00:00.000001 E | etcdserver: wal: crc mismatch": "corruption",
    '{"level":"warn","msg":"failed to repair","error":"walpb: crc mismatch"}': "corruption",
    '{"level":"error","msg":"found data inconsistency with peers"}': "inconsistency",
    '{"level":"warn","msg":"found hash mismatch"}': "inconsistency",
}
FINE = (
    '{"level":"info","msg":"starting an etcd server","initial-corrupt-check":true,"corrupt-check-time-interval":"0s"}',
    '{"level":"info","msg":"initial corruption checking passed; no corruption"}',
    '{"level":"warn","msg":"apply request took too long"}',
    "2026-01-01 10:00:00.000001 I | raft: 8e9e05c52164694d became leader at term 2",
    '{"level":"info","msg":"request","key":"panic: not at the beginning"}',
    "",
)


@pytest.mark.parametrize("line", LINES)
def test_a_suspicious_line(line: str) -> None:
    assert kind_of(line) == LINES[line]
    member = MemberEnd(log=LogEvidence(100, (line,)), exits=())
    result = judge("logs", Story(), EndState(1, {"m1": member}))
    assert (result.verdict, result.findings[0].members) == (Verdict.INVALID, ("m1",))
    assert result.message == f"m1 wrote of {LINES[line]}: {line}"


@pytest.mark.parametrize("line", FINE)
def test_a_line_like_any_other(line: str) -> None:
    assert kind_of(line) is None


def test_logs_that_are_missing() -> None:
    whole = MemberEnd(log=LogEvidence(100), exits=())
    assert judge("logs", Story(), EndState(1, dict.fromkeys(MEMBERS, whole))).verdict is Verdict.VALID
    for other in (None, LogEvidence(0), LogEvidence(10, cut=True)):
        members = {**dict.fromkeys(MEMBERS, whole), "m2": msgspec.structs.replace(whole, log=other)}
        assert judge("logs", Story(), EndState(1, members)).verdict is Verdict.UNKNOWN


def test_a_log_is_scanned_from_where_the_round_began(tmp_path: Path) -> None:
    log = tmp_path / "member.log"
    log.write_bytes("\n".join([*LINES, *FINE]).encode() + b"\n\xff\xfe")
    found = Scan(23).take(log)
    assert found.lines == tuple(LINES)
    assert found.bytes_read == log.stat().st_size
    log.write_bytes(b"panic: again\n" * 1000)
    assert Scan(0).take(log) == LogEvidence(13_000, ("panic: again",) * 50, cut=True)
    log.write_bytes(b"panic: again\n" * 50)
    assert Scan(0).take(log) == LogEvidence(650, ("panic: again",) * 50)


def test_what_is_new_in_a_log_is_looked_at_once(tmp_path: Path) -> None:
    rest, scan = tmp_path / "rest.log", Scan(100)
    rest.write_bytes(b"panic: one\nfine\npanic: t")
    # The end may never come: it counts, and when it comes it is the same line.
    assert scan.take(rest) == LogEvidence(24, ("panic: one", "panic: t"))
    assert scan.end == 116
    rest.write_bytes(b"panic: two\nfine\n")
    assert scan.take(rest) == LogEvidence(32, ("panic: one", "panic: two"))
    rest.write_bytes(b"")
    assert scan.take(rest) == LogEvidence(32, ("panic: one", "panic: two"))
    assert scan.end == 132


async def test_logs_come_through_the_agents() -> None:
    class Agent:
        def __init__(self, log: bytes, *, dead: bool = False) -> None:
            self.log, self.dead, self.asked = log, dead, list[int]()

        def answer(self) -> bytes:
            if self.dead:
                raise AgentUnreachableError("no answer", remedy="look")
            return self.log

        async def member_log(self, lines: int) -> LogTail:
            return LogTail(lines=(), total_bytes=len(self.answer()))

        async def download_member_log(self, destination: Path, offset: int) -> int:
            self.asked.append(offset)
            return await asyncio.to_thread(destination.write_bytes, self.answer()[offset:])

    agents = {"h1": Agent(b"panic: old\n"), "h2": Agent(b"", dead=True), "h3": Agent(b"fine\n")}
    logs = MemberLogs(agents)  # type: ignore[arg-type]
    await logs.begin()
    agents["h1"].log += b"panic: new\n"
    expected = {"h1": LogEvidence(11, ("panic: new",)), "h2": None, "h3": LogEvidence(0)}
    assert await logs.read() == expected
    agents["h1"].log += b"fine\n"
    assert await logs.read() == expected | {"h1": LogEvidence(16, ("panic: new",))}
    assert agents["h1"].asked == [11, 22]


def test_alarms() -> None:
    quiet = MemberEnd(revision=9, exits=())
    story = Story()
    assert judge("alarms", story, EndState(1, dict.fromkeys(MEMBERS, quiet))).verdict is Verdict.VALID
    full = msgspec.structs.replace(quiet, alarms=("NOSPACE",))
    result = judge("alarms", story, EndState(1, {"m1": quiet, "m2": full}))
    assert result.verdict is Verdict.INVALID
    assert result.message == "m2 raised the alarm NOSPACE, which is active at revision 9"
    silent = {**dict.fromkeys(MEMBERS, quiet), "m2": MemberEnd(error="connection refused")}
    assert judge("alarms", story, EndState(1, silent)).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("checker", ["alarms", "exits", "logs", "kv-hash"])
def test_a_member_of_which_the_end_state_says_nothing(checker: str) -> None:
    story = Story()
    end = story.end(2, kv("ka", "1:4", 2))
    told = msgspec.structs.replace(end.members["m1"], log=LogEvidence(100))
    assert judge(checker, story, EndState(1, dict.fromkeys(MEMBERS, told))).verdict is Verdict.VALID
    result = judge(checker, story, EndState(1, dict.fromkeys(MEMBERS[:2], told)))
    assert (result.verdict, result.message[:2]) == (Verdict.UNKNOWN, "m3")
    story.records.append(MemberRecord(0, "m3", "leaving"))
    assert judge(checker, story, EndState(1, dict.fromkeys(MEMBERS[:2], told))).verdict is Verdict.VALID


def test_a_fault_that_was_not_healed_has_no_recovery() -> None:
    story, whole = Story(), CaseRecovery("a", Recovery(1, 1, 1, 5))
    story.records += [
        FaultRecord(1, "f", "kill", "m1", "injected"),
        FaultRecord(2, "f", "kill", "m1", "healed"),
    ]
    assert judge("recovery", story, EndState(9, {}, (whole,))).verdict is Verdict.VALID
    story.records.append(FaultRecord(3, "g", "kill", "m2", "injected"))
    result = judge("recovery", story, EndState(9, {}, (whole,)))
    assert (result.verdict, result.message) == (Verdict.UNKNOWN, "kill on m2 (fault g) was not healed")
