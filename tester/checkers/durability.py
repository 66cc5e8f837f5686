"""``durability``: every acknowledged write is there, or was overwritten or deleted by a later one.

Only what etcd acknowledged counts. The evidence is the content that the members return at the end, later
acknowledged writes, and the log of the independent watchers; an unknown outcome never makes a loss, it can
only make one undecidable.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Literal

import numpy as np

from tester.checkers.acknowledged import Acknowledged, Change
from tester.checkers.base import MAX_FINDINGS, Evidence
from tester.history.columns import NONE, EventCol, LeafCol, OpCol, ResponseCol
from tester.history.keyranges import in_range
from tester.history.membership import voters_at
from tester.history.operations import parts_of
from tester.history.records import Delete, KeyValue, Operation, Put
from tester.history.watchlog import WatchLog, merge_watch_log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tester.history.endstate import EndState, MemberEnd
    from tester.history.history import History
    from tester.results import CheckResult


class Durability:
    """Looks for acknowledged writes that are gone."""

    name = "durability"
    scope: Literal["case", "round"] = "case"

    def check(self, history: History, end: EndState) -> CheckResult:
        """Invalid for a lost write; unknown without acknowledged writes, content, or proof of a deletion."""
        evidence = Evidence(self.name)
        log = merge_watch_log(history)
        contents = distinct_contents(end)
        read = max((member.hash_revision for _, member in contents), default=0)
        writes = Acknowledged(history, end.at, read)
        if not len(writes):
            evidence.nothing("no write was acknowledged")
        if not contents:
            evidence.nothing("no member returned its content")
        if contents:
            is_cluster = _judge_readable(evidence, history, end)
            _judge_revisions(evidence, writes, end, is_cluster=is_cluster)
        kept = {kv.m for _, member in contents for kv in member.content or ()}
        _judge_log(evidence, writes, log, kept)
        for names, member in contents:
            ContentJudge(evidence, history, writes, log, names, member).judge()
        keys = int(np.unique(writes.leaves[LeafCol.KEY]).size)
        members = sum(len(names) for names, _ in contents)
        return evidence.result(
            f"{len(writes)} acknowledged changes of {keys} keys are accounted for on {members} members"
            f" ({log.describe()})"
        )


def distinct_contents(end: EndState) -> list[tuple[tuple[str, ...], MemberEnd]]:
    """Members grouped by equal content: each is judged once."""
    groups: list[tuple[list[str], MemberEnd]] = []
    for name, member in sorted(end.members.items()):
        if member.content is None:
            continue
        for names, other in groups:
            if other.hash_revision == member.hash_revision and other.content == member.content:
                names.append(name)
                break
        else:
            groups.append(([name], member))
    return [(tuple(names), member) for names, member in groups]


def _judge_readable(evidence: Evidence, history: History, end: EndState) -> bool:
    """Voters without content may have lost anything. Returns whether those with content are a majority."""
    voters = voters_at(history, end.at)
    silent = [name for name in voters if name not in end.members or end.members[name].content is None]
    for name in sorted(silent):
        member = end.members.get(name)
        why = "is not in the end state" if member is None else f"could not be read: {member.error}"
        evidence.doubt(f"{name} {why}")
    return not voters or len(voters) - len(silent) > len(voters) // 2


def _judge_revisions(evidence: Evidence, writes: Acknowledged, end: EndState, *, is_cluster: bool) -> None:
    """Revisions that were acknowledged or shown, and that the cluster, or the content read from it, has not reached."""
    read = min(m.hash_revision for m in end.members.values() if m.content is not None)
    reached = max(max(m.revision, m.hash_revision) for m in end.members.values())
    acknowledged = int(writes.revision.max(initial=0))
    if acknowledged > reached:
        operation = int(writes.operation[np.argmax(writes.revision)])
        what = f"acknowledged a write at revision {acknowledged}: {writes.history.describe(operation)}"
        operations, revision = [operation], acknowledged
    else:
        # Revisions are only shown when they are committed: one of a write of unknown outcome is as lasting as any.
        revision, operations, what = _newest_shown(writes.history, end.shown_until)
    if revision > reached and not is_cluster:
        evidence.doubt(f"those that could be read are at revision {reached}, but {what}")
    elif revision > reached:
        evidence.violation(
            f"the cluster is at revision {reached}, but {what}",
            operations=operations,
            revisions=[revision, reached],
            members=sorted(end.members),
        )
    elif acknowledged > read:
        evidence.doubt(f"content was read at revision {read}, writes were acknowledged up to {acknowledged}")


def _newest_shown(history: History, until: int) -> tuple[int, list[int], str]:
    """The newest revision that any answer or watch response told by a time: with its operation, and in words."""
    ops = history.operations.rows.columns
    responses, events = history.responses.columns, history.events.columns
    answered = np.where(ops[OpCol.RET] <= until, ops[OpCol.REV], 0)
    of_event = responses[ResponseCol.AT, events[EventCol.RESPONSE]]
    at = np.concatenate([responses[ResponseCol.AT], of_event])
    told = np.where(at <= until, np.concatenate([responses[ResponseCol.REV], events[EventCol.REV]]), 0)
    revision, watched = int(answered.max(initial=0)), int(told.max(initial=0))
    if watched > revision:
        when = int(at[np.argmax(told)])
        return watched, [], f"a watcher was told of revision {watched} at {when / 1e9:.6f} s"
    if not revision:
        return 0, [], "nothing"
    operation = int(ops[OpCol.ID, np.argmax(answered)])
    return revision, [operation], f"showed revision {revision}: {history.describe(operation)}"


def _judge_log(evidence: Evidence, writes: Acknowledged, log: WatchLog, kept: set[int]) -> None:
    """Acknowledged writes against the watch log, where it is complete: finds losses overwritten later."""
    events = log.events
    revisions = events[EventCol.REV]
    low = np.searchsorted(revisions, writes.revision, side="left")
    high = np.searchsorted(revisions, writes.revision, side="right")
    covered = log.covers(writes.revision)
    missing = covered & (high - low < writes.wrote - writes.beyond)
    # A change that is alone at its revision is compared with its event; the others by their number.
    alone = np.flatnonzero(covered & (high - low == 1) & ~writes.is_ranged)
    seen = events[:, low[alone]]
    wanted = np.where(writes.is_put[alone], writes.leaves[LeafCol.VALUE, alone], NONE)
    differs = (seen[EventCol.KEY] != writes.leaves[LeafCol.KEY, alone]) | (seen[EventCol.VALUE] != wanted)
    missing[alone[differs]] = True
    missing &= ~(
        (low == high) & np.isin(writes.revision, list(kept))
    )  # there: the watchers failed, not the store
    evidence.more(int(missing.sum()) - MAX_FINDINGS)
    for row in np.flatnonzero(missing)[:MAX_FINDINGS]:
        revision, operation = int(writes.revision[row]), int(writes.operation[row])
        shown = [_event(writes.history, events[:, place]) for place in range(low[row], high[row])]
        evidence.violation(
            f"lost: {writes.history.describe(operation)}; the {log.describe()} shows"
            f" {', '.join(shown) or 'nothing'} at revision {revision}",
            operations=[operation],
            revisions=[revision],
        )


def _event(history: History, event: np.ndarray[tuple[int], np.dtype[np.int64]]) -> str:
    key = history.keys.texts[event[EventCol.KEY]]
    value = event[EventCol.VALUE]
    return f"delete {key}" if value == NONE else f"put {key} = {history.values.texts[value]}"


class ContentJudge:
    """One content against what was acknowledged up to its revision."""

    def __init__(
        self,
        evidence: Evidence,
        history: History,
        writes: Acknowledged,
        log: WatchLog,
        names: tuple[str, ...],
        member: MemberEnd,
    ) -> None:
        self._evidence = evidence
        self._history = history
        self._log = log
        self._names = names
        self._at = member.hash_revision
        self._content = {kv.k: kv for kv in member.content or ()}
        self._last = writes.last_changes(self._at)
        self._ranged = writes.last_ranged_deletions(self._at)
        self._revoked = {lease: at for lease, at in writes.revoked.items() if at <= self._at}
        self._deleted_at = _last_watched_deletions(log, self._at)

    def judge(self) -> None:
        """Every key that was changed, and every key that should be gone."""
        for number, change in self._last.items():
            self._judge_key(self._history.keys.texts[number], number, change)
        for number, deletion in self._ranged.items():
            kv = self._content.get(self._history.keys.texts[number])
            if kv is not None and kv.m < deletion.revision:
                self._violation("a deleted key is there", kv.k, kv, deletion)

    def _judge_key(self, key: str, number: int, change: Change) -> None:
        kv = self._content.get(key)
        if kv is None:
            if change.value != NONE and not self._is_deleted_later(number, change):
                self._judge_absence(key, change)
        elif kv.m < change.revision:
            self._violation(
                "an older state is there" if change.value != NONE else "a deleted key is there",
                key,
                kv,
                change,
            )
        elif kv.m == change.revision and kv.v != self._value(change):
            self._violation("another value is there", key, kv, change)
        elif kv.m == change.revision and kv.l != change.lease:
            self._violation(f"another lease is there, {kv.l}", key, kv, change)

    def _value(self, change: Change) -> str | None:
        return None if change.value == NONE else self._history.values.texts[change.value]

    def _is_deleted_later(self, number: int, change: Change) -> bool:
        ranged = self._ranged.get(number)
        if ranged and (ranged.revision, ranged.slot) > (change.revision, change.slot):
            return True
        return self._deleted_at.get(number, 0) >= change.revision

    def _judge_absence(self, key: str, change: Change) -> None:
        """No deletion is known. If none can have happened unseen, the write is lost."""
        if change.revision == self._at:
            self._violation("absent, and nothing came after it", key, None, change)
            return
        if self._log.covers_span(change.revision + 1, self._at):
            self._violation(f"absent, and the {self._log.describe()} shows no deletion", key, None, change)
            return
        if self._revoked.get(change.lease, 0) > change.revision:
            return
        reasons = list(self._unseen_deletions(key, change))
        if not reasons:
            self._violation("absent, and nobody asked for a deletion", key, None, change)
            return
        self._evidence.doubt(
            f"{key} is absent at revision {self._at} on {', '.join(self._names)}"
            f" although {self._history.describe(change.operation)}; {reasons[0]}, and no watcher tells"
        )

    def _unseen_deletions(self, key: str, change: Change) -> Iterator[str]:
        """What may have deleted the key although no acknowledged deletion did."""
        if change.lease:
            yield f"its lease {change.lease} may have ended"
        for invoke in self._history.unknown_writes():
            if _may_delete(invoke.op, key):
                yield f"{self._history.describe(invoke.id)} may have deleted it"

    def _violation(self, what: str, key: str, kv: KeyValue | None, change: Change) -> None:
        there = f" ({kv.v}, mod {kv.m})" if kv else ""
        self._evidence.violation(
            f"{key} on {', '.join(self._names)} at revision {self._at}: {what}{there},"
            f" after {self._history.describe(change.operation)}",
            operations=[change.operation],
            revisions=[change.revision, *([kv.m] if kv else [])],
            members=self._names,
        )


def _last_watched_deletions(log: WatchLog, up_to: int) -> dict[int, int]:
    deletions: defaultdict[int, int] = defaultdict(int)
    gone = log.events[:, (log.events[EventCol.VALUE] == NONE) & (log.events[EventCol.REV] <= up_to)]
    for key, revision in zip(gone[EventCol.KEY].tolist(), gone[EventCol.REV].tolist(), strict=True):
        deletions[key] = max(deletions[key], revision)
    return dict(deletions)


def _may_delete(op: Operation, key: str) -> bool:
    """Whether an operation of unknown outcome can have removed ``key``, now or by a lease it attached."""
    # A revocation is none: the key's own lease is named before this is asked.
    return any(
        in_range(key, part.k, part.e)
        if isinstance(part, Delete)
        else isinstance(part, Put) and part.k == key and part.l != 0
        for part in parts_of(op)
    )
