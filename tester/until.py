"""Holding a fault until the member that is away has to be sent a snapshot, and proof that it was sent one.

A leader that has thrown away the log entries a member lacks sends it a snapshot. It keeps ``CATCH_UP_ENTRIES``
entries before its last own snapshot, which it makes every ``snapshot-count`` entries: a member is surely too far
behind when so many entries plus these have been committed without it. Half a count more is for what was on its way
when the fault came, and for a leader that makes its snapshot late.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import httpx

from tester.errors import FaultIneffectiveError
from tester.scenario.model import Until

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from agent_service.models import MemberSpec
    from tester.clock import RunClock
    from tester.etcd.endpoint import Endpoint
    from tester.etcd.monitor import ClusterMonitor

CATCH_UP_ENTRIES: Final = 5000
"""Etcd's own constant, the same in 3.4 and 3.5."""
RELEASE_SECONDS: Final = 30.0
"""Etcd's ``releaseDelayAfterSnapshot``, the same in 3.4 and 3.5."""
DEFAULT_SNAPSHOT_COUNT: Final = 100_000
_COUNTER: Final = r"^etcd_network_snapshot_{}_success(?:\{{[^}}]*\}})? ([0-9.e+]+)$"
_RECEIVED: Final = re.compile(_COUNTER.format("receive"), re.MULTILINE)
_SENT: Final = re.compile(_COUNTER.format("send"), re.MULTILINE)
_LOOK_SECONDS: Final = 0.2
_SCRAPE_SECONDS: Final = 2.0
_TRIES: Final = 3
_STALLED_SECONDS: Final = 15.0
"""Without a single commit for so long, the load will not get there."""
_SILENT_SECONDS: Final = 60.0
"""The same where no member says how far it is: a machine that is busy, and not a load that stands still."""


@dataclass(frozen=True, slots=True)
class Reached:
    """How the wait went."""

    entries: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.entries} entries were committed in {self.seconds:.1f} s while it was held"


def entries_needed(members: Iterable[MemberSpec], until: Until) -> int:
    """How many entries must be committed while the fault is held, by the flags that members were started with.

    Half as many again as members make a snapshot of their own after; and for one that has to be sent, those that a
    leader keeps beyond it. Where members differ: enough for each of them.
    """
    return max(_entries(member, until) for member in members)


def _entries(member: MemberSpec, until: Until) -> int:
    count = _setting(member, "snapshot-count", DEFAULT_SNAPSHOT_COUNT)
    kept = _setting(member, "experimental-snapshot-catchup-entries", CATCH_UP_ENTRIES)
    return count + count // 2 + (kept if until is Until.SNAPSHOT else 0)


def _setting(member: MemberSpec, flag: str, default: int) -> int:
    """As etcd reads it: a flag outranks its environment variable."""
    variable = f"ETCD_{flag.replace('-', '_').upper()}"
    return int(member.flags.get(flag) or member.env.get(variable) or default)


@dataclass(frozen=True, slots=True)
class SnapshotCounts:
    """Snapshots since the start of a member's process, as its metrics count them."""

    received: float = 0.0
    sent: float = 0.0


class SnapshotLookout:
    """When which member last sent a snapshot, as far as its counts tell.

    For ``RELEASE_SECONDS`` from then on it forgets no entries, whatever it commits: while it leads, a member that was
    away gets entries, and no snapshot. Another leader forgets them as ever.
    """

    def __init__(self, clock: RunClock) -> None:
        self._clock = clock
        self._sent: dict[str, tuple[float, int]] = {}
        """By member: how many, as of when."""
        self._last_ns: dict[str, int] = {}

    def note(self, counts: Mapping[str, SnapshotCounts], ends: Iterable[tuple[str, int]] = ()) -> None:
        """Take what members have sent so far.

        Args:
            counts: by member, since the start of its process.
            ends: when which member's process ended, by the run clock: the next one has counted from 0.
        """
        for member, at_ns in ends:
            if at_ns >= self._sent.get(member, (0.0, 0))[1]:
                self._sent.pop(member, None)
                self._last_ns.pop(member, None)  # nor does it know of any
        now = self._clock.now()
        for member, count in counts.items():
            if count.sent > self._sent.get(member, (0.0, 0))[0]:
                self._last_ns[member] = now
            self._sent[member] = (count.sent, now)

    def seconds_left(self, leader: str | None) -> float:
        """Until this member forgets entries again; where nobody leads, until everybody does."""
        last = [at_ns for member, at_ns in self._last_ns.items() if leader in {member, None}]
        return max(0.0, RELEASE_SECONDS - (self._clock.now() - max(last)) / 1e9) if last else 0.0


class CommitWait:
    """Waits for commits, as long as there are any: there is no count of tries that a slow load could exceed."""

    def __init__(self, monitor: ClusterMonitor, clock: RunClock) -> None:
        self._monitor = monitor
        self._clock = clock

    async def until(self, entries: int) -> Reached:
        """Return when so many entries have been committed since a member first answered.

        Raises:
            FaultIneffectiveError: nothing was committed for a while; tells how far it came, and how fast.
        """
        first = last = self._index()
        since = moved = self._clock.now()
        while first is None or last is None or last - first < entries:
            await asyncio.sleep(_LOOK_SECONDS)
            now = self._index()
            if now is not None and (last is None or now > last):
                first = now if first is None else first
                last, moved = now, self._clock.now()
                continue
            patience = _SILENT_SECONDS if now is None else _STALLED_SECONDS
            if (self._clock.now() - moved) / 1e9 > patience:
                done = (last or 0) - (first or 0)
                raise FaultIneffectiveError(
                    f"only {done} of {entries} entries were committed, and none for {patience:g} s",
                    remedy="a fault that takes quorum away commits nothing; or give the scenario a stresser",
                )
        return Reached(last - first, (self._clock.now() - since) / 1e9)

    def _index(self) -> int | None:
        """The newest that a member tells; ``None``: none has answered within the last second."""
        known = [health.raft_index for health in self._monitor.view().health.values() if health is not None]
        return max(known, default=None)


async def count_snapshots(endpoints: Collection[Endpoint]) -> dict[str, SnapshotCounts]:
    """By member; one that does not answer is left out.

    Every member serves its metrics where it serves clients, over TLS if these do, to whoever has the certificate
    that clients need.
    """
    counted: dict[str, SnapshotCounts] = {}
    for _ in range(_TRIES):
        silent = [endpoint for endpoint in endpoints if endpoint.member not in counted]
        if silent:  # a machine that is busy may answer the next time
            told = await _scrape(silent)
            counted |= {member: count for member, count in told.items() if not isinstance(count, str)}
    return counted


async def _scrape(endpoints: Collection[Endpoint]) -> dict[str, SnapshotCounts | str]:
    """By member: its counts, or why they could not be read."""
    return dict(await asyncio.gather(*map(_ask, endpoints)))


async def _ask(endpoint: Endpoint) -> tuple[str, SnapshotCounts | str]:
    tls = endpoint.tls
    # Of plain text nothing is verified, and httpx's own context would load every CA of the system at each look.
    scheme, verify = (
        ("http", ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) if tls is None else ("https", tls.context())
    )
    try:
        async with httpx.AsyncClient(timeout=_SCRAPE_SECONDS, trust_env=False, verify=verify) as client:
            answer = await client.get(f"{scheme}://{endpoint.authority}/metrics")
    except httpx.HTTPError as error:
        return endpoint.member, str(error) or type(error).__name__
    if not answer.is_success:
        return endpoint.member, f"HTTP status {answer.status_code}"
    return endpoint.member, counts_of(answer.text)


def counts_of(metrics: str) -> SnapshotCounts:
    """Snapshots, summed over whom they came from and went to, out of the text of a member's metrics. Pure."""
    received, sent = (
        sum((float(match[1]) for match in counter.finditer(metrics)), 0.0) for counter in (_RECEIVED, _SENT)
    )
    return SnapshotCounts(received, sent)


async def require_snapshots(
    endpoints: Sequence[Endpoint],
    before: Mapping[str, SnapshotCounts],
    restarted: Collection[str],
    limit: float,
) -> str:
    """See that each of these members was sent a snapshot after the fault.

    Args:
        endpoints: the members that were away.
        before: what ``count_snapshots`` said before the fault.
        restarted: members whose process is another one now: theirs have counted from 0.
        limit: seconds to wait for it.

    Raises:
        FaultIneffectiveError: one was sent none: the fault was not what the case is about.
    """
    if unknown := [one.member for one in endpoints if one.member not in {*before, *restarted}]:
        raise FaultIneffectiveError(
            f"nobody knows how many snapshots {', '.join(unknown)} had received before the fault: "
            "its metrics could not be read",
            remedy="see that the tester reaches /metrics where members serve clients",
        )
    deadline = asyncio.get_running_loop().time() + limit
    none = SnapshotCounts()
    while True:
        now = await _scrape(endpoints)
        missing = {
            member: f"its metrics cannot be read: {told}" if isinstance(told, str) else "received no snapshot"
            for member, told in now.items()
            if isinstance(told, str)
            or told.received <= (none if member in restarted else before[member]).received
        }
        if not missing:
            return f"{', '.join(endpoint.member for endpoint in endpoints)} received a snapshot"
        if asyncio.get_running_loop().time() > deadline:
            raise FaultIneffectiveError(
                f"within {limit:g} s of coming back: "
                + "; ".join(f"{member}: {problem}" for member, problem in missing.items()),
                remedy="the fault must keep the member from every entry: kill, stop, pause, isolate",
            )
        await asyncio.sleep(_LOOK_SECONDS)
