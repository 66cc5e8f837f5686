"""Numbers, durations and texts as a person reads them.

Three significant digits at most, always with a unit; what was not measured is ``-``. Texts that come from
hosts (log lines, evidence, error messages) pass through ``printable`` before they reach a terminal.
"""

from __future__ import annotations

import unicodedata

NOTHING = "-"
_SPARKS = "▁▂▃▄▅▆▇█"
_NOT_PRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def seconds(value: float | None) -> str:
    """A duration: ``310 µs``, ``3.1 ms``, ``1.42 s``, ``41.3 s``, ``2m05s``, ``1h02m``."""
    if value is None:
        return NOTHING
    if value >= 3600:
        minutes = round(value / 60)
        return f"{minutes // 60}h{minutes % 60:02d}m"
    if value >= 99.95:
        whole = round(value)
        return f"{whole // 60}m{whole % 60:02d}s"
    if value >= 9.995:
        return f"{value:.1f} s"
    if value >= 0.9995:
        return f"{value:.2f} s"
    return _below_a_second(value)


def _below_a_second(value: float) -> str:
    milliseconds = value * 1e3
    if milliseconds >= 99.95:
        return f"{milliseconds:.0f} ms"
    if milliseconds >= 0.9995:
        return f"{milliseconds:.1f} ms"
    return f"{value * 1e6:.0f} µs" if value > 0 else "0 s"


def count(value: float) -> str:
    """A number of things: ``0``, ``999``, ``12.4k``, ``1.25M``."""
    if value < 999.5:
        return f"{value:.0f}"
    for limit, divisor, suffix in ((999_500, 1e3, "k"), (999_500_000, 1e6, "M"), (float("inf"), 1e9, "G")):
        if value < limit:
            return _three_digits(value / divisor) + suffix
    raise AssertionError("the last limit is infinite")


def _three_digits(value: float) -> str:
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def clock(value: float) -> str:
    """Time since a start, counting: ``0:07``, ``12:41``, ``3:02:09``."""
    whole = int(value)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def lasting(value: float) -> str:
    """How long something has gone on, counting: ``2.1 s``, then as ``clock``."""
    return f"{max(value, 0.0):.1f} s" if value < 59.95 else clock(value)


def plural(number: int, noun: str) -> str:
    """``1 case``, ``3 cases``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def rounds(number: int) -> str:
    """How many a run has: ``1 round``, ``3 rounds``; 0 is ``rounds until stopped``."""
    return plural(number, "round") if number else "rounds until stopped"


def round_of(number: int, total: int) -> str:
    """Which round: ``round 3 of 10``, and ``round 3`` where nobody knows how many come."""
    return f"round {number} of {total}" if total else f"round {number}"


def sparkline(values: tuple[float, ...]) -> str:
    """One character a value, from zero to the highest of them."""
    top = max(values, default=0.0)
    if top <= 0:
        return _SPARKS[0] * len(values)
    return "".join(_SPARKS[min(7, int(value / top * 8))] for value in values)


def printable(text: str) -> str:
    r"""The text on one line and without anything a terminal would act on: ESC becomes ``\x1b``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible(character) for character in text)


def printable_lines(text: str) -> str:
    """As ``printable``, but with its lines: each of several causes keeps its own."""
    return "\n".join(map(printable, text.splitlines()))


def _visible(character: str) -> str:
    if character in "\n\r\t":
        return " "
    if unicodedata.category(character) in _NOT_PRINTABLE:
        return character.encode("unicode_escape").decode("ascii")
    return character
