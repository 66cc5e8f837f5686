"""Rounds whose history does not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import TypeAdapter

from tester.memory import BYTES_PER_OPERATION, MOST_BYTES, forecast, outgrown
from tester.scenario.stressers import Stresser
from tests.unit.scenario.cases import single

if TYPE_CHECKING:
    from tester.scenario.model import CaseSection

MOST = MOST_BYTES // BYTES_PER_OPERATION


def case(hold: int, *, load: bool = True) -> CaseSection:
    return single("none", steady="5s", hold=f"{hold}s", settle="5s", load=load)


def stresser(**settings: object) -> Stresser:
    return TypeAdapter[Stresser](Stresser).validate_python(settings)


KV, LOCKS = stresser(kind="kv", rate="970/s"), stresser(kind="lock", rate="30/s")


def test_a_round_that_takes_too_much_is_told_before_it_starts() -> None:
    told = forecast([KV, LOCKS], [case(3000), case(3000)])
    assert told is not None
    assert "1000 operations/s for 6020 s takes about 4.5 GiB" in told
    assert "rounds" in told


@pytest.mark.parametrize(
    ("stressers", "cases"),
    [
        ([KV, LOCKS], [case(2500), case(2500)]),
        ([stresser(kind="kv")], [case(3000)] * 30),
        ([KV], [case(3000, load=False)] * 30),
        ([], []),
    ],
)
def test_what_fits_or_is_not_known_is_not_told(stressers: list[Stresser], cases: list[CaseSection]) -> None:
    assert forecast(stressers, cases) is None


def test_a_round_that_has_grown_too_large_is_told() -> None:
    assert outgrown(MOST) is None
    told = outgrown(MOST + 1)
    assert told is not None
    assert told.startswith(f"{MOST + 1} operations in this round, about 4.0 GiB")
