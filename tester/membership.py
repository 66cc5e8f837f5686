"""Who is a member of the cluster now. Everybody who talks to members learns of a change here, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tester.events import MembershipChange, MembershipChanged

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from tester.clock import RunClock
    from tester.etcd.endpoint import Endpoint
    from tester.etcd.monitor import ClusterMonitor
    from tester.events import EventBus


class Follower(Protocol):
    """Talks to every voting member, and to nobody else."""

    async def joined(self, member: str) -> None:
        """This one serves as a voter now: begin."""

    async def left(self, member: str) -> None:
        """This one is about to go: stop. Called once per ``joined``."""


class Membership:
    """The list of members as this tool has changed it.

    A member leaves in two steps (``leaving``, then ``left`` when etcd has removed it) and comes in two
    (``added`` when etcd has it on its list, then ``joined`` when it serves): in between its process may end,
    start, and refuse calls, and none of that is a finding.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        members: Collection[str],
        monitor: ClusterMonitor,
        clock: RunClock,
        bus: EventBus,
    ) -> None:
        """``endpoints``: of all hosts, in the order of the plan; ``members``: who of them is one now."""
        self._endpoints = {endpoint.member: endpoint for endpoint in endpoints}
        self._serving = set(members)
        self._monitor = monitor
        self._clock = clock
        self._bus = bus
        self._followers: list[Follower] = []

    @property
    def names(self) -> tuple[str, ...]:
        """The members that serve as voters, in the order of their hosts."""
        return tuple(name for name in self._endpoints if name in self._serving)

    @property
    def spares(self) -> tuple[str, ...]:
        """Hosts without a member, in their order."""
        known = {*self._serving, *self._monitor.view().learners}
        return tuple(name for name in self._endpoints if name not in known)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where the members of ``names`` answer."""
        return tuple(self._endpoints[name] for name in self.names)

    def endpoint(self, member: str) -> Endpoint:
        """Where a host's member answers, or would."""
        return self._endpoints[member]

    def subscribe(self, follower: Follower) -> None:
        """From now on ``follower`` is told of every change. It knows the present members already."""
        self._followers.append(follower)

    async def leaving(self, member: str) -> None:
        """Its removal is about to be asked for."""
        self._publish(member, MembershipChange.LEAVING)
        if member in self._serving:
            self._serving.discard(member)
            for follower in self._followers:
                await follower.left(member)

    async def left(self, member: str) -> None:
        """Etcd has removed it."""
        await self._monitor.forget(member)

    def added(self, member: str, *, learner: bool) -> None:
        """Etcd has it on its list."""
        self._publish(member, MembershipChange.ADDED_LEARNER if learner else MembershipChange.ADDED)
        self._monitor.follow(self._endpoints[member], learner=learner)

    def promoted(self, member: str) -> None:
        """Etcd has made a voter of the learner."""
        self._publish(member, MembershipChange.PROMOTED)

    async def joined(self, member: str) -> None:
        """It serves as a voter."""
        self._serving.add(member)
        for follower in self._followers:
            await follower.joined(member)

    def may_end(self, member: str) -> None:
        """It is about to be started in a way that etcd should refuse."""
        self._publish(member, MembershipChange.MAY_END)

    def must_run(self, member: str) -> None:
        """It was started as it should be again."""
        self._publish(member, MembershipChange.MUST_RUN)

    def _publish(self, member: str, change: MembershipChange) -> None:
        self._bus.publish(MembershipChanged(self._clock.now(), member, change))
