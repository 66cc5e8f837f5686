"""Mistakes of operators that etcd must refuse: each is made on purpose, and its refusal is what is checked."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, TypeAlias

from tester.actions.ground import Done, Ground, listed_members, persist, talking_to
from tester.actions.kinds import NEEDS_FAULT, Mistake
from tester.errors import ActionError
from tester.etcd.admin import DowngradeAction
from tester.etcd.errors import RpcError
from tester.results import CheckResult, Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from tester.etcd.admin import AdminClient

CHECKER: Final = "refusals"
_NOBODY: Final = 0xC0FFEE
"""An id that no member has: etcd's are hashes of 64 bits."""
_ETCD: Final = "etcdserver: "
_UNHEALTHY: Final = "unhealthy cluster"
_NO_DOWNGRADES: Final = "unknown method Downgrade"
"""Of etcd before 3.5, which has no such call and so refuses every one."""
_ANCIENT: Final = "3.0.0"
_AGAIN_SECONDS: Final = 0.2

_ACCEPTED_WORDS: Final[Mapping[Mistake, tuple[str, ...]]] = {
    Mistake.REMOVE_UNKNOWN: ("member not found",),
    Mistake.PROMOTE_UNKNOWN: ("member not found",),
    Mistake.PROMOTE_VOTER: ("can only promote a learner member",),
    Mistake.ADD_TWICE: ("Peer URLs already exists",),
    Mistake.MOVE_LEADER_TO_UNKNOWN: ("bad leader transferee",),
    Mistake.MOVE_LEADER_AT_FOLLOWER: ("not leader",),
    Mistake.PROMOTE_TOO_EARLY: ("can only promote a learner member which is in sync with leader",),
    Mistake.SECOND_LEARNER: ("too many learner members in cluster",),
    Mistake.DOWNGRADE_TOO_FAR: ("invalid downgrade target version", _NO_DOWNGRADES),
    Mistake.CANCEL_NO_DOWNGRADE: ("no inflight downgrade", _NO_DOWNGRADES),
    Mistake.ADD_WHILE_UNHEALTHY: (_UNHEALTHY, "not enough started members"),
    Mistake.REMOVE_WHILE_UNHEALTHY: (_UNHEALTHY, "not enough started members"),
}
"""For which reason; another refusal is no proof that etcd saw the mistake."""

_Attempt: TypeAlias = "Callable[[AdminClient], Awaitable[object]]"


async def make_mistakes(ground: Ground, mistakes: Sequence[Mistake]) -> Done:
    """Make each mistake once. The check is ``invalid`` if etcd accepted one, or if its member list changed."""
    started = time.monotonic()
    before = await persist(ground, "list the members", listed_members)
    seen: list[str] = []
    findings: list[Finding] = []
    doubts: list[str] = []
    for mistake in mistakes:
        answer = await _make_when_healthy(ground, mistake)
        if answer is None:
            findings.append(Finding(f"{mistake}: etcd accepted it"))
        elif any(words in answer for words in _ACCEPTED_WORDS[mistake]):
            seen.append(f"{mistake} ({answer})")
        else:
            doubts.append(f"{mistake}: not refused for its own sake, but: {answer}")
    after = await persist(ground, "list the members", listed_members)
    if before.keys() != after.keys():
        findings.append(Finding(f"the members were {sorted(before)}, and are {sorted(after)} now"))
    if findings:
        verdict, message = Verdict.INVALID, findings[0].message
    elif doubts:
        verdict, message = Verdict.UNKNOWN, "; ".join(doubts)
    else:
        verdict, message = Verdict.VALID, f"{len(seen)} mistakes were refused: {', '.join(seen)}"
    check = CheckResult(CHECKER, verdict, message, tuple(findings), len(findings), time.monotonic() - started)
    return Done((), f"{len(mistakes)} mistakes were made, {len(seen)} refused as they should be", (check,))


async def _make_when_healthy(ground: Ground, mistake: Mistake) -> str | None:
    """The same as ``_make``. Etcd takes no change of members for 5 s after one of them has come back."""
    until = time.monotonic() + ground.limit
    while True:
        answer = await _make(ground, mistake)
        if answer != _UNHEALTHY or mistake in NEEDS_FAULT or time.monotonic() > until:
            return answer
        await asyncio.sleep(_AGAIN_SECONDS)


async def _make(  # noqa: C901 - one arm per mistake, nothing nested
    ground: Ground, mistake: Mistake
) -> str | None:
    """Etcd's refusal; ``None``: it was accepted."""
    leader = ground.monitor.view().leader
    if leader is None:
        raise ActionError(f"mistake {mistake}: nobody leads, so nobody could judge it")
    follower = next((name for name in ground.membership.names if name != leader), None)
    if follower is None:
        raise ActionError(
            f"mistake {mistake}: {leader} is alone, and some mistakes need another member",
            remedy="give the cluster more members, or grow it before",
        )
    nowhere = _nowhere(ground)
    ids = {
        name: (await persist(ground, "list the members", listed_members))[ground.peer_url(name)].member_id
        for name in (leader, follower)
    }
    match mistake:
        case Mistake.REMOVE_UNKNOWN:
            return await _refusal(ground, leader, lambda client: client.member_remove(_NOBODY))
        case Mistake.PROMOTE_UNKNOWN:
            return await _refusal(ground, leader, lambda client: client.member_promote(_NOBODY))
        case Mistake.PROMOTE_VOTER:
            return await _refusal(ground, leader, lambda client: client.member_promote(ids[follower]))
        case Mistake.ADD_TWICE:
            url = ground.peer_url(follower)
            return await _refusal(ground, leader, lambda client: client.member_add([url]))
        case Mistake.MOVE_LEADER_TO_UNKNOWN:
            return await _refusal(ground, leader, lambda client: client.move_leader(_NOBODY))
        case Mistake.MOVE_LEADER_AT_FOLLOWER:
            return await _refusal(ground, follower, lambda client: client.move_leader(ids[follower]))
        case Mistake.DOWNGRADE_TOO_FAR:
            return await _refusal(
                ground, leader, lambda client: client.downgrade(DowngradeAction.VALIDATE, _ANCIENT)
            )
        case Mistake.CANCEL_NO_DOWNGRADE:
            return await _refusal(ground, leader, lambda client: client.downgrade(DowngradeAction.CANCEL))
        case Mistake.PROMOTE_TOO_EARLY:
            return await _with_idle_learner(
                ground, leader, lambda learner: lambda client: client.member_promote(learner)
            )
        case Mistake.SECOND_LEARNER:
            second = _nowhere(ground, 1)
            return await _with_idle_learner(
                ground, leader, lambda _: lambda client: client.member_add([second], learner=True)
            )
        case Mistake.ADD_WHILE_UNHEALTHY:
            return await _refusal(ground, leader, lambda client: client.member_add([nowhere]))
        case Mistake.REMOVE_WHILE_UNHEALTHY:
            return await _refusal(ground, leader, lambda client: client.member_remove(ids[leader]))


async def _with_idle_learner(ground: Ground, leader: str, mistake: Callable[[int], _Attempt]) -> str | None:
    """Make a mistake while a learner is on the list that was never started. It has no vote, and goes again."""
    url = _nowhere(ground)

    async def put_on(client: AdminClient) -> int:
        listed = await listed_members(client)
        return (
            listed[url].member_id
            if url in listed
            else (await client.member_add([url], learner=True)).member_id
        )

    async def take_off(client: AdminClient) -> None:
        for listed in (await listed_members(client)).values():
            if listed.peer_urls[0] in {url, _nowhere(ground, 1)}:
                await client.member_remove(listed.member_id)

    learner = await persist(ground, "add an idle learner", put_on)
    try:
        return await _refusal(ground, leader, mistake(learner))
    finally:
        await persist(ground, "remove the idle learner", take_off)


async def _refusal(ground: Ground, member: str, attempt: _Attempt) -> str | None:
    async with talking_to(ground, member) as client:
        try:
            await attempt(client)
        except RpcError as error:
            return error.text.removeprefix(_ETCD) if error.text.startswith(_ETCD) else str(error)
    return None


def _nowhere(ground: Ground, place: int = 0) -> str:
    """A peer URL where nobody listens: port 1 and 2 of the first host."""
    return ground.peer_url(next(iter(ground.hosts))).rpartition(":")[0] + f":{1 + place}"
