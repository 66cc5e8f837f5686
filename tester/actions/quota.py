"""A quota that is exceeded: the alarm, what it means on every member, and room made once the faults are healed."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tester.actions.ground import Done, Ground, persist, talking_to
from tester.actions.upkeep import rewrite
from tester.errors import ActionError
from tester.etcd.admin import AlarmKind
from tester.etcd.errors import RpcError, StatusCode
from tester.etcd.monitor import PROBE_PREFIX
from tester.results import CheckResult, Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

    from tester.etcd.admin import AdminClient
    from tester.etcd.client import Alarm

CHECKER: Final = "nospace"
_FILL_BYTES: Final = 1024 * 1024
_FILL_PREFIX: Final = PROBE_PREFIX + "fill/"
_MOST_FILL: Final = 4096
_AGAIN_SECONDS: Final = 0.2
_NO_SPACE: Final = "etcdserver: mvcc: database space exceeded"


@dataclass(slots=True)
class _Judged:
    """What members have answered while the alarm is raised. A member without an answer is in ``doubts``."""

    sound: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    doubts: dict[str, str] = field(default_factory=dict)


async def exceed_quota(ground: Ground, held: Callable[[], Collection[str]]) -> Done:
    """Write until the quota is exceeded, and see the alarm and what it means on those whom no fault holds.

    The rest needs every member: what those answer who could not be asked, then room, then the alarm cleared.

    The check is ``invalid`` if no alarm is raised, a write is taken although it is, a read is refused, or the
    alarm cannot be cleared; ``unknown`` if a member could not be asked even in the end.

    Args:
        ground: the cluster.
        held: the members that faults hold now.
    """
    started = time.monotonic()
    written = await _fill(ground)
    raised = await _await_alarm(ground)
    judged = _Judged()
    if not raised:
        judged.findings.append(Finding("the quota was exceeded, and no NOSPACE alarm is raised"))
    skipped = []
    for member in ground.membership.names:
        if member in held():
            skipped.append(member)
        else:
            await _judge_full(ground, member, judged)

    async def rest() -> Done:
        return await _clear(ground, (*skipped, *judged.doubts))

    if judged.findings:
        verdict, message = Verdict.INVALID, judged.findings[0].message
    else:
        verdict = Verdict.VALID
        who = ", ".join(judged.sound) or "nobody yet: the others are asked when the faults are healed"
        message = f"NOSPACE was raised by {len(raised)} members; refuse writes and serve reads: {who}"
    check = CheckResult(
        CHECKER, verdict, message, tuple(judged.findings), len(judged.findings), time.monotonic() - started
    )
    return Done((), f"the quota was exceeded after {written} MiB", (check,), rest)


async def _clear(ground: Ground, unasked: Sequence[str]) -> Done:
    """With all faults healed: ask those who are left, make room everywhere, clear the alarm."""
    started = time.monotonic()
    judged = _Judged()
    for member in unasked:
        await _judge_in_time(ground, member, judged)
    await _make_room(ground, judged)
    if judged.findings:
        verdict, message = Verdict.INVALID, judged.findings[0].message
    elif judged.doubts:
        verdict = Verdict.UNKNOWN
        message = "; ".join(
            f"{member} gave no answer that says something about the quota: {why}"
            for member, why in judged.doubts.items()
        )
    else:
        verdict = Verdict.VALID
        also = f"{', '.join(judged.sound)} refused writes and served reads, too; " if judged.sound else ""
        message = f"{also}room was made, NOSPACE was cleared, and writes are taken again"
    check = CheckResult(
        CHECKER, verdict, message, tuple(judged.findings), len(judged.findings), time.monotonic() - started
    )
    return Done((), "room was made, and NOSPACE cleared", (check,))


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


async def _await_alarm(ground: Ground) -> list[Alarm]:
    """Who has raised NOSPACE; nobody within the limit: none.

    A member that refuses a write proposes the alarm, and drops it where it has no quorum just then: the next
    refusal proposes it again.
    """
    until = time.monotonic() + ground.limit
    while True:
        alarms = await persist(ground, "list the alarms", lambda client: client.alarms())
        raised = [alarm for alarm in alarms if alarm.kind == AlarmKind.NOSPACE.name]
        if raised or time.monotonic() >= until:
            return raised
        await _fill(ground)
        await asyncio.sleep(_AGAIN_SECONDS)


async def _judge_in_time(ground: Ground, member: str, judged: _Judged) -> None:
    until = time.monotonic() + ground.limit
    while True:
        judged.doubts.pop(member, None)
        await _judge_full(ground, member, judged)
        if member not in judged.doubts or time.monotonic() >= until:
            return
        await asyncio.sleep(_AGAIN_SECONDS)


async def _judge_full(ground: Ground, member: str, judged: _Judged) -> None:
    """With the alarm raised a member refuses writes, and serves reads.

    Only two answers are findings: a write that was taken, and a read that is refused for want of space. Any
    other error a member gives as well that has no quorum, restarts or is slow: a doubt.
    """
    async with talking_to(ground, member) as client:
        read = await _refusal(client.get(PROBE_PREFIX))
        write = await _refusal(client.put(PROBE_PREFIX + "full", b"probe"))
    findings: list[str] = []
    if read is not None and read.text == _NO_SPACE:
        findings.append(f"{member} does not serve a read while NOSPACE is raised: {read}")
    if write is None:
        findings.append(f"{member} takes a write while NOSPACE is raised")
    judged.findings += [Finding(text, members=(member,)) for text in findings]
    doubts = [error for error in (read, write) if error is not None and error.text != _NO_SPACE]
    if doubts and not findings:
        judged.doubts[member] = str(doubts[0])
    elif not findings:
        judged.sound.append(member)


async def _refusal(call: Awaitable[object]) -> RpcError | None:
    try:
        await call
    except RpcError as error:
        return error
    return None


async def _make_room(ground: Ground, judged: _Judged) -> None:
    """As etcd's documentation says: delete, compact, defragment every member, clear the alarm.

    A follower compacts in its own time: one that was defragmented before it had is over its quota still, and
    raises the alarm again with the next write. It is then defragmented again.
    """
    await persist(ground, "delete the filling", _delete_filling)
    await persist(ground, "compact", lambda client: _compact_all(ground, client))
    until = time.monotonic() + ground.limit
    while True:
        for member in ground.membership.names:
            await rewrite(ground, member)
        await persist(ground, "clear the alarm", _disarm)
        refusals = {member: await _refuses(ground, member) for member in ground.membership.names}
        refused = {member: error for member, error in refusals.items() if error is not None}
        left = await persist(ground, "list the alarms", lambda client: client.alarms())
        if not left and not refused:
            return
        if time.monotonic() >= until:
            _judge_room(left, refused, judged)
            return
        await asyncio.sleep(_AGAIN_SECONDS)


def _judge_room(left: Sequence[Alarm], refused: Mapping[str, RpcError], judged: _Judged) -> None:
    if left:
        kinds = ", ".join(alarm.kind for alarm in left)
        judged.findings.append(Finding(f"alarms are left although room was made: {kinds}"))
    for member, error in refused.items():
        if error.text == _NO_SPACE:
            text = f"{member} refuses writes although room was made: {error}"
            judged.findings.append(Finding(text, members=(member,)))
        else:
            judged.doubts[member] = str(error)


async def _delete_filling(client: AdminClient) -> None:
    for key in [kv.k for kv in (await client.range_all(_FILL_PREFIX))[1]]:
        await client.delete(key)


async def _compact_all(ground: Ground, client: AdminClient) -> None:
    revision, _ = await client.get(PROBE_PREFIX)
    ground.announce_compaction(revision)
    try:
        await client.compact(revision, physical=True)
    except RpcError as error:
        if error.code is not StatusCode.OUT_OF_RANGE:  # compacted further already
            raise


async def _disarm(client: AdminClient) -> None:
    for alarm in await client.alarms():
        if alarm.kind == AlarmKind.NOSPACE.name:
            await client.disarm(alarm.member_id, AlarmKind.NOSPACE)


async def _refuses(ground: Ground, member: str) -> RpcError | None:
    async with talking_to(ground, member) as client:
        return await _refusal(client.put(PROBE_PREFIX + "full", b"probe"))
