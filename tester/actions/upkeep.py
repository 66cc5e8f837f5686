"""Compaction and defragmentation, at a chosen moment of a fault."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from tester.actions.ground import Done, Ground, persist, talking_to
from tester.errors import ActionError
from tester.etcd.errors import RpcError, StatusCode
from tester.etcd.monitor import PROBE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from tester.etcd.admin import AdminClient

_DEFRAGMENT_SECONDS: Final = 60.0


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


async def defragment(ground: Ground, members: Sequence[str], held: Callable[[], Collection[str]]) -> Done:
    """Rewrite the members' databases, one after the other.

    A member that a fault holds and that does not answer is left for the rest, when the faults are healed.

    Raises:
        ActionError: one that no fault holds did not do it.
    """
    lines, later = [], []
    for member in members:
        try:
            lines.append(await rewrite(ground, member))
        except ActionError:
            if member not in held():
                raise
            later.append(member)

    async def rest() -> Done:
        return await defragment(ground, later, tuple)

    waiting = f"; {', '.join(later)} when the faults are healed" if later else ""
    return Done(
        tuple(members),
        f"defragmented: {', '.join(lines) or 'nobody yet'}{waiting}",
        (),
        rest if later else None,
    )


async def rewrite(ground: Ground, member: str) -> str:
    """Defragment one member; says what that came to.

    Raises:
        ActionError: it does not answer, or etcd refused.
    """
    try:
        async with talking_to(ground, member) as client:  # one that is gone is not waited for that long
            before = (await client.status()).db_size_bytes
        async with talking_to(ground, member, _DEFRAGMENT_SECONDS) as client:
            started = time.monotonic()
            await client.defragment()
            seconds = time.monotonic() - started
            after = (await client.status()).db_size_bytes
    except RpcError as error:
        raise ActionError(f"defragment {member}: {error}") from error
    return f"{member} {before} to {after} bytes in {seconds:.3f} s"
