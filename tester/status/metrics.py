"""Prometheus metrics of a run, kept up to date by its events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tester.errors import ExitCode
from tester.events import (
    CaseFinished,
    FaultHealed,
    FaultInjected,
    LeaderChanged,
    LoadSample,
    MemberExited,
    RoundFinished,
    RoundStarted,
    RunStarted,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.metrics_core import Metric

    from tester.events import Event
    from tester.results import CaseResult

_RECOVERY_BUCKETS: Final = (0.1, 0.2, 0.5, 1, 2, 3, 5, 8, 13, 20, 30, 60, 120)
_CHECK_BUCKETS: Final = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60)
_VERDICTS: Final = {ExitCode.VALID: "valid", ExitCode.INVALID: "invalid"}
"""Every other end of a round is an error: nothing is said about etcd."""


class _Active(Collector):
    """Faults that are injected now, by kind and member: gone from the answer when they are healed."""

    def __init__(self) -> None:
        self.faults: dict[tuple[str, str], tuple[str, str]] = {}

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(
            "etcd_chaos_active_faults", "Faults injected now.", labels=("kind", "member")
        )
        counts: dict[tuple[str, str], int] = {}
        for kind_and_member in tuple(self.faults.values()):
            counts[kind_and_member] = counts.get(kind_and_member, 0) + 1
        for labels, number in counts.items():
            family.add_metric(labels, number)
        yield family


class Metrics:
    """Listens to a run. ``expose`` is what a scrape gets; both may be called from different threads."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._active = _Active()
        registry.register(self._active)
        ProcessCollector(registry=registry)  # memory, processor time and open files of the tester itself
        self._run = Info("etcd_chaos_run", "The run.", registry=registry)
        self._round = Gauge("etcd_chaos_round", "The round that is under way.", registry=registry)
        self._rounds = Counter("etcd_chaos_rounds", "Rounds done.", ("verdict",), registry=registry)
        self._cases = Counter("etcd_chaos_cases", "Cases done.", ("fault", "state"), registry=registry)
        self._verdicts = Counter(
            "etcd_chaos_verdicts", "Verdicts of checkers.", ("checker", "verdict"), registry=registry
        )
        self._checking = Histogram(
            "etcd_chaos_check_seconds",
            "Time a checker took.",
            ("checker",),
            buckets=_CHECK_BUCKETS,
            registry=registry,
        )
        self._faults = Counter("etcd_chaos_faults", "Faults injected.", ("kind",), registry=registry)
        self._healed = Counter("etcd_chaos_faults_healed", "Faults healed.", ("kind",), registry=registry)
        self._recovery = Histogram(
            "etcd_chaos_recovery_seconds",
            "From the end of healing until the cluster has a leader, serves everywhere, accepts writes everywhere.",
            ("milestone",),
            buckets=_RECOVERY_BUCKETS,
            registry=registry,
        )
        self._unrecovered = Counter(
            "etcd_chaos_recovery_missed",
            "Milestones not reached within the limit.",
            ("milestone",),
            registry=registry,
        )
        self._operations = Counter(
            "etcd_chaos_operations", "Operations of the load by outcome.", ("outcome",), registry=registry
        )
        self._rate = Gauge(
            "etcd_chaos_operations_per_second", "Over the last half second.", registry=registry
        )
        self._latency = Gauge(
            "etcd_chaos_latency_seconds",
            "Of operations with outcome ok, over the last half second.",
            ("quantile",),
            registry=registry,
        )
        self._leaders = Counter("etcd_chaos_leader_changes", "New leaders seen.", registry=registry)
        self._exits = Counter(
            "etcd_chaos_member_exits", "Members that ended.", ("expected",), registry=registry
        )
        self._told = {"ok": 0, "fail": 0, "info": 0}
        """Of this round: samples are totals since it began."""

    def expose(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def names(self) -> frozenset[str]:
        """Every metric's name as a query writes it."""
        return frozenset(
            f"{family.name}{suffix}"
            for family in self._registry.collect()
            for suffix in {
                "counter": ("_total",),
                "histogram": ("_bucket", "_sum", "_count"),
                "info": ("_info",),
            }.get(family.type, ("",))
        )

    def __call__(self, event: Event) -> None:  # noqa: C901 - one arm per event, nothing nested
        """Take in what has happened."""
        match event:
            case RunStarted(scenario=scenario, seed=seed, version=version):
                self._run.info({"scenario": scenario, "seed": str(seed), "etcd_version": version})
            case RoundStarted(number=number):
                self._round.set(number)
                self._told = dict.fromkeys(self._told, 0)
                self._rate.set(0)  # until its load begins, nobody is served
                self._latency.clear()
            case LoadSample():
                self._sample(event)
            case FaultInjected(fault_id=fault_id, kind=kind, member=member):
                self._faults.labels(kind).inc()
                self._active.faults[(fault_id, member)] = (kind, member)
            case FaultHealed(fault_id=fault_id, kind=kind, member=member):
                self._healed.labels(kind).inc()
                self._active.faults.pop((fault_id, member), None)
            case LeaderChanged(leader=str()):
                self._leaders.inc()
            case MemberExited(expected=expected):
                self._exits.labels("yes" if expected else "no").inc()
            case CaseFinished(result=result):
                self._case(result)
            case RoundFinished(result=finished):
                self._rounds.labels(_VERDICTS.get(finished.exit_code, "error")).inc()
                for check in finished.checks:
                    self._verdicts.labels(check.checker, check.verdict.value).inc()
                    self._checking.labels(check.checker).observe(check.elapsed_seconds)
            case _:
                pass

    def _sample(self, sample: LoadSample) -> None:
        for outcome, total in (("ok", sample.ok), ("fail", sample.fail), ("info", sample.info)):
            self._operations.labels(outcome).inc(max(0, total - self._told[outcome]))
            self._told[outcome] = total
        self._rate.set(sample.rate)
        for quantile, seconds in (("0.5", sample.p50), ("0.99", sample.p99)):
            self._latency.labels(quantile).set(float("nan") if seconds is None else seconds)

    def _case(self, result: CaseResult) -> None:
        self._cases.labels(result.fault, result.state.value).inc()
        for check in result.checks:
            self._verdicts.labels(check.checker, check.verdict.value).inc()
            self._checking.labels(check.checker).observe(check.elapsed_seconds)
        if result.recovery is None:
            return
        for milestone in ("leader", "serving", "writes"):
            seconds = getattr(result.recovery, milestone)
            if seconds is None:
                self._unrecovered.labels(milestone).inc()
            else:
                self._recovery.labels(milestone).observe(seconds)
