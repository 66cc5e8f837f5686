"""Lies told live: through proxies, the load's own channel, watchers and end state, to the verdicts."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from tester.results import Verdict
from tests.etcd.conftest import INSIDE
from tests.etcd.inside.known import is_known
from tests.lies import KINDS
from tests.lies.kinds import BASIC, LEASES, SERIALIZABLE, TRANSACTIONS
from tests.lies.proxy import Lie
from tests.lies.story import proxied

if TYPE_CHECKING:
    from pathlib import Path

    from tests.etcd.inside.conftest import Bench

PORT = 23790
OLD = os.environ[INSIDE].startswith("3.4.")
"""The lies are the proxy's: with an old etcd behind it a few of them will do."""


async def test_every_lie_is_caught_and_the_truth_is_not(bench: Bench, tmp_path: Path) -> None:
    async with proxied(bench.cluster.endpoints, PORT, tmp_path) as store:
        for load in (BASIC, SERIALIZABLE, TRANSACTIONS, LEASES):
            honest = await store.tell(Lie(), load)
            wanted = {"linearizable", "watch", "kv-hash", "durability"}
            wanted |= {"serializable"} if load is SERIALIZABLE else set()
            for name, result in honest.items():
                if is_known(bench.cluster.version, result):
                    continue
                assert result.verdict is not Verdict.INVALID, result
                assert result.verdict is Verdict.VALID or name not in wanted, result
        missed = []
        for name, kind in list(KINDS.items())[:: 6 if OLD else 1]:
            lie = kind.make()
            result = (await store.tell(lie, kind.load))[kind.checker]
            if result.verdict is Verdict.UNKNOWN:  # as where a member was still applying when it was asked
                lie = kind.make()
                result = (await store.tell(lie, kind.load))[kind.checker]
            if not lie.told:
                missed.append(f"{name}: it was never told")
            said = [finding.message for finding in result.findings]
            if result.verdict is not Verdict.INVALID or not any(re.search(kind.says, text) for text in said):
                missed.append(f"{name}: {kind.checker} says {result.verdict}: {result.message}")
        assert not missed, "\n".join(missed)
    assert len(KINDS) >= 40
