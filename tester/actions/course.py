"""The actions of one case, one after the other, each when its time has come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias, assert_never

from tester.actions import membership, quota, upkeep, versions
from tester.actions.mistakes import make_mistakes
from tester.events import Notice
from tester.results import ActionResult, CheckResult
from tester.scenario.actions import (
    AddLearnerSection,
    ChangeVersionSection,
    CompactSection,
    DefragmentSection,
    ExceedQuotaSection,
    GrowSection,
    MistakesSection,
    MoveLeaderSection,
    PromoteSection,
    RefuseVersionSection,
    RemoveAndAddBackSection,
    ReplaceSection,
    ShrinkSection,
)
from tester.targets import resolve_targets

if TYPE_CHECKING:
    from collections.abc import Collection
    from random import Random

    from tester.actions.ground import Done, Ground
    from tester.scenario.actions import AnyAction
    from tester.scenario.model import CaseSection
    from tester.scenario.target import TargetSum
    from tester.targets import Roles

Rest: TypeAlias = Callable[[], Awaitable["Done"]]
"""What is left of an action."""


class CaseActions:
    """The actions of a case. ``run`` once; what was done until then stays readable after an error."""

    def __init__(
        self, case: CaseSection, ground: Ground, look: Callable[[], Roles], draw: Callable[[int], Random]
    ) -> None:
        """``draw`` gives each action, counted from 0, a random generator of its own."""
        self._case = case
        self._ground = ground
        self._look = look
        self._draw = draw
        self.hit: tuple[str, ...] = ()
        """Whom the faults of the case have hit: the target ``same``."""
        self.held: Callable[[], Collection[str]] = tuple
        """Whom they hold at the moment, or have held in this case: those may not answer yet."""
        self.reached = asyncio.Event()
        """Set when what the case waits for (``until``) is so."""
        self.done: list[ActionResult] = []
        self.checks: list[CheckResult] = []
        self._rests: list[tuple[str, Rest]] = []

    @property
    def unfinished(self) -> bool:
        """Whether something is left to be done when the faults are healed."""
        return bool(self._rests)

    async def run(self) -> None:
        """Do them all.

        Raises:
            ActionError: one was refused, or did not come to its end.
            AgentError: an agent could not do its part.
            FaultIneffectiveError: a target means nobody now.
        """
        clock = self._ground.clock
        begun = clock.now()
        for number, action in enumerate(self._case.actions):
            await asyncio.sleep(action.after - (clock.now() - begun) / 1e9)
            if action.last:
                await self.reached.wait()
            rng = self._draw(number)

            def targets(target: TargetSum, rng: Random = rng) -> tuple[str, ...]:
                return resolve_targets(target, self._look(), rng, same=self.hit)

            await self._note(action.kind(), _perform(action, self._ground, targets, rng, self.held))
            if not self._case.faults:
                await self.finish()

    async def finish(self) -> None:
        """Do what had to wait until the faults are healed.

        Raises:
            ActionError: as ``run``.
        """
        while self._rests:
            kind, rest = self._rests.pop(0)
            await self._note(kind, rest())

    async def _note(self, kind: str, work: Awaitable[Done]) -> None:
        clock = self._ground.clock
        started = clock.now()
        done = await work
        seconds = (clock.now() - started) / 1e9
        self.done.append(ActionResult(kind, done.targets, done.text, seconds))
        self.checks += done.checks
        if done.rest is not None:
            self._rests.append((kind, done.rest))
        self._ground.bus.publish(Notice(f"{self._case.name}: {done.text}"))


async def _perform(  # noqa: C901 - one arm per action, nothing nested
    action: AnyAction,
    ground: Ground,
    targets: Callable[[TargetSum], tuple[str, ...]],
    rng: Random,
    held: Callable[[], Collection[str]],
) -> Done:
    match action:
        case RemoveAndAddBackSection():
            (member, *_) = targets(action.target)
            return await membership.remove_and_add_back(ground, member, learner=action.learner)
        case ReplaceSection():
            (member, *_) = targets(action.target)
            return await membership.replace(ground, member, learner=action.learner)
        case GrowSection():
            return await membership.grow(ground, action.to, learner=action.learner)
        case AddLearnerSection():
            return await membership.add_learner(ground)
        case PromoteSection():
            (member, *_) = targets(action.target)
            return await membership.promote_learner(ground, member)
        case ShrinkSection():
            names = list(ground.membership.names)
            rng.shuffle(names)
            return await membership.shrink(ground, action.to, tuple(names))
        case MoveLeaderSection():
            (member, *_) = targets(action.target)
            return await membership.move_leader(ground, member)
        case MistakesSection():
            return await make_mistakes(ground, action.make)
        case CompactSection():
            return await upkeep.compact(ground, action.keep, physical=action.physical)
        case DefragmentSection():
            return await upkeep.defragment(ground, targets(action.target), held)
        case ExceedQuotaSection():
            return await quota.exceed_quota(ground, held)
        case ChangeVersionSection():
            return await versions.change_version(ground, targets(action.target), action.to)
        case RefuseVersionSection():
            (member, *_) = targets(action.target)
            return await versions.refuse_version(ground, member, action.to)
    assert_never(action)
