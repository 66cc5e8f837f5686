"""Kinds of lies: each with the checker that must catch it, and what that must say."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tester.checkers.explanations import EXPLANATIONS
from tester.etcd.channel import Method
from tester.etcd.monitor import PROBE_PREFIX
from tester.results import Verdict
from tests.lies.proxy import Lie

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from tester.results import CheckResult
    from tests.lies.loads import Weights
    from tests.lies.proxy import Forward

TIMES = 3
"""A kind is told so often at most: most of the history is right."""

BASIC = {"put": 0.45, "get": 0.25, "delete": 0.1, "range": 0.1, "txn-cas": 0.1}
SERIALIZABLE = {"put": 0.5, "get-serializable": 0.5}
TRANSACTIONS = {"put": 0.3, "txn-mixed": 0.6, "txn-cas": 0.1}
LEASES = "lease"
BRIEF_LEASES = "brief leases"
"""So few that they are revoked soon, however slow the machine."""
SLOW_LEASES = "slow leases"
"""So few operations that leases end while they are renewed."""
LOCK = "lock"
ELECTION = "election"


@dataclass(frozen=True)
class Kind:
    """One kind of lie."""

    make: Callable[[], Lie]
    checker: str
    says: str
    """What one of the checker's findings must match."""
    load: Weights = field(default_factory=lambda: BASIC)
    """Weights of the load under which it is told, or the name of another one."""

    def explanation(self, result: CheckResult) -> str:
        """The paragraph that says what this lie means; empty: no finding of ``result`` is about it."""
        found = [said.message for said in result.findings if re.search(self.says, said.message)]
        if result.verdict is not Verdict.INVALID or not found:
            return ""
        guarantee = found[0].partition(":")[0]
        return EXPLANATIONS.get(f"{self.checker}/{guarantee}") or EXPLANATIONS[self.checker]


KINDS: dict[str, Kind] = {}


def kind(checker: str, says: str, load: Weights = BASIC) -> Callable[[type[Lie]], type[Lie]]:
    """Enter a class as a kind of lie."""

    def enter(lie: type[Lie]) -> type[Lie]:
        name = "".join(f" {c.lower()}" if c.isupper() else c for c in lie.__name__).strip()
        KINDS[name] = Kind(lie, checker, says, load)
        return lie

    return enter


class Answers(Lie):
    """Lies in answers: the member is asked honestly, then ``bend`` changes its answer."""

    method: str = Method.RANGE
    times = TIMES

    async def call(self, member: str, method: str, request: Message, forward: Forward) -> Message:
        answer = await forward(method, request)
        if method == self.method and self.told < self.times and self.member in {None, member}:
            self.told += self.bend(request, answer)
        return answer

    def bend(self, request, answer) -> bool:
        """Change ``answer``; whether it did."""
        raise NotImplementedError


class Deeds(Lie):
    """Lies in deeds: ``do`` asks the member something else than it was asked."""

    method: str = Method.PUT

    async def call(self, member: str, method: str, request: Message, forward: Forward) -> Message:
        if method != self.method or self.told >= TIMES or _is_probe(request):
            return await forward(method, request)
        self.told += 1
        done = await self.do(request, forward)
        if done is None:
            self.told -= 1
            return await forward(method, request)
        return done

    async def do(self, request, forward: Forward) -> Message | None:
        """The answer, or ``None`` to be honest this time."""
        raise NotImplementedError


def _is_probe(request) -> bool:
    """The tester's own, before and between what the history has."""
    return getattr(request, "key", b"").startswith(PROBE_PREFIX.encode())


def elsewhere(key: bytes) -> bytes:
    """A key outside of the load's prefix: it takes a revision, and nobody sees it."""
    return b"~elsewhere/" + key
