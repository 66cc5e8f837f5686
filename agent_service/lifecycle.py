"""Starts, watches and ends the member process, and keeps the record of it true.

Not safe for concurrent use: ``MemberControl`` does one thing at a time and decides what is legal.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from typing import TYPE_CHECKING, Final

from agent_service import datadir, membertls
from agent_service.disk.holder import is_mounted
from agent_service.disk.layer import DiskLayer, mount_of
from agent_service.diskwriter import DiskWriter
from agent_service.errors import AgentServiceError, IllegalStateError, RefusedError, UnavailableError
from agent_service.launch import HostPort, check_spec, data_dir_of, etcd_argv
from agent_service.logfile import dying_words, first_line, last_lines, log_size
from agent_service.member_record import Ending, MemberRecord, load_record, save_record
from agent_service.models import ExitRecord, MemberSpec, MemberState
from agent_service.processes import ProcessId, ProcessWatch, boot_id, is_stopped
from agent_service.readiness import until_answers
from agent_service.supervisor.base import Launch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from agent_service.settings import AgentSettings
    from agent_service.supervisor.base import Supervisor

_ADOPTED_GRACE_SECONDS: Final = 5.0
"""For an end that the last agent did not finish: its own grace is not on record."""
_FIRST_MOMENTS_SECONDS: Final = 1.0
_KILL_SECONDS: Final = 15.0
_PAUSE_SECONDS: Final = 2.0
_PAUSE_POLL_SECONDS: Final = 0.001
_WITH_DISK: Final = frozenset(MemberState) - {MemberState.UNINITIALIZED, MemberState.TERMINATED}
_EXIT_TAIL_LINES: Final = 40
_MESSAGE_TAIL_LINES: Final = 5

_log = logging.getLogger(__name__)


class Lifecycle:
    """The process and its record. ``on_end`` is called when a process ends; it must see to ``catch_up``."""

    def __init__(
        self, settings: AgentSettings, supervisor: Supervisor, on_end: Callable[[ProcessWatch], None]
    ) -> None:
        self._settings = settings
        self._supervisor = supervisor
        self._on_end = on_end
        self._path = settings.state_dir / "member.json"
        self.log_path: Path = settings.log_dir / "member.log"
        self.disk = DiskLayer(settings)
        self.record = MemberRecord()
        self.watch: ProcessWatch | None = None
        self.damage: UnavailableError | None = None
        """Why nothing is known of the member, until a person has looked: then it is left alone."""
        self._writer = DiskWriter()

    async def adopt(self) -> None:
        """Read the record, and find the process it speaks of, or learn how that ended.

        A record that is damaged is left as it is: ``damage`` says so.
        """
        try:
            self.record = load_record(self._path)
        except UnavailableError as error:
            _log.error("%s; the member is left alone", error.detail)
            self.damage = error
            return
        if self.record.spec is not None and self.record.spec.disk == "fuse":
            await self.disk.adopt(data_dir_of(self._settings, self.record.spec))
        process = self.record.process
        if process is None and self.record.launching:
            process = (
                await self._supervisor.find()
            )  # the last agent died before it could note down the process
        if process is not None:
            self._begin(process, self.record.started_monotonic_ns or time.monotonic_ns())
            if is_stopped(process):
                self.update(state=MemberState.PAUSED)
            await self.catch_up()
        await self._finish_ending()
        self.update(launching=False)
        await self.note()

    async def _finish_ending(self) -> None:
        """End what the last agent was ending when it died.

        The signal may have been sent or not: a member left alone could end after its fault was undone, and an
        end that was asked for once must not explain one that comes much later.
        """
        if self.watch is None or self.record.ending is None:
            return
        try:
            await self.end(self.record.ending, _ADOPTED_GRACE_SECONDS)
        except UnavailableError as error:
            _log.error("%s", error.detail)

    @property
    def state(self) -> MemberState:
        """The state as it is this very moment.

        An end that nobody asked for shows at once; its record follows when the exit status is known.
        """
        asked = self.record.ending or self.record.foreseen
        ended_unasked = self.watch is not None and self.watch.ended and asked is None
        return MemberState.EXITED if ended_unasked else self.record.state

    @property
    def process(self) -> ProcessId | None:
        """The member's process while it lives."""
        return None if self.watch is None or self.watch.ended else self.watch.process

    def last_spec(self) -> MemberSpec:
        """What was started last; raises ``IllegalStateError`` when nothing ever was."""
        if self.record.spec is None:
            raise IllegalStateError("no member was ever started here", state=self.record.state)
        return self.record.spec

    # --- starting -----------------------------------------------------------------------------------------

    async def launch_again(self, clock_offset_seconds: int = 0) -> None:
        """Start the last spec on the data it left; without them another, empty member would come back."""
        spec = self.last_spec()
        await asyncio.to_thread(
            datadir.check_owned, data_dir_of(self._settings, spec), self._settings.data_roots
        )
        await self.launch(spec, clock_offset_seconds)

    async def launch(self, spec: MemberSpec, clock_offset_seconds: int = 0) -> None:
        """Start a member while none runs, and wait until it has survived its first moments.

        With an offset its monotonic clock is ahead of the host's by so many seconds.
        """
        settings = self._settings
        binary = await asyncio.to_thread(check_spec, settings, spec)
        data = data_dir_of(settings, spec)
        await asyncio.to_thread(
            datadir.create_owned,
            data,
            settings.data_roots,
            host=settings.host,
            purpose=f"data of member {spec.name}",
            user=settings.member_user,
        )
        # Noted before the launch: an agent that dies in between still finds its member.
        layered = (str(mount_of(data)),) if spec.disk == "fuse" else ()
        dirs = tuple(dict.fromkeys((*self.record.data_dirs, str(data), *layered)))
        self.update(spec=spec, launching=True, data_dirs=dirs, log_offset=log_size(self.log_path))
        await self._save()
        argv = etcd_argv(binary, spec, await self._disk_of(data, spec), membertls.flags(settings, spec))
        launch = Launch(
            argv=argv,
            env=dict(spec.env),
            log=self.log_path,
            user=settings.member_user,
            clock_offset_seconds=clock_offset_seconds,
        )
        try:
            process = await self._supervisor.launch(launch)
        except AgentServiceError:
            self.update(launching=False)  # or the next agent would take what else runs there for this member
            await self.note()
            raise
        watch = self._begin(process, time.monotonic_ns())
        await self.note()
        await self._survive_first_moments(watch, HostPort.of(spec.peer_url))

    async def _disk_of(self, data: Path, spec: MemberSpec) -> Path:
        """Where this member sees its data."""
        if spec.disk == "fuse":
            return await self.disk.attach(data)
        if is_mounted(mount_of(data)):
            await self.disk.detach(data)
        return data

    def _begin(self, process: ProcessId, started_monotonic_ns: int) -> ProcessWatch:
        self.update(
            state=MemberState.RUNNING,
            launching=False,
            process=process,
            started_monotonic_ns=started_monotonic_ns,
        )
        self.watch = ProcessWatch(process, self._on_end)
        return self.watch

    async def _survive_first_moments(self, watch: ProcessWatch, peer: HostPort) -> None:
        serving = asyncio.create_task(until_answers(peer))
        ended = asyncio.create_task(watch.wait(_FIRST_MOMENTS_SECONDS))
        try:
            await asyncio.wait({serving, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (serving, ended):
                task.cancel()
            await asyncio.gather(serving, ended, return_exceptions=True)
        if not watch.ended:
            return
        await self.catch_up()
        last = self.record.exits[-1]
        how = f"signal {last.signal}" if last.signal is not None else f"status {last.code}"
        # A wrong flag is named first, before pages of usage; anything else comes last.
        since = self.record.log_offset
        first, dying = first_line(self.log_path, since=since), dying_words(self.log_path, since=since)
        words = "\n".join(filter(None, dict.fromkeys((first, dying, *last.log_tail[-_MESSAGE_TAIL_LINES:]))))
        raise RefusedError(
            f"etcd ended with {how} right after its start. Its first and last words:\n{words}",
            remedy="correct the spec, or look into the member's log",
        )

    # --- ending -------------------------------------------------------------------------------------------

    async def end(
        self,
        ending: Ending,
        grace_seconds: float,
        once_signalled: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """End the process, if there is one, by the first signal, and by the last after the grace.

        ``once_signalled`` is called after the first signal, before anything is waited for.

        Raises:
            UnavailableError: it does not even die of SIGKILL.
        """
        watch = self.watch
        if watch is None:
            return
        # Noted before the signal: an agent that dies in between still knows that this end was asked for.
        self.update(ending=ending)
        await self.note()
        first, last = signal.Signals(ending.signals[0]), signal.Signals(ending.signals[-1])
        watch.send(first)
        if once_signalled is not None:
            await once_signalled()
        if self.record.state is MemberState.PAUSED:
            watch.send(signal.SIGCONT)  # a stopped process would see the first signal only after the grace
        if first is last or not await watch.wait(grace_seconds):
            watch.send(last)
            if not await watch.wait(_KILL_SECONDS):
                raise UnavailableError(
                    f"etcd (pid {watch.process.pid}) survives SIGKILL: it waits for a disk or is traced",
                    remedy="its end will be noted when it comes; see its state in /proc",
                )
        await self.catch_up()

    async def catch_up(self) -> None:
        """If the process has ended, note how."""
        watch = self.watch
        if watch is None or not await watch.has_ended():
            return
        status = await self._supervisor.exit_status(watch.process)
        cause = self.record.answers_for(status)
        expected = cause is not None
        now = time.monotonic_ns()
        at = now if status is None or status.monotonic_ns is None else status.monotonic_ns
        tail = () if expected else last_lines(self.log_path, _EXIT_TAIL_LINES, since=self.record.log_offset)
        exit_record = ExitRecord(
            pid=watch.process.pid,
            code=None if status is None else status.code,
            signal=None if status is None else status.signal,
            expected=expected,
            cause=cause or self._unexpected(watch.process),
            disk_layer_died=not expected and self.disk_layer_died,
            monotonic_ns=at,
            realtime_ns=time.time_ns() - (now - at),
            log_tail=tail,
        )
        self.watch = None
        self.record = self.record.with_exit(exit_record)
        if not expected:
            _log.warning("the member ended: %s", exit_record.model_dump_json(exclude={"log_tail"}))
        await self.note()

    def _unexpected(self, process: ProcessId) -> str:
        if self.record.ending is not None:
            return f"unexpected, during {self.record.ending.cause}"
        if process.boot_id != boot_id():
            return "unexpected: the host was rebooted"
        return "unexpected: its disk layer had ended" if self.disk_layer_died else "unexpected"

    @property
    def disk_layer_died(self) -> bool:
        """Whether there should be a layer under the member's data, and is none."""
        spec = self.record.spec
        needed = spec is not None and spec.disk == "fuse" and self.record.state in _WITH_DISK
        return needed and not self.disk.alive

    # --- pausing ------------------------------------------------------------------------------------------

    async def pause(self) -> None:
        """SIGSTOP, and wait until every thread stands still; one that waits for a disk does so later."""
        watch = self._living()
        watch.send(signal.SIGSTOP)
        deadline = time.monotonic() + _PAUSE_SECONDS
        while not is_stopped(watch.process):
            if watch.ended:
                await self.catch_up()
                raise IllegalStateError("the member ended while it was being paused", state=self.record.state)
            if time.monotonic() > deadline:
                watch.send(signal.SIGCONT)
                raise UnavailableError("not every thread of etcd stopped: one waits for a disk")
            await asyncio.sleep(_PAUSE_POLL_SECONDS)
        self.update(state=MemberState.PAUSED)
        await self.note()

    async def resume(self) -> None:
        """SIGCONT."""
        self._living().send(signal.SIGCONT)
        self.update(state=MemberState.RUNNING)
        await self.note()

    def _living(self) -> ProcessWatch:
        if self.watch is None:
            raise IllegalStateError("no member runs", state=self.record.state)
        return self.watch

    async def wake_found(self) -> None:
        """SIGCONT to the member that the supervisor knows, where the record does not tell."""
        process = await self._supervisor.find()
        if process is not None:
            watch = ProcessWatch(process, lambda _watch: None)
            watch.send(signal.SIGCONT)
            watch.close()

    # --- the record ---------------------------------------------------------------------------------------

    def update(self, **changes: object) -> None:
        """Change fields of the record, in memory."""
        self.record = self.record.model_copy(update=changes)

    async def note(self) -> None:
        """Save what has already happened: a disk that does not take it cannot undo it, nor delay a heal."""
        try:
            await self._save()
        except UnavailableError as error:
            _log.error("%s", error.detail)

    async def _save(self) -> None:
        record = self.record
        await self._writer.write(lambda: save_record(self._path, record), str(self._path))
