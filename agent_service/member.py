"""The one member of this host.

States and what leads from one to the other (``member_record.LEGAL`` is the table the code obeys)::

    uninitialized ─┐                       ┌───pause───▶ paused
                   ├─ start, restart ─▶ running ◀─resume──┘ │
    stopped ◀──────┼─ stop, kill, quit ───┤ │◀──────────────┘ stop, kill, restart
    exited  ◀──────┼─ (nobody asked) ─────┘ │
    terminated ◀───┴─ terminate ────────────┘

A member that is ``uninitialized`` or ``terminated`` has no data: it can be started, not restarted. Asking
for what is already so changes nothing and is no error. The process belongs to the supervisor and outlives the
agent; ``adopt`` finds it again.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_service import archive, datadir, failpoints, membertls, snapshots
from agent_service.disk.layer import mount_of
from agent_service.errors import IllegalStateError
from agent_service.failpoints import HTTP_VARIABLE
from agent_service.launch import HostPort, check_spec, data_dir_of
from agent_service.lifecycle import Lifecycle
from agent_service.logfile import last_lines, log_size
from agent_service.member_record import Ending, Operation, require
from agent_service.models import DiskLayerStatus, Failpoints, LogTail, MemberState, MemberStatus
from agent_service.readiness import until_answers
from agent_service.statelock import StateLock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from agent_service.disk.layer import DiskLayer
    from agent_service.models import (
        ArchiveRequest,
        ArchiveResult,
        MemberSpec,
        MemberTls,
        RestoredData,
        RestoreRequest,
        StoredSnapshot,
    )
    from agent_service.processes import ProcessId, ProcessWatch
    from agent_service.settings import AgentSettings
    from agent_service.supervisor.base import Supervisor

LOCK_WAIT_SECONDS: Final = 10.0
"""A heal from outside that is just finishing is worth waiting for."""

_WITHOUT_DISK: Final = frozenset({MemberState.UNINITIALIZED, MemberState.TERMINATED})
_SERVES_POLL_SECONDS: Final = 0.02
_QUIT_SECONDS: Final = 10.0
# Its data goes anyway: a graceful end, in which the last members wait seconds for the others, saves nothing.
_TERMINATE_GRACE_SECONDS: Final = 0.5


class MemberControl:
    """Everything that is done to the member goes through here, one thing at a time.

    ``adopt`` comes first and takes the state directory for this process; ``close`` gives it back. Where what is
    written there of the member is damaged, every operation is refused (``UnavailableError``): the agent serves on,
    and faults that are none of the member's are healed.
    """

    def __init__(self, settings: AgentSettings, supervisor: Supervisor) -> None:
        self._settings = settings
        self._supervisor = supervisor
        self._life = Lifecycle(settings, supervisor, self._on_end)
        self._owner = StateLock(settings.state_dir)
        self._lock = asyncio.Lock()
        self._receiving = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def adopt(self, wait_seconds: float = LOCK_WAIT_SECONDS) -> None:
        """At agent start: take the state directory, find the member again, start noticing its end.

        Raises:
            UnavailableError: another process owns the state directory for longer than ``wait_seconds``.
        """
        settings = self._settings
        for directory in (settings.state_dir, settings.log_dir, *settings.data_roots):
            datadir.ensure_directory(directory)
        await self._owner.acquire(wait_seconds)
        async with self._lock:
            await self._life.adopt()

    def close(self) -> None:
        """At agent end: stop watching and give the state directory back. The member runs on."""
        if self._life.watch is not None:
            self._life.watch.close()
        for task in self._tasks:
            task.cancel()
        self._owner.release()

    # --- operations ---------------------------------------------------------------------------------------

    async def start(self, spec: MemberSpec) -> MemberStatus:
        """Start a member, or do nothing when this very one runs.

        Returns when it serves its peers, or when it still lives after a second; it waits for no quorum.

        Raises:
            IllegalStateError: another one runs, or this one is paused.
            RefusedError: the spec asks for what is not allowed, or etcd ended at once (with its last words).
            UnavailableError: the version is not installed, or the supervisor cannot start it.
        """
        async with self._operation(Operation.START) as state:
            if state is not MemberState.RUNNING:
                await self._life.launch(spec)
            elif spec != self._life.record.spec:
                raise IllegalStateError(
                    "a member with another spec runs here",
                    state=state,
                    remedy="stop it before starting this one",
                )
        return self.status()

    async def stop(self, grace_seconds: float, cause: str) -> MemberStatus:
        """SIGTERM, and SIGKILL after the grace."""
        async with self._operation(Operation.STOP):
            await self._life.end(_stop(cause), grace_seconds)
        return self.status()

    async def kill(self, cause: str) -> MemberStatus:
        """SIGKILL."""
        async with self._operation(Operation.KILL):
            await self._life.end(Ending(cause=cause, signals=(signal.SIGKILL,)), 0.0)
        return self.status()

    async def quit(self, cause: str) -> MemberStatus:
        """SIGQUIT: etcd writes the stacks of all its goroutines to the log, and ends."""
        async with self._operation(Operation.QUIT):
            ending = Ending(cause=cause, signals=(signal.SIGQUIT, signal.SIGKILL))
            await self._life.end(ending, _QUIT_SECONDS)
        return self.status()

    async def pause(self) -> MemberStatus:
        """SIGSTOP; returns when every thread stands still."""
        async with self._operation(Operation.PAUSE):
            await self._life.pause()
        return self.status()

    async def resume(self) -> MemberStatus:
        """SIGCONT, also to a member of which nothing else is known."""
        if self._life.damage is not None:
            async with self._lock:
                await self._life.wake_found()
            raise self._life.damage
        async with self._operation(Operation.RESUME):
            await self._life.resume()
        return self.status()

    async def restart(
        self, grace_seconds: float, cause: str, *, clock_offset_seconds: int = 0
    ) -> MemberStatus:
        """Stop it if it runs, then start it again as it was; raises as ``start`` does.

        With an offset its monotonic clock is ahead of the host's by so many seconds, until the next start.
        """
        async with self._operation(Operation.RESTART):
            await self._life.end(_stop(cause), grace_seconds)
            await self._life.launch_again(clock_offset_seconds)
        return self.status()

    async def recover(self) -> MemberStatus:
        """Start a member that ended, as it was; leave one that lives, or that was removed, alone."""
        async with self._operation(Operation.RECOVER) as state:
            if state in {MemberState.STOPPED, MemberState.EXITED}:
                await self._life.launch_again()
        return self.status()

    async def put_tls(self, material: MemberTls) -> MemberStatus:
        """Take the member's certificate and key in; etcd reads them at its next handshake, or its start."""
        async with self._lock:
            await asyncio.to_thread(membertls.install, self._settings, material)
        return self.status()

    async def terminate(self) -> MemberStatus:
        """Stop it and remove its data, certificate and key.

        Raises:
            RefusedError: one of the directories is not the agent's.
        """
        async with self._operation(Operation.TERMINATE):
            await self._life.end(_stop("terminate"), _TERMINATE_GRACE_SECONDS)
            await self._unmount()
            for directory in self._life.record.data_dirs:
                await asyncio.to_thread(datadir.remove_owned, Path(directory), self._settings.data_roots)
            await asyncio.to_thread(membertls.remove, self._settings)
            await asyncio.to_thread(snapshots.remove_all, self._settings)
            await self._supervisor.release()
            if self._life.record.spec is not None:
                self._life.update(state=MemberState.TERMINATED, data_dirs=(), displaced=None)
                await self._life.note()
        return self.status()

    async def archive(self, request: ArchiveRequest) -> ArchiveResult:
        """Move the log, and on request the data, of a member that does not run aside."""
        async with self._operation(Operation.ARCHIVE):
            data = data_dir_of(self._settings, self._life.last_spec()) if request.data else None
            if data is not None:
                await self._unmount()
            result = await asyncio.to_thread(
                archive.store, self._settings, request.label, self.log_path, data
            )
            if request.data:
                self._life.update(state=MemberState.TERMINATED)
                await self._life.note()
        return result

    async def foresee_end(self, cause: str, signals: tuple[int, ...]) -> None:
        """From now on, a held fault may end the member by one of these signals: then it was asked for."""
        async with self._operation(Operation.FORESEE):
            self._life.update(foreseen=Ending(cause=cause, signals=signals))
            await self._life.note()

    async def foresee_no_end(self) -> int:
        """An end is unexpected again. Returns how many the fault brought, of those still on record."""
        async with self._operation(Operation.FORESEE):
            foreseen = self._life.record.foreseen
            self._life.update(foreseen=None)
            await self._life.note()
        if foreseen is None:
            return 0
        return sum(end.expected and end.cause == foreseen.cause for end in self._life.record.exits)

    async def set_data_aside(self, directory: Path, aside: Path) -> None:
        """Rename the data directory of a member that does not run; nothing if that was done.

        Raises:
            RefusedError: it is not the agent's.
            UnavailableError: the disk does not take it.
        """
        async with self._operation(Operation.MOVE_DATA):
            dirs = tuple(dict.fromkeys((*self._life.record.data_dirs, str(aside))))
            self._life.update(data_dirs=dirs)
            await self._life.note()
            await self._unmount()  # a layer would go on to show what is moved away
            await asyncio.to_thread(datadir.rename_owned, directory, aside, self._settings.data_roots)

    async def bring_data_back(self, directory: Path, aside: Path) -> None:
        """Undo that, or remove what was set aside where the member has new data. Raises as it does."""
        async with self._operation(Operation.MOVE_DATA):
            if await asyncio.to_thread(self._gives_way, directory, aside):
                await self._life.end(
                    _stop("heal: restored data that were not kept"), _TERMINATE_GRACE_SECONDS
                )
            if self.process is None:
                await self._unmount()
            await asyncio.to_thread(datadir.restore_owned, directory, aside, self._settings.data_roots)
            if self._life.record.displaced is not None:
                self._life.update(spec=self._life.record.displaced, displaced=None)
                await self._life.note()

    # --- a disaster, and what comes after ------------------------------------------------------------------

    async def store_snapshot(self, sha256: str, size: int, pieces: AsyncIterator[bytes]) -> StoredSnapshot:
        """Take a snapshot in; raises as ``snapshots.store`` does."""
        async with self._receiving:  # two at once would take each other's unfinished file for their own
            return await snapshots.store(self._settings, sha256, size, pieces)

    async def restore(self, request: RestoreRequest) -> RestoredData:
        """Make the data of a member that has none out of a snapshot; raises as ``snapshots.restore`` does.

        Until ``keep_restored``, ``bring_data_back`` removes them and brings the old ones and the old spec back.
        """
        async with self._operation(Operation.RESTORE):
            spec = request.spec
            await asyncio.to_thread(check_spec, self._settings, spec)
            data = data_dir_of(self._settings, spec)
            # What is refused leaves the member with the spec that it has: a heal would start it by another one.
            await asyncio.to_thread(snapshots.check, self._settings, spec, request.sha256, data)
            await self._unmount()
            made = (str(data), str(snapshots.scratch_of(data)))
            dirs = tuple(dict.fromkeys((*self._life.record.data_dirs, *made)))
            before = self._life.record
            self._life.update(data_dirs=dirs, displaced=before.displaced or before.spec, spec=spec)
            await self._life.note()
            try:
                restored = await snapshots.restore(self._settings, spec, request.sha256, data)
            except BaseException:
                self._life.update(spec=before.spec, displaced=before.displaced)
                await self._life.note()
                raise
            if before.state in _WITHOUT_DISK:
                # There are data: a cleanup must not pass them by.
                self._life.update(state=MemberState.STOPPED)
                await self._life.note()
            return restored

    async def keep_restored(self) -> MemberStatus:
        """From now on what was restored is the member's data, whatever was set aside."""
        async with self._operation(Operation.MOVE_DATA):
            spec = self._life.last_spec()
            data = data_dir_of(self._settings, spec)
            await asyncio.to_thread(snapshots.keep, self._settings, spec, data)
            self._life.update(displaced=None)
            await self._life.note()
        return self.status()

    @staticmethod
    def _gives_way(directory: Path, aside: Path) -> bool:
        return aside.exists() and datadir.is_provisional(directory)

    # --- faults on its disk -------------------------------------------------------------------------------

    @property
    def disk(self) -> DiskLayer:
        """The layer under the member's data, whether it is mounted or not."""
        return self._life.disk

    @property
    def disk_mount(self) -> Path | None:
        """Where the member sees its data through the layer, if there should be one."""
        layer = self._disk_layer(self._life.record.spec)
        return None if layer is None else Path(layer.mount)

    @property
    def data_path(self) -> Path:
        """The member's data as it sees them itself; raises ``IllegalStateError`` when there never was one."""
        return self.disk_mount or data_dir_of(self._settings, self._life.last_spec())

    @property
    def data_roots(self) -> tuple[Path, ...]:
        """What every member's data lies below."""
        return self._settings.data_roots

    def damage_record(self, fault: str) -> Path:
        """Where a fault that damages a file writes down how to put it back."""
        return self._settings.state_dir / "damage" / f"{fault}.json"

    async def serves(self, seconds: float) -> bool:
        """Whether it serves its peers within so many seconds; ``False`` at once when it ends."""
        url = HostPort.of(self._life.last_spec().peer_url)
        answers = asyncio.ensure_future(until_answers(url))
        try:
            async with asyncio.timeout(seconds):
                while self.process is not None and not answers.done():  # noqa: ASYNC110 - two ends to wait for
                    await asyncio.sleep(_SERVES_POLL_SECONDS)
        except TimeoutError:
            return False
        finally:
            answers.cancel()
        return self.process is not None

    async def lose_power(self, cause: str, crash: Callable[[], Awaitable[None]]) -> MemberStatus:
        """SIGKILL, and ``crash`` its disk before the end is waited for.

        The order is what makes it a loss of power: whoever is killed acknowledges nothing more, and a disk that
        crashed first would let it see errors, one that crashed later would let it sync.
        """
        async with self._operation(Operation.KILL):
            await self._life.end(Ending(cause=cause, signals=(signal.SIGKILL,)), 0.0, crash)
        return self.status()

    async def excuse(self, cause: str | None) -> None:
        """From now on an end by itself is what ``cause`` may lead to; ``None``: nothing explains one."""
        async with self._lock:
            await self._life.catch_up()
            self._life.update(excuse=cause)
            await self._life.note()

    async def failpoints(self) -> Failpoints:
        """What can be set inside the running member.

        Raises:
            IllegalStateError: it does not run, was started without a place for failpoints, or has none.
        """
        spec = self._life.record.spec
        address = None if spec is None else spec.env.get(HTTP_VARIABLE)
        if address is None:
            raise IllegalStateError(
                f"the member was not started with {HTTP_VARIABLE} in its environment", state=self.state
            )
        try:
            return Failpoints(terms=await failpoints.listed(address))
        except failpoints.NobodyAnswersError as error:
            raise IllegalStateError(error.detail, state=self.state) from error

    # --- questions ----------------------------------------------------------------------------------------

    @property
    def log_path(self) -> Path:
        """The member's log, which may not be there yet."""
        return self._life.log_path

    @property
    def state(self) -> MemberState:
        """The state as it is this very moment."""
        return self._life.state

    @property
    def spec(self) -> MemberSpec | None:
        """What was started last."""
        return self._life.record.spec

    @property
    def process(self) -> ProcessId | None:
        """The member's process, while there is one."""
        return self._life.process

    def require_sound(self) -> None:
        """Raise ``UnavailableError`` where what is written of the member is damaged."""
        if self._life.damage is not None:
            raise self._life.damage

    @property
    def is_sound(self) -> bool:
        """Whether the agent knows its member."""
        return self._life.damage is None

    def status(self) -> MemberStatus:
        """The member as it is now; raises ``UnavailableError`` where nobody can know."""
        self.require_sound()
        record, process = self._life.record, self._life.process
        data = None if record.spec is None else data_dir_of(self._settings, record.spec)
        return MemberStatus(
            state=self._life.state,
            spec=record.spec,
            pid=None if process is None else process.pid,
            started_monotonic_ns=None if process is None else record.started_monotonic_ns,
            data_dir=None if data is None else str(data),
            data_bytes=None if data is None else datadir.tree_bytes(data),
            disk_layer=self._disk_layer(record.spec),
            exits=record.exits,
            exits_total=record.exits_total,
        )

    def log_tail(self, lines: int) -> LogTail:
        """The last lines of the log, out of its last MiB."""
        return LogTail(lines=last_lines(self.log_path, lines), total_bytes=log_size(self.log_path))

    # --- within -------------------------------------------------------------------------------------------

    def _disk_layer(self, spec: MemberSpec | None) -> DiskLayerStatus | None:
        if spec is None or spec.disk != "fuse" or self._life.record.state in _WITHOUT_DISK:
            return None
        mount = mount_of(data_dir_of(self._settings, spec))
        return DiskLayerStatus(mount=str(mount), alive=not self._life.disk_layer_died)

    async def _unmount(self) -> None:
        spec = self._life.record.spec
        if spec is not None and spec.disk == "fuse":
            await self._life.disk.detach(data_dir_of(self._settings, spec))

    @asynccontextmanager
    async def _operation(self, operation: Operation) -> AsyncIterator[MemberState]:
        """One operation at a time, on the state as it really is, and only if it is legal there."""
        self.require_sound()
        async with self._lock:
            await self._life.catch_up()
            require(operation, self._life.record.state)
            yield self._life.record.state

    def _on_end(self, watch: ProcessWatch) -> None:
        """Called at the very end of a process, also of one whose end somebody waits for."""
        task = asyncio.get_running_loop().create_task(self._settle(watch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _settle(self, watch: ProcessWatch) -> None:
        async with self._lock:
            if self._life.watch is watch:
                await self._life.catch_up()


def _stop(cause: str) -> Ending:
    return Ending(cause=cause, signals=(signal.SIGTERM, signal.SIGKILL))
