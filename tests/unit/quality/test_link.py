"""What a bad link does to packets: shares, curves, order, and that a good link does nothing."""

from __future__ import annotations

import random
import statistics
from itertools import pairwise

import pytest

from agent_service.quality.link import NS, Fate, Link, Qualities
from agent_service.quality.process import bend

PACKETS = 20_000
GAP_NS = NS // 100


def sent(
    qualities: Qualities, *, packets: int = PACKETS, gap_ns: int = GAP_NS, length: int = 1000
) -> list[Fate]:
    link = Link(qualities, random.Random(1))
    return [link.send(number * gap_ns, length) for number in range(packets)]


def delays(fates: list[Fate], gap_ns: int = GAP_NS) -> list[float]:
    return [(fate.due_ns - number * gap_ns) / NS for number, fate in enumerate(fates)]


def test_a_good_link_does_nothing() -> None:
    assert all(fate == Fate(number * GAP_NS) for number, fate in enumerate(sent(Qualities())))


@pytest.mark.parametrize(
    ("distribution", "deviation"), [("uniform", 0.01 / 3**0.5), ("normal", 0.01), ("pareto", 0.01155)]
)
@pytest.mark.parametrize("gap_ns", [NS // 2, NS // 1000])
def test_the_curve_is_the_one_asked_for(distribution: str, deviation: float, gap_ns: int) -> None:
    packets = 20_000 if gap_ns > NS // 10 else 200_000
    asked = Qualities(delay_seconds=0.05, jitter_seconds=0.01, distribution=distribution)
    seen = delays(sent(asked, packets=packets, gap_ns=gap_ns), gap_ns)
    assert statistics.fmean(seen) == pytest.approx(0.05, rel=0.03)
    tolerance = 0.35 if distribution == "pareto" else 0.1
    assert statistics.pstdev(seen) == pytest.approx(deviation, rel=tolerance)
    if distribution == "uniform":
        assert min(seen) >= 0.04


def test_packets_keep_their_order() -> None:
    asked = Qualities(delay_seconds=0.05, jitter_seconds=0.05, distribution="normal", loss=0.2)
    assert all(a.due_ns <= b.due_ns for a, b in pairwise(sent(asked, gap_ns=NS // 10_000)))


def test_reordered_packets_overtake_all_others() -> None:
    fates = sent(Qualities(delay_seconds=0.05, reorder=0.1))
    early = [number for number, fate in enumerate(fates) if fate.overtakes]
    assert len(early) / PACKETS == pytest.approx(0.1, rel=0.1)
    assert all(fates[number].due_ns == number * GAP_NS for number in early)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 1.0])
def test_shares_are_those_asked_for(share: float) -> None:
    fates = sent(Qualities(loss=share))
    assert sum(fate.lost for fate in fates) / PACKETS == pytest.approx(share, rel=0.2)
    fates = sent(Qualities(duplicate=share, corrupt=share))
    assert sum(fate.twice for fate in fates) / PACKETS == pytest.approx(share, rel=0.2)
    assert sum(fate.corrupt for fate in fates) / PACKETS == pytest.approx(share, rel=0.2)


def test_correlated_losses_come_in_bursts_and_are_as_many() -> None:
    def runs(correlation: float) -> tuple[float, float]:
        lost = [fate.lost for fate in sent(Qualities(loss=0.1, loss_correlation=correlation))]
        return sum(lost) / PACKETS, sum(a and b for a, b in pairwise(lost)) / sum(lost)

    share, followed = runs(0.0)
    assert share == pytest.approx(0.1, rel=0.1)
    assert followed == pytest.approx(0.1, rel=0.2)
    share, followed = runs(0.8)
    assert share == pytest.approx(0.1, rel=0.25)
    assert followed > 0.7


def test_a_rate_spaces_packets_and_drops_what_it_cannot_hold() -> None:
    asked = Qualities(rate_bits_per_second=8_000_000)  # 1,000 bytes a millisecond
    fates = sent(asked, packets=2000, gap_ns=0)
    passed = [fate for fate in fates if not fate.lost]
    assert [fate.due_ns for fate in passed[:3]] == [NS // 1000, 2 * NS // 1000, 3 * NS // 1000]
    assert len(passed) * 1000 == asked.backlog_bytes() == 500_000
    slower = sent(asked, packets=2000, gap_ns=2 * NS // 1000)
    assert not any(fate.lost for fate in slower), "the control: it fits"


@pytest.mark.parametrize(
    ("qualities", "packets"),
    [
        (Qualities(), 1_000),
        (Qualities(delay_seconds=0.5, jitter_seconds=0.05), 70_000),
        (Qualities(delay_seconds=60, jitter_seconds=60), 1_000_000),
        (Qualities(delay_seconds=5, rate_bits_per_second=1_000_000), 13_861),
    ],
)
def test_a_queue_is_as_large_as_what_can_wait(qualities: Qualities, packets: int) -> None:
    assert qualities.packets_in_flight() == packets


@pytest.mark.parametrize("packet", [b"\x45" + bytes(40), b"\x60" + bytes(60), b"\x45" + bytes(20)])
def test_one_bit_behind_the_header_is_bent(packet: bytes) -> None:
    for seed in range(200):
        bent = bend(packet, random.Random(seed))
        changed = [a ^ b for a, b in zip(packet, bent, strict=True)]
        assert sum(bits.bit_count() for bits in changed) == 1
        assert not any(changed[: 20 if packet[0] == 0x45 else 40])


@pytest.mark.parametrize("packet", [b"", b"\x45", b"\x45" + bytes(19), b"\x60" + bytes(39)])
def test_what_has_nothing_behind_its_header_stays(packet: bytes) -> None:
    assert bend(packet, random.Random(1)) == packet
