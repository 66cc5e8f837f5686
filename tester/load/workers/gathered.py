"""Statistics of several workers as one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tester.load.engine import LoadTotals
from tester.load.gaps import Gaps, gaps_within, shared_gaps
from tester.load.statistics import Statistics

if TYPE_CHECKING:
    from tester.events import LoadSample
    from tester.load.workers.messages import Report
    from tester.results import PhaseStats


class Gathered:
    """Takes the workers' reports; answers as ``Statistics`` does, as of the last of them.

    A gap in service is what the gaps of all workers have in common: where one is answered there is service. A
    worker of which no operation has ended yet has no say: it has no clients, or they have waited all the time.
    """

    def __init__(self) -> None:
        self._statistics = Statistics()
        self._last: dict[str, Report] = {}
        self._gaps: dict[str, Gaps] = {}

    def take(self, worker: str, report: Report) -> None:
        """What a worker has done since its last report."""
        self._last[worker] = report
        self._statistics.absorb(report.stretches)
        gaps = self._gaps.setdefault(worker, Gaps())
        gaps.absorb(report.gaps, report.waiting_since_ns)
        self._statistics.ok = sum(last.ok for last in self._last.values())
        self._statistics.fail = sum(last.fail for last in self._last.values())
        self._statistics.info = sum(last.info for last in self._last.values())

    def totals(self) -> LoadTotals:
        """Counts since the start."""
        done = self._statistics
        lag = sum(report.lag_seconds for report in self._last.values())
        return LoadTotals(done.ok, done.fail, done.info, lag)

    def steps(self, stressers: int) -> list[int]:
        """Of each of so many stressers, all workers together."""
        return [sum(last.steps[place] for last in self._last.values()) for place in range(stressers)]

    def sample(self, at_ns: int) -> LoadSample:
        """See ``Statistics.sample``."""
        return self._statistics.sample(at_ns)

    def window(self, start_ns: int, end_ns: int) -> PhaseStats:
        """See ``Statistics.window``."""
        stats = self._statistics.window(start_ns, end_ns)
        shared = shared_gaps(
            [gaps.all() for worker, gaps in self._gaps.items() if _has_say(self._last[worker])]
        )
        within = gaps_within(shared, start_ns, end_ns)
        return replace(stats, gaps=within.told, gaps_total=within.total, gap_seconds=within.seconds)


def _has_say(report: Report) -> bool:
    return report.ok + report.fail + report.info > 0
