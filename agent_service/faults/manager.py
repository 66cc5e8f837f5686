"""Injects faults and gets rid of them again, whatever happens in between.

::

    prepared ──▶ injected ──▶ healing ──▶ healed
        │                      ▲ │ └────▶ heal_failed ──▶ (healing, again and again)
        └────── no effect ─────┘ └──────▶ failed

The undo is on disk before anything is done. Every injected fault has a lease on the host's monotonic clock;
when nobody renews it, the host heals itself: at once by ``run_leases``, after a crash or a reboot by
``adopt``, and with no agent at all by ``agent_service.faults.heal``. That a fault is there, or gone, is
said after looking.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from agent_service.blockdevice import disk_of
from agent_service.emergency import require_no_stop
from agent_service.errors import (
    AgentServiceError,
    FaultFailedError,
    IllegalStateError,
    UnavailableError,
    UnreachedError,
)
from agent_service.failpoints import HTTP_VARIABLE
from agent_service.faults.admission import answer_again, refuse_conflict
from agent_service.faults.base import REMOVED, HostContext, Resource
from agent_service.faults.execute import act, confirm, lost, objections
from agent_service.faults.journal import NS, Entry, Journal, encode_spec
from agent_service.faults.machine import read_machine
from agent_service.faults.means import means_for
from agent_service.faults.registry import plan_fault, require_capability, resource_of
from agent_service.faults.repeats import Repeats
from agent_service.faults.schedule import HealSchedule
from agent_service.faults.together import together
from agent_service.faults.tombstones import Tombstones
from agent_service.faults.undo import counts, undo
from agent_service.faults.waysin import WaysIn
from agent_service.launch import HostPort, data_dir_of
from agent_service.models import FaultState, MemberState, NetworkFault
from agent_service.processes import ProcessId, boot_id

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from pathlib import Path
    from typing import Any

    from agent_service.audit import AuditLog
    from agent_service.faults.base import NetworkMeans
    from agent_service.faults.journal import HealedBy
    from agent_service.member import MemberControl
    from agent_service.models import FaultPlan, FaultRequest, FaultSpec, FaultStatus
    from agent_service.settings import AgentSettings

AGENT: Final = "agent"
"""Who heals what nobody asked to heal, in the audit log."""

_EXAMPLE_ID: Final = "FAULT-ID"
_TURN_SECONDS: Final = 10.0
"""How long the next fault to heal waits for the one before: less than systemd waits for the agent."""
_log = logging.getLogger(__name__)


class FaultManager:
    """All faults of this host. ``member`` must be adopted first: that makes this process their only owner."""

    def __init__(self, settings: AgentSettings, member: MemberControl, audit: AuditLog) -> None:
        self._settings = settings
        self._member = member
        self._audit = audit
        self._journal = Journal(settings.state_dir / "faults")
        self._schedule = HealSchedule()
        self._locks = {resource: asyncio.Lock() for resource in Resource}
        self._changed = asyncio.Event()
        self._ways_in = WaysIn(settings)
        self._tombstones = Tombstones()
        self._repeats = Repeats(self._journal, self._repeat)
        self._running: set[asyncio.Task[FaultStatus]] = set()
        self._stopping = False

    # --- at the start, and all the time ----------------------------------------------------------------

    async def adopt(self, by: HealedBy = "agent-start") -> tuple[FaultStatus, ...]:
        """Read the journal: faults with a live lease go on, all others are undone, newest first.

        Returns those it undid, or could not undo.
        """
        await self._journal.load()
        undone: dict[str, HealedBy] = {}
        for entry in self._journal.newest_first():
            here = entry.state is FaultState.INJECTED and entry.boot_id == boot_id()
            if entry.steps.until == "next-agent" and by == "agent-start":
                here = False
            if entry.active and (not here or self._schedule.is_due(entry)):
                expired_meanwhile = here and by == "agent-start"
                undone[entry.id] = "lease" if expired_meanwhile else by
        return await self._heal_in_turn(undone, AGENT)

    async def run_leases(self) -> None:
        """Heal what expires, and try again what could not be healed, until cancelled."""
        healing: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                self._changed.clear()
                healing = {fault_id: task for fault_id, task in healing.items() if not task.done()}
                for entry in self._journal.newest_first():
                    if self._schedule.is_due(entry) and entry.id not in healing:
                        # One whose undo hangs must not keep the others from theirs.
                        healing[entry.id] = asyncio.create_task(self._heal_due(entry))
                        healing[entry.id].add_done_callback(lambda _: self._changed.set())
                waiting = [entry for entry in self._journal.oldest_first() if entry.id not in healing]
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._schedule.seconds_until_due(waiting)):
                        await self._changed.wait()
        finally:
            for task in healing.values():
                task.cancel()
            await asyncio.gather(*healing.values(), return_exceptions=True)

    async def run_repeats(self) -> None:
        """Do again what held faults do again and again, until cancelled."""
        await self._repeats.run()

    @property
    def damaged(self) -> tuple[Path, ...]:
        """Journal files that cannot be read: nothing is injected until a person has looked at them."""
        return self._journal.damaged

    # --- requests --------------------------------------------------------------------------------------

    async def plan(self, spec: FaultSpec) -> FaultPlan:
        """What this fault would do to a running member; nothing is touched."""
        means = await self._look(spec)
        return plan_fault(_EXAMPLE_ID, spec, self._host(means, as_if_running=True)).plan()

    async def inject(self, request: FaultRequest, who: str) -> FaultStatus:
        """Inject and verify. The same request again is the same fault, whatever has become of it.

        Raises:
            IllegalStateError: the member is in no state for it, another fault is in the way, the id
                belongs to another fault, or it was healed before it came.
            RefusedError: it would hit what is protected, or nothing may be injected on this host.
            UnavailableError: this host cannot do it, or cannot write down how to undo it.
            FaultFailedError: it had no effect; what was done is undone.
        """
        return await self._to_the_end(self._inject(request, who))

    async def heal(self, fault_id: str, who: str, by: HealedBy = "request") -> FaultStatus:
        """Undo and verify; a fault that is over stays as it is. The state says whether it worked.

        Raises:
            NotFoundError: there is no such fault; one of this id that comes later is refused.
        """
        if self._journal.find(fault_id) is None:
            self._tombstones.bury(fault_id)
        return await self._to_the_end(self._heal(fault_id, who, by))

    async def renew(self, fault_id: str, lease_seconds: float, who: str) -> FaultStatus:
        """A new lease, counted from now.

        Raises:
            NotFoundError: there is no such fault.
            IllegalStateError: it is not injected (any more).
        """
        async with self._lock_of(fault_id):
            entry = self._journal.get(fault_id)
            if entry.state is not FaultState.INJECTED:
                raise IllegalStateError(f"fault {fault_id} is {entry.state}", state=entry.state)
            expires = time.monotonic_ns() + int(lease_seconds * NS)
            await self._note(replace(entry, expires_monotonic_ns=expires, renewed_by=who))
            if (
                entry.renewed_by != who
            ):  # else a fault held for days would push out of the log who injected it
                await self._tell(who, "fault renew", entry, f"{lease_seconds:g} s, and from now on")
            return self.get(fault_id)

    async def heal_all(self, by: HealedBy, who: str) -> tuple[FaultStatus, ...]:
        """Heal every fault that may be in effect, newest first; one that fails does not stop the others.

        By ``agent-stop`` it is the end: what is being injected is waited for, and nothing is injected after.
        """
        if by == "agent-stop":
            self._stopping = True
            await asyncio.gather(*self._running, return_exceptions=True)
        active = [
            entry.id
            for entry in self._journal.newest_first()
            if entry.active and not (by == "agent-stop" and _ends_with_boot(entry))
        ]
        return await self._heal_in_turn(dict.fromkeys(active, by), who)

    def list(self) -> tuple[FaultStatus, ...]:
        """All faults that are remembered, oldest first."""
        return tuple(entry.status() for entry in self._journal.oldest_first())

    def get(self, fault_id: str) -> FaultStatus:
        """One fault; raises ``NotFoundError``."""
        return self._journal.get(fault_id).status()

    # --- injecting -------------------------------------------------------------------------------------

    async def _inject(self, request: FaultRequest, who: str) -> FaultStatus:
        async with self._locks[resource_of(request.spec)]:
            await require_capability(request.spec, self._settings)
            known = self._journal.find(request.id)
            if known is not None:
                return answer_again(known, request)
            if self._stopping:
                raise UnavailableError("the agent stops", remedy="try again when it runs")
            refuse_conflict(request.spec, self._journal)
            means = await self._look(request.spec)
            entry = self._prepare(request, means)
            # Nothing is awaited between these looks and the entry: a stop or a heal that comes later finds it.
            require_no_stop(self._settings.state_dir)
            if self._tombstones.holds(request.id):
                raise IllegalStateError(
                    f"fault {request.id} was healed before it came",
                    state=FaultState.HEALED,
                    remedy="give it another id if it is still wanted",
                )
            looking = asyncio.create_task(self._answering(request.spec))
            try:
                await self._journal.begin(entry)  # no undo on disk: no fault
            except BaseException:
                looking.cancel()
                raise
            return await self._carry_out(entry, await looking, request.lease_seconds, who)

    def _prepare(self, request: FaultRequest, means: NetworkMeans | None) -> Entry:
        return Entry(
            id=request.id,
            sequence=self._journal.next_sequence(),
            spec=encode_spec(request.spec),
            reason=request.reason,
            steps=plan_fault(request.id, request.spec, self._host(means)),
            state=FaultState.PREPARED,
            boot_id=boot_id(),
            expires_monotonic_ns=time.monotonic_ns() + int(request.lease_seconds * NS),
        )

    async def _answering(self, spec: FaultSpec) -> frozenset[int]:
        """The ways into this host that a fault of this kind must not take away."""
        return await self._ways_in.answering() if resource_of(spec).is_traffic else frozenset()

    async def _carry_out(
        self, entry: Entry, answering: frozenset[int], lease_seconds: float, who: str
    ) -> FaultStatus:
        try:
            for action in entry.steps.inject:
                await act(action, self._member, _cause(entry))
            evidence, _ = await together(
                confirm(entry.steps.verify_injected, self._member), self._ways_in.require(answering)
            )
        except Exception as error:  # a defect, too, must leave nothing behind
            undone = await self._undo(entry, "failed-injection")
            await self._tell(who, "fault inject", entry, f"{undone.state}: {error}")
            if not isinstance(error, AgentServiceError):
                raise
            kind = UnreachedError if isinstance(error, UnreachedError) else FaultFailedError
            raise kind(
                f"fault {entry.id} had no effect: {error.detail}; it is {undone.state}: {undone.evidence}",
                remedy=error.remedy,
            ) from error
        now = time.monotonic_ns()
        injected = replace(
            entry,
            state=FaultState.INJECTED,
            evidence=evidence,
            injected_monotonic_ns=now,
            expires_monotonic_ns=now + int(lease_seconds * NS),
        )
        await together(self._note(injected), self._tell(who, "fault inject", injected, "injected"))
        return self.get(entry.id)

    async def _repeat(self, fault_id: str) -> None:
        async with self._lock_of(fault_id):
            entry = self._journal.get(fault_id)
            if entry.state is not FaultState.INJECTED or entry.steps.repeat is None:
                return  # it was healed while this waited
            problem = entry.repeat_problem
            try:
                for action in entry.steps.repeat.actions:
                    await act(action, self._member, _cause(entry))
            except AgentServiceError as error:
                problem = error.detail
            await self._note(replace(entry, repeats=entry.repeats + 1, repeat_problem=problem))

    # --- healing ---------------------------------------------------------------------------------------

    async def _heal(self, fault_id: str, who: str, by: HealedBy) -> FaultStatus:
        async with self._lock_of(fault_id):
            entry = self._journal.get(fault_id)
            renewed = by == "lease" and not self._schedule.is_due(entry)  # while this heal waited
            if entry.active and not renewed:
                healed = await self._undo(entry, by, who)
                return healed.status()  # which may be so old that it is forgotten by now
            return entry.status()

    async def _undo(self, entry: Entry, by: HealedBy, healer: str | None = None) -> Entry:
        """Undo, look and note. ``healer`` is who is said in the audit log to have healed it; ``None``: nobody."""
        injected, gone, effect = entry.state is FaultState.INJECTED, None, ""
        if injected and entry.steps.verify_effect:
            gone = await objections(entry.steps.verify_effect, self._member)
            effect = "" if gone else "; ".join(map(str, entry.steps.verify_effect))
            by = "failed-injection" if gone else by
        never_injected = "failed-injection" in {
            entry.healed_by,
            by,
        }  # also when that undo goes on after a crash
        entry = replace(
            entry, state=FaultState.HEALING, healed_by="failed-injection" if never_injected else by
        )
        # What it still does is looked at while it is noted that it ends.
        lasting = entry.steps.verify_injected if injected and by == "request" else ()
        counting = entry.steps if injected else None
        _, lost_before, counted = await together(
            self._note(entry), lost(lasting, self._member), counts(counting)
        )
        if lost_before is not None:
            gone, entry = lost_before, replace(entry, healed_by="somebody-else")
        outcome = await undo(entry.steps, self._member, _cause(entry))
        if outcome.gone:
            self._schedule.healed(entry.id)
            state = FaultState.FAILED if never_injected else FaultState.HEALED
            entry = replace(entry, state=state, healed_monotonic_ns=time.monotonic_ns())
        else:
            delay = self._schedule.failed(entry.id)
            entry = replace(entry, state=FaultState.HEAL_FAILED)
            _log.error("fault %s is not healed, next try in %g s: %s", entry.id, delay, outcome.evidence)
        evidence = outcome.evidence if gone is None else f"before: {gone}; now: {outcome.evidence}"
        entry = replace(entry, evidence="; ".join(filter(None, (effect, counted, evidence))))
        if healer is None:
            await self._note(entry)
        else:
            await together(self._note(entry), self._tell(healer, "fault heal", entry, entry.state))
        await self._journal.forget_oldest()
        return entry

    async def _heal_in_turn(self, faults: Mapping[str, HealedBy], who: str) -> tuple[FaultStatus, ...]:
        """Heal one after the other. One whose undo hangs goes on beside the next; its state says so."""
        statuses = []
        for fault_id, by in faults.items():
            task = asyncio.create_task(self.heal(fault_id, who, by))
            try:
                await asyncio.wait({task}, timeout=_TURN_SECONDS)
            except asyncio.CancelledError:
                task.cancel()  # what it does comes to its end all the same
                raise
            statuses.append(task.result() if task.done() else self.get(fault_id))
        return tuple(statuses)

    async def _heal_due(self, entry: Entry) -> None:
        try:
            await self.heal(entry.id, AGENT, entry.healed_by or "lease")
        except Exception:  # noqa: BLE001 - the one task that heals by itself must outlive its own defects
            _log.exception("cannot heal fault %s", entry.id)
            self._schedule.failed(entry.id)

    # --- within ----------------------------------------------------------------------------------------

    async def _look(self, spec: FaultSpec) -> NetworkMeans | None:
        """What a plan needs to know of the host beside its member."""
        return await means_for(spec, self._settings.state_dir) if isinstance(spec, NetworkFault) else None

    def _host(self, means: NetworkMeans | None, *, as_if_running: bool = False) -> HostContext:
        state, process, spec = self._member.state, self._member.process, self._member.spec
        if as_if_running:
            state, process = MemberState.RUNNING, process or ProcessId(0, 0, boot_id())
        there = spec if state not in REMOVED else None
        data = None if there is None else data_dir_of(self._settings, there)
        return HostContext(
            member_state=state,
            process=process,
            client_port=None if there is None else HostPort.of(there.client_url).port,
            peer_port=None if there is None else HostPort.of(there.peer_url).port,
            protected_ports=tuple(sorted({*self._settings.protected_ports, self._settings.port})),
            data_dir=None if data is None else str(data),
            data_disk=None if data is None else disk_of(data),
            machine=read_machine(self._settings, process),
            failpoint_address=None if there is None else there.env.get(HTTP_VARIABLE),
            network=means,
            disk_layer=as_if_running or (there is not None and there.disk == "fuse"),
        )

    def _lock_of(self, fault_id: str) -> asyncio.Lock:
        return self._locks[resource_of(self._journal.get(fault_id).fault_spec())]

    async def _note(self, entry: Entry) -> None:
        await self._journal.note(entry)
        self._changed.set()
        self._repeats.look_again()

    async def _tell(self, who: str, what: str, entry: Entry, outcome: str) -> None:
        detail = {"fault": entry.id, "kind": entry.fault_spec().kind, "reason": entry.reason}
        await self._audit.tell(who, what, detail, outcome)

    async def _to_the_end(self, work: Coroutine[Any, Any, FaultStatus]) -> FaultStatus:
        """A client that hangs up must not leave a fault half done."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    def _finished(self, task: asyncio.Task[FaultStatus]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked may be gone; what became of the fault is in the journal


def _ends_with_boot(entry: Entry) -> bool:
    """Whether the agent ends because its host goes down by this fault: the next boot undoes it."""
    return entry.steps.until == "next-boot" and entry.boot_id == boot_id()


def _cause(entry: Entry) -> str:
    return f"fault {entry.id}"
