"""``watch``: etcd's guarantees about watches, each by its name.

=============  =====================================================================================
filter         only the keys and kinds that were asked for
ordered        revisions never go back, nor the changes of one
unique         no change twice, not even after a resumption
atomic         the changes of one revision come in one response
bookmarkable   after a bookmark nothing older follows
resumable      a watch from a revision shows nothing older
reliable       no change is left out, and none differs from what other watchers or clients were told
header         a response is of a revision no older than the changes in it
is-create      a change says that it creates its key if and only if it does
prev-kv        the previous key is the key as it was before
compaction     a watch is told of compaction only if what it asked for is compacted, and somebody asked for that
=============  =====================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tester.checkers.agreement import Agreement
from tester.checkers.base import Evidence
from tester.checkers.guarantees import Guarantees
from tester.checkers.silence import doubt_silence
from tester.checkers.telling import Telling
from tester.checkers.watched import Ranges, TooLargeError, sessions_of, written_by_clients
from tester.history.watchlog import merge_watch_log

if TYPE_CHECKING:
    from tester.history.endstate import EndState
    from tester.history.history import History
    from tester.results import CheckResult


class Watch:
    """Judges every session of every watcher."""

    name = "watch"
    scope: Literal["case", "round"] = "round"

    def check(self, history: History, end: EndState) -> CheckResult:
        """Invalid for a broken guarantee; unknown where nobody watched, a watcher had no news, or numbers are huge."""
        evidence = Evidence(self.name)
        try:
            return self._judge(history, end, evidence)
        except TooLargeError as reason:
            evidence.doubt(str(reason))
            return evidence.result("")

    def _judge(self, history: History, end: EndState, evidence: Evidence) -> CheckResult:
        log = merge_watch_log(history)
        written, ranges = written_by_clients(history), Ranges(history.keys.texts)
        tell = Telling(history, evidence, written)
        alone = Guarantees(history, ranges, tell)
        together = Agreement(history, log, written, ranges, tell)
        sessions = sessions_of(history)
        for session in sessions:
            alone.judge(session)
            together.judge(session)
        doubt_silence(history, sessions, written, ranges, evidence)
        for late in end.late:
            evidence.doubt(late)
        if not len(history.events):  # which may be a lie: bookmarks say that nothing is missing
            evidence.nothing("no watcher was told of any change")
        return evidence.result(
            f"{len(history.events)} changes in {len(sessions)} sessions keep every guarantee"
            f" ({log.describe()})"
        )
