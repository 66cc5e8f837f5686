"""The members' logs as evidence: read through the agents, and what is suspicious kept."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from agent_client.errors import AgentClientError
from tester.checkers.logs import kind_of
from tester.history.endstate import LogEvidence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_client import AgentClient

_MOST_LINES = 50
_LONGEST_LINE = 1000


class MemberLogs:
    """Reads from where a log ended when ``begin`` was called: what is before is another round's."""

    def __init__(self, agents: Mapping[str, AgentClient]) -> None:
        self._agents = agents
        self._begun: dict[str, int] = {}

    async def begin(self) -> None:
        """Note where each log ends now. A host without a log begins at its beginning."""
        sizes = await asyncio.gather(*(self._size(host) for host in self._agents))
        self._begun = dict(zip(self._agents, sizes, strict=True))

    async def read(self) -> dict[str, LogEvidence | None]:
        """What each member has written since; ``None``: its agent did not answer."""
        found = await asyncio.gather(*(self._read(host) for host in self._agents))
        return dict(zip(self._agents, found, strict=True))

    async def _size(self, host: str) -> int:
        try:
            return (await self._agents[host].member_log(1)).total_bytes
        except AgentClientError:
            return 0  # too much is read then: nothing is missed

    async def _read(self, host: str) -> LogEvidence | None:
        with tempfile.TemporaryDirectory(prefix="etcd-chaos-") as folder:
            path = Path(folder) / "member.log"
            try:
                await self._agents[host].download_member_log(path)
            except AgentClientError:
                return None
            return await asyncio.to_thread(scan, path, self._begun.get(host, 0))


def scan(path: Path, since: int) -> LogEvidence:
    """The suspicious lines of a log behind byte ``since``, in order."""
    kept: list[str] = []
    cut = False
    with path.open("rb") as file:
        start = file.seek(min(since, path.stat().st_size))
        for raw in file:
            line = raw[:_LONGEST_LINE].decode("utf-8", "replace").rstrip()
            if kind_of(line) is None:
                continue
            if len(kept) == _MOST_LINES:
                cut = True
                break
            kept.append(line)
        read = path.stat().st_size - start
    return LogEvidence(read, tuple(kept), cut)
