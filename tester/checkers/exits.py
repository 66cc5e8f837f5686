"""``exits``: no member died that nobody killed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tester.checkers.base import Evidence
from tester.history.membership import may_end, not_asked

if TYPE_CHECKING:
    from tester.history.endstate import EndState, MemberExit
    from tester.history.history import History
    from tester.results import CheckResult


class Exits:
    """Reads what the agents and the history say about ends of member processes."""

    name = "exits"
    scope: Literal["case", "round"] = "case"

    def check(self, history: History, end: EndState) -> CheckResult:
        """Invalid for an exit nobody asked for; unknown when an agent could not be asked."""
        evidence = Evidence(self.name)
        expected = 0
        told: set[str] = set()
        for name, member in end.members.items():
            for ended in member.exits or ():
                if ended.expected or may_end(history, name, ended.at):
                    expected += 1
                else:
                    told.add(name)
                    evidence.violation(_message(name, ended), members=[name])
            if member.exits is None:
                evidence.doubt(
                    f"{name}: its exits could not be read{f' ({member.error})' if member.error else ''}"
                )
        for record in history.member_events:
            # The agent's record has the reason and the log; the event is for an agent that lost its memory.
            unasked = record.state == "exited" and not record.expected
            unasked = unasked and not may_end(history, record.m, record.at)
            if unasked and record.m not in told:
                evidence.violation(
                    f"{record.m} exited at {record.at / 1e9:.3f} s, nobody asked for it: {record.text}",
                    members=[record.m],
                )
        for name in not_asked(history, end):
            evidence.doubt(f"{name} was not asked for its exits")
        if not end.members:
            evidence.nothing("no member was asked for its exits")
        return evidence.result(
            f"no unexpected exit of {len(end.members)} members ({expected} were asked for)"
        )


def _message(name: str, ended: MemberExit) -> str:
    how = f"signal {ended.signal}" if ended.signal is not None else f"status {ended.code}"
    last = f"; last log line: {ended.log_tail[-1]}" if ended.log_tail else ""
    return f"{name} exited with {how} at {ended.at / 1e9:.3f} s, nobody asked for it ({ended.cause}){last}"
