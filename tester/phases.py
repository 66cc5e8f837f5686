"""Where a round is, and how long each phase took: told to everybody as events."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tester.events import EventBus, Phase, PhaseStarted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tester.clock import RunClock


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time on the run clock."""

    start_ns: int
    end_ns: int

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end_ns - self.start_ns) / 1e9


@dataclass(slots=True)
class Phases:
    """Announces the phases of one round (``case`` None) or one case, and remembers their spans."""

    clock: RunClock
    bus: EventBus
    round: int
    case: str | None = None
    spans: dict[Phase, Span] = field(default_factory=dict)

    @contextmanager
    def phase(self, phase: Phase, expected_seconds: float | None = None) -> Iterator[None]:
        """The body of the ``with`` is the phase; its span is kept even if the body raises."""
        start = self.clock.now()
        self.bus.publish(PhaseStarted(start, self.round, self.case, phase, expected_seconds))
        try:
            yield
        finally:
            self.spans[phase] = Span(start, self.clock.now())

    def seconds(self, phase: Phase) -> float:
        """How long a phase took; 0 if it never began."""
        span = self.spans.get(phase)
        return span.seconds if span else 0.0
