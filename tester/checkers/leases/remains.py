"""What became of a lease's keys: by the watch log, and by the members' content at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tester.history.columns import OpCol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tester.checkers.leases.ends import End, LeaseLog
    from tester.checkers.leases.lives import Life
    from tester.history.endstate import EndState
    from tester.history.history import History
    from tester.history.records import KeyValue


@dataclass(frozen=True, slots=True)
class Remnant:
    """A lease lived at ``at``, by what is known of its keys."""

    at: int
    what: str
    revisions: tuple[int, ...]
    ended: bool
    """Whether its keys have gone since."""

    def is_there_at(self, revision: int) -> bool:
        """Whether it has a key at a revision, or later."""
        return not self.ended and self.revisions[-1] >= revision


class Remains:
    """Ends of leases, keys that they have where the watch log ends, and in the content at the end."""

    def __init__(self, history: History, log: LeaseLog, end: EndState, ends: Sequence[End]) -> None:
        self._log = log
        self._found: dict[int, Remnant] = {}
        revisions = {m.hash_revision for m in end.members.values() if m.content is not None}
        self._content = {revision: log.not_before(revision + 1) for revision in revisions}
        for lease, kv, revision in _attached(end):
            self._keep(lease, kv.k, kv.m, revision, self._content[revision])
        at = log.not_before(log.last + 1)
        for lease, (key, changed) in log.survivors().items():
            self._keep(lease, history.keys.texts[key], changed, log.last, at)
        for found in ends:
            what = f"its keys went at revision {found.revision}"
            self._found[found.lease] = Remnant(found.not_before, what, (found.revision,), ended=True)
        self._last_call = int(history.operations.rows.columns[OpCol.CALL].max(initial=0))

    def of(self, lease: int) -> Remnant | None:
        """The last that is known of its keys."""
        return self._found.get(lease)

    def unseen(self, life: Life, latest: int) -> bool:
        """Whether a lease whose time is over had keys of which nobody can tell that they are gone."""
        if self._content or life.deaths or life.revoked or self._last_call <= latest:
            return False
        return not all(self._log.tells_of(told.revision) for told in life.puts)

    def _keep(self, lease: int, key: str, changed: int, revision: int, at: int) -> None:
        known = self._found.get(lease)
        if known is None or known.at < at:
            what = f"{key} of revision {changed} is there"
            self._found[lease] = Remnant(at, what, (changed, revision), ended=False)


def _attached(end: EndState) -> Iterator[tuple[int, KeyValue, int]]:
    """Keys with a lease in the content of members, and the revision at which it was read."""
    for member in end.members.values():
        for kv in member.content or ():
            if kv.l:
                yield kv.l, kv, member.hash_revision
