"""Mistakes that cannot be judged are not made."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from tester.actions.kinds import ALWAYS, NEEDS_FAULT, Mistake
from tester.actions.mistakes import _make
from tester.errors import ActionError, ScenarioError
from tester.scenario.loader import parse_scenario

if TYPE_CHECKING:
    from tester.actions.ground import Ground


@pytest.mark.parametrize("mistake", ALWAYS)
async def test_a_member_that_is_alone_is_told_of(mistake: Mistake) -> None:
    ground = SimpleNamespace(
        monitor=SimpleNamespace(view=lambda: SimpleNamespace(leader="m1")),
        membership=SimpleNamespace(names=("m1",)),
    )
    with pytest.raises(ActionError, match=f"mistake {mistake}: m1 is alone"):
        await _make(cast("Ground", ground), mistake)


@pytest.mark.parametrize("mistake", sorted(NEEDS_FAULT))
@pytest.mark.parametrize(
    ("fault", "also", "fits"),
    [
        ("kill", "", True),
        ("none", "", False),
        ("network, delay: 1ms", "", False),
        ("kill", ", first: true", False),
    ],
)
def test_what_etcd_accepts_of_a_whole_cluster_is_no_mistake(
    mistake: str,
    fault: str,
    also: str,
    fits: bool,  # noqa: FBT001 - a table
) -> None:
    text = (
        f"name: s\nstressers: [{{kind: kv}}]\ncases: [{{name: c, fault: {fault}, "
        f"actions: [{{action: mistakes, make: [{mistake}]{also}}}]}}]\n"
    )
    if fits:
        assert parse_scenario(text, "s.yml").cases[0].actions
    else:
        with pytest.raises(ScenarioError, match=f"{mistake}: etcd rightly accepts that"):
            parse_scenario(text, "s.yml")
