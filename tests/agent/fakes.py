"""Stand-ins for the rooms behind the HTTP interface: they keep state, and touch no host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_service.errors import (
    FaultFailedError,
    IllegalStateError,
    NotFoundError,
    RefusedError,
)
from agent_service.models import (
    ArchiveRequest,
    ArchiveResult,
    Failpoints,
    FaultPlan,
    FaultRequest,
    FaultState,
    FaultStatus,
    LoadMessages,
    LoadRequest,
    LoadWorkerStatus,
    LogTail,
    MemberSpec,
    MemberState,
    MemberStatus,
    MemberTls,
    RestoredData,
    RestoreRequest,
    StoredSnapshot,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent_service.models import FaultSpec


class FakeMember:
    """A member without a process."""

    def __init__(self, directory: Path) -> None:
        self.log_path = directory / "etcd.log"
        self.state = MemberState.UNINITIALIZED
        self.spec: MemberSpec | None = None
        self.causes: list[str] = []

    async def adopt(self) -> None:
        self.log_path.parent.mkdir(exist_ok=True)

    def close(self) -> None:
        pass

    def status(self) -> MemberStatus:
        return MemberStatus(
            state=self.state,
            spec=self.spec,
            pid=None,
            started_monotonic_ns=None,
            data_dir=None,
            data_bytes=None,
            exits=(),
            exits_total=0,
        )

    async def failpoints(self) -> Failpoints:
        raise IllegalStateError("no failpoints here", state=self.state)

    def log_tail(self, lines: int) -> LogTail:
        try:
            text = self.log_path.read_text()
        except FileNotFoundError:
            raise NotFoundError("no log yet") from None
        return LogTail(lines=tuple(text.splitlines()[-lines:]), total_bytes=len(text))

    async def start(self, spec: MemberSpec) -> MemberStatus:
        if "bad" in spec.flags:
            raise RefusedError("flag bad is not on the list", remedy="leave it out")
        self.spec = spec
        return self._to(MemberState.RUNNING)

    async def stop(self, grace_seconds: float, cause: str) -> MemberStatus:
        self._running()
        self.causes.append(f"{cause} {grace_seconds:g}")
        return self._to(MemberState.STOPPED)

    async def restart(self, grace_seconds: float, cause: str) -> MemberStatus:
        self._running()
        self.causes.append(f"{cause} {grace_seconds:g}")
        return self.status()

    async def kill(self, cause: str) -> MemberStatus:
        self._running()
        self.causes.append(cause)
        return self._to(MemberState.STOPPED)

    async def quit(self, cause: str) -> MemberStatus:
        return await self.kill(cause)

    async def pause(self) -> MemberStatus:
        self._running()
        return self._to(MemberState.PAUSED)

    async def resume(self) -> MemberStatus:
        return self._to(MemberState.RUNNING)

    async def put_tls(self, material: MemberTls) -> MemberStatus:
        return self.status()

    async def terminate(self) -> MemberStatus:
        return self._to(MemberState.TERMINATED)

    async def archive(self, request: ArchiveRequest) -> ArchiveResult:
        return ArchiveResult(path=f"/archive/{request.label}", size_bytes=0)

    async def store_snapshot(self, sha256: str, size: int, pieces: AsyncIterator[bytes]) -> StoredSnapshot:
        came = sum([len(piece) async for piece in pieces])
        if came != size:
            raise RefusedError(f"{came} of {size} bytes came")
        return StoredSnapshot(sha256=sha256, size_bytes=size)

    async def restore(self, request: RestoreRequest) -> RestoredData:
        if self.state is MemberState.RUNNING:
            raise IllegalStateError("it runs", state=self.state)
        self.spec = request.spec
        return RestoredData(revision=3, total_keys=2, tool="etcdutl")

    async def keep_restored(self) -> MemberStatus:
        return self.status()

    def _running(self) -> None:
        if self.state is not MemberState.RUNNING:
            raise IllegalStateError("the member does not run", state=self.state, remedy="start it")

    def _to(self, state: MemberState) -> MemberStatus:
        self.state = state
        return self.status()


class FakeFaults:
    """Faults that do nothing. ``restart`` faults have no effect; id ``crash`` is a defect."""

    def __init__(self) -> None:
        self.known: dict[str, FaultStatus] = {}
        self.who: list[str] = []

    async def adopt(self) -> None:
        pass

    async def run_leases(self) -> None:
        pass

    async def run_repeats(self) -> None:
        pass

    async def plan(self, spec: FaultSpec) -> FaultPlan:
        return FaultPlan(inject=(f"inject {spec.kind}",), undo=(f"undo {spec.kind}",))

    async def inject(self, request: FaultRequest, who: str) -> FaultStatus:
        self.who.append(who)
        if request.id == "crash":
            raise ZeroDivisionError("secret-of-the-inside")
        if request.spec.kind == "restart":
            raise FaultFailedError("the member did not restart")
        known = self.known.get(request.id)
        if known is not None:
            if known.spec != request.spec:
                raise IllegalStateError("the id is another fault's", state=known.state)
            return known
        return self._keep(
            request.id, request.spec, request.reason, request.lease_seconds, FaultState.INJECTED
        )

    async def heal(self, fault_id: str, who: str) -> FaultStatus:
        self.who.append(who)
        fault = self.get(fault_id)
        return self._keep(fault_id, fault.spec, fault.reason, 0.0, FaultState.HEALED)

    async def renew(self, fault_id: str, lease_seconds: float, who: str) -> FaultStatus:
        self.who.append(who)
        fault = self.get(fault_id)
        return self._keep(fault_id, fault.spec, fault.reason, lease_seconds, fault.state)

    async def heal_all(self, by: str, who: str) -> tuple[FaultStatus, ...]:
        return tuple([await self.heal(fault_id, who) for fault_id in reversed(self.known)])

    def list(self) -> tuple[FaultStatus, ...]:
        return tuple(self.known.values())

    def get(self, fault_id: str) -> FaultStatus:
        if fault_id not in self.known:
            raise NotFoundError(f"there is no fault {fault_id}")
        return self.known[fault_id]

    def _keep(
        self, fault_id: str, spec: FaultSpec, reason: str, lease_seconds: float, state: FaultState
    ) -> FaultStatus:
        self.known[fault_id] = FaultStatus(
            id=fault_id,
            spec=spec,
            state=state,
            reason=reason,
            undo=(),
            evidence="seen",
            injected_monotonic_ns=1,
            healed_monotonic_ns=None,
            lease_remaining_seconds=lease_seconds,
            healed_by="request" if state is FaultState.HEALED else None,
        )
        return self.known[fault_id]


class FakeLoadWorker:
    """A worker without a process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.said: list[bytes] = []

    def status(self) -> LoadWorkerStatus:
        return LoadWorkerStatus(id=self.name, running=True, pid=7, end="", history_bytes=4)

    async def say(self, line: bytes) -> None:
        self.said.append(line)

    async def end(self, why: str) -> None:
        self.said.append(why.encode())

    async def messages(self, after: int, wait_seconds: float) -> LoadMessages:
        return LoadMessages(first=after, next=after, lines=(), status=self.status())

    def read_history(self, offset: int) -> bytes:
        return b"text"[offset:]


class FakeLoad:
    """Load workers without processes."""

    def __init__(self) -> None:
        self.workers: dict[str, FakeLoadWorker] = {}

    def adopt(self) -> None:
        pass

    async def run_leases(self) -> None:
        pass

    async def close(self) -> None:
        pass

    def list(self) -> tuple[LoadWorkerStatus, ...]:
        return tuple(worker.status() for worker in self.workers.values())

    def get(self, name: str) -> FakeLoadWorker:
        if name not in self.workers:
            raise NotFoundError(f"there is no load worker {name}")
        return self.workers[name]

    async def start(self, name: str, request: LoadRequest) -> LoadWorkerStatus:
        if name in self.workers:
            raise IllegalStateError(f"there is a load worker {name} already", state="known")
        self.workers[name] = FakeLoadWorker(name)
        return self.workers[name].status()

    async def remove(self, name: str) -> LoadWorkerStatus:
        self.get(name)
        return self.workers.pop(name).status()
