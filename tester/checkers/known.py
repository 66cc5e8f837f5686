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
    """A bug by its mark: which checker finds it, and as what kinds of violations."""

    issue: str
    checker: str
    kinds: frozenset[str]
    what: str
    mended: tuple[tuple[int, int, int], ...]
    """The first version without it, of each minor version that had it; empty: all versions have it."""

    def has(self, version: str) -> bool:
        """Whether that version has it, as far as is known."""
        numbers = _NUMBERS.match(version)
        if numbers is None:
            return False
        found = tuple(map(int, numbers.groups()))
        return not self.mended or any(found[:2] == first[:2] and found < first for first in self.mended)

    def told(self, versions: Iterable[str]) -> str:
        """What a person should know of it."""
        mended = " and ".join(".".join(map(str, first)) for first in self.mended)
        state = f"mended in {mended}" if mended else "open"
        return f"etcd {', '.join(versions)} is known for it: {self.what} ({self.issue}, {state})"


KNOWN: Final = (
    KnownBug(
        issue="https://github.com/etcd-io/etcd/issues/15220",
        checker="watch",
        kinds=frozenset({"bookmarkable"}),
        what="a progress notification that a watcher asks for may come before changes that it covers",
        mended=((3, 4, 25), (3, 5, 8)),
    ),
    KnownBug(
        issue="https://github.com/etcd-io/etcd/issues/15271",
        checker="watch",
        kinds=frozenset({"ordered", "unique", "resumable"}),
        what="a member that is sent a snapshot may tell its watchers once more what they were told before",
        mended=((3, 4, 25), (3, 5, 8)),
    ),
    KnownBug(
        issue="https://github.com/etcd-io/etcd/issues/15247",
        checker="leases",
        kinds=frozenset({"deposed"}),
        what="a leader that was stalled and deposed may revoke leases that live, renew dead ones, and deny others",
        mended=((3, 4, 31), (3, 5, 13)),
    ),
    KnownBug(
        issue="https://github.com/etcd-io/etcd/issues/21966",
        checker="logs",
        kinds=frozenset({"removed"}),
        what="a member that is asked for its status while it is being removed may panic instead of ending in order",
        mended=(),
    ),
)


def explained(result: CheckResult, versions: Iterable[str]) -> CheckResult:
    """The same verdict, with the known bugs that are all it found, if versions of etcd here have them. Pure."""
    if result.verdict is not Verdict.INVALID:
        return result
    ran, found = tuple(dict.fromkeys(versions)), set(result.kinds)
    bugs = [
        (bug, bad)
        for bug in KNOWN
        if bug.checker == result.checker
        and bug.kinds & found
        and (bad := [version for version in ran if bug.has(version)])
    ]
    if not found or not found <= {kind for bug, _ in bugs for kind in bug.kinds}:
        return result
    return replace(result, known="; ".join(bug.told(bad) for bug, bad in bugs))
