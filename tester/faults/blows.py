"""Faults that end an agent or its host: nobody can hold them by a lease, and they are over when it is back."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent_client.errors import AgentClientError, AgentUnreachableError
from agent_service.models import FaultRequest, FaultState
from tester.errors import FaultIneffectiveError, HealError, InfrastructureError
from tester.events import FaultHealed, FaultInjected, Progress
from tester.faults.finish import to_the_end
from tester.faults.specs import fault_id
from tester.orchestration.power import switch_on
from tester.scenario.faults import Place, PowerOffSection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent_service.models import FaultStatus
    from tester.faults.case_fault import Whole
    from tester.faults.scene import FaultTiming, Scene
    from tester.faults.specs import FaultAgent
    from tester.inventory import Host
    from tester.partitions import Cut
    from tester.scenario.faults.hosts import BlowSection

_POLL_SECONDS: Final = 0.25
_PROGRESS_SECONDS: Final = 5.0
_FALL_POLL_SECONDS: Final = 0.05
_SWITCH_SECONDS: Final = 10.0
_SILENCE_SECONDS: Final = 1.0
"""An agent that says nothing for so long has been hit."""


@dataclass(slots=True)
class _Struck:
    """One host that is hit; ``healed`` once its agent has said so."""

    host: Host
    agent: FaultAgent
    request: FaultRequest
    ordered: bool = False
    healed: bool = False


class BlowFault:
    """A blow against agents or hosts; a ``Driver``.

    The agent notes its undo, answers, and is hit a second later. Healing waits until it is back, and asks: that the
    host was down, or the agent was another one or stood still, is seen by the agent that came back.
    """

    def __init__(self, fault: BlowSection, label: str, scene: Scene, timing: FaultTiming) -> None:
        self._fault = fault
        self._label = label
        self._scene = scene
        self._timing = timing
        self._struck: list[_Struck] = []
        self._injected_ns: int | None = None
        self._healing_ns: int | None = None
        self._healing = asyncio.Lock()
        self._ineffective: list[str] = []
        self._told = False

    @property
    def targets(self) -> tuple[str, ...]:
        """The members that are hit so far."""
        return tuple(struck.host.name for struck in self._struck)

    @property
    def held_seconds(self) -> float | None:
        """From the order to the start of healing; ``None`` before."""
        if self._injected_ns is None or self._healing_ns is None:
            return None
        return (self._healing_ns - self._injected_ns) / 1e9

    async def inject(self, members: Sequence[str], whole: Whole, cuts: Mapping[str, Cut]) -> None:  # noqa: ARG002
        """Order the blow on all members at once.

        Raises:
            FaultIneffectiveError: an agent refused; where it fell, the host is back by then.
            HealError: that, and a host is not.
        """
        self._struck = [self._prepare(name) for name in members]
        self._refuse_what_nobody_switches_on()
        ends = await asyncio.gather(*map(self._order, self._struck))
        self._injected_ns = self._scene.clock.now()
        problems = [end for end in ends if end is not None]
        if not problems:
            await asyncio.gather(*map(self._until_it_falls, self._struck))
        if problems:
            await self.heal()
            raise FaultIneffectiveError("\n".join(problems), remedy="nothing was tested by this case")

    async def heal(self) -> None:
        """Switch on what is off, wait until every agent is back, and see that it has undone it.

        Raises:
            HealError: a host is not back in time.
            FaultIneffectiveError: all are back, and one had never been away.
        """
        await to_the_end(self._undo())
        self.raise_if_ended_early()

    def raise_if_ended_early(self) -> None:
        """Tell, once, of blows that never fell."""
        if self._ineffective and not self._told:
            self._told = True
            raise FaultIneffectiveError(
                "\n".join(self._ineffective), remedy="nothing was tested by this case"
            )

    # --- within ----------------------------------------------------------------------------------------

    def _prepare(self, member: str) -> _Struck:
        scene = self._scene
        host = next(host for host in scene.hosts if host.name == member)
        request = FaultRequest(
            id=fault_id(scene.run, scene.round, self._label, member),
            spec=self._fault.spec(Place(host, scene.hosts)),
            # The lease must outlast a slow host's way down: what is healed before it falls does not fall.
            lease_seconds=self._timing.lease + self._fault.back,
            reason=f"run {scene.run} round {scene.round} case {self._label}",
        )
        return _Struck(host, scene.agents[member], request)

    def _refuse_what_nobody_switches_on(self) -> None:
        if not isinstance(self._fault, PowerOffSection):
            return
        dark = [struck.host.name for struck in self._struck if struck.host.power_on is None]
        if dark:
            self._struck = []
            raise FaultIneffectiveError(
                f"nobody could switch {', '.join(dark)} on again",
                remedy="name a script in the inventory: etcd_chaos_power_on",
            )

    async def _order(self, struck: _Struck) -> str | None:
        where = f"host {struck.host.name}: fault {struck.request.id} ({self._fault.kind()})"
        try:
            async with asyncio.timeout(self._timing.inject):
                status = await struck.agent.inject(struck.request)
        except (AgentClientError, TimeoutError) as error:
            return f"{where} was not injected: {str(error) or 'no answer in time'}"
        if status.state is not FaultState.INJECTED:
            return f"{where} had no effect (it is {status.state}): {status.evidence}"
        struck.ordered = True
        at_ns = self._scene.clock.now()
        kind, name = self._fault.kind(), struck.host.name
        self._scene.bus.publish(FaultInjected(at_ns, struck.request.id, kind, name, status.evidence))
        return None

    async def _until_it_falls(self, struck: _Struck) -> None:
        """Wait until the agent is silent, or back already. One that never falls is told of when it is healed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._fault.back):
                while await self._is_held(struck):  # noqa: ASYNC110 - another process decides
                    await asyncio.sleep(_FALL_POLL_SECONDS)

    async def _is_held(self, struck: _Struck) -> bool:
        try:
            async with asyncio.timeout(_SILENCE_SECONDS):
                status = await struck.agent.fault(struck.request.id)
        except TimeoutError:
            return False
        except AgentClientError as error:
            return not is_silence(error)
        return status.state is FaultState.INJECTED

    async def _undo(self) -> None:
        async with self._healing:
            if self._healing_ns is None:
                self._healing_ns = self._scene.clock.now()
            left = [struck for struck in self._struck if not struck.healed]
            ends = await asyncio.gather(*map(self._heal, left), return_exceptions=True)
        problems = [str(end) if isinstance(end, str) else repr(end) for end in ends if end is not None]
        if problems:
            raise HealError(
                "\n".join(problems), remedy=f"etcd-chaos heal --inventory {self._scene.inventory}"
            )

    async def _heal(self, struck: _Struck) -> str | None:
        name = struck.host.name
        try:
            status = await self._until_back(struck)
        except InfrastructureError as error:
            return f"host {name}: {error.message}"
        except TimeoutError:
            return f"host {name}: its agent is not back after {self._fault.back:g} s"
        struck.healed = True
        if status is None:
            return None
        if status.state is FaultState.FAILED and struck.ordered:
            self._ineffective.append(
                f"host {name}: fault {struck.request.id} had no effect: {status.evidence}"
            )
        at_ns = self._scene.clock.now()
        event = FaultHealed(at_ns, struck.request.id, self._fault.kind(), name, status.evidence)
        self._scene.bus.publish(event)
        return None

    def _is_dark(self, struck: _Struck) -> bool:
        return isinstance(self._fault, PowerOffSection) and struck.ordered

    async def _until_back(self, struck: _Struck) -> FaultStatus | None:
        """Ask until the agent says that it is over; ``None``: it never knew of it."""
        now = asyncio.get_running_loop().time
        began = told = now()
        switched = began - _SWITCH_SECONDS if self._is_dark(struck) else math.inf
        trouble = ""
        async with asyncio.timeout(self._fault.back):
            while True:
                # Again and again: a host that is still on its way down cannot be switched on yet.
                if now() - switched >= _SWITCH_SECONDS:
                    switched = now()
                    await switch_on(struck.host, self._scene.outputs)
                try:
                    async with asyncio.timeout(self._timing.attempt):
                        status = await struck.agent.heal(struck.request.id)
                except (AgentClientError, TimeoutError) as error:
                    if not struck.ordered and not is_silence(error):
                        return None
                    trouble = str(error) or "no answer in time"
                else:
                    if status.state in {FaultState.HEALED, FaultState.FAILED}:
                        return status
                    trouble = f"it is {status.state}: {status.evidence}"
                if now() - told >= _PROGRESS_SECONDS:
                    told = now()
                    text = f"waiting for {struck.host.name} for {told - began:.0f} s: {trouble}"
                    self._scene.bus.publish(Progress(text))
                await asyncio.sleep(_POLL_SECONDS)


def is_silence(error: Exception) -> bool:
    """Whether nobody answered."""
    return isinstance(error, (AgentUnreachableError, TimeoutError))
