"""Values that say which write they are from, and prove that they are whole.

A value is its id and a colon, repeated up to its size: ``42:42:42:42``. A history holds it as ``ID:SIZE``,
here ``42:11``. A value that was cut, mixed up or written by somebody else does not decode to that form; it is
held as ``sha256:`` and its digest.
"""

from __future__ import annotations

import hashlib

_ZERO = ord("0")
_LONGEST_UNIT = 19
"""Eighteen digits and a colon: ids fit into 63 bits."""


def encode(identifier: int, size: int) -> bytes:
    """The bytes of value ``identifier``: ``size`` of them, or as many as its id needs if that is more."""
    return _repeated(b"%d:" % identifier, size)


def text(identifier: int, size: int) -> str:
    """What the history holds for ``encode(identifier, size)``."""
    digits = str(identifier)
    return f"{digits}:{size if size > len(digits) else len(digits) + 1}"


def is_whole(recorded: str) -> bool:
    """Whether what ``decode`` made of a value is ``ID:SIZE``: of others nobody knows the bytes."""
    identifier, separator, _ = recorded.partition(":")
    return bool(separator) and identifier.isdecimal()


def to_bytes(recorded: str) -> bytes:
    """The bytes of a value as the history holds it.

    Raises:
        ValueError: the text is not ``ID:SIZE``.
    """
    identifier, separator, size = recorded.partition(":")
    if not separator or not identifier.isdecimal():
        raise ValueError(f"{recorded!r} is not a value of the load")
    return _repeated(identifier.encode() + b":", int(size))


def decode(value: bytes) -> str:
    """``ID:SIZE`` if ``value`` is whole and the load's, empty if it is empty, else ``sha256:DIGEST``."""
    if not value:
        return ""
    digits, colon, _ = value.partition(b":")
    period = len(digits) + 1
    is_id = colon and digits.isdigit() and digits[0] != _ZERO and period <= _LONGEST_UNIT
    if is_id and value[period:] == value[: len(value) - period]:  # what has a period repeats its beginning
        return f"{digits.decode()}:{len(value)}"
    return f"sha256:{hashlib.sha256(value).hexdigest()}"


def _repeated(unit: bytes, size: int) -> bytes:
    if size <= len(unit):
        return unit
    return (unit * (size // len(unit) + 1))[:size]
