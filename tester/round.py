"""One round: provision, bootstrap, every case once, compact, clean up. It always ends with clean hosts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from tester.case import CaseRunner, skipped
from tester.compaction import Skipped, compact
from tester.defragmentation import defragment
from tester.errors import EtcdChaosError, ExitCode
from tester.events import CaseFinished, Notice, Phase, RoundStarted
from tester.failpoints import one_for_each_failpoint
from tester.faults.finish import to_the_end
from tester.phases import Phases
from tester.results import CaseResult, CaseState, CheckResult, RoundResult, Verdict
from tester.stage import RoundSetting, Stage, open_stage

if TYPE_CHECKING:
    from tester.faults import Scene
    from tester.scenario.model import CaseSection

_CODES = {
    CaseState.PASSED: ExitCode.VALID,
    CaseState.SKIPPED: ExitCode.VALID,
    CaseState.VIOLATED: ExitCode.INVALID,
    CaseState.UNKNOWN: ExitCode.INFRASTRUCTURE,
    CaseState.ERROR: ExitCode.INFRASTRUCTURE,
}

Play: TypeAlias = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class RoundPlays:
    """What Ansible does around a round."""

    provision: Play
    collect: Play
    """Fetch the members' logs (and data, if the run was asked to)."""
    cleanup: Play


@dataclass(slots=True)
class _Course:
    """What is known of a round so far."""

    cases: list[CaseResult] = field(default_factory=list)
    checks: tuple[CheckResult, ...] = ()
    notes: tuple[str, ...] = ()
    fatal: EtcdChaosError | None = None
    code: ExitCode = ExitCode.VALID


class RoundRunner:
    """Runs one round. Not reusable.

    Args:
        setting: what the round is given.
        scene: where its faults happen.
        plays: what Ansible does around it.
        interrupted: says whether a cancellation is a person's wish: the round then ends early, but in order,
            with a result. Any other cancellation goes through.
    """

    def __init__(
        self, setting: RoundSetting, scene: Scene, plays: RoundPlays, interrupted: Callable[[], bool]
    ) -> None:
        self._setting = setting
        self._scene = scene
        self._plays = plays
        self._interrupted = interrupted
        self._phases = Phases(setting.clock, setting.bus, setting.number)
        self._course = _Course()
        self._planned = setting.plan.cases(setting.number)

    async def run(self) -> RoundResult:
        """Run it to its end. Whatever goes wrong is in the result."""
        started = self._setting.clock.now()
        self._setting.bus.publish(RoundStarted(self._setting.number, started))
        try:
            await self._orderly(self._run())
        finally:
            await self._orderly(to_the_end(self._clean_up()))
        return self._result((self._setting.clock.now() - started) / 1e9)

    async def _orderly(self, step: Coroutine[Any, Any, None]) -> None:
        try:
            await step
        except EtcdChaosError as error:
            self._fail(error)
        except asyncio.CancelledError:
            if not self._interrupted():
                raise
            self._course.code = ExitCode.worst(self._course.code, ExitCode.INTERRUPTED)
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
        except Exception:
            # A defect of ours gets out; what members have logged until then is collected before it is cleaned up.
            self._course.code = ExitCode.worst(self._course.code, ExitCode.INFRASTRUCTURE)
            raise

    async def _run(self) -> None:
        with self._phases.phase(Phase.PROVISION):
            await self._plays.provision()
        limit = self._setting.plan.scenario.limits.round
        deadline = asyncio.timeout(limit)
        try:
            async with deadline, open_stage(self._setting, self._phases) as stage:
                await self._cases(stage)
                if self._course.fatal is None:
                    await self._judge(stage)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise EtcdChaosError(
                f"round {self._setting.number} was not done after {limit:g} s",
                remedy="limits.round in the scenario allows more time",
            ) from error

    async def _cases(self, stage: Stage) -> None:
        plan, number = self._setting.plan, self._setting.number
        agents = {host.name: stage.setting.agents[host.name] for host in plan.initial}
        self._planned = await one_for_each_failpoint(self._planned, agents)
        for case in self._planned:
            draw = partial(plan.target_stream, number, case)
            act = partial(plan.action_stream, number, case)
            runner = CaseRunner(stage, self._scene, case, draw, act)
            try:
                end = await runner.run()
            except asyncio.CancelledError:
                self._finish(runner.broken_off(f"{self._ended_by()} while it ran"))
                raise
            self._finish(end.result)
            if end.fatal is not None:
                self._fail(end.fatal)
                return
            if end.result.state is CaseState.VIOLATED:
                # What etcd has bent stays bent: later cases of this cluster would only find it again.
                self._setting.bus.publish(
                    Notice(
                        "the round ends here: what comes next would be judged on a bent cluster", warning=True
                    )
                )
                return

    async def _judge(self, stage: Stage) -> None:
        with self._phases.phase(Phase.CHECK):
            checks = await stage.check("round", "round")
        await stage.load.stop()
        self._course.checks = checks
        with self._phases.phase(Phase.COMPACT):
            await self._tidy(stage)

    async def _tidy(self, stage: Stage) -> None:
        scenario, course = self._setting.plan.scenario, self._course
        done = await compact(stage.admin_endpoints, scenario.keep_revisions, stage.note_compaction)
        if isinstance(done, Skipped):
            course.notes = (f"compaction skipped: {done.reason}",)
            self._setting.bus.publish(Notice(course.notes[0]))
        else:
            course.checks = (*course.checks, done)
        if scenario.defragment_every and self._setting.number % scenario.defragment_every == 0:
            course.checks = (*course.checks, await defragment(stage.admin_endpoints))

    async def _clean_up(self) -> None:
        for case in self._left_out():
            self._finish(skipped(case, f"{self._ended_by()} before it"))
        with self._phases.phase(Phase.CLEANUP):
            try:
                if self._code() is not ExitCode.VALID:
                    await self._attempt(self._plays.collect, "the members' logs were not collected")
            finally:
                await self._attempt(self._plays.cleanup, "the hosts were not cleaned up")

    async def _attempt(self, play: Play, consequence: str) -> None:
        try:
            await play()
        except EtcdChaosError as error:
            self._setting.bus.publish(Notice(f"{consequence}: {error.message}", warning=True))
            self._fail(error)

    def _fail(self, error: EtcdChaosError) -> None:
        self._course.code = ExitCode.worst(self._course.code, error.exit_code)
        if self._course.fatal is None:
            self._course.fatal = error

    def _finish(self, result: CaseResult) -> None:
        self._course.cases.append(result)
        self._setting.bus.publish(CaseFinished(self._setting.number, result))

    def _left_out(self) -> tuple[CaseSection, ...]:
        return self._planned[len(self._course.cases) :]

    def _ended_by(self) -> str:
        return "interrupted" if self._interrupted() else "the round ended"

    def _code(self) -> ExitCode:
        course = self._course
        cases = (_CODES[result.state] for result in course.cases)
        checks = (_check_code(check) for check in course.checks)
        return ExitCode.worst(course.code, *cases, *checks)

    def _tested_nothing(self) -> bool:
        """A round whose every case was skipped says nothing about etcd, whatever its checkers found."""
        return all(result.state is CaseState.SKIPPED for result in self._course.cases)

    def _error(self) -> str | None:
        if self._course.fatal is not None:
            return self._course.fatal.message
        if self._interrupted():
            return "interrupted"
        return "nothing was tested: every case was skipped" if self._tested_nothing() else None

    def _result(self, elapsed_seconds: float) -> RoundResult:
        course, phases = self._course, self._phases
        nothing = ExitCode.INFRASTRUCTURE if self._tested_nothing() else ExitCode.VALID
        return RoundResult(
            number=self._setting.number,
            cases=tuple(course.cases),
            checks=course.checks,
            notes=course.notes,
            error=self._error(),
            remedy=course.fatal.remedy if course.fatal else None,
            exit_code=ExitCode.worst(self._code(), nothing),
            provision_seconds=phases.seconds(Phase.PROVISION),
            bootstrap_seconds=phases.seconds(Phase.BOOTSTRAP),
            cleanup_seconds=phases.seconds(Phase.CLEANUP),
            elapsed_seconds=elapsed_seconds,
        )


def _check_code(check: CheckResult) -> ExitCode:
    return {
        Verdict.VALID: ExitCode.VALID,
        Verdict.UNKNOWN: ExitCode.INFRASTRUCTURE,
        Verdict.INVALID: ExitCode.INVALID,
    }[check.verdict]
