"""``logs``: no member has written that it panicked, or that its data are damaged or differ."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

from tester.checkers.base import Evidence
from tester.history.membership import not_asked

if TYPE_CHECKING:
    from tester.history.endstate import EndState
    from tester.history.history import History
    from tester.results import CheckResult

# Words of etcd, raft and bbolt as they write them; "corrupt" alone is in every start-up line with all flags.
_KINDS: Final = {
    "panic": re.compile(
        r'^panic: |^fatal error: |"level":"(?:d?panic|fatal)"|^\S+ \S+ [CF] \||unexpected fault address'
    ),
    "corruption": re.compile(
        r"crc mismatch|checksum mismatch|corrupted snapshot|snapshot file .*(?:corrupt|broken)|invalid database"
        r"|invalid freelist|already freed|unexpected smaller revision|cannot find revision|failed to find revision"
        r"|Was the raft log corrupted, truncated, or lost|WAL file .*(?:broken|corrupt)|wal: .*(?:corrupt|broken)",
        re.IGNORECASE,
    ),
    "inconsistency": re.compile(
        r"found data inconsistency|data inconsistency|found hash mismatch|different hash values"
        r"|hash mismatch|alarm:?.{0,3}CORRUPT|raised.{0,20}CORRUPT",
        re.IGNORECASE,
    ),
}
_GOOD: Final = re.compile(
    r"no data inconsistency|hash values are the same|initial corruption checking passed", re.IGNORECASE
)
_REMOVED: Final = "failed to find local ID in cluster members"
"""The panic of a member that is not in its own list. Of one that was being removed it is a kind of its own."""
_CONFIGURATION: Final = re.compile(r"initial-corrupt-check|corrupt-check-time-interval")


def kind_of(line: str) -> str | None:
    """``panic``, ``corruption`` or ``inconsistency`` if a line of a member's log tells of one."""
    if _GOOD.search(line):
        return None
    for kind, pattern in _KINDS.items():
        if pattern.search(line) and not (kind != "panic" and _CONFIGURATION.search(line)):
            return kind
    return None


class Logs:
    """Reads what members have written since the round began."""

    name = "logs"
    scope: Literal["case", "round"] = "case"

    def check(self, history: History, end: EndState) -> CheckResult:
        """Invalid for a line that tells of damage; unknown where a log could not be read."""
        evidence = Evidence(self.name)
        leavers = {event.m for event in history.member_events if event.state == "leaving"}
        read = 0
        for name, member in sorted(end.members.items()):
            if member.log is None:
                evidence.doubt(f"the log of {name} was not read")
                continue
            read += member.log.bytes_read
            if not member.log.bytes_read:
                evidence.doubt(f"{name} has written no log")
            for line in member.log.lines:
                kind = kind_of(line)
                if kind is not None:
                    named = "removed" if _REMOVED in line and name in leavers else kind
                    evidence.violation(f"{name} wrote of {kind}: {line}", members=[name], kind=named)
            if member.log.cut:
                evidence.doubt(f"the log of {name} has more suspicious lines than were kept")
        for name in not_asked(history, end):
            evidence.doubt(f"{name} was not asked for its log")
        if not end.members:
            evidence.nothing("no log was read")
        return evidence.result(
            f"{read} bytes in the logs of {len(end.members)} members tell of no panic and no damage"
        )
