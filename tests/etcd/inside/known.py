"""What an etcd of the tests does wrong by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tester.results import CheckResult


def is_known(version: str, result: CheckResult) -> bool:
    """Whether a verdict is about etcd#15220 alone: 3.4.23 may send a bookmark ahead of its events."""
    broken = {finding.message.partition(":")[0] for finding in result.findings}
    return version == "3.4.23" and broken == {"bookmarkable"}
