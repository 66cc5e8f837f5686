"""Compaction, defragmentation and a full quota, at a chosen moment of a fault."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from tester.actions.ground import Done, Ground, persist, talking_to
from tester.errors import ActionError
from tester.etcd.admin import AlarmKind
from tester.etcd.errors import RpcError, StatusCode
from tester.etcd.monitor import PROBE_PREFIX
from tester.results import CheckResult, Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tester.etcd.admin import AdminClient

CHECKER: Final = "nospace"
_FILL_BYTES: Final = 1024 * 1024
_FILL_PREFIX: Final = PROBE_PREFIX + "fill/"
_MOST_FILL: Final = 4096
_DEFRAGMENT_SECONDS: Final = 60.0
_NO_SPACE: Final = "etcdserver: mvcc: database space exceeded"


async def compact(ground: Ground, keep: int, *, physical: bool) -> Done:
    """Forget all but the newest ``keep`` revisions."""

    async def forget(client: AdminClient) -> int:
        revision, _ = await client.get(PROBE_PREFIX)
        target = revision - keep
        if target < 2:
            return 0
        ground.announce_compaction(target)
        try:
            await client.compact(target, physical=physical)
        except RpcError as error:
            if error.code is not StatusCode.OUT_OF_RANGE:  # compacted further already
                raise
        return target

    target = await persist(ground, "compact", forget)
    if not target:
        raise ActionError(
            f"compact: there are not yet {keep} revisions, so there is nothing to forget",
            remedy="keep fewer, or give the load more time before it",
        )
    how = "and removed from the database" if physical else "logically"
    return Done((), f"compacted at revision {target}, {how}")


async def defragment(ground: Ground, members: Sequence[str]) -> Done:
    """Rewrite the members' databases, one after the other."""
    lines = []
    for member in members:
        async with talking_to(ground, member, _DEFRAGMENT_SECONDS) as client:
            try:
                before = (await client.status()).db_size_bytes
                started = time.monotonic()
                await client.defragment()
                seconds = time.monotonic() - started
                after = (await client.status()).db_size_bytes
            except RpcError as error:
                raise ActionError(f"defragment {member}: {error}") from error
        lines.append(f"{member} {before} to {after} bytes in {seconds:.3f} s")
    return Done(tuple(members), f"defragmented: {', '.join(lines)}")


async def exceed_quota(ground: Ground) -> Done:
    """Write until the quota is exceeded, see the alarm and what it means, make room, and clear it.

    The check is ``invalid`` if no alarm is raised, a write is taken although it is, a read is not, or the
    cluster does not accept writes after it was cleared.
    """
    started = time.monotonic()
    written = await _fill(ground)
    findings: list[Finding] = []
    raised = [
        alarm
        for alarm in await persist(ground, "list the alarms", lambda c: c.alarms())
        if alarm.kind == "NOSPACE"
    ]
    if not raised:
        findings.append(Finding("the quota was exceeded, and no NOSPACE alarm is raised"))
    for member in ground.membership.names:
        findings += await _judge_full(ground, member)
    await _make_room(ground)
    left = await persist(ground, "list the alarms", lambda client: client.alarms())
    if left:
        findings.append(Finding(f"alarms are left: {', '.join(alarm.kind for alarm in left)}"))
    await ground.monitor.wait_writes(ground.limit)
    verdict = Verdict.INVALID if findings else Verdict.VALID
    message = (
        findings[0].message
        if findings
        else f"NOSPACE was raised by {len(raised)} members, refused writes, served reads, and was cleared"
    )
    check = CheckResult(CHECKER, verdict, message, tuple(findings), len(findings), time.monotonic() - started)
    return Done((), f"the quota was exceeded after {written} MiB, and room made again", (check,))


async def _fill(ground: Ground) -> int:
    value = bytes(_FILL_BYTES)
    for number in range(_MOST_FILL):

        async def write(client: AdminClient, number: int = number) -> bool:
            try:
                await client.put(f"{_FILL_PREFIX}{number:05}", value)
            except RpcError as error:
                if error.text == _NO_SPACE:
                    return True
                raise
            return False

        if await persist(ground, "fill the database", write):
            return number + 1
    raise ActionError(
        f"the quota was not exceeded by {_MOST_FILL} MiB",
        remedy="set quota-backend-bytes in cluster.flags, 33554432 for example",
    )


async def _judge_full(ground: Ground, member: str) -> list[Finding]:
    """With the alarm raised a member refuses writes, and serves reads."""
    findings: list[Finding] = []
    async with talking_to(ground, member) as client:
        try:
            await client.get(PROBE_PREFIX)
        except RpcError as error:
            findings.append(
                Finding(f"{member} does not serve a read while NOSPACE is raised: {error}", members=(member,))
            )
        try:
            await client.put(PROBE_PREFIX + "full", b"probe")
        except RpcError as error:
            if error.text != _NO_SPACE:
                findings.append(
                    Finding(f"{member} refuses a write for another reason: {error}", members=(member,))
                )
        else:
            findings.append(Finding(f"{member} takes a write while NOSPACE is raised", members=(member,)))
    return findings


async def _make_room(ground: Ground) -> None:
    """As etcd's documentation says: delete, compact, defragment every member, clear the alarm."""

    async def delete(client: AdminClient) -> None:
        for key in [kv.k for kv in (await client.range_all(_FILL_PREFIX))[1]]:
            await client.delete(key)

    async def forget(client: AdminClient) -> None:
        revision, _ = await client.get(PROBE_PREFIX)
        ground.announce_compaction(revision)
        try:
            await client.compact(revision, physical=True)
        except RpcError as error:
            if error.code is not StatusCode.OUT_OF_RANGE:
                raise

    async def clear(client: AdminClient) -> None:
        for alarm in await client.alarms():
            await client.disarm(alarm.member_id, AlarmKind.NOSPACE)

    await persist(ground, "delete the filling", delete)
    await persist(ground, "compact", forget)
    await defragment(ground, ground.membership.names)
    await persist(ground, "clear the alarm", clear)
