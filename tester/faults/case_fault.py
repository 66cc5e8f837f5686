"""One fault on its members: injected on all at once, held by leases, healed on every way out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Self, TypeAlias

from agent_client.errors import AgentClientError, AgentRefusedError
from agent_service.models import UNREACHED, FaultRequest, FaultState
from tester.errors import FaultIneffectiveError, FaultUnreachedError, HealError
from tester.events import FaultHealed, FaultInjected, MembershipChange, MembershipChanged, Notice
from tester.faults.finish import to_the_end
from tester.faults.leases import keep_lease
from tester.faults.scene import FaultTiming
from tester.faults.specs import fault_id
from tester.faults.witness import Witness
from tester.scenario.faults import Place
from tester.scenario.faults.base import Wave

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from agent_service.models import FaultStatus
    from tester.events import Event
    from tester.faults.scene import Scene
    from tester.faults.specs import FaultAgent
    from tester.partitions import Cut
    from tester.scenario.faults import FaultSection

_NOT_FOUND = 404
_UNDONE = frozenset({FaultState.HEALED, FaultState.FAILED})
_ABOUT_TO_START = frozenset({MembershipChange.ADDED, MembershipChange.ADDED_LEARNER})


Whole: TypeAlias = Callable[[], Awaitable[bool]]
"""Waits until the cluster is whole; ``False``: it is not, within its limit."""


_NO_CUTS: Final[Mapping[str, Cut]] = MappingProxyType({})


async def _believed_whole() -> bool:
    return True


@dataclass(slots=True)
class _Hit:
    """One member that is hit. ``status`` is the agent's last word, ``None`` before the first."""

    member: str
    agent: FaultAgent
    request: FaultRequest
    status: FaultStatus | None = None
    healed: bool = False
    missed: bool = False
    """It was set there, and etcd did not come by it."""
    keeper: asyncio.Task[None] | None = None
    held: bool = False
    """It is there, and its host can still be reached."""


@dataclass(slots=True)
class _Times:
    held_from_ns: int | None = None
    injected_ns: int | None = None
    healing_ns: int | None = None
    started: set[str] = field(default_factory=set)
    """Members that an action has taken out of a fault that keeps etcd down: it started them anew."""
    over_ns: int | None = None
    """Since when none of them is down any more."""
    heal_until: float = 0.0
    """On the event loop's clock: until then attempts to heal are repeated, in however many calls."""
    early: dict[str, str] = field(default_factory=dict)
    """Members whose fault ended before it was asked to, and how."""
    told: bool = False
    """The caller knows of them: it is raised once."""


class CaseFault:
    """Inject, hold and heal one fault of a case. Leaving the block heals, whatever happened in it.

    That a fault ended before it was asked to is raised once, by whatever notices it first. Whether the
    cluster can bear it is not asked here: ``tester.quorum``.

    ::

        async with CaseFault(section, "kill-leader", scene) as fault:
            await fault.inject(members)
            await fault.hold(3.0)
            await fault.heal()

    Not reusable: one object is one fault of one case in one round.
    """

    def __init__(
        self,
        fault: FaultSection,
        label: str,
        scene: Scene,
        timing: FaultTiming | None = None,
        ended_early: asyncio.Event | None = None,
    ) -> None:
        """Prepare it; nothing happens yet.

        Args:
            fault: what is done.
            label: names it within its round, and no other: part of the fault's id on its hosts.
            scene: where.
            timing: deadlines and leases.
            ended_early: is set when the fault is over on some member although nobody asked for it.
        """
        self._fault = fault
        self._label = label
        self._scene = scene
        self._timing = timing or FaultTiming()
        self._hits: list[_Hit] = []
        self._times = _Times()
        self._healing = asyncio.Lock()
        self._ended_early = ended_early or asyncio.Event()
        self._listening = ExitStack()

    @property
    def targets(self) -> tuple[str, ...]:
        """The members that are hit."""
        return tuple(hit.member for hit in self._hits if not hit.missed)

    @property
    def held_seconds(self) -> float | None:
        """From the injection, of a rolling restart the first, to the start of healing; ``None`` before.

        Of a fault that keeps etcd down: until an action of the case has started it anew on all members.
        """
        times = self._times
        if times.held_from_ns is None or times.healing_ns is None:
            return None
        end_ns = times.healing_ns if times.over_ns is None else min(times.over_ns, times.healing_ns)
        return (end_ns - times.held_from_ns) / 1e9

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await to_the_end(self._undo())
        if error is None:
            self.raise_if_ended_early()

    async def inject(
        self,
        members: Sequence[str],
        whole: Whole = _believed_whole,
        cuts: Mapping[str, Cut] = _NO_CUTS,
    ) -> None:
        """Inject on all ``members`` at once, and keep the leases renewed from then on.

        A rolling restart takes one after the other: ``whole`` is awaited in between, and where it says that
        the cluster is not whole again, those that are left are spared. A partition needs ``cuts``, what
        each of the members drops.

        Raises:
            FaultIneffectiveError: it had no verified effect on every member; what was injected has been
                healed by then.
            HealError: that, and it could not be healed. What else is held there may be in its way: ``heal`` tries
                for as long again.
        """
        if self._hits:
            raise RuntimeError("a CaseFault is injected once")
        if self._fault.wave is Wave.TAKES:
            self._listening.enter_context(self._scene.bus.listening(self._hear))
        size = 1 if self._fault.one_at_a_time else max(1, len(members))
        for start in range(0, len(members), size):
            if start > 0 and not await whole():
                break
            await self._inject_wave(
                [self._hit(name, cuts.get(name)) for name in members[start : start + size]]
            )
        self._times.injected_ns = self._scene.clock.now()

    def _hear(self, event: Event) -> None:
        if not isinstance(event, MembershipChanged) or event.change not in _ABOUT_TO_START:
            return
        times = self._times
        times.started.add(event.member)
        if times.over_ns is None and times.injected_ns is not None and times.started >= set(self.targets):
            times.over_ns = event.at_ns

    async def _inject_wave(self, wave: Sequence[_Hit]) -> None:
        self._hits += wave
        work = [asyncio.create_task(self._inject_one(hit)) for hit in wave]
        try:
            await asyncio.wait(work)
        except asyncio.CancelledError:
            await to_the_end(self._abandon(work))
            raise
        problems = [problem for task in work if (problem := task.result()) is not None]
        without = [hit for hit in wave if not hit.held]
        missed = all(hit.missed for hit in without)
        if problems and missed and len(without) < len(wave):
            self._scene.bus.publish(Notice("\n".join(problems)))
        elif problems:
            try:
                await to_the_end(self._undo())
            except HealError as error:
                self._times.heal_until = asyncio.get_running_loop().time() + self._patience
                raise HealError("\n".join([*problems, error.message]), remedy=error.remedy) from error
            raise (FaultUnreachedError if missed and self._fault.for_each else FaultIneffectiveError)(
                "\n".join(problems), remedy="nothing was tested by this case; all of it has been healed"
            )
        if self._times.held_from_ns is None:
            self._times.held_from_ns = self._scene.clock.now()

    async def hold(self, seconds: float) -> None:
        """Return ``seconds`` after the last verified injection.

        Raises:
            FaultIneffectiveError: the fault ended before (a lease ran out, somebody healed it).
        """
        injected_ns = self._times.injected_ns
        if injected_ns is None:
            raise RuntimeError("nothing is injected")
        left = seconds - (self._scene.clock.now() - injected_ns) / 1e9
        try:
            async with asyncio.timeout(left):
                await self._ended_early.wait()
        except TimeoutError:
            return
        self.raise_if_ended_early()

    async def heal(self) -> None:
        """Heal every member and see that it is healed; does nothing where that was done before.

        Comes to its end (at most ``FaultTiming.heal`` seconds) even if the caller is cancelled.

        Raises:
            HealError: a member could not be healed; names the host and what is left on it.
            FaultIneffectiveError: all are healed, but one had ended before it was asked to.
        """
        await to_the_end(self._undo())
        self.raise_if_ended_early()

    def _hit(self, member: str, cut: Cut | None) -> _Hit:
        scene = self._scene
        host = next(host for host in scene.hosts if host.name == member)
        request = FaultRequest(
            id=fault_id(scene.run, scene.round, self._label, member),
            spec=self._fault.spec(Place(host, scene.hosts, cut)),
            # Injecting may take as long as the grace, and the lease runs meanwhile.
            lease_seconds=self._timing.lease + self._fault.grace_seconds,
            reason=f"run {scene.run} round {scene.round} case {self._label}",
        )
        return _Hit(member, scene.agents[member], request)

    async def _inject_one(self, hit: _Hit) -> str | None:
        where = f"host {hit.member}: fault {hit.request.id} ({self._fault.kind()})"
        witness = self._witness(hit)
        if witness is not None:
            await witness.before(self._fault.kind(), self._scene.looked)
        try:
            async with asyncio.timeout(self._timing.inject + self._fault.grace_seconds):
                hit.status = status = await hit.agent.inject(hit.request)
        except (AgentClientError, TimeoutError) as error:
            if isinstance(error, AgentRefusedError) and error.problem.type == UNREACHED:
                hit.missed = self._fault.may_miss
            return f"{where} was not injected: {str(error) or 'no answer in time'}"
        if status.state is not FaultState.INJECTED:
            return f"{where} had no effect (it is {status.state}): {status.evidence}"
        hit.keeper = asyncio.create_task(self._keep(hit))
        at_ns, evidence = self._scene.clock.now(), status.evidence
        if witness is not None:
            if (lost := await witness.objection()) is not None:
                return f"{where} cut more than it should: {lost}"
            evidence = f"{evidence}; {witness.evidence}"
        hit.held = True
        event = FaultInjected(at_ns, hit.request.id, self._fault.kind(), hit.member, evidence)
        self._scene.bus.publish(event)
        return None

    def _witness(self, hit: _Hit) -> Witness | None:
        if not self._fault.occupies.is_traffic:
            return None
        scene = self._scene
        host = next(host for host in scene.hosts if host.name == hit.member)
        return Witness(host, hit.agent, scene.answers, self._timing.witness)

    async def _keep(self, hit: _Hit) -> None:
        def trouble(text: str) -> None:
            notice = f"host {hit.member}: fault {hit.request.id} was not renewed, trying again: {text}"
            self._scene.bus.publish(Notice(notice, warning=True))

        lost = await keep_lease(hit.agent, hit.request.id, self._timing.lease, on_trouble=trouble)
        self._note_early_end(hit, lost)

    def _note_early_end(self, hit: _Hit, how: str) -> None:
        self._times.early.setdefault(hit.member, how)
        self._ended_early.set()

    def raise_if_ended_early(self) -> None:
        """Tell once that it ended before its time.

        Raises:
            FaultIneffectiveError: it did, and nobody was told so far.
        """
        if self._times.early and not self._times.told:
            self._times.told = True
            raise FaultIneffectiveError(
                "\n".join(
                    f"host {member}: fault {self._fault.kind()} of case {self._label} ended before its time: {how}"
                    for member, how in self._times.early.items()
                ),
                remedy="it was not held as long as the scenario says, so the case proves nothing",
            )

    async def _abandon(self, work: Sequence[asyncio.Task[str | None]]) -> None:
        # An answer on its way says that there is something to undo; a request without one may still arrive at
        # its agent after the undo, and then the lease ends it.
        await asyncio.wait(work, timeout=self._timing.abandon)
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        await self._undo()

    async def _undo(self) -> None:
        async with self._healing:
            if self._times.healing_ns is None:
                self._times.healing_ns = self._scene.clock.now()
                self._times.heal_until = asyncio.get_running_loop().time() + self._patience
                self._listening.close()
            await self._stop_keepers()  # first: what cannot be healed from here ends with its lease
            left = [hit for hit in reversed(self._hits) if not hit.healed]
            # A defect met on one host must not keep the others from being healed: it is told with the rest.
            ends = await asyncio.gather(*(self._heal_one(hit) for hit in left), return_exceptions=True)
        problems = [str(end) if isinstance(end, str) else repr(end) for end in ends if end is not None]
        if problems:
            raise HealError(
                "\n".join(problems),
                remedy=f"etcd-chaos heal --inventory {self._scene.inventory}",
            )

    @property
    def _patience(self) -> float:
        """An injection under way holds its agent until it has come to its end."""
        return self._timing.heal + self._fault.grace_seconds

    async def _stop_keepers(self) -> None:
        keepers = [hit.keeper for hit in self._hits if hit.keeper is not None]
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)

    async def _heal_one(self, hit: _Hit) -> str | None:
        while (problem := await self._try_to_heal(hit)) is not None:
            if asyncio.get_running_loop().time() + self._timing.retry >= self._times.heal_until:
                undo = hit.status.undo if hit.status else ()
                left = "; ".join(undo) or "whatever was done before the agent answered"
                name = f"fault {hit.request.id} ({self._fault.kind()})"
                return f"host {hit.member}: {name} could not be healed: {problem}; still to undo: {left}"
            await asyncio.sleep(self._timing.retry)
        hit.healed = True
        return None

    async def _try_to_heal(self, hit: _Hit) -> str | None:
        """Why it did not work; ``None``: nothing is left."""
        was_injected = hit.status is not None and hit.status.state is FaultState.INJECTED
        try:
            async with asyncio.timeout(self._timing.attempt):
                status = await hit.agent.heal(hit.request.id)
        except (AgentClientError, TimeoutError) as error:
            unknown = isinstance(error, AgentRefusedError) and error.problem.status == _NOT_FOUND
            return None if unknown and not was_injected else str(error) or "no answer in time"
        if status.state not in _UNDONE:
            return f"it is {status.state}: {status.evidence}"
        if was_injected:
            if status.healed_by != "request":
                self._note_early_end(hit, f"healed by {status.healed_by}: {status.evidence}")
            at_ns = self._scene.clock.now()
            event = FaultHealed(at_ns, hit.request.id, self._fault.kind(), hit.member, status.evidence)
            self._scene.bus.publish(event)
        return None
