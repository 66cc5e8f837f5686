"""The actions of one case, one after the other, each when its time has come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, assert_never

from tester.actions import disaster, membership, quota, upkeep, versions
from tester.actions.mistakes import make_mistakes
from tester.errors import ActionError, EtcdChaosError
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
    RestoreSnapshotSection,
    SaveSnapshotSection,
    ShrinkSection,
)
from tester.targets import resolve_targets

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path
    from random import Random

    from tester.actions.disaster import Lose, Snapshot, Turn
    from tester.actions.ground import Done, Ground
    from tester.scenario.model import CaseSection
    from tester.scenario.target import TargetSum
    from tester.targets import Roles

Rest: TypeAlias = Callable[[], Awaitable["Done"]]
"""What is left of an action."""


_OnACluster: TypeAlias = (
    RemoveAndAddBackSection
    | ReplaceSection
    | GrowSection
    | ShrinkSection
    | MoveLeaderSection
    | MistakesSection
    | CompactSection
    | DefragmentSection
    | ExceedQuotaSection
    | ChangeVersionSection
    | RefuseVersionSection
    | AddLearnerSection
    | PromoteSection
)
"""Actions on a cluster that lives."""


@dataclass(frozen=True, slots=True)
class Disaster:
    """What a cluster's loss and restoration need besides the cluster."""

    turn: Turn
    file: Path
    """Where the case's snapshot goes."""


async def _nobody_can(members: Sequence[str]) -> None:
    raise ActionError(f"{', '.join(members)} cannot lose data: the case has no fault")


class CaseActions:
    """The actions of a case. ``prepare`` and ``run`` once; what was done until then stays readable after an error."""

    def __init__(
        self,
        case: CaseSection,
        ground: Ground,
        look: Callable[[], Roles],
        draw: Callable[[int], Random],
        disaster: Disaster | None = None,
    ) -> None:
        """``draw`` gives each action, counted from 0, a random generator of its own."""
        self._case = case
        self._ground = ground
        self._look = look
        self._draw = draw
        self._disaster = disaster
        self._snapshot: Snapshot | None = None
        self.hit: tuple[str, ...] = ()
        """Whom the faults of the case have hit: the target ``same``."""
        self.held: Callable[[], Collection[str]] = tuple
        """Whom they hold at the moment, or have held in this case: those may not answer yet."""
        self.lose: Lose = _nobody_can
        self.reached = asyncio.Event()
        """Set when what the case waits for (``until``) is so."""
        self.done: list[ActionResult] = []
        self.checks: list[CheckResult] = []
        self._rests: list[tuple[str, Rest]] = []
        self.cut_off = False
        """Whether something else ended the case in the middle of an action: a member may be gone, or stopped."""

    @property
    def unfinished(self) -> bool:
        """Whether something is left to be done when the faults are healed."""
        return bool(self._rests)

    async def prepare(self) -> None:
        """Do those that come before any fault. Raises as ``run``."""
        await self._all(first=True)

    async def run(self) -> None:
        """Do the others.

        Raises:
            ActionError: one was refused, or did not come to its end.
            AgentError: an agent could not do its part.
            FaultIneffectiveError: a target means nobody now.
        """
        await self._all(first=False)

    async def _all(self, *, first: bool) -> None:
        clock = self._ground.clock
        begun = clock.now()
        for number, action in enumerate(self._case.actions):
            if action.first is not first:
                continue
            await asyncio.sleep(action.after - (clock.now() - begun) / 1e9)
            if action.last:
                await self.reached.wait()
            rng = self._draw(number)

            def targets(target: TargetSum, rng: Random = rng) -> tuple[str, ...]:
                return resolve_targets(target, self._look(), rng, same=self.hit)

            if isinstance(action, SaveSnapshotSection | RestoreSnapshotSection):
                work: Awaitable[Done] = self._on_the_worst_day(action, targets)
            else:
                work = _perform(action, self._ground, targets, rng, self.held)
            await self._note(action.kind(), work)
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
        self.cut_off = True
        try:
            done = await work
        except EtcdChaosError:
            self.cut_off = False  # its error says how far it came
            raise
        self.cut_off = False
        seconds = (clock.now() - started) / 1e9
        self.done.append(ActionResult(kind, done.targets, done.text, seconds))
        self.checks += done.checks
        if done.rest is not None:
            self._rests.append((kind, done.rest))
        self._ground.bus.publish(Notice(f"{self._case.name}: {done.text}"))

    async def _on_the_worst_day(
        self,
        action: SaveSnapshotSection | RestoreSnapshotSection,
        targets: Callable[[TargetSum], tuple[str, ...]],
    ) -> Done:
        place = self._disaster
        if place is None:
            raise ActionError(f"{action.kind()}: nobody keeps a history that another cluster could begin in")
        if isinstance(action, SaveSnapshotSection):
            (member, *_) = targets(action.target)
            if action.quiet:
                await place.turn.quiet()
            done, self._snapshot = await disaster.save(self._ground, member, place.file)
            return done
        if self._snapshot is None:
            raise ActionError("restore-snapshot: the case has saved none")
        onto = targets(action.target)
        return await disaster.restore(self._ground, place.turn, self._snapshot, onto, self.lose)


async def _perform(  # noqa: C901 - one arm per action, nothing nested
    action: _OnACluster,
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
