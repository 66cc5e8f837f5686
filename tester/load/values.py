"""Values that say which write they are from, and prove that they are whole.

A value is its id and a colon, repeated up to its size: ``42:42:42:42``. A history holds it as ``ID:SIZE``,
here ``42:11``. A value that was cut, mixed up or written by somebody else does not decode to that form; it is
held as ``sha256:`` and its digest.
"""

from __future__ import annotations

import hashlib
import re

_HEAD = re.compile(rb"([1-9][0-9]{0,17}):")


def encode(identifier: int, size: int) -> bytes:
    """The bytes of value ``identifier``: ``size`` of them, or as many as its id needs if that is more."""
    return _repeated(b"%d:" % identifier, size)


def text(identifier: int, size: int) -> str:
    """What the history holds for ``encode(identifier, size)``."""
    digits = str(identifier)
    return f"{digits}:{size if size > len(digits) else len(digits) + 1}"


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
    head = _HEAD.match(value)
    if head is not None and _repeated(head[0], len(value)) == value:
        return f"{head[1].decode()}:{len(value)}"
    return f"sha256:{hashlib.sha256(value).hexdigest()}"


def _repeated(unit: bytes, size: int) -> bytes:
    if size <= len(unit):
        return unit
    return (unit * (size // len(unit) + 1))[:size]
