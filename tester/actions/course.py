"""The actions of one case, one after the other, each when its time has come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, assert_never

from tester.actions import membership, upkeep, versions
from tester.actions.mistakes import make_mistakes
from tester.events import Notice
from tester.results import ActionResult, CheckResult
from tester.scenario.actions import (
    ChangeVersionSection,
    CompactSection,
    DefragmentSection,
    ExceedQuotaSection,
    GrowSection,
    MistakesSection,
    MoveLeaderSection,
    RefuseVersionSection,
    RemoveAndAddBackSection,
    ReplaceSection,
    ShrinkSection,
)
from tester.targets import resolve_targets

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tester.actions.ground import Done, Ground
    from tester.scenario.actions import AnyAction
    from tester.scenario.model import CaseSection
    from tester.scenario.target import TargetSum
    from tester.targets import Roles


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
        self.reached = asyncio.Event()
        """Set when what the case waits for (``until``) is so."""
        self.done: list[ActionResult] = []
        self.checks: list[CheckResult] = []

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

            started = clock.now()
            done = await _perform(action, self._ground, targets, rng)
            seconds = (clock.now() - started) / 1e9
            self.done.append(ActionResult(action.kind(), done.targets, done.text, seconds))
            self.checks += done.checks
            self._ground.bus.publish(Notice(f"{self._case.name}: {done.text}"))


async def _perform(  # noqa: C901 - one arm per action, nothing nested
    action: AnyAction, ground: Ground, targets: Callable[[TargetSum], tuple[str, ...]], rng: Random
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
            return await upkeep.defragment(ground, targets(action.target))
        case ExceedQuotaSection():
            return await upkeep.exceed_quota(ground)
        case ChangeVersionSection():
            return await versions.change_version(ground, targets(action.target), action.to)
        case RefuseVersionSection():
            (member, *_) = targets(action.target)
            return await versions.refuse_version(ground, member, action.to)
    assert_never(action)
