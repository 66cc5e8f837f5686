"""What an etcd of the tests does wrong by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tester.checkers.known import explained

if TYPE_CHECKING:
    from tester.results import CheckResult


def is_known(version: str, result: CheckResult) -> bool:
    """Whether a verdict is about a known bug of that version alone."""
    return bool(explained(result, [version]).known)
