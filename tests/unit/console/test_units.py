from __future__ import annotations

import pytest

from tester.console import units


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0 s"),
        (0.000_31, "310 µs"),
        (0.000_999_6, "1.0 ms"),
        (0.0031, "3.1 ms"),
        (0.0999, "99.9 ms"),
        (0.099_96, "100 ms"),
        (0.912, "912 ms"),
        (0.999_6, "1.00 s"),
        (1.4239, "1.42 s"),
        (9.996, "10.0 s"),
        (41.34, "41.3 s"),
        (99.96, "1m40s"),
        (125.2, "2m05s"),
        (3600, "1h00m"),
        (3725, "1h02m"),
    ],
)
def test_seconds(value: float | None, text: str) -> None:
    assert units.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (999.6, "1.00k"),
        (1250, "1.25k"),
        (12_400, "12.4k"),
        (123_456, "123k"),
        (999_600, "1.00M"),
        (1_250_000, "1.25M"),
        (12e9, "12.0G"),
    ],
)
def test_count(value: float, text: str) -> None:
    assert units.count(value) == text


def test_counting_clocks() -> None:
    assert [units.clock(value) for value in (0, 7.9, 761, 10_929)] == ["0:00", "0:07", "12:41", "3:02:09"]
    assert [units.lasting(value) for value in (-0.1, 2.13, 59.9, 60)] == ["0.0 s", "2.1 s", "59.9 s", "1:00"]


def test_sparkline_is_relative_to_the_highest_and_survives_zero() -> None:
    assert units.sparkline((0, 1, 2, 4, 8)) == "▁▂▃▅█"
    assert units.sparkline((0.0, 0.0)) == "▁▁"
    assert units.sparkline(()) == ""


def test_texts_of_hosts_cannot_drive_the_terminal() -> None:
    hostile = "a\x1b[2Jb\nc\u202egnp.exe\x07\x9b0m\ud800"
    shown = units.printable(hostile)
    assert shown == r"a\x1b[2Jb c\u202egnp.exe\x07\x9b0m\ud800"
    assert units.printable("plain, größer, 日本") == "plain, größer, 日本"


def test_lines_of_hosts_stay_lines_and_harmless() -> None:
    assert units.printable_lines("a: b\x1b[2J\r\nc: d\n") == "a: b\\x1b[2J\nc: d"
