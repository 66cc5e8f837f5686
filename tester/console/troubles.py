"""What went wrong for the load of a case: errors by kind, and when nobody was served."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.text import Text

from tester.console import units

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tester.results import CaseResult, PhaseStats, ServiceGap

_GAPS_SHOWN = 3
_INDENT = 2


def load_troubles(case: CaseResult) -> Iterator[Padding]:
    """A paragraph for each time of the case that had any, in order; nothing where the load fared well."""
    windows = (("before", case.before), ("during", case.during), ("after", case.after))
    for name, stats in windows:
        if stats.errors:
            yield _paragraph(f"errors {name}: ", _errors(stats), "red")
    told: set[int] = set()
    for name, stats in windows:
        # One that began in the time before has been told there, whole.
        gaps = [gap for gap in stats.gaps if gap.start_ns not in told]
        total = stats.gaps_total - (len(stats.gaps) - len(gaps))
        told.update(gap.start_ns for gap in gaps)
        if gaps:
            yield _paragraph(f"no service {name}: ", _longest(gaps, total), "yellow")


def _paragraph(head: str, text: str, style: str) -> Padding:
    return Padding(Text.assemble((head, "dim"), (text, style)), (0, 0, 0, _INDENT), expand=False)


def _errors(stats: PhaseStats) -> str:
    """The most frequent first."""
    kinds = sorted(stats.errors.items(), key=lambda kind: (-kind[1], kind[0]))
    return ", ".join(f"{units.printable(kind)} {number}" for kind, number in kinds)


def _longest(gaps: list[ServiceGap], total: int) -> str:
    """The longest few in order of time; seconds on the run clock."""
    by_length = sorted(gaps, key=_shortness)
    shown = sorted(by_length[:_GAPS_SHOWN], key=lambda gap: gap.start_ns)
    more = total - len(shown)
    return ", ".join(map(_gap, shown)) + (f", +{more} more" if more > 0 else "")


def _gap(gap: ServiceGap) -> str:
    start = f"{gap.start_ns / 1e9:.2f}"
    if gap.end_ns is None:
        return f"from {start} s on"
    return f"{start}-{gap.end_ns / 1e9:.2f} s ({units.seconds((gap.end_ns - gap.start_ns) / 1e9)})"


def _shortness(gap: ServiceGap) -> float:
    """One that has not ended comes before all others."""
    return -float("inf") if gap.end_ns is None else gap.start_ns - gap.end_ns
