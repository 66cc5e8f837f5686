"""How the load fares: counts and latencies per stretch of time, in bounded memory.

Latencies go into histograms whose buckets grow with the value: sixteen to a doubling, so that a quantile is
at most 4 % off. Time is cut into tenths of a second; what is older than ten minutes of load is folded into
stretches of ten seconds, and of those a day is kept.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import chain, takewhile
from typing import TYPE_CHECKING, Final

from tester.events import LoadSample
from tester.load.gaps import Gaps
from tester.load.workers.messages import Report, Stretch
from tester.results import PhaseStats

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_FINE_NS = 100_000_000
_FINE_KEPT = 6_000
_COARSE_NS = 10_000_000_000
_COARSE_KEPT = 8_640
_SUB_BITS = 4

MARGIN_NS: Final = _FINE_NS // 2 + 1
"""A window that ends so long after a moment has all that ended until then."""


class Outcome(StrEnum):
    """Of one operation."""

    OK = "ok"
    FAIL = "fail"
    """Surely not applied."""
    INFO = "info"
    """Nobody knows."""


@dataclass(slots=True)
class _Stretch:
    """What ended in one stretch of time."""

    start_ns: int = 0
    sampled: bool = False
    """Told by ``sample``: what comes next goes into another one."""
    fail: int = 0
    info: int = 0
    max_ns: int = 0
    lag_ns: int = 0
    latencies: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def middle_ns(self) -> int:
        """Of a tenth of a second."""
        return self.start_ns + _FINE_NS // 2

    def merge(self, other: _Stretch) -> None:
        self.fail += other.fail
        self.info += other.info
        self.max_ns = max(self.max_ns, other.max_ns)
        self.lag_ns = max(self.lag_ns, other.lag_ns)
        self.latencies.update(other.latencies)
        self.errors.update(other.errors)

    def stats(self, seconds: float) -> PhaseStats:
        ok = self.latencies.total()
        return PhaseStats(
            seconds=seconds,
            ok=ok,
            fail=self.fail,
            info=self.info,
            p50=self._quantile(0.50, ok),
            p95=self._quantile(0.95, ok),
            p99=self._quantile(0.99, ok),
            max=self.max_ns / 1e9 if ok else None,
            errors=dict(self.errors),
            lag=self.lag_ns / 1e9,
        )

    def _quantile(self, share: float, total: int) -> float | None:
        if not total:
            return None
        rank = share * total
        seen = 0
        for index in sorted(self.latencies):
            seen += self.latencies[index]
            if seen >= rank:
                return min(_middle_us(index) / 1e6, self.max_ns / 1e9)
        raise AssertionError("a histogram holds as many latencies as it counts")


class _Row:
    """Stretches of one width, each there once: the last so many."""

    def __init__(self, width_ns: int, most: int) -> None:
        self._width_ns = width_ns
        self._most = most
        self._by_place: OrderedDict[int, _Stretch] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_place)

    def take(self, one: _Stretch) -> _Stretch | None:
        """Add it to the stretch in which its middle lies; the oldest, if that had to go for it."""
        place = one.middle_ns // self._width_ns
        there = self._by_place.get(place)
        gone = None
        if there is None:
            if len(self._by_place) == self._most:
                _, gone = self._by_place.popitem(last=False)
            there = self._by_place[place] = _Stretch(place * self._width_ns)
        there.merge(one)
        return gone

    def within(self, start_ns: int, end_ns: int) -> Iterator[_Stretch]:
        """Those whose middle lies in ``[start_ns, end_ns)``."""
        for place, stretch in self._by_place.items():
            if start_ns <= place * self._width_ns + self._width_ns // 2 < end_ns:
                yield stretch


class Statistics:
    """Takes every operation as it ends, or what others have taken; answers about any stretch since."""

    def __init__(self) -> None:
        self._fine: deque[_Stretch] = deque()
        self._absorbed = _Row(_FINE_NS, _FINE_KEPT)
        """Of other processes: as many stretches, however many they are, or however often they report."""
        self._coarse = _Row(_COARSE_NS, _COARSE_KEPT)
        self._news = _Stretch()
        """What was absorbed since the last sample."""
        self._newest = _Stretch()
        self._until_ns = 0
        """What ends before goes into the newest stretch; 0: nothing more does."""
        self._sampled_ns = 0
        self._gaps = Gaps()
        self.ok = 0
        self.fail = 0
        self.info = 0

    def add(
        self, end_ns: int, latency_ns: int, outcome: Outcome, error: str = "", *, lag_ns: int = 0
    ) -> None:
        """An operation ended at ``end_ns`` on the run clock, ``latency_ns`` after it was due; times never go back.

        ``lag_ns``: what of the latency it waited for a client.
        """
        if outcome is Outcome.OK:
            self.answered(end_ns, latency_ns, lag_ns)
            return
        stretch = self._newest if end_ns < self._until_ns else self._begin(end_ns)
        if lag_ns > stretch.lag_ns:
            stretch.lag_ns = lag_ns
        self._gaps.not_ok(end_ns - latency_ns)
        stretch.errors[error] += 1
        if outcome is Outcome.FAIL:
            stretch.fail += 1
            self.fail += 1
        else:
            stretch.info += 1
            self.info += 1

    def answered(self, end_ns: int, latency_ns: int, lag_ns: int = 0) -> None:
        """As ``add`` with ``ok``, without the detour: nearly all operations end so."""
        stretch = self._newest if end_ns < self._until_ns else self._begin(end_ns)
        if lag_ns > stretch.lag_ns:
            stretch.lag_ns = lag_ns
        self.ok += 1
        self._gaps.ok(end_ns - latency_ns, end_ns)
        stretch.latencies[_index(latency_ns // 1000)] += 1
        if latency_ns > stretch.max_ns:
            stretch.max_ns = latency_ns

    def rest(self, at_ns: int) -> None:
        """The load is paused: see ``Gaps.rest``."""
        self._gaps.rest(at_ns)

    def window(self, start_ns: int, end_ns: int) -> PhaseStats:
        """What ended in ``[start_ns, end_ns)``, to a tenth of a second (ten seconds for what is long ago).

        Of windows that meet, each operation is in one. The rate is of the tenths that are taken: a window that is
        hardly as long as one may have all of its operations, or none.
        """
        total = _Stretch()
        fine = (one for one in self._fine if start_ns <= one.middle_ns < end_ns)
        for stretch in chain(
            self._coarse.within(start_ns, end_ns), self._absorbed.within(start_ns, end_ns), fine
        ):
            total.merge(stretch)
        stats = total.stats(max(0, end_ns - start_ns) / 1e9)
        taken_ns = (_tenths_until(end_ns) - _tenths_until(start_ns)) * _FINE_NS
        rate = stats.ok * 1e9 / taken_ns if taken_ns > 0 else 0.0
        gaps = self._gaps.within(start_ns, end_ns)
        return replace(stats, rate=rate, gaps=gaps.told, gaps_total=gaps.total, gap_seconds=gaps.seconds)

    def report(self, lag_seconds: float, steps: list[int]) -> Report:
        """What has happened since the last call, for the process that gathers it. Instead of ``sample``."""
        stretches = [
            Stretch(
                one.start_ns,
                one.fail,
                one.info,
                one.max_ns,
                one.lag_ns,
                dict(one.latencies),
                dict(one.errors),
            )
            for one in self._unsampled()
        ]
        gaps = [(gap.start_ns, gap.end_ns) for gap in self._gaps.news() if gap.end_ns is not None]
        waiting = self._gaps.waiting_since_ns
        return Report(self.ok, self.fail, self.info, lag_seconds, stretches, gaps, waiting, steps)

    def absorb(self, stretches: Iterable[Stretch]) -> None:
        """Take in what another process reported; its totals are for whoever gathers them."""
        for one in stretches:
            taken = _Stretch(
                one.start_ns,
                fail=one.fail,
                info=one.info,
                max_ns=one.max_ns,
                lag_ns=one.lag_ns,
                latencies=Counter(one.latencies),
                errors=Counter(one.errors),
            )
            self._news.merge(taken)
            if (old := self._absorbed.take(taken)) is not None:
                self._coarse.take(old)

    def _unsampled(self) -> list[_Stretch]:
        """Stretches that nobody was told of yet; what comes next goes into others."""
        self._until_ns = 0
        new = list(takewhile(lambda one: not one.sampled, reversed(self._fine)))
        for stretch in new:
            stretch.sampled = True
        return new[::-1]

    def sample(self, at_ns: int) -> LoadSample:
        """The load since the last call; counts since the beginning."""
        seconds = (at_ns - self._sampled_ns) / 1e9
        since, self._news = self._news, _Stretch()
        for stretch in self._unsampled():
            since.merge(stretch)
        stats = since.stats(seconds)
        self._sampled_ns = at_ns
        done = stats.ok + stats.fail + stats.info
        return LoadSample(
            at_ns=at_ns,
            rate=done / seconds if seconds > 0 else 0.0,
            ok=self.ok,
            fail=self.fail,
            info=self.info,
            p50=stats.p50,
            p99=stats.p99,
            errors=stats.errors,
        )

    def _begin(self, at_ns: int) -> _Stretch:
        start = at_ns - at_ns % _FINE_NS
        if len(self._fine) == _FINE_KEPT:
            self._coarse.take(self._fine.popleft())
        self._newest = _Stretch(start)
        self._until_ns = start + _FINE_NS
        self._fine.append(self._newest)
        return self._newest


def _tenths_until(at_ns: int) -> int:
    """How many tenths of a second have their middle before."""
    return (at_ns + _FINE_NS // 2 - 1) // _FINE_NS


def _index(latency_us: int) -> int:
    shift = latency_us.bit_length() - _SUB_BITS - 1
    return (shift << _SUB_BITS) + (latency_us >> shift) if shift > 0 else latency_us


def _middle_us(index: int) -> float:
    """The middle of bucket ``index``."""
    if index < 2 << _SUB_BITS:
        return float(index)
    shift = (index >> _SUB_BITS) - 1
    low = (index - (shift << _SUB_BITS)) << shift
    return low + (1 << shift) / 2
