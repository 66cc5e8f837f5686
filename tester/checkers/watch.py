"""``watch``: etcd's guarantees about watches, each by its name.

=============  =====================================================================================
filter         only the keys and kinds that were asked for
ordered        revisions never go back
unique         no change twice, not even after a resumption
atomic         the changes of one revision come in one response
bookmarkable   after a bookmark nothing older follows
resumable      a watch from a revision shows nothing older
reliable       no change is left out, and none differs from what other watchers or clients were told
is-create      a change says that it creates its key if and only if it does
prev-kv        the previous key is the key as it was before
compaction     a watch is told of compaction only if what it asked for is compacted, and somebody asked for that
=============  =====================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tester.checkers.base import Evidence
from tester.checkers.guarantees import Guarantees
from tester.checkers.watched import sessions_of
from tester.history.watchlog import merge_watch_log

if TYPE_CHECKING:
    from tester.history.endstate import EndState
    from tester.history.history import History
    from tester.results import CheckResult


class Watch:
    """Judges every session of every watcher."""

    name = "watch"
    scope: Literal["case", "round"] = "round"

    def check(self, history: History, end: EndState) -> CheckResult:  # noqa: ARG002 - the protocol's
        """Invalid for a broken guarantee; unknown when nobody watched."""
        evidence = Evidence(self.name)
        log = merge_watch_log(history)
        judge = Guarantees(history, log, evidence)
        sessions = sessions_of(history)
        for session in sessions:
            judge.judge(session)
        judge.judge_resumptions(sessions)
        if not len(history.events):  # which may be a lie: bookmarks say that nothing is missing
            evidence.nothing("no watcher was told of any change")
        return evidence.result(
            f"{len(history.events)} changes in {len(sessions)} sessions keep every guarantee"
            f" ({log.describe()})"
        )
