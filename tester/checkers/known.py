"""Bugs of etcd that are known to make a verdict what it is: told beside it, and nothing is forgiven."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tester.results import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tester.results import CheckResult

_NUMBERS: Final = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class KnownBug:
    """A bug by its mark: which checker finds it, and what kind of violation."""

    issue: str
    checker: str
    kind: str
    what: str
    mended: tuple[tuple[int, int, int], ...]
    """The first version without it, of each minor version that had it."""

    def has(self, version: str) -> bool:
        """Whether that version has it, as far as is known."""
        numbers = _NUMBERS.match(version)
        if numbers is None:
            return False
        found = tuple(map(int, numbers.groups()))
        return any(found[:2] == first[:2] and found < first for first in self.mended)

    def explains(self, result: CheckResult) -> bool:
        """Whether the checker found this and nothing else."""
        return result.checker == self.checker and result.kinds == (self.kind,)


KNOWN: Final = (
    KnownBug(
        issue="https://github.com/etcd-io/etcd/issues/15220",
        checker="watch",
        kind="bookmarkable",
        what="a progress notification that a watcher asks for may come before changes that it covers",
        mended=((3, 4, 25), (3, 5, 8)),
    ),
)


def explained(result: CheckResult, versions: Iterable[str]) -> CheckResult:
    """The same verdict, with the known bug that is all it found, if one of these versions of etcd has it. Pure."""
    if result.verdict is not Verdict.INVALID:
        return result
    for bug in KNOWN:
        bad = [version for version in dict.fromkeys(versions) if bug.has(version)]
        if bad and bug.explains(result):
            mended = " and ".join(".".join(map(str, first)) for first in bug.mended)
            text = f"etcd {', '.join(bad)} is known for it: {bug.what} ({bug.issue}, mended in {mended})"
            return replace(result, known=text)
    return result
