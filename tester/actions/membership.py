"""Members that leave, come back, are replaced and promoted, while the cluster serves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent_client import AgentClientError
from tester.actions.ground import Done, Ground, listed_members, persist, whole
from tester.errors import ActionError, AgentError

if TYPE_CHECKING:
    from agent_service.models import MemberSpec
    from tester.etcd.admin import AdminClient
    from tester.etcd.client import ListedMember

_LOOK_SECONDS = 0.05


async def remove_and_add_back(ground: Ground, member: str, *, learner: bool) -> Done:
    """Remove a member, throw its data away, and add it again with fresh data under a new id."""
    was = await remove(ground, member)
    now = await add(ground, member, learner=learner)
    how = "as a learner, promoted" if learner else "as a voter"
    return Done(
        (member,), f"{member} removed (id {was:x}), and added back {how} (id {now:x}) with fresh data"
    )


async def replace(ground: Ground, member: str, *, learner: bool) -> Done:
    """Add a member on a host that has none, then remove another one."""
    spare = _spare(ground, f"replace {member}")
    now = await add(ground, spare, learner=learner)
    was = await remove(ground, member)
    return Done((member, spare), f"{spare} (id {now:x}) replaces {member} (id {was:x})")


async def grow(ground: Ground, to: int, *, learner: bool) -> Done:
    """Add members, one after the other, until there are so many."""
    came: list[str] = []
    while len(ground.membership.names) < to:
        spare = _spare(ground, f"grow to {to}")
        await add(ground, spare, learner=learner)
        came.append(spare)
    return Done(
        tuple(came), f"{len(ground.membership.names)} members now; added: {', '.join(came) or 'none'}"
    )


async def add_learner(ground: Ground) -> Done:
    """Add a member on a host that has none as a learner, and see that it stands as one."""
    spare = _spare(ground, "add a learner")
    member_id = await _join(ground, spare, learner=True)
    try:
        async with asyncio.timeout(ground.limit):
            while not _stands(ground, spare):  # noqa: ASYNC110 - the monitor looks ten times a second
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        raise ActionError(f"{spare} was added as a learner, and does not follow a leader") from None
    return Done((spare,), f"{spare} (id {member_id:x}) was added as a learner, and has no vote")


async def promote_learner(ground: Ground, member: str) -> Done:
    """Make a voter of a learner that stands, and see that the cluster is whole with it."""
    if member not in ground.monitor.view().learners:
        raise ActionError(f"promote {member}: it is no learner", remedy="say target: learner")
    member_id = await persist(ground, "list the members", lambda client: _id_of(ground, client, member))
    await promote(ground, member, member_id)
    await whole(ground, f"{member} was promoted")
    await ground.membership.joined(member)
    return Done((member,), f"{member} (id {member_id:x}) was promoted, and votes")


def _stands(ground: Ground, member: str) -> bool:
    health = ground.monitor.view().health.get(member)
    return health is not None and health.is_learner and health.leader_id != 0


async def shrink(ground: Ground, to: int, order: tuple[str, ...]) -> Done:
    """Remove members in ``order`` until there are so many."""
    went: list[str] = []
    for member in order[: max(0, len(ground.membership.names) - to)]:
        await remove(ground, member)
        went.append(member)
    return Done(
        tuple(went), f"{len(ground.membership.names)} members now; removed: {', '.join(went) or 'none'}"
    )


async def move_leader(ground: Ground, member: str) -> Done:
    """Hand leadership to a follower, and see that a quorum follows it."""
    former = ground.monitor.view().leader

    async def hand_over(client: AdminClient) -> None:
        health = await client.status()
        target = await _id_of(ground, client, member)
        if health.leader_id != target:
            await client.move_leader(target)  # a follower refuses: ``persist`` asks the next one

    await persist(ground, f"move the leader to {member}", hand_over)
    try:
        async with asyncio.timeout(ground.limit):
            while ground.monitor.view().leader != member:  # noqa: ASYNC110 - the monitor looks ten times a second
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        raise ActionError(f"{member} was made leader, and no quorum followed it") from None
    return Done((member,), f"leadership moved from {former or 'nobody'} to {member}")


async def remove(ground: Ground, member: str) -> int:
    """Take a member off the list and its data off its host; the id it had."""
    peer_url = ground.peer_url(member)
    others = tuple(name for name in ground.membership.names if name != member)
    if not others:
        raise ActionError(f"{member} is the last member, and cannot be removed")
    removed: list[int] = []

    async def take_off(client: AdminClient) -> None:
        listed = (await listed_members(client)).get(peer_url)
        if listed is not None:
            removed[:] = [listed.member_id]
            await client.member_remove(listed.member_id)

    await ground.membership.leaving(member)
    await persist(ground, f"remove {member}", take_off, members=others)
    await ground.membership.left(member)
    await _terminate(ground, member)
    await whole(ground, f"{member} was removed")
    return removed[0] if removed else 0


async def add(ground: Ground, member: str, *, learner: bool) -> int:
    """Put a host on the list, start its member on fresh data, promote it if it came as a learner; its id."""
    member_id = await _join(ground, member, learner=learner)
    if learner:
        await promote(ground, member, member_id)
    await whole(ground, f"{member} was added")
    await ground.membership.joined(member)
    return member_id


async def _join(ground: Ground, member: str, *, learner: bool) -> int:
    """Put a host on the list and start its member on fresh data; its id."""
    peer_url = ground.peer_url(member)

    async def put_on(client: AdminClient) -> tuple[ListedMember, dict[str, ListedMember]]:
        listed = await listed_members(client)
        if peer_url not in listed:
            await client.member_add([peer_url], learner=learner)
            listed = await listed_members(client)
        return listed[peer_url], listed

    await _terminate(ground, member)  # fresh data, whatever a former round or case has left
    own, listed = await persist(ground, f"add {member}", put_on)
    ground.membership.added(member, learner=learner)
    names = {spec.peer_url: name for name, spec in ground.specs.items()}
    cluster = {names[url]: url for url in listed}
    await start(
        ground,
        ground.specs[member].model_copy(
            update={"initial_cluster": cluster, "initial_cluster_state": "existing"}
        ),
    )
    return own.member_id


async def promote(ground: Ground, member: str, member_id: int) -> None:
    """Make a learner a voter as soon as etcd finds it in sync with the leader."""

    async def make_voter(client: AdminClient) -> None:
        listed = await listed_members(client)
        own = listed.get(ground.peer_url(member))
        if own is None or own.is_learner:
            await client.member_promote(member_id)

    await persist(ground, f"promote {member}", make_voter)
    ground.membership.promoted(member)


async def start(ground: Ground, spec: MemberSpec) -> None:
    """Start a member through its agent, and remember how."""
    agent = ground.agents[spec.name]
    try:
        if spec.name in ground.certificates:
            await agent.put_tls(ground.certificates[spec.name])
        await agent.start(spec)
    except AgentClientError as error:
        raise AgentError(
            f"{spec.name}: its member was not started: {error.message}", remedy=error.remedy
        ) from error
    ground.specs[spec.name] = spec


def _spare(ground: Ground, what: str) -> str:
    spares = ground.membership.spares
    if not spares:
        raise ActionError(
            f"{what}: no host is without a member",
            remedy="cluster.members and cluster.initial in the scenario say how many there can be",
        )
    return spares[0]


async def _terminate(ground: Ground, member: str) -> None:
    try:
        await ground.agents[member].terminate()
    except AgentClientError as error:
        raise AgentError(
            f"{member}: its data was not removed: {error.message}", remedy=error.remedy
        ) from error


async def _id_of(ground: Ground, client: AdminClient, member: str) -> int:
    return (await listed_members(client))[ground.peer_url(member)].member_id
