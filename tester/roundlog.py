"""Writes what happens in a round into its history, beside the operations."""

from __future__ import annotations

from contextlib import suppress
from typing import Protocol

from tester.errors import LoadError
from tester.events import (
    Event,
    FaultHealed,
    FaultInjected,
    LeaderChanged,
    MemberExited,
    MembershipChanged,
    PhaseStarted,
)
from tester.history.records import FaultRecord, HistoryRecord, LeaderRecord, MemberRecord, PhaseRecord


class RecordSink(Protocol):
    """Where records go."""

    def write(self, record: HistoryRecord) -> None:
        """Append one record."""


class RoundLog:
    """A listener of the run's events: those that matter to a checker become records."""

    def __init__(self, sink: RecordSink) -> None:
        self._sink = sink

    def __call__(self, event: Event) -> None:
        """Write the record of ``event``, if it has one.

        A history that cannot be written is told by those who watch over it. Whoever publishes may be healing
        a fault: that must neither stop nor look as if it had failed.
        """
        record = to_record(event)
        if record is not None:
            with suppress(LoadError):
                self._sink.write(record)


def to_record(event: Event) -> HistoryRecord | None:
    """The record of an event; ``None`` for those that only people need."""
    match event:
        case PhaseStarted():
            return PhaseRecord(event.at_ns, event.round, event.phase.value, event.case or "")
        case FaultInjected():
            return FaultRecord(event.at_ns, event.fault_id, event.kind, event.member, "injected")
        case FaultHealed():
            return FaultRecord(event.at_ns, event.fault_id, event.kind, event.member, "healed")
        case LeaderChanged():
            return LeaderRecord(event.at_ns, event.leader or "", event.term)
        case MemberExited():
            return MemberRecord(event.at_ns, event.member, "exited", event.expected, event.text)
        case MembershipChanged():
            return MemberRecord(event.at_ns, event.member, event.change.value)
        case _:
            return None
