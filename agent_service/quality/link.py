"""What a bad link does to each packet; pure: the time comes from outside, chance from a seeded generator.

Times are nanoseconds of one monotonic clock. Packets keep their order unless ``reorder`` is asked for, as on
most real paths: a packet with less delay than the one before it waits for that one. If each drew a delay of its
own, those that wait would bend the distribution, the more the denser they come; so one draw holds for a while.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from random import Random

NS: Final = 1_000_000_000

BACKLOG_SECONDS: Final = 0.5
MIN_BACKLOG_BYTES: Final = 262_144
"""What waits for a slow link at most; more is lost, as at any router."""

PACKETS_PER_SECOND: Final = 100_000
"""For which a queue is sized where no rate bounds it: above 1 Gbit/s of full packets."""
SMALLEST_PACKET_BYTES: Final = 64
_MIN_PACKETS: Final = 1_000
_MAX_PACKETS: Final = 1_000_000
_TAIL: Final = 4
"""Jitters beyond the delay that a queue has room for."""

_DRAW_HOLDS_JITTERS: Final = 10
"""For so many jitters a drawn delay holds; shifts the mean by at most a twentieth of the jitter."""
_WORST: Final = 20.0
"""Jitters that a delay is off at most: where netem's tables end, too."""

_PARETO_MEAN: Final = 1.5
_PARETO_SCALE: Final = 4 / 3
_PARETO_SHAPE: Final = 3.0


class Qualities(NamedTuple):
    """How bad a link is. Shares are 0 to 1; 0 everywhere is a good link.

    No dataclass: importing those takes as long as the start of Python, and a process starts with every such fault.
    """

    delay_seconds: float = 0.0
    jitter_seconds: float = 0.0
    distribution: str = "uniform"
    """``uniform``: within ± jitter. ``normal``: jitter is the standard deviation. ``pareto``: long tail."""
    loss: float = 0.0
    loss_correlation: float = 0.0
    """How likely a packet shares the fate of the one before it; the share of losses stays the same."""
    duplicate: float = 0.0
    corrupt: float = 0.0
    reorder: float = 0.0
    """Share that goes at once while all others are delayed."""
    rate_bits_per_second: int = 0
    """0: no limit."""

    @property
    def per_packet(self) -> bool:
        """Whether it matters what one packet is: what was merged on its way must come one by one."""
        return any((self.loss, self.duplicate, self.corrupt, self.reorder, self.rate_bits_per_second))

    @property
    def needs_payloads(self) -> bool:
        """Whether packets are rewritten or sent again."""
        return bool(self.duplicate or self.corrupt)

    def backlog_bytes(self) -> int:
        """How much waits for a link of this rate at most."""
        return max(MIN_BACKLOG_BYTES, int(self.rate_bits_per_second / 8 * BACKLOG_SECONDS))

    def packets_in_flight(self) -> int:
        """How many packets a queue must hold so that delay alone never loses one."""
        rate = self.rate_bits_per_second / 8 / SMALLEST_PACKET_BYTES or PACKETS_PER_SECOND
        seconds = self.delay_seconds + _TAIL * self.jitter_seconds
        if self.rate_bits_per_second:
            seconds += self.backlog_bytes() * 8 / self.rate_bits_per_second
        return min(_MAX_PACKETS, max(_MIN_PACKETS, int(rate * seconds)))


class Fate(NamedTuple):
    """What becomes of a packet, and when."""

    due_ns: int
    overtakes: bool = False
    lost: bool = False
    corrupt: bool = False
    twice: bool = False

    @property
    def plain(self) -> bool:
        """Whether it only has to wait."""
        return not (self.lost or self.corrupt or self.twice)


class Link:
    """One direction of a link."""

    def __init__(self, qualities: Qualities, chance: Random) -> None:
        self._qualities = qualities
        self._chance = chance
        self._free_ns = 0
        self._last_ns = 0
        self._lost_last = False
        self._delay_ns = int(qualities.delay_seconds * NS)
        self._drawn_ns: int | None = None

    def send(self, now_ns: int, length: int) -> Fate:
        """The fate of a packet of ``length`` bytes that arrives now. Lost ones are due in their turn, too."""
        it = self._qualities
        if it.reorder and self._chance.random() < it.reorder:
            return Fate(now_ns, overtakes=True)
        lost = self._loses()
        ready = now_ns
        if it.rate_bits_per_second:
            ready = max(now_ns, self._free_ns) + length * 8 * NS // it.rate_bits_per_second
            if (ready - now_ns) * it.rate_bits_per_second > it.backlog_bytes() * 8 * NS:
                return Fate(max(now_ns, self._last_ns), lost=True)
            self._free_ns = ready
        self._last_ns = due = max(ready + self._delay(now_ns), self._last_ns)
        if lost:
            return Fate(due, lost=True)
        return Fate(due, corrupt=self._draws(it.corrupt), twice=self._draws(it.duplicate))

    def _loses(self) -> bool:
        it = self._qualities
        if not it.loss:
            return False
        if not self._draws(it.loss_correlation):
            self._lost_last = self._draws(it.loss)
        return self._lost_last

    def _draws(self, share: float) -> bool:
        return share > 0 and self._chance.random() < share

    def _delay(self, now_ns: int) -> int:
        it = self._qualities
        hold_ns = _DRAW_HOLDS_JITTERS * it.jitter_seconds * NS
        if it.jitter_seconds and (self._drawn_ns is None or now_ns - self._drawn_ns >= hold_ns):
            self._drawn_ns = now_ns
            off = it.jitter_seconds * min(_WORST, self._deviation())
            self._delay_ns = int(max(0.0, it.delay_seconds + off) * NS)
        return self._delay_ns

    def _deviation(self) -> float:
        """How many jitters off; the same curves as netem's tables."""
        if self._qualities.distribution == "normal":
            return self._chance.gauss()
        if self._qualities.distribution == "pareto":
            tail: float = (1 - self._chance.random()) ** (-1 / _PARETO_SHAPE)
            return _PARETO_SCALE * (tail - _PARETO_MEAN)
        return self._chance.uniform(-1, 1)
