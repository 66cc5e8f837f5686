"""Durations, sizes and rates as people write them: always with a unit, never guessed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema

if TYPE_CHECKING:
    from collections.abc import Callable

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZE = re.compile(r"(\d+)(B|KiB|MiB|GiB)")
_SIZE_UNITS = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_RATE = re.compile(r"(\d+(?:\.\d+)?)/s")

_SHARE = re.compile(r"(\d+(?:\.\d+)?)%")
_BIT_RATE = re.compile(r"(\d+(?:\.\d+)?)(kbit|Mbit|Gbit)/s")
_BIT_RATE_UNITS = {"kbit": 1e3, "Mbit": 1e6, "Gbit": 1e9}
_SLOWEST_BITS, _FASTEST_BITS = 8_000, 100_000_000_000
_SMALLEST_PERCENT = 0.01


def parse_duration(text: object) -> float:
    """Seconds of ``500ms``, ``5s``, ``1.5m``, ``2h`` or a sum such as ``1m30s``.

    Raises:
        ValueError: there is no unit, or it is none of ms, s, m, h.
    """
    if isinstance(text, str) and text:
        parts = _DURATION.findall(text)
        if "".join(number + unit for number, unit in parts) == text:
            return float(sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts))
    raise ValueError(f"{text!r} is not a duration: write a number and ms, s, m or h, such as 500ms or 1m30s")


def parse_signed_duration(text: object) -> float:
    """As ``parse_duration``, with a minus in front for what lies behind.

    Raises:
        ValueError: it is no duration.
    """
    if isinstance(text, str) and text.startswith("-"):
        return -parse_duration(text[1:])
    return parse_duration(text)


def parse_size(text: object) -> int:
    """Bytes of ``100B``, ``32KiB``, ``1MiB``.

    Raises:
        ValueError: there is no unit, or it is none of B, KiB, MiB, GiB.
    """
    if isinstance(text, str) and (match := _SIZE.fullmatch(text)):
        return int(match[1]) * _SIZE_UNITS[match[2]]
    raise ValueError(f"{text!r} is not a size: write a whole number and B, KiB, MiB or GiB, such as 32KiB")


def parse_rate(text: object) -> float:
    """Operations per second of ``500/s``.

    Raises:
        ValueError: the text has another form.
    """
    if isinstance(text, str) and (match := _RATE.fullmatch(text)):
        return float(match[1])
    raise ValueError(f"{text!r} is not a rate: write operations per second, such as 500/s")


def parse_share(text: object) -> float:
    """A share, 0 to 1, of ``10%``.

    Raises:
        ValueError: the text has another form, or it is less than 0.01 % or more than 100 %.
    """
    if isinstance(text, str) and (match := _SHARE.fullmatch(text)):
        if _SMALLEST_PERCENT <= float(match[1]) <= 100:
            return float(match[1]) / 100
        raise ValueError(f"{text!r} is out of bounds: 0.01% to 100%")
    raise ValueError(f"{text!r} is not a share: write a number and %, such as 10%")


def parse_bit_rate(text: object) -> int:
    """Bits per second of ``10Mbit/s``.

    Raises:
        ValueError: the text has another form, or it is less than 8 kbit/s or more than 100 Gbit/s.
    """
    if isinstance(text, str) and (match := _BIT_RATE.fullmatch(text)):
        bits = round(float(match[1]) * _BIT_RATE_UNITS[match[2]])
        if _SLOWEST_BITS <= bits <= _FASTEST_BITS:
            return bits
        raise ValueError(f"{text!r} is out of bounds: 8kbit/s to 100Gbit/s")
    raise ValueError(f"{text!r} is not a rate: write a number and kbit/s, Mbit/s or Gbit/s, such as 10Mbit/s")


PLAIN: Final = {"units": "plain"}
"""Validation context of what this tool itself has written: plain numbers, in seconds, bytes, shares and bits."""


def _or_plain(parse: Callable[[object], float]) -> Callable[[object, ValidationInfo], object]:
    """As people write it, or plain where the context says so."""

    def validate(value: object, info: ValidationInfo) -> object:
        return value if info.context is PLAIN else parse(value)

    return validate


Seconds = Annotated[
    float,
    BeforeValidator(_or_plain(parse_duration)),
    Field(ge=0, le=86_400),
    WithJsonSchema(
        {"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|s|m|h))+$", "examples": ["500ms", "1m30s"]}
    ),
]
SignedSeconds = Annotated[
    float,
    BeforeValidator(_or_plain(parse_signed_duration)),
    Field(ge=-(10**8), le=10**8),
    WithJsonSchema(
        {"type": "string", "pattern": r"^-?(\d+(\.\d+)?(ms|s|m|h))+$", "examples": ["1h", "-90s"]}
    ),
]
SizeBytes = Annotated[
    int,
    BeforeValidator(_or_plain(parse_size)),
    Field(ge=1, le=1024**3),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(B|KiB|MiB|GiB)$", "examples": ["100B", "32KiB"]}),
]
PerSecond = Annotated[
    float,
    BeforeValidator(_or_plain(parse_rate)),
    Field(gt=0, le=1_000_000),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?/s$", "examples": ["500/s"]}),
]
Share = Annotated[
    float,
    BeforeValidator(_or_plain(parse_share)),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?%$", "examples": ["10%"]}),
]
BitRate = Annotated[
    int,
    BeforeValidator(_or_plain(parse_bit_rate)),
    WithJsonSchema(
        {"type": "string", "pattern": r"^\d+(\.\d+)?(kbit|Mbit|Gbit)/s$", "examples": ["10Mbit/s"]}
    ),
]
