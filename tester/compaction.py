"""The compaction after a round, verified: a member that still serves what is compacted is told of."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from tester.etcd.client import EtcdClient
from tester.etcd.connect import connect
from tester.etcd.errors import RpcError, StatusCode
from tester.results import CheckResult, Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tester.etcd.endpoint import Endpoint

CHECKER = "compaction"
_CALL_SECONDS = 30.0
_PROBE = "etcd-chaos/probe/compaction"


async def compact(
    endpoints: Sequence[Endpoint], keep_revisions: int, announce: Callable[[int], None]
) -> CheckResult:
    """Forget all but the newest ``keep_revisions`` revisions, and see on every member that they are gone.

    Args:
        endpoints: of all members.
        keep_revisions: how many.
        announce: called with the revision before anything is compacted.

    Returns:
        ``valid``: every member refuses a read below the compaction and serves one at it; also when there is
        nothing to compact. ``invalid``: a member does not. ``unknown``: somebody could not be asked.
    """
    started = time.monotonic()
    clients = [EtcdClient(endpoint, connect(endpoint), _CALL_SECONDS) for endpoint in endpoints]
    try:
        # Linearizable, so that nobody is behind the revision it is asked about.
        now = max(revision for revision, _ in await asyncio.gather(*(c.get(_PROBE) for c in clients)))
        target = now - keep_revisions
        if target < 2:
            return _result(
                Verdict.VALID, f"nothing to compact: revision {now}, {keep_revisions} are kept", started
            )
        announce(target)
        await clients[0].compact(target, physical=True)
        await asyncio.gather(*(client.get(_PROBE) for client in clients))
        findings = [
            finding for finding in await asyncio.gather(*(_verify(c, target) for c in clients)) if finding
        ]
    except RpcError as error:
        return _result(Verdict.UNKNOWN, f"the compaction could not be verified: {error}", started)
    finally:
        for client in clients:
            await client.close()
    if findings:
        return _result(Verdict.INVALID, f"compacted at {target}, but not everywhere", started, *findings)
    return _result(Verdict.VALID, f"compacted at revision {target} of {now}, on every member", started)


async def _verify(client: EtcdClient, target: int) -> Finding | None:
    member = client.endpoint.member
    try:
        await client.range_all(_PROBE, target - 1)
    except RpcError as error:
        if error.code is not StatusCode.OUT_OF_RANGE:
            raise
    else:
        return Finding(
            f"{member} still serves revision {target - 1}, compacted at {target}",
            (),
            (target - 1,),
            (member,),
        )
    try:
        await client.range_all(_PROBE, target)
    except RpcError as error:
        if error.code is not StatusCode.OUT_OF_RANGE:
            raise
        return Finding(f"{member} refuses revision {target}, which was to be kept", (), (target,), (member,))
    return None


def _result(verdict: Verdict, message: str, started: float, *findings: Finding) -> CheckResult:
    return CheckResult(
        checker=CHECKER,
        verdict=verdict,
        message=message,
        findings=findings,
        findings_total=len(findings),
        elapsed_seconds=time.monotonic() - started,
    )
