"""All faults of one case: at once, staggered, coming and going; healed last-in first-out on every way out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, TypeAlias

from tester.errors import FaultIneffectiveError, FaultUnreachedError, HealError
from tester.faults.drivers import driver
from tester.faults.finish import to_the_end
from tester.faults.scene import FaultTiming
from tester.partitions import resolve_cuts
from tester.quorum import Impact, refuse
from tester.results import FaultTurn, InjectedFault
from tester.scenario.faults import PartitionSection
from tester.targets import resolve_targets

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Sequence
    from random import Random
    from types import TracebackType

    from tester.clock import RunClock
    from tester.faults.case_fault import Whole
    from tester.faults.drivers import Driver
    from tester.faults.scene import Scene
    from tester.scenario.faults import FaultSection
    from tester.scenario.model import CaseSection
    from tester.targets import Roles

Look: TypeAlias = Callable[[], "Roles"]
"""The members' roles now."""
Draw: TypeAlias = Callable[[int], "Random"]
"""The random generator of a case's fault, counted from 0."""

_TURN_SECONDS: Final = 2.0
"""How long the next fault to heal waits for the one before."""
_TURNS_TOLD: Final = 20
"""A fault that flaps fast comes a thousand times in a case, and each time has statistics of its own."""


@dataclass(slots=True)
class _Turn:
    """One time that a fault comes. Times are the run clock's; ``None``: not yet."""

    driver: Driver
    clock: RunClock
    start_ns: int | None = None
    end_ns: int | None = None
    healed_ns: int | None = None

    async def inject(self, impact: Impact, whole: Whole) -> None:
        """See ``Driver.inject``."""
        self.start_ns = self.clock.now()
        await self.driver.inject(impact.members, whole, impact.cuts)

    async def heal(self) -> None:
        """See ``Driver.heal``."""
        if self.end_ns is None:
            self.end_ns = self.clock.now()
        try:
            await self.driver.heal()
        except FaultIneffectiveError:  # it is healed all the same
            self._note_healed()
            raise
        self._note_healed()

    def told(self) -> FaultTurn | None:
        """For the results; ``None`` where nothing was begun."""
        return None if self.start_ns is None else FaultTurn(self.start_ns, self.end_ns, self.healed_ns)

    def _note_healed(self) -> None:
        if self.healed_ns is None:
            self.healed_ns = self.clock.now()


@dataclass(slots=True)
class _Part:
    """One fault of the case. ``turn`` is ``None`` while it is not there, ``impact`` before its first time."""

    number: int
    fault: FaultSection
    impact: Impact | None = None
    turn: _Turn | None = None
    turns: list[_Turn] = field(default_factory=list)

    @property
    def moves(self) -> bool:
        """Whether it comes or goes by itself while the case holds."""
        return bool(self.fault.after) or self.fault.lasts is not None or self.fault.flap is not None

    @property
    def targets(self) -> tuple[str, ...]:
        """Whom it has hit so far."""
        return tuple(dict.fromkeys(name for turn in self.turns for name in turn.driver.targets))


class CaseFaults:
    """The faults of a case. Leaving the block heals, whatever happened in it.

    ::

        async with CaseFaults(case, scene, roles, draw) as faults:
            await faults.inject(whole)
            await faults.hold(case.hold)
            await faults.heal()

    Not reusable.
    """

    def __init__(
        self, case: CaseSection, scene: Scene, look: Look, draw: Draw, timing: FaultTiming | None = None
    ) -> None:
        self._case = case
        self._scene = scene
        self._look = look
        self._draw = draw
        self._timing = timing or FaultTiming()
        self._parts = [_Part(number, fault) for number, fault in enumerate(case.faults)]
        self._begun: list[_Turn] = []
        """In the order of their injection."""
        self._whole: Whole | None = None
        self._first_ns: int | None = None
        self._held_ns: int | None = None
        self._healing_ns: int | None = None
        self._ended_early = asyncio.Event()

    @property
    def targets(self) -> tuple[str, ...]:
        """Everybody who was hit, in the order of the hosts."""
        hit = {name for part in self._parts for name in part.targets}
        return tuple(host.name for host in self._scene.hosts if host.name in hit)

    @property
    def held_seconds(self) -> float | None:
        """From the first verified injection to the start of the last healing; ``None`` before."""
        if len(self._parts) == 1 and len(self._parts[0].turns) == 1:
            return self._parts[0].turns[0].driver.held_seconds
        if self._first_ns is None or self._healing_ns is None:
            return None
        return (self._healing_ns - self._first_ns) / 1e9

    @property
    def injected(self) -> tuple[InjectedFault, ...]:
        """What was done, fault by fault, so far."""
        return tuple(
            InjectedFault(
                fault=part.fault.kind(),
                targets=part.targets,
                times=len(part.turns),
                held_seconds=sum(held) if (held := _held(part.turns)) else None,
                turns=tuple(told for turn in part.turns[:_TURNS_TOLD] if (told := turn.told()) is not None),
            )
            for part in self._parts
            if part.turns
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await to_the_end(self._undo())
        if error is None:
            self._raise_if_ended_early()

    async def inject(self, whole: Whole) -> None:
        """Inject all that has not to wait, wave by wave.

        ``whole`` waits until the cluster is whole, between two members.

        Raises:
            FaultIneffectiveError: a fault was refused (nobody to hit, quorum, the inventory's bound) or had no
                verified effect; what was injected has been healed by then.
            HealError: that, and it could not be healed.
        """
        self._whole = whole
        now = [part for part in self._parts if not part.fault.after]
        try:
            turns = [(part, self._next_turn(part)) for part in now]
            for wave in sorted({part.fault.wave for part in now}):
                await _all(self._start(part, turn) for part, turn in turns if part.fault.wave is wave)
        except FaultIneffectiveError:
            await to_the_end(self._undo())
            raise
        except HealError as error:
            await self._once_all_are_healed(error)
        self._held_ns = self._scene.clock.now()

    async def also(self, fault: FaultSection, members: Sequence[str]) -> None:
        """Inject one more fault now: what an action needs. It is healed with the others.

        Raises:
            FaultIneffectiveError: it was refused, or had no verified effect.
            HealError: that, and it could not be healed.
        """
        part = _Part(len(self._parts), fault, Impact(fault, tuple(members), cuts={}))
        self._parts.append(part)
        await self._start(part, self._next_turn(part))

    async def hold(self, seconds: float) -> None:
        """Return ``seconds`` after the last of the first injections; what comes and goes does so meanwhile.

        Raises:
            FaultIneffectiveError: a fault ended before its time, or a later one was refused or had no effect.
            HealError: one that had to go could not be healed.
        """
        if self._held_ns is None:
            raise RuntimeError("nothing is injected")
        try:
            await self._come_and_go(seconds - (self._scene.clock.now() - self._held_ns) / 1e9)
        except HealError as error:
            await self._once_all_are_healed(error)
        self._raise_if_ended_early()

    async def heal(self) -> None:
        """Heal everything, the last injection first; does nothing where that was done before.

        Raises:
            HealError: a member could not be healed; names the host and what is left on it.
            FaultIneffectiveError: all are healed, but one had ended before it was asked to.
        """
        await to_the_end(self._undo())
        self._raise_if_ended_early()

    # --- within ----------------------------------------------------------------------------------------

    def _next_turn(self, part: _Part) -> _Turn:
        """Decide who is hit, the first time, and see that the cluster can bear it now."""
        roles = self._look()
        if part.impact is None:
            part.impact = self._resolve(part, roles)
        active = [other.impact for other in self._parts if other.turn is not None and other.impact]
        refuse(self._case, [*active, part.impact], roles, self._scene.max_faulted)
        made = driver(part.fault, self._label(part), self._scene, self._timing, self._ended_early)
        part.turn = _Turn(made, self._scene.clock)
        part.turns.append(part.turn)
        return part.turn

    def _resolve(self, part: _Part, roles: Roles) -> Impact:
        rng = self._draw(part.number)
        first = self._parts[0].impact
        same = first.members if first is not None else ()
        if isinstance(part.fault, PartitionSection):
            cuts = resolve_cuts(part.fault, roles, rng, same=same)
            return Impact(part.fault, tuple(cuts), cuts)
        taken = {
            name
            for other in self._parts
            if other.impact is not None and other.fault.holds() & part.fault.holds()
            for name in other.impact.members
        }
        return Impact(
            part.fault, resolve_targets(part.fault.target, roles, rng, same=same, taken=taken), cuts={}
        )

    def _label(self, part: _Part) -> str:
        """Unique within the round; a fault that flaps is another one each time."""
        number = f"-{part.number + 1}" if part.number else ""
        turn = f"-turn-{len(part.turns) + 1}" if part.turns else ""
        return f"{self._case.name}{number}{turn}"

    async def _start(self, part: _Part, turn: _Turn) -> None:
        if part.impact is None or self._whole is None:
            raise RuntimeError("nobody knows whom to hit")
        self._begun.append(turn)
        await turn.inject(part.impact, self._whole)
        if self._first_ns is None:
            self._first_ns = self._scene.clock.now()

    async def _come_and_go(self, seconds: float) -> None:
        courses = [asyncio.create_task(self._course(part)) for part in self._parts if part.moves]
        watch = asyncio.create_task(self._watch())
        try:
            async with asyncio.timeout(seconds):
                waiting: set[asyncio.Task[None]] = {watch, *courses}
                while waiting:
                    done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        task.result()
        except TimeoutError:
            pass
        finally:
            await to_the_end(_end([watch, *courses]))
        for task in courses:  # one that failed just as the time was over
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def _course(self, part: _Part) -> None:
        fault = part.fault
        if fault.after and self._held_ns is not None:
            await asyncio.sleep(fault.after - (self._scene.clock.now() - self._held_ns) / 1e9)
            await self._start(part, self._next_turn(part))
        if fault.lasts is not None:
            await asyncio.sleep(fault.lasts)
            await self._go(part)
        while fault.flap is not None:
            await asyncio.sleep(fault.flap.on)
            await self._go(part)
            await asyncio.sleep(fault.flap.off)
            await self._start(part, self._next_turn(part))

    async def _go(self, part: _Part) -> None:
        turn = part.turn
        if turn is not None:
            await turn.heal()
            part.turn = None

    async def _watch(self) -> None:
        await self._ended_early.wait()
        self._raise_if_ended_early()

    def _raise_if_ended_early(self) -> None:
        for part in self._parts:
            for turn in part.turns:
                turn.driver.raise_if_ended_early()

    async def _once_all_are_healed(self, error: HealError) -> NoReturn:
        """What could not be healed beside the others, as etcd on a disk that fails, is tried once more without them.

        Raises:
            HealError: it cannot be healed then, either.
            FaultIneffectiveError: it was; and the case proves nothing.
        """
        await to_the_end(self._undo())
        raise FaultIneffectiveError(
            f"{error.message}\nwhen the other faults had been healed, so was this one",
            remedy="nothing was tested by this case; all of it has been healed",
        ) from error

    async def _undo(self) -> None:
        if self._healing_ns is None:
            self._healing_ns = self._scene.clock.now()
        healing: list[asyncio.Task[None]] = []
        for turn in reversed(self._begun):
            healing.append(asyncio.create_task(turn.heal()))
            # One that has to wait for another, as etcd does for its disk, goes on beside it.
            await asyncio.wait(healing[-1:], timeout=_TURN_SECONDS)
        ends = await asyncio.gather(*healing, return_exceptions=True)
        problems = [end for end in ends if isinstance(end, HealError)]
        early = [end for end in ends if isinstance(end, FaultIneffectiveError)]
        for end in ends:
            if end is not None and end not in (*problems, *early):
                raise end
        if problems:
            raise HealError("\n".join(error.message for error in problems), remedy=problems[0].remedy)
        if early:
            raise early[0]


def _held(turns: Sequence[_Turn]) -> list[float]:
    return [held for turn in turns if (held := turn.driver.held_seconds) is not None]


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all at once and wait for every end; what failed is told together."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        await asyncio.wait(tasks)
    except asyncio.CancelledError:
        await to_the_end(_end(tasks))
        raise
    errors = [error for task in tasks if (error := task.exception()) is not None]
    for error in errors:
        if not isinstance(error, FaultIneffectiveError):
            raise error
    if errors:
        told = [error for error in errors if isinstance(error, FaultIneffectiveError)]
        unreached = all(isinstance(error, FaultUnreachedError) for error in told)
        raise (FaultUnreachedError if unreached else FaultIneffectiveError)(
            "\n".join(error.message for error in told), remedy=told[0].remedy
        )


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
