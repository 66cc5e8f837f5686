"""The agent's metrics for Prometheus, read off its parts at every scrape: nothing is counted twice."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from agent_service.models import FaultState, MemberState

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prometheus_client.metrics_core import Metric

    from agent_service.models import FaultStatus, MemberStatus, ProcessUsage, Usage

_OVER = frozenset({FaultState.HEALED, FaultState.FAILED})


def expose(faults: Sequence[FaultStatus], member: MemberStatus, usage: Usage, *, stopped: bool) -> bytes:
    """Everything in Prometheus' text format.

    Args:
        faults: all that the agent knows of; those that are over are forgotten after a while.
        member: the host's member.
        usage: what host, agent and member use.
        stopped: whether an emergency stop is engaged.
    """
    registry = CollectorRegistry()
    registry.register(_Scrape([*_faults(faults, stopped=stopped), *_member(member), *_usage(usage)]))
    return generate_latest(registry)


class _Scrape(Collector):
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def _faults(faults: Sequence[FaultStatus], *, stopped: bool) -> Iterator[Metric]:
    known = GaugeMetricFamily(
        "etcd_chaos_agent_faults", "Faults the agent knows of.", labels=("kind", "state")
    )
    for (kind, state), number in Counter((fault.spec.kind, fault.state.value) for fault in faults).items():
        known.add_metric((kind, state), number)
    yield known
    active = sum(fault.state not in _OVER for fault in faults)
    yield GaugeMetricFamily("etcd_chaos_agent_active_faults", "Faults that are not undone.", value=active)
    yield GaugeMetricFamily(
        "etcd_chaos_agent_emergency_stop", "1 while an emergency stop is engaged.", value=int(stopped)
    )


def _member(member: MemberStatus) -> Iterator[Metric]:
    states = GaugeMetricFamily(
        "etcd_chaos_agent_member_state", "1 for the state it is in.", labels=("state",)
    )
    for state in MemberState:
        states.add_metric((state.value,), int(member.state is state))
    yield states
    yield CounterMetricFamily(
        "etcd_chaos_agent_member_exits", "Ends of the member's process.", value=member.exits_total
    )
    if member.data_bytes is not None:
        yield GaugeMetricFamily(
            "etcd_chaos_agent_member_data_bytes", "Size of its data directory.", value=member.data_bytes
        )


def _usage(usage: Usage) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "etcd_chaos_agent_disk_free_bytes", "Left for a member's data.", value=usage.disk_free_bytes
    )
    memory = GaugeMetricFamily("etcd_chaos_agent_memory_bytes", "Resident memory.", labels=("process",))
    files = GaugeMetricFamily("etcd_chaos_agent_open_files", "Open file descriptors.", labels=("process",))
    cpu = CounterMetricFamily("etcd_chaos_agent_cpu_seconds", "User and system time.", labels=("process",))
    for name, process in _processes(usage):
        memory.add_metric((name,), process.rss_bytes)
        files.add_metric((name,), process.open_files)
        cpu.add_metric((name,), process.cpu_seconds)
    yield from (memory, files, cpu)


def _processes(usage: Usage) -> Iterator[tuple[str, ProcessUsage]]:
    yield "agent", usage.agent
    if usage.member is not None:
        yield "member", usage.member
