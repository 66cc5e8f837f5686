"""``AgentClient``: one method per operation of the agent."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter, ValidationError

from agent_client.connection import Connection, Upload, not_understood
from agent_client.errors import AgentVersionError
from agent_client.transport import TlsTransport
from agent_service import API_VERSION
from agent_service.models import (
    ArchiveRequest,
    ArchiveResult,
    AuditEntry,
    EmergencyStop,
    EmergencyStopRequest,
    Failpoints,
    FaultPlan,
    FaultRequest,
    FaultStatus,
    HostClock,
    HostInfo,
    LoadMessages,
    LoadRequest,
    LoadWorkerStatus,
    LogTail,
    MemberSpec,
    MemberStatus,
    MemberTls,
    RenewRequest,
    RestoredData,
    RestoreRequest,
    StopRequest,
    StoredSnapshot,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path
    from types import TracebackType

    from agent_client.tls import ClientTls
    from agent_service.models import FaultSpec, Wire

T = TypeVar("T")

DEFAULT_GRACE_SECONDS = StopRequest().grace_seconds
DOWNLOAD_SECONDS = 300.0
UPLOAD_SECONDS = 600.0
RESTORE_SECONDS = 620.0
"""Beyond the usual: two commands of etcd's tool, as long as the agent lets them run."""

_PIECE_BYTES = 256 * 1024
_LOAD_START_SECONDS = 20.0
_LOAD_STOP_SECONDS = 30.0

_AUDIT = TypeAdapter(tuple[AuditEntry, ...])
_FAULTS = TypeAdapter(tuple[FaultStatus, ...])
_LOAD = TypeAdapter(tuple[LoadWorkerStatus, ...])


class AgentClient:
    """One agent, over mutual TLS, or over any transport (``httpx.ASGITransport`` in tests).

    Connections are kept and reused; calls may run concurrently. Every call has ``timeout_seconds`` from end
    to end; those that wait for a member's grace period have that much more time.

    Raises:
        ValueError: the URL is not ``https://ADDRESS:PORT``, or there is not exactly one of tls and transport.
    """

    def __init__(
        self,
        url: str,
        *,
        tls: ClientTls | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout_seconds: float = 10.0,
    ) -> None:
        parts = httpx.URL(url)
        if parts.scheme != "https" or not parts.host or parts.path != "/" or parts.query or parts.userinfo:
            raise ValueError(f"{url!r} is not an agent's URL: write https://ADDRESS:PORT")
        self._connection = Connection(url, _transport(tls, transport), tls)
        self._tls = tls
        self._timeout_seconds = timeout_seconds

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._connection.close()

    # host

    async def check_version(self) -> HostInfo:
        """What ``host`` answers, from an agent that speaks this client's version.

        Raises:
            AgentVersionError: it speaks another one.
        """
        info = await self.host()
        if info.api_version != API_VERSION:
            raise AgentVersionError(
                f"agent {self._connection.url}: {info.agent_version} speaks version {info.api_version} "
                f"of the interface, this client version {API_VERSION}",
                remedy="deploy the agent of this release: ansible-playbook playbooks/deploy.yml",
            )
        return info

    async def host(self) -> HostInfo:
        """Facts and capabilities."""
        return await self._get(HostInfo.model_validate_json, "host")

    async def clock(self) -> HostClock:
        """The host's clocks now."""
        return await self._get(HostClock.model_validate_json, "clock")

    async def knock(self) -> None:
        """See that the agent answers on a new connection, whatever becomes of those that are kept."""
        if self._tls is None:
            await self.clock()
            return
        url = str(self._connection.url)
        async with AgentClient(url, tls=self._tls, timeout_seconds=self._timeout_seconds) as anew:
            await anew.clock()

    async def usage(self) -> Usage:
        """What host, agent and member use now."""
        return await self._get(Usage.model_validate_json, "usage")

    async def audit(self, limit: int = 100) -> tuple[AuditEntry, ...]:
        """The newest entries of the audit log, oldest first; at most 1000."""
        return await self._get(_AUDIT.validate_json, f"audit?limit={limit}")

    # member

    async def member(self) -> MemberStatus:
        """The member now."""
        return await self._get(MemberStatus.model_validate_json, "member")

    async def member_log(self, lines: int = 100) -> LogTail:
        """The last lines of the member's log; at most 1000."""
        return await self._get(LogTail.model_validate_json, f"member/log?lines={lines}")

    async def failpoints(self) -> dict[str, str]:
        """Failpoints of the running member by their full names, and what they are set to (empty: nothing)."""
        return (await self._get(Failpoints.model_validate_json, "member/failpoints")).terms

    async def download_member_log(self, destination: Path, offset: int = 0) -> int:
        """Write the member's log from byte ``offset`` on to a file; how many bytes that were."""
        size = 0
        with destination.open("wb") as file:
            async with self._connection.stream(
                "GET", f"/v1/member/log/download?offset={offset}", b"", DOWNLOAD_SECONDS
            ) as answer:
                async for chunk in answer.aiter_bytes():
                    size += file.write(chunk)
        return size

    async def put_tls(self, material: MemberTls) -> MemberStatus:
        """Certificate and key for a member that is to have its own; before it is started."""
        return await self._call(MemberStatus.model_validate_json, "PUT", "member/tls", material)

    async def start(self, spec: MemberSpec) -> MemberStatus:
        """Start the member."""
        return await self._post(MemberStatus.model_validate_json, "member/start", spec)

    async def stop(self, grace_seconds: float = DEFAULT_GRACE_SECONDS) -> MemberStatus:
        """SIGTERM, and SIGKILL after the grace."""
        request = StopRequest(grace_seconds=grace_seconds)
        return await self._post(
            MemberStatus.model_validate_json, "member/stop", request, more_seconds=grace_seconds
        )

    async def restart(self, grace_seconds: float = DEFAULT_GRACE_SECONDS) -> MemberStatus:
        """Stop and start again."""
        request = StopRequest(grace_seconds=grace_seconds)
        return await self._post(
            MemberStatus.model_validate_json, "member/restart", request, more_seconds=grace_seconds
        )

    async def kill(self) -> MemberStatus:
        """SIGKILL."""
        return await self._post(MemberStatus.model_validate_json, "member/kill")

    async def pause(self) -> MemberStatus:
        """SIGSTOP."""
        return await self._post(MemberStatus.model_validate_json, "member/pause")

    async def resume(self) -> MemberStatus:
        """SIGCONT."""
        return await self._post(MemberStatus.model_validate_json, "member/resume")

    async def quit(self) -> MemberStatus:
        """SIGQUIT: a stack trace of every goroutine goes to the log."""
        return await self._post(MemberStatus.model_validate_json, "member/quit")

    async def terminate(self) -> MemberStatus:
        """Stop the member and remove its data."""
        return await self._post(
            MemberStatus.model_validate_json, "member/terminate", more_seconds=DEFAULT_GRACE_SECONDS
        )

    async def archive(self, label: str, *, data: bool = False) -> ArchiveResult:
        """Move the log, and the data if asked, of a stopped member aside."""
        return await self._post(
            ArchiveResult.model_validate_json, "member/archive", ArchiveRequest(label=label, data=data)
        )

    # snapshots

    async def put_snapshot(self, file: Path) -> StoredSnapshot:
        """Send a snapshot there, in place of the last one; the agent sees that it came whole."""
        size, digest = await asyncio.to_thread(_sum, file)
        target = f"/v1/snapshots/{digest}"
        received = await self._connection.call(
            "PUT", target, Upload(size, lambda: _pieces(file)), UPLOAD_SECONDS
        )
        return self._read(StoredSnapshot.model_validate_json, f"PUT {target}", received)

    async def restore(self, spec: MemberSpec, sha256: str) -> RestoredData:
        """Make the data of a member that has none out of a snapshot that was sent; starts nothing."""
        request = RestoreRequest(spec=spec, sha256=sha256)
        return await self._post(
            RestoredData.model_validate_json, "member/restore", request, more_seconds=RESTORE_SECONDS
        )

    async def keep_restored(self) -> MemberStatus:
        """What was restored stays, also when the loss of the old data is healed."""
        return await self._post(MemberStatus.model_validate_json, "member/restore/keep")

    # load

    async def load_workers(self) -> tuple[LoadWorkerStatus, ...]:
        """Every load worker that the agent knows of."""
        return await self._get(_LOAD.validate_json, "load")

    async def start_load(self, worker_id: str, request: LoadRequest) -> LoadWorkerStatus:
        """Start a load worker."""
        return await self._call(
            LoadWorkerStatus.model_validate_json, "PUT", _load(worker_id), request, _LOAD_START_SECONDS
        )

    async def load_messages(self, worker_id: str, after: int, wait_seconds: float) -> LoadMessages:
        """What a load worker has said from line ``after`` on; keeps it alive."""
        return await self._call(
            LoadMessages.model_validate_json,
            "GET",
            f"{_load(worker_id)}/messages?after={after}&wait_seconds={wait_seconds}",
            more_seconds=wait_seconds,
        )

    async def load_history(self, worker_id: str, offset: int) -> bytes:
        """Some of a load worker's history, from a byte on; nothing: that is all until now."""
        return await self._get(bytes, f"{_load(worker_id)}/history?offset={offset}")

    async def pause_load(self, worker_id: str) -> LoadWorkerStatus:
        """A message says when nothing is in flight."""
        return await self._post(LoadWorkerStatus.model_validate_json, f"{_load(worker_id)}/pause")

    async def resume_load(self, worker_id: str) -> LoadWorkerStatus:
        """Let it go on."""
        return await self._post(LoadWorkerStatus.model_validate_json, f"{_load(worker_id)}/resume")

    async def stop_load(self, worker_id: str) -> LoadWorkerStatus:
        """End it; what it wrote stays."""
        return await self._post(
            LoadWorkerStatus.model_validate_json,
            f"{_load(worker_id)}/stop",
            more_seconds=_LOAD_STOP_SECONDS,
        )

    async def remove_load(self, worker_id: str) -> None:
        """End it and remove what it wrote."""
        await self._call(
            LoadWorkerStatus.model_validate_json,
            "DELETE",
            _load(worker_id),
            more_seconds=_LOAD_STOP_SECONDS,
        )

    # emergency stop

    async def emergency(self) -> EmergencyStop:
        """Whether new faults are refused there."""
        return await self._get(EmergencyStop.model_validate_json, "emergency-stop")

    async def emergency_stop(self, reason: str) -> EmergencyStop:
        """Heal everything there, and refuse new faults until it is cleared."""
        request = EmergencyStopRequest(reason=reason)
        return await self._post(
            EmergencyStop.model_validate_json, "emergency-stop", request, more_seconds=DEFAULT_GRACE_SECONDS
        )

    async def clear_emergency_stop(self) -> EmergencyStop:
        """Allow faults again."""
        return await self._call(EmergencyStop.model_validate_json, "DELETE", "emergency-stop")

    # faults

    async def faults(self) -> tuple[FaultStatus, ...]:
        """Every fault the agent knows of."""
        return await self._get(_FAULTS.validate_json, "faults")

    async def fault(self, fault_id: str) -> FaultStatus:
        """One fault."""
        return await self._get(FaultStatus.model_validate_json, _fault(fault_id))

    async def plan(self, spec: FaultSpec) -> FaultPlan:
        """What a fault would do there, and its undo; nothing is touched."""
        return await self._post(FaultPlan.model_validate_json, "faults/plan", spec)

    async def inject(self, request: FaultRequest) -> FaultStatus:
        """Inject a fault; the same again is the same fault. Waits for a grace period if the fault has one."""
        grace = getattr(request.spec, "grace_seconds", 0.0)
        return await self._post(FaultStatus.model_validate_json, "faults", request, more_seconds=grace)

    async def renew(self, fault_id: str, lease_seconds: float) -> FaultStatus:
        """A new lease, counted from when the agent gets it."""
        request = RenewRequest(lease_seconds=lease_seconds)
        return await self._post(FaultStatus.model_validate_json, f"{_fault(fault_id)}/renew", request)

    async def heal(self, fault_id: str) -> FaultStatus:
        """Undo a fault."""
        return await self._call(FaultStatus.model_validate_json, "DELETE", _fault(fault_id))

    async def heal_all(self) -> tuple[FaultStatus, ...]:
        """Undo every fault, last in first out."""
        return await self._call(_FAULTS.validate_json, "DELETE", "faults")

    async def _get(self, read: Callable[[bytes], T], path: str) -> T:
        return await self._call(read, "GET", path)

    async def _post(
        self, read: Callable[[bytes], T], path: str, body: Wire | None = None, *, more_seconds: float = 0.0
    ) -> T:
        return await self._call(read, "POST", path, body, more_seconds)

    async def _call(
        self,
        read: Callable[[bytes], T],
        method: str,
        path: str,
        body: Wire | None = None,
        more_seconds: float = 0.0,
    ) -> T:
        target = f"/v1/{path}"
        content = body.model_dump_json().encode() if body is not None else b""
        timeout_seconds = self._timeout_seconds + more_seconds
        received = await self._connection.call(method, target, content, timeout_seconds)
        return self._read(read, f"{method} {target}", received)

    def _read(self, read: Callable[[bytes], T], what: str, received: bytes) -> T:
        try:
            return read(received)
        except ValidationError as error:
            raise not_understood(f"agent {self._connection.url}: {what}", error) from error


def _sum(file: Path) -> tuple[int, str]:
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
        return opened.tell(), digest


async def _pieces(file: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(file.open, "rb") as opened:
        while piece := await asyncio.to_thread(opened.read, _PIECE_BYTES):
            yield piece


def _transport(tls: ClientTls | None, transport: httpx.AsyncBaseTransport | None) -> httpx.AsyncBaseTransport:
    if transport is not None and tls is None:
        return transport
    if tls is None or transport is not None:
        raise ValueError("an AgentClient needs either tls or a transport")
    return TlsTransport(tls.context)


def _load(worker_id: str) -> str:
    return f"load/{quote(worker_id, safe='')}"


def _fault(fault_id: str) -> str:
    return f"faults/{quote(fault_id, safe='')}"
