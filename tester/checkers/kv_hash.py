"""``kv-hash``: all members hold the same keys."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Mapping
from typing import TYPE_CHECKING, Literal, TypeVar

from tester.checkers.base import Evidence
from tester.history.membership import voters_at

if TYPE_CHECKING:
    from tester.history.endstate import EndState, MemberEnd
    from tester.history.history import History
    from tester.history.records import KeyValue
    from tester.results import CheckResult

Told = TypeVar("Told", bound=Hashable)


class KvHash:
    """Hashes at one revision and one compact revision, revisions, and content: equal on all members."""

    name = "kv-hash"
    scope: Literal["case", "round"] = "case"

    def check(self, history: History, end: EndState) -> CheckResult:
        """Invalid when two members differ; unknown when a member could not be compared."""
        evidence = Evidence(self.name)
        expected = voters_at(history, end.at)
        for name in sorted({*end.members, *expected}):
            _judge_readable(evidence, name, end.members.get(name))
        readable = {name: member for name, member in end.members.items() if member.error is None}
        _judge_revisions(evidence, readable, end.moving)
        _judge_hashes(evidence, readable)
        judge_content(evidence, readable)
        if not end.members:
            evidence.nothing("the end state has no member")
        hashes = {member.hash_revision for member in readable.values()}
        if len(readable) == 1:
            return evidence.result("one member: nothing to compare it with")
        return evidence.result(
            f"{len(readable)} members hold the same keys at revision {max(hashes, default=0)}"
        )


def _judge_readable(evidence: Evidence, name: str, member: MemberEnd | None) -> None:
    if member is None:
        evidence.doubt(f"{name} is not in the end state")
    elif member.error is not None:
        evidence.doubt(f"{name} could not be read: {member.error}")
    elif member.hash is None:
        evidence.doubt(f"{name} told no hash")
    elif member.content is None:
        evidence.doubt(f"{name} was not read")
    elif "CORRUPT" in {alarm.upper() for alarm in member.alarms}:
        evidence.violation(f"{name} raised the CORRUPT alarm", members=[name])


def _judge_revisions(evidence: Evidence, members: Mapping[str, MemberEnd], moving: Collection[str]) -> None:
    groups = _groups({name: member.revision for name, member in members.items()})
    if len(groups) <= 1:
        return
    text = _told(groups, "revision")
    indexes = {member.applied_index for member in members.values()}
    if len(indexes) > 1 and 0 not in indexes:
        evidence.doubt(f"members differ, and some had not applied everything yet: {text}")
        return
    if moving:
        # A member tells its revision a moment before what it has applied: the same number of entries proves nothing.
        evidence.doubt(f"members differ, and {', '.join(sorted(moving))} had not come to rest: {text}")
        return
    evidence.violation(f"members differ at rest: {text}", revisions=groups, members=members)


def _judge_hashes(evidence: Evidence, members: Mapping[str, MemberEnd]) -> None:
    hashed = {name: member for name, member in members.items() if member.hash is not None}
    places = _groups({name: (m.hash_revision, m.compact_revision) for name, m in hashed.items()})
    if len(places) > 1:
        evidence.doubt(
            "hashes are not comparable: "
            + "; ".join(f"revision {r}, compacted at {c}: {', '.join(n)}" for (r, c), n in places.items())
        )
    for (revision, compact), names in places.items():
        groups = _groups({name: hashed[name].hash for name in names})
        if len(groups) > 1:
            evidence.violation(
                f"hashes of revision {revision} (compacted at {compact}) differ: {_told(groups, 'hash')}",
                revisions=[revision],
                members=names,
            )


def judge_content(evidence: Evidence, members: Mapping[str, MemberEnd]) -> None:
    """What members returned of one revision is the same, to the last number of every key."""
    read = {name: m for name, m in members.items() if m.content is not None}
    for revision, names in _groups({name: m.hash_revision for name, m in read.items()}).items():
        first, *others = names
        for other in others:
            mine, theirs = read[first].content or (), read[other].content or ()
            if mine != theirs:
                _report_difference(evidence, revision, (first, mine), (other, theirs))


def _report_difference(
    evidence: Evidence,
    revision: int,
    one: tuple[str, tuple[KeyValue, ...]],
    two: tuple[str, tuple[KeyValue, ...]],
) -> None:
    mine, theirs = ({kv.k: kv for kv in content} for _, content in (one, two))
    differing = sorted(key for key in {*mine, *theirs} if mine.get(key) != theirs.get(key))
    for key in differing:
        evidence.violation(
            f"at revision {revision} {one[0]} has {_kv(mine.get(key), key)},"
            f" {two[0]} has {_kv(theirs.get(key), key)}",
            revisions=[revision, *(kv.m for kv in (mine.get(key), theirs.get(key)) if kv)],
            members=[one[0], two[0]],
        )
    if not differing:
        evidence.violation(
            f"at revision {revision} {one[0]} and {two[0]} return the same keys in another order or number",
            revisions=[revision],
            members=[one[0], two[0]],
        )


def _kv(kv: KeyValue | None, key: str) -> str:
    if kv is None:
        return f"no {key}"
    lease = f", lease {kv.l}" if kv.l else ""
    return f"{key} = {kv.v} (mod {kv.m}, create {kv.c}, version {kv.ver}{lease})"


def _groups(told: Mapping[str, Told]) -> dict[Told, list[str]]:
    groups: defaultdict[Told, list[str]] = defaultdict(list)
    for name, what in sorted(told.items()):
        groups[what].append(name)
    return dict(groups)


def _told(groups: Mapping[Told, list[str]], what: str) -> str:
    return "; ".join(f"{what} {value} on {', '.join(names)}" for value, names in groups.items())
