"""``restore``: a cluster that was made of a snapshot holds what the snapshot's revision promises, and nothing else.

Judges an epoch that has ended. What was acknowledged up to the snapshot's revision must be on every member of the new
cluster; what was acknowledged after it is lost by design: that is counted, and must not be there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from tester.checkers.acknowledged import Acknowledged
from tester.checkers.base import Evidence
from tester.checkers.durability import ContentJudge, distinct_contents
from tester.checkers.kv_hash import judge_content
from tester.checkers.linearizability.changelog import WATCHED
from tester.history.columns import NONE, EventCol, LeafCol, OpCol
from tester.history.endstate import EndState, MemberEnd
from tester.history.membership import voters_at
from tester.history.operations import puts_of
from tester.history.records import KeyValue
from tester.history.watchlog import merge_watch_log

if TYPE_CHECKING:
    from tester.history.history import History
    from tester.history.records import EpochRecord
    from tester.history.table import Columns
    from tester.history.watchlog import WatchLog
    from tester.results import CheckResult


class Restore:
    """Compares what was acknowledged with what the next cluster began with."""

    name = "restore"
    scope: Literal["case", "round"] = "round"

    def check(self, history: History, end: EndState) -> CheckResult:  # noqa: ARG002 - the protocol's
        """Invalid for a write that is missing or should be; unknown where nobody told, or nothing was restored."""
        evidence = Evidence(self.name)
        if not history.epochs:
            evidence.nothing("no cluster was restored from a snapshot")
            return evidence.result("")
        epoch = history.epochs[0]
        writes = Acknowledged(history, epoch.at, epoch.rev)
        kept, lost = _counts(history, epoch)
        if not kept:
            evidence.doubt(f"no write was acknowledged up to revision {epoch.rev}, which the snapshot has")
        begun = _begun(history, epoch)
        if not begun.members:
            evidence.doubt("nobody told what the new cluster began with")
        elif silent := sorted(set(voters_at(history, epoch.at)) - set(begun.members)):
            evidence.doubt(f"nobody told what {', '.join(silent)} began with")
        log = merge_watch_log(history)
        for record in history.restored:
            if record.rev < epoch.rev:
                evidence.violation(
                    f"{record.m} is at revision {record.rev}, and the snapshot has revision {epoch.rev}",
                    revisions=[record.rev, epoch.rev],
                    members=[record.m],
                )
        for names, member in distinct_contents(begun):
            ContentJudge(evidence, history, writes, log, names, member).judge()
            _Authors(evidence, history, epoch, writes, log).judge(names, member.content or ())
        judge_content(evidence, begun.members)
        after = f", {lost[0]} after it, up to revision {lost[1]}, are lost by design" if lost[0] else ""
        nothing = "" if lost[0] else ", and none came after it"
        return evidence.result(
            f"restored at revision {epoch.rev} from {epoch.m}: {kept} acknowledged writes up to there are on"
            f" {len(begun.members)} member{'s' * (len(begun.members) != 1)}{after}{nothing}"
        )


def _counts(history: History, epoch: EpochRecord) -> tuple[int, tuple[int, int]]:
    """Acknowledged writes that are in the snapshot, and those that are not with the newest of their revisions."""
    ops = history.operations.rows.columns
    revisions = ops[
        OpCol.REV, (ops[OpCol.LOCAL] == 0) & (ops[OpCol.WROTE] > 0) & (ops[OpCol.RET] <= epoch.at)
    ]
    lost = revisions[revisions > epoch.rev]
    return int(revisions.size - lost.size), (int(lost.size), int(lost.max(initial=0)))


def _begun(history: History, epoch: EpochRecord) -> EndState:
    """What the members of the new cluster began with."""
    members = {
        record.m: MemberEnd(revision=record.rev, hash_revision=epoch.rev, content=record.kv)
        for record in history.restored
    }
    return EndState(at=epoch.at, members=members)


class _Authors:
    """Looks for keys that nobody can have written by the snapshot's revision."""

    def __init__(
        self, evidence: Evidence, history: History, epoch: EpochRecord, writes: Acknowledged, log: WatchLog
    ) -> None:
        self._evidence = evidence
        self._history = history
        self._epoch = epoch
        self._log = log
        self._writes = writes

    def judge(self, names: tuple[str, ...], content: tuple[KeyValue, ...]) -> None:
        """Every key that is there was written, at the revision that it has, by somebody who asked for that."""
        if not content:
            return
        revisions = np.array([kv.m for kv in content], dtype=np.int64)
        covered = self._log.covers(revisions).tolist()
        watched, acknowledged = self._watched(revisions), self._acknowledged(revisions)
        unknown = {(put.k, put.v) for invoke in self._history.unknown_writes() for put in puts_of(invoke.op)}
        for kv, seen in zip(content, covered, strict=True):
            told = watched.get((kv.m, kv.k)) if seen else acknowledged.get((kv.m, kv.k))
            written = told.v == kv.v if told else not seen and (kv.k, kv.v) in unknown
            if kv.m > self._epoch.rev or not written:
                self._tell(names, kv)
            elif told and (told.l, told.c or kv.c, told.ver or kv.ver) != (kv.l, kv.c, kv.ver):
                was = f"create revision {told.c}, version {told.ver}, " if told.ver else ""
                self._tell_numbers(names, kv, f"it was written with {was}lease {told.l}")
            elif (kv.c == kv.m) != (kv.ver == 1) or kv.c > kv.m:
                self._tell_numbers(names, kv, "the first version of a key is the one that created it")

    def _watched(self, revisions: Columns) -> dict[tuple[int, str], KeyValue]:
        events = self._log.events[:, np.isin(self._log.events[EventCol.REV], revisions)]
        return self._by_key(events[WATCHED])

    def _acknowledged(self, revisions: Columns) -> dict[tuple[int, str], KeyValue]:
        """A put does not tell create revision and version: they are 0."""
        writes = self._writes
        rows = np.flatnonzero(writes.is_put & np.isin(writes.revision, revisions))
        columns = [writes.leaves[field, rows] for field in (LeafCol.KEY, LeafCol.VALUE, LeafCol.LEASE)]
        nothing = np.zeros(rows.size, dtype=np.int64)
        return self._by_key(np.stack([writes.revision[rows], *columns, nothing, nothing]))

    def _by_key(self, columns: Columns) -> dict[tuple[int, str], KeyValue]:
        """Of columns of revision, key, value, lease, create revision and version."""
        texts, contents = self._history.keys.texts, self._history.values.texts
        return {
            (revision, texts[key]): KeyValue(texts[key], contents[value], create, revision, version, lease)
            for revision, key, value, lease, create, version in columns.T.tolist()
            if value != NONE
        }

    def _tell_numbers(self, names: tuple[str, ...], kv: KeyValue, why: str) -> None:
        self._evidence.violation(
            f"{kv.k} = {kv.v} (mod {kv.m}) is on {', '.join(names)} with create revision {kv.c}, version {kv.ver},"
            f" lease {kv.l}, restored at revision {self._epoch.rev}: {why}",
            revisions=[kv.m, self._epoch.rev],
            members=names,
        )

    def _tell(self, names: tuple[str, ...], kv: KeyValue) -> None:
        writer = self._writer(kv)
        whose = "nobody wrote that there by then"
        operations: list[int] = []
        if writer is not None:
            operation, revision = writer
            after = ", after the snapshot" if revision > self._epoch.rev else ""
            whose = f"it is of {self._history.describe(operation)}{after}"
            operations = [operation]
        self._evidence.violation(
            f"{kv.k} = {kv.v} (mod {kv.m}) is on {', '.join(names)}, restored at revision {self._epoch.rev}: {whose}",
            operations=operations,
            revisions=[kv.m, self._epoch.rev],
            members=names,
        )

    def _writer(self, kv: KeyValue) -> tuple[int, int] | None:
        """The acknowledged operation that wrote a value, and its revision."""
        number = self._history.values.find(kv.v)
        if number is None:
            return None
        rows = np.flatnonzero(self._writes.is_put & (self._writes.leaves[LeafCol.VALUE] == number))
        if not rows.size:
            return None
        return int(self._writes.operation[rows[0]]), int(self._writes.revision[rows[0]])
