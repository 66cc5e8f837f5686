"""Lies told live: through proxies, the load's own channel, watchers and end state, to the verdicts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tester.results import Verdict
from tests.etcd.conftest import INSIDE
from tests.etcd.inside.known import is_known
from tests.lies import KINDS
from tests.lies.kinds import BASIC, ELECTION, LEASES, LOCK, SERIALIZABLE, TRANSACTIONS
from tests.lies.proxy import Lie
from tests.lies.story import proxied

if TYPE_CHECKING:
    from pathlib import Path

    from tester.results import CheckResult
    from tests.etcd.inside.conftest import Bench
    from tests.lies.kinds import Kind
    from tests.lies.story import Proxied

PORT = 23790
OLD = os.environ[INSIDE].startswith("3.4.")
STEP = 1 if os.environ.get("ETCD_CHAOS_LIES") == "all" else 12 if OLD else 3
"""Every so manieth kind is told; ``make lies`` tells all. The lies are the proxy's: with an old etcd a few will do."""
HONEST = (
    (BASIC, ()),
    (SERIALIZABLE, ("serializable",)),
    (TRANSACTIONS, ()),
    (LEASES, ("leases",)),
    (LOCK, ("leases", "locks")),
    (ELECTION, ("leases", "elections")),
)
"""Loads, and who finds something to judge in them beside those that always do."""


async def test_every_lie_is_caught_and_the_truth_is_not(bench: Bench, tmp_path: Path) -> None:
    async with proxied(bench.cluster.endpoints, PORT, tmp_path) as store:
        for load, judges in HONEST:
            honest = await store.tell(Lie(), load)
            wanted = {"linearizable", "watch", "kv-hash", "durability", *judges}
            for name, result in honest.items():
                if is_known(bench.cluster.version, result):
                    continue
                assert result.verdict is not Verdict.INVALID, result
                assert result.verdict is Verdict.VALID or name not in wanted, result
        missed = []
        for name, kind in list(KINDS.items())[::STEP]:
            lie, result = await told(store, kind)
            if result.verdict is Verdict.UNKNOWN or (
                result.verdict is Verdict.VALID and kind.checker == "leases"
            ):
                # A member was still applying when it was asked, or another leader came: nobody can tell.
                lie, result = await told(store, kind)
            if not lie.told:
                missed.append(f"{name}: it was never told")
            explanation = kind.explanation(result)
            if not explanation:
                missed.append(f"{name}: {kind.checker} says {result.verdict}: {result.message}")
            elif explanation not in result.explanation.split("\n"):
                missed.append(f"{name}: it is not explained: {result.explanation}")
        assert not missed, "\n".join(missed)
    assert len(KINDS) >= 60


async def told(store: Proxied, kind: Kind) -> tuple[Lie, CheckResult]:
    lie = kind.make()
    return lie, (await store.tell(lie, kind.load))[kind.checker]
