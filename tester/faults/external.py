"""A fault of the user's own: a script on the controller, called with ``enable`` or ``disable`` and the round."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tester.errors import FaultIneffectiveError, HealError
from tester.events import FaultHealed, FaultInjected
from tester.faults.finish import to_the_end
from tester.faults.specs import fault_id
from tester.orchestration.scripts import NoScriptError, ScriptError, program_of, run_script

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tester.faults.case_fault import Whole
    from tester.faults.scene import Scene
    from tester.partitions import Cut
    from tester.scenario.faults.hosts import ExternalSection

_CONTROLLER = "controller"


class ExternalFault:
    """A ``Driver`` that calls a script. It hits whom it hits: nobody but the script knows, and no lease holds it."""

    def __init__(self, fault: ExternalSection, label: str, scene: Scene) -> None:
        self._fault = fault
        self._script = program_of(fault.script)
        self._scene = scene
        self._id = fault_id(scene.run, scene.round, label, _CONTROLLER)
        self._output = scene.outputs / f"external-{label}.log"
        self._called = False
        self._enabled_ns: int | None = None
        self._healing_ns: int | None = None
        self._healed = False
        self._healing = asyncio.Lock()

    @property
    def targets(self) -> tuple[str, ...]:
        """Nobody that is known here."""
        return ()

    @property
    def held_seconds(self) -> float | None:
        """From the end of ``enable`` to the start of ``disable``; ``None`` before."""
        if self._enabled_ns is None or self._healing_ns is None:
            return None
        return (self._healing_ns - self._enabled_ns) / 1e9

    async def inject(self, members: Sequence[str], whole: Whole, cuts: Mapping[str, Cut]) -> None:  # noqa: ARG002
        """Call ``enable``.

        Raises:
            FaultIneffectiveError: it failed; ``disable`` has been called by then.
            HealError: both failed.
        """
        self._called = True
        try:
            await self._call("enable")
        except ScriptError as error:
            if isinstance(error, NoScriptError):
                self._called = False  # there is nothing that ``disable`` could undo
            await self.heal()
            raise FaultIneffectiveError(
                f"fault {self._id}: {error.message}", remedy=error.remedy or "nothing was tested by this case"
            ) from error
        self._enabled_ns = self._scene.clock.now()
        kind = self._fault.kind()
        event = FaultInjected(self._enabled_ns, self._id, kind, _CONTROLLER, "the script said so")
        self._scene.bus.publish(event)

    async def heal(self) -> None:
        """Call ``disable`` if ``enable`` was called, however that ended. Once it has worked, nothing more.

        Raises:
            HealError: it failed.
        """
        await to_the_end(self._disable())

    def raise_if_ended_early(self) -> None:
        """Nobody can know."""

    async def _disable(self) -> None:
        async with self._healing:
            if not self._called or self._healed:
                return
            self._healing_ns = self._healing_ns or self._scene.clock.now()
            try:
                await self._call("disable")
            except ScriptError as error:
                remedy = f"run: {self._script} disable {self._scene.round}"
                raise HealError(f"fault {self._id}: {error.message}", remedy=remedy) from error
            self._healed = True
        if self._enabled_ns is not None:
            at_ns = self._scene.clock.now()
            event = FaultHealed(at_ns, self._id, self._fault.kind(), _CONTROLLER, "the script said so")
            self._scene.bus.publish(event)

    async def _call(self, verb: str) -> None:
        await run_script((self._script, verb, str(self._scene.round)), self._output, self._fault.timeout)
