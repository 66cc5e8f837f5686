"""Finds a connection that has gone silent, without angering a server that counts pings.

etcd closes a connection on the third ping too many (``too_many_pings``): one that comes sooner after the last
than ``--grpc-keepalive-min-time`` (5 s) without an answer to a call in between, or that comes while no call
is in flight. So: no ping while idle; after a second of silence a ping, after another second one more; then,
as long as pings are answered and calls are not (a cluster without a leader), one each five seconds.
"""

from __future__ import annotations

TICK_SECONDS = 0.25
_SILENT_TICKS = 4
_SLOW_TICKS = 21
_LOST_TICKS = 4
_QUICK_PINGS = 2


class Keepalive:
    """Counts ticks, not seconds: a stalled event loop of our own makes one long tick, not a lost peer."""

    def __init__(self) -> None:
        self._silent = 0
        self._waiting: int | None = None
        self._pings = 0

    def heard(self) -> None:
        """Bytes arrived: the peer is there."""
        self._silent = 0
        self._waiting = None

    def answered(self) -> None:
        """A frame of an answer arrived: the server has forgotten the pings before it."""
        self._pings = 0

    @property
    def lost(self) -> bool:
        """A ping has not been answered for a second."""
        return self._waiting is not None and self._waiting >= _LOST_TICKS

    def tick(self, *, busy: bool) -> bool:
        """A quarter of a second has passed; true if a ping is due. ``busy``: calls are in flight."""
        if self._waiting is not None:
            self._waiting += 1
            return False
        self._silent += 1
        if not busy:
            self._silent = 0
            return False
        if self._silent < (_SILENT_TICKS if self._pings < _QUICK_PINGS else _SLOW_TICKS):
            return False
        self._waiting = 0
        self._pings += 1
        return True
