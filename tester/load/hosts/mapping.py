"""Records of a load host on their way to the run clock: never closer together than they can have been.

What began (an invocation, a claim that ends) is put at the earliest moment that it can have begun, all else at the
latest: whatever the history then says was over before something else began, was so.
"""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING

import msgspec

from tester.errors import LoadError
from tester.history.records import ClaimRecord, HistoryRecord, Invoke

if TYPE_CHECKING:
    from tester.load.hosts.hostclock import HostClock

_ENDS_OF_CLAIMS = frozenset({"released", "lost"})


class RecordMapper:
    """Takes the bytes of a worker's history in order; gives records in order of time on the run clock."""

    def __init__(self, name: str) -> None:
        """Of the worker of this name, for messages."""
        self._name = name
        self._decoder: msgspec.json.Decoder[HistoryRecord] = msgspec.json.Decoder(HistoryRecord)
        self._rest = b""
        self._taken: list[tuple[HistoryRecord, int]] = []
        self._numbers = count()
        self._pending: list[tuple[int, int, HistoryRecord]] = []
        self._latest = 0
        self._watermark = 0
        """Nothing that comes later stands before it."""
        self.error = 0
        """The largest error of a time since the caller has set this to 0; nanoseconds."""

    def take(self, chunk: bytes, received: int) -> None:
        """More of the history, which was here at ``received`` on the run clock.

        Raises:
            LoadError: it is no history.
        """
        lines = self._rest + chunk
        whole = lines.rfind(b"\n") + 1
        self._rest = lines[whole:]
        try:
            records = self._decoder.decode_lines(lines[:whole]) if whole else []
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise LoadError(f"{self._name}: what it wrote is no history: {error}") from error
        self._taken += ((record, received) for record in records)

    def settled(self, clock: HostClock, *, drained: bool = False) -> list[HistoryRecord]:
        """What nothing that comes later will stand before; with ``drained``, all.

        The last exchange of ``clock`` is younger than what was taken. A worker that goes on while its load is paused
        (leases are kept alive) may afterwards have something to say that lies before the last of what was drained,
        by no more than the error.
        """
        for record, received in self._taken:
            at = getattr(record, "at", None)
            if at is None:
                raise LoadError(f"{self._name}: a record without a time: {record!r}")
            bounds = clock.on_run_clock(at)
            self.error = max(self.error, bounds.error)
            # It cannot have happened after it was here, whatever a clock says that was lost: no operation ends before
            # it begins.
            begun = min(bounds.earliest, received)
            if _begins(record):
                placed = begun
            else:
                self._latest = placed = max(self._latest, min(bounds.latest, received))
            self._watermark = begun
            mapped = msgspec.structs.replace(record, at=placed)
            heapq.heappush(self._pending, (placed, next(self._numbers), mapped))
        self._taken.clear()
        settled = []
        while self._pending and (drained or self._pending[0][0] <= self._watermark):
            settled.append(heapq.heappop(self._pending)[2])
        return settled


def _begins(record: HistoryRecord) -> bool:
    """Whether an earlier time claims less."""
    if isinstance(record, ClaimRecord):
        return record.state in _ENDS_OF_CLAIMS
    return isinstance(record, Invoke)
