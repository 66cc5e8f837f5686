"""Ranges of keys as etcd has them: ``[key, end)``; without an end the key alone."""

from __future__ import annotations

END_OF_KEYS = "\0"
"""As an end: all keys that there are."""


def in_range(text: str, key: str, end: str) -> bool:
    """Whether a key lies in a range."""
    return text == key if not end else key <= text and (end == END_OF_KEYS or text < end)


def end_of_prefix(prefix: str) -> str:
    """The range end that holds exactly the keys with this prefix."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else END_OF_KEYS


def holds_prefix(prefix: str, key: str, end: str) -> bool:
    """Whether a range holds every key with this prefix."""
    to_its_end = end == END_OF_KEYS or (bool(prefix) and end >= end_of_prefix(prefix))
    return (key == END_OF_KEYS or key <= prefix) and to_its_end
