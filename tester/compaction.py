"""The compaction after a round, verified: who still serves what is compacted, or does not tell a watch, is told of."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tester.etcd.client import EtcdClient
from tester.etcd.connect import connect
from tester.etcd.errors import RpcError, StatusCode
from tester.etcd.watch import WatchStream
from tester.results import CheckResult, Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tester.etcd.endpoint import Endpoint

CHECKER: Final = "compaction"
_CALL_SECONDS: Final = 30.0
_WATCH_SECONDS: Final = 30.0
_PROBE: Final = "etcd-chaos/probe/compaction"


@dataclass(frozen=True, slots=True)
class Skipped:
    """Nothing was done, and so nothing is proven."""

    reason: str


async def compact(
    endpoints: Sequence[Endpoint], keep_revisions: int, announce: Callable[[int], None]
) -> CheckResult | Skipped:
    """Forget all but the newest ``keep_revisions`` revisions, and see on every member that they are gone.

    Args:
        endpoints: of all members.
        keep_revisions: how many.
        announce: called with the revision before anything is compacted.

    Returns:
        ``valid``: every member refuses a read below the compaction, tells a watch from there that it is
        compacted, and serves a read at it. ``invalid``: a member does not. ``unknown``: somebody could not be
        asked. ``Skipped``: there was nothing to compact.
    """
    started = time.monotonic()
    clients = [EtcdClient(endpoint, connect(endpoint), _CALL_SECONDS) for endpoint in endpoints]
    try:
        # Linearizable, so that nobody is behind the revision it is asked about.
        now = max(revision for revision, _ in await asyncio.gather(*(c.get(_PROBE) for c in clients)))
        target = now - keep_revisions
        if target < 2:
            return Skipped(f"nothing to compact: revision {now}, {keep_revisions} are kept")
        announce(target)
        try:
            await clients[0].compact(target, physical=True)
        except RpcError as error:
            if error.code is not StatusCode.OUT_OF_RANGE:
                raise
            return Skipped(f"nothing to compact: revision {target} of {now} is compacted already")
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
    return _result(
        Verdict.VALID,
        f"compacted at revision {target} of {now}: every member refuses reads below it, and watches from there",
        started,
    )


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
    said = await _watch_below(client.endpoint, target)
    if said is None:
        await client.get(_PROBE)  # silence of a member that does not answer at all is no finding
    if said != f"compacted at {target}":
        return Finding(
            f"{member} was asked for a watch from revision {target - 1}, compacted at {target}: it said "
            f"{said or f'nothing for {_WATCH_SECONDS:g} s'}",
            (),
            (target - 1,),
            (member,),
        )
    return None


async def _watch_below(endpoint: Endpoint, target: int) -> str | None:
    """What a watch from just below the compaction is told; ``None``: nothing in time."""
    async with WatchStream(endpoint) as stream:
        await stream.create(_PROBE, b"", target - 1)
        try:
            async with asyncio.timeout(_WATCH_SECONDS):
                while True:
                    told = await stream.read()
                    if told.compact_revision:
                        return f"compacted at {told.compact_revision}"
                    if told.canceled:
                        return "that the watch is canceled, and not why"
                    if told.events:
                        return f"changes, the first at revision {told.events[0].kv.mod_revision}"
        except TimeoutError:
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
