"""One case: steady, inject, hold, recover, settle, check."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tester.actions.course import CaseActions, Disaster
from tester.cluster import election_ends, measure_recovery
from tester.errors import ClusterError, EtcdChaosError, FaultIneffectiveError, FaultUnreachedError
from tester.events import Event, LeaderChanged, Notice, Phase
from tester.faults import CaseFaults
from tester.history.endstate import CaseRecovery
from tester.load.statistics import MARGIN_NS
from tester.phases import Phases, Span
from tester.results import CaseResult, CaseState, PhaseStats, Recovery, Verdict
from tester.scenario.faults import LoseDataSection
from tester.scenario.model import Until
from tester.until import CommitWait, count_snapshots, entries_needed, require_snapshots
from tester.windows import windows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Mapping

    from tester.faults import Scene
    from tester.faults.composition import Draw
    from tester.results import CheckResult, InjectedFault
    from tester.scenario.model import CaseSection
    from tester.stage import Stage
    from tester.targets import Roles
    from tester.until import SnapshotCounts


@dataclass(frozen=True, slots=True)
class CaseEnd:
    """How a case ended. ``fatal`` is what forbids to go on with the round: nothing about etcd is in it."""

    result: CaseResult
    fatal: EtcdChaosError | None = None


@dataclass(slots=True)
class _Course:
    """What is known so far, also of a case that does not get to its end."""

    targets: tuple[str, ...] = ()
    held_seconds: float | None = None
    faults: tuple[InjectedFault, ...] = ()
    recovery: Recovery | None = None
    checks: tuple[CheckResult, ...] = ()
    leader_changes: int = 0
    quiet_ns: int | None = None
    """When the load was paused for the check, and the last of its operations had ended."""


class CaseRunner:
    """Runs one case on the stage of its round. Not reusable."""

    def __init__(self, stage: Stage, scene: Scene, case: CaseSection, draw: Draw, act: Draw) -> None:
        """``draw`` and ``act`` have a random generator for each fault and each action, counted from 0."""
        self._stage = stage
        self._scene = scene
        self._case = case
        self._draw = draw
        setting = stage.setting
        worst = Disaster(stage.turn, setting.directory.snapshot(case.name))
        self._actions = CaseActions(case, stage.ground, stage.roles, act, worst)
        self._limits = setting.plan.scenario.limits
        self._clock = setting.clock
        self._phases = Phases(setting.clock, setting.bus, setting.number, case.name)
        self._course = _Course()
        self._known: Roles | None = None
        self._started = self._clock.now()

    async def run(self) -> CaseEnd:
        """Run it. Errors of hosts, agents and load end up in the result; only cancellation gets out."""
        fatal: EtcdChaosError | None = None
        with self._stage.setting.bus.listening(self._count_leaders):
            try:
                async with self._load():
                    await self._stress()
                    with self._phases.phase(Phase.CHECK):
                        judged = await self._stage.check(self._case.name, "case", self._note_quiet)
                self._course.checks = (*self._actions.checks, *judged)
                state, reason = judge(self._course.checks)
            except FaultIneffectiveError as error:
                unreached = isinstance(error, FaultUnreachedError)
                state, reason = CaseState.SKIPPED if unreached else CaseState.ERROR, error.message
                # The next case needs a whole cluster, and all that was injected is healed by now.
                midway = self._stage.turn.is_midway or self._actions.cut_off
                fatal = error if midway else await self._make_whole()
            except EtcdChaosError as error:
                state, reason, fatal = CaseState.ERROR, error.message, error
        return CaseEnd(self._result(state, reason), fatal)

    def broken_off(self, reason: str) -> CaseResult:
        """The result after ``run`` was cancelled: whom it had hit, for how long, what the load saw."""
        return self._result(CaseState.SKIPPED, reason)

    @asynccontextmanager
    async def _load(self) -> AsyncIterator[None]:
        """Paused for as long as the case lasts, where that is what it is about."""
        if self._case.load:
            yield
            return
        await self._stage.load.pause()
        try:
            yield
        finally:
            await self._stage.load.resume()

    async def _stress(self) -> None:
        try:
            await self._course_of_things()
        finally:
            await self._stage.turn.resume()  # of a load that an action has paused

    async def _course_of_things(self) -> None:
        case, stage = self._case, self._stage
        with self._phases.phase(Phase.STEADY, case.steady):
            await stage.while_alive(_both(asyncio.sleep(case.steady), self._actions.prepare()))
            stage.check_alive()
        if not case.faults:
            acts = stage.progress.disturbed() if case.actions else nullcontext()
            with self._phases.phase(Phase.HOLD, case.hold), acts:
                await stage.while_alive(self._hold(asyncio.sleep(case.hold)))
            with self._phases.phase(Phase.RECOVER):
                await self._recover()  # from nothing: still every member has to serve and to accept writes
        else:
            with stage.progress.disturbed():
                await self._break_and_heal()
        with self._phases.phase(Phase.SETTLE, case.settle):
            await stage.look_on(case.settle)
        await self._snapshots()

    async def _break_and_heal(self) -> None:
        case, stage, course = self._case, self._stage, self._course
        faults = CaseFaults(case, self._scene, self._look, self._draw)
        try:
            async with faults:
                counted = await self._snapshots()
                with self._phases.phase(Phase.INJECT):
                    self._known = await stage.while_alive(self._see_leader())
                    await stage.while_alive(faults.inject(self._recover))
                    self._known = None
                self._actions.hit = faults.targets
                self._actions.held = lambda: faults.targets
                self._actions.lose = lambda members: faults.also(LoseDataSection(), members)
                with self._phases.phase(Phase.HOLD, case.hold):
                    await stage.while_alive(self._hold(faults.hold(case.hold)))
                with self._phases.phase(Phase.RECOVER):
                    await faults.heal()
                    await self._recover()
                    if case.until is Until.SNAPSHOT:
                        await stage.while_alive(self._see_snapshots(faults.targets, counted))
        finally:  # also of a case that ends here
            course.targets = faults.targets
            course.held_seconds = faults.held_seconds
            course.faults = faults.injected

    async def _make_whole(self) -> EtcdChaosError | None:
        """Get over a case that proves nothing; what forbids to go on, if anything does."""
        try:
            self._course.recovery = recovery = await self._measure()
            if not _is_whole(recovery):
                await self._stage.check_hosts()
        except EtcdChaosError as error:
            return error
        if _is_whole(recovery):
            return None
        return ClusterError(
            f"case {self._case.name} proved nothing, and the cluster is not whole {recovery.limit:g} s after it: "
            "the next case would take that for its own doing",
            remedy="read the members' logs in the run directory; limits.recovery allows more time",
        )

    async def _measure(self) -> Recovery:
        rest = self._actions.finish if self._actions.unfinished else None
        return await measure_recovery(self._stage.monitor, self._limits.recovery, rest)

    async def _see_leader(self) -> Roles:
        """The roles by which the first faults are drawn: of a moment with a leader, if there is one in time."""
        await election_ends(self._stage.monitor, self._limits.recovery)
        return self._stage.roles()

    def _look(self) -> Roles:
        return self._known or self._stage.roles()

    async def _hold(self, hold: Coroutine[Any, Any, None]) -> None:
        """Hold for the scenario's time, until every action is done, and for what the case waits."""
        if self._case.until is not None:
            await _both(hold, self._actions.run(), self._commits(self._case.until))
        else:
            self._actions.reached.set()
            await _both(hold, self._actions.run())

    async def _commits(self, until: Until) -> None:
        stage, setting = self._stage, self._stage.setting
        wait = CommitWait(stage.monitor, self._clock)
        members = stage.ground.specs.values()
        reached = await wait.until(entries_needed(members, until))
        emptied = self._case.changes_members  # has nothing entries could follow
        if until is Until.SNAPSHOT and not emptied and (left := self._keeps_entries()):
            setting.bus.publish(
                Notice(
                    f"{self._case.name}: a snapshot was just sent: etcd keeps all entries for {left:.0f} s more"
                )
            )
            await asyncio.sleep(left)
            # the next of its own snapshots forgets what it has kept meanwhile
            await CommitWait(stage.monitor, self._clock).until(entries_needed(members, Until.ENTRIES))
        self._actions.reached.set()
        setting.bus.publish(Notice(f"{self._case.name}: {reached}"))

    def _keeps_entries(self) -> float:
        """For how many seconds more the leader forgets no entries."""
        return self._stage.snapshots.seconds_left(self._stage.roles().leader)

    async def _snapshots(self) -> Mapping[str, SnapshotCounts]:
        """Snapshots by member, where a case of the scenario needs to know."""
        stage = self._stage
        if all(case.until is None for case in stage.setting.plan.scenario.cases):
            return {}
        counted = await count_snapshots(stage.membership.endpoints)
        stage.snapshots.note(counted, [(host, at_ns) for host, at_ns, _ in stage.exits.exits])
        return counted

    async def _see_snapshots(self, targets: tuple[str, ...], before: Mapping[str, SnapshotCounts]) -> None:
        stage = self._stage
        restarted = {host for host, at_ns, _ in stage.exits.exits if at_ns >= self._started}
        endpoints = [stage.membership.endpoint(name) for name in targets]
        seen = await require_snapshots(endpoints, before, restarted, self._limits.recovery)
        stage.setting.bus.publish(Notice(f"{self._case.name}: {seen}"))

    async def _recover(self) -> bool:
        """Measure how long it takes to be whole again, for the checkers; whether it is."""
        recovery = await self._measure()
        self._course.recovery = recovery
        if not _is_whole(recovery):
            await self._stage.check_hosts()  # one that was lost is no verdict on etcd
        self._stage.witness.recovered(CaseRecovery(self._case.name, recovery))
        return _is_whole(recovery)

    def _note_quiet(self) -> None:
        self._course.quiet_ns = self._clock.now()

    def _count_leaders(self, event: Event) -> None:
        if isinstance(event, LeaderChanged) and event.leader is not None:
            self._course.leader_changes += 1

    def _result(self, state: CaseState, reason: str) -> CaseResult:
        course, case = self._course, self._case
        whole = Span(self._started, self._clock.now())
        quiet_ns = whole.end_ns if course.quiet_ns is None else course.quiet_ns + MARGIN_NS
        before, during, after = windows(self._phases.spans, whole.start_ns, min(quiet_ns, whole.end_ns))
        # A fault may be over before the hold is, where an action starts the member anew.
        held = max(course.held_seconds or 0, self._phases.seconds(Phase.HOLD))
        planned = self._phases.seconds(Phase.STEADY) + held + self._phases.seconds(Phase.SETTLE)
        return CaseResult(
            name=case.name,
            fault=case.title,
            targets=course.targets,
            state=state,
            reason=reason,
            held_seconds=course.held_seconds,
            faults=tuple(map(self._with_stats, course.faults)),
            actions=tuple(self._actions.done),
            leader_changes=course.leader_changes,
            before=self._stats(before),
            during=self._stats(during),
            after=self._stats(after),
            recovery=course.recovery,
            checks=course.checks,
            overhead_seconds=max(0.0, whole.seconds - planned - _recovery_seconds(course.recovery)),
            elapsed_seconds=whole.seconds,
            phases={str(phase): span.seconds for phase, span in self._phases.spans.items()},
        )

    def _with_stats(self, fault: InjectedFault) -> InjectedFault:
        turns = (
            replace(turn, during=self._stats(Span(turn.start_ns, turn.end_ns)))
            if turn.end_ns is not None
            else turn
            for turn in fault.turns
        )
        return replace(fault, turns=tuple(turns))

    def _stats(self, span: Span | None) -> PhaseStats:
        return self._stage.load.window(span.start_ns, span.end_ns) if span else PhaseStats()


async def _both(*work: Coroutine[Any, Any, None]) -> None:
    """Wait for all; the first error ends the others, and is raised as it is."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        for done in asyncio.as_completed(tasks):
            await done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def skipped(case: CaseSection, reason: str) -> CaseResult:
    """The result of a case that was not run."""
    return CaseResult(name=case.name, fault=case.title, targets=(), state=CaseState.SKIPPED, reason=reason)


def judge(checks: tuple[CheckResult, ...]) -> tuple[CaseState, str]:
    """What the verdicts make of a case, and the reason unless all are valid. Pure."""
    if not checks:
        return CaseState.PASSED, ""  # its checkers judge the round as a whole
    worst = Verdict.worst(*(check.verdict for check in checks))
    state = {
        Verdict.VALID: CaseState.PASSED,
        Verdict.UNKNOWN: CaseState.UNKNOWN,
        Verdict.INVALID: CaseState.VIOLATED,
    }[worst]
    if worst is Verdict.VALID:
        return state, ""
    return state, "; ".join(f"{check.checker}: {check.message}" for check in checks if check.verdict is worst)


def _is_whole(recovery: Recovery) -> bool:
    return None not in {recovery.leader, recovery.serving, recovery.writes}


def _recovery_seconds(recovery: Recovery | None) -> float:
    if recovery is None:
        return 0.0
    reached = (recovery.leader, recovery.serving, recovery.writes)
    return max(recovery.limit if seconds is None else seconds for seconds in reached)
