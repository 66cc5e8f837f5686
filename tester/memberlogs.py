"""The members' logs as evidence: read through the agents, and what is suspicious kept."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, field
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
    """Reads from where a log ended when ``begin`` was called: what is before is another round's.

    Each ``read`` fetches what is new: at the end of every case the whole log again would be most of what there is
    to do.
    """

    def __init__(self, agents: Mapping[str, AgentClient]) -> None:
        self._agents = agents
        self._scans: dict[str, Scan] = {}

    async def begin(self) -> None:
        """Note where each log ends now. A host without a log begins at its beginning."""
        sizes = await asyncio.gather(*(self._size(host) for host in self._agents))
        self._scans = {host: Scan(size) for host, size in zip(self._agents, sizes, strict=True)}

    async def read(self) -> dict[str, LogEvidence | None]:
        """What each member has written since ``begin``; ``None``: its agent did not answer, or the log was cut off."""
        found = await asyncio.gather(*(self._read(host) for host in self._agents))
        return dict(zip(self._agents, found, strict=True))

    async def _size(self, host: str) -> int:
        try:
            return (await self._agents[host].member_log(1)).total_bytes
        except AgentClientError:
            return 0  # too much is read then: nothing is missed

    async def _read(self, host: str) -> LogEvidence | None:
        scan = self._scans[host]
        with tempfile.TemporaryDirectory(prefix="etcd-chaos-") as folder:
            path = Path(folder) / "member.log"
            try:
                await self._agents[host].download_member_log(path, scan.end)
            except AgentClientError:
                return None
            return await asyncio.to_thread(scan.take, path)


@dataclass(slots=True)
class Scan:
    """The suspicious lines of a log behind byte ``begin``, looked for in what is new each time."""

    begin: int
    end: int = field(init=False)
    """Up to here whole lines have been looked at."""
    _kept: list[str] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.end = self.begin

    def take(self, rest: Path) -> LogEvidence:
        """All that is known once ``rest``, the log from byte ``end`` on, is looked at.

        A last line without its end may be all that a member could write of a panic: it counts, and is looked at again
        when there is more of it.
        """
        with rest.open("rb") as file:
            for raw in file:
                if not raw.endswith(b"\n"):
                    return self._evidence(len(raw), _suspicious(raw))
                self.end += len(raw)
                if len(self._kept) <= _MOST_LINES:
                    self._kept += _suspicious(raw)
        return self._evidence()

    def _evidence(self, torn: int = 0, last: tuple[str, ...] = ()) -> LogEvidence:
        lines = (*self._kept, *last)
        return LogEvidence(self.end + torn - self.begin, lines[:_MOST_LINES], len(lines) > _MOST_LINES)


def _suspicious(raw: bytes) -> tuple[str, ...]:
    line = raw[:_LONGEST_LINE].decode("utf-8", "replace").rstrip()
    return (line,) if kind_of(line) else ()
