"""What each case of the functional set asks of whose agent: what its name says, in the numbers of the old suite."""

from __future__ import annotations

import random
import re
from typing import Final

import pytest

from tester.faults import CaseFaults
from tester.scenario.loader import load_scenario
from tester.scenario.model import CaseSection, Until
from tester.targets import Roles
from tests.unit.faults.stage import ALL, QUICK, Stage

CASES: Final = load_scenario("functional").scenario.cases
WITHOUT: Final = {"no-fail-with-stress", "no-fail-with-no-stress"}
LEADER: Final = "h2"
ASKED: Final[dict[str, dict[str, object]]] = {
    "kill": {"kind": "kill", "signal": "SIGKILL"},
    "sigterm": {"kind": "stop"},
    "sigquit-and-remove": {"kind": "kill", "signal": "SIGQUIT"},
    "blackhole": {"kind": "isolate", "action": "drop"},
    "slow": {"kind": "network", "delay_seconds": 0.5, "jitter_seconds": 0.05, "distribution": "normal"},
    "delay": {"kind": "network", "delay_seconds": 5.0, "jitter_seconds": 0.5, "distribution": "normal"},
    "random-delay": {
        "kind": "network",
        "delay_seconds": 0.525,
        "jitter_seconds": 0.475,
        "distribution": "uniform",
    },
}
HIT: Final = {"one": 1, "follower": 1, "leader": 1, "majority": 2, "quorum": 2, "all": 3}
WAITS: Final = {
    "": None,
    "-snapshot": Until.SNAPSHOT,
    "-until-snapshot": Until.SNAPSHOT,
    "-until-entries": Until.ENTRIES,
}
NAME: Final = re.compile(rf"({'|'.join(sorted(ASKED, reverse=True))})-({'|'.join(HIT)})({'|'.join(WAITS)})")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_case_does_what_its_name_says(case: CaseSection) -> None:
    if case.name in WITHOUT:
        assert case.faults == ()
        assert case.load is (case.name == "no-fail-with-stress")
        return
    said = NAME.fullmatch(case.name)
    assert said is not None
    stage, roles = Stage(), Roles(voters=ALL, leader=LEADER)

    async def whole() -> bool:
        return True

    async with CaseFaults(case, stage.scene(), lambda: roles, lambda _: random.Random(1), QUICK) as faults:
        await faults.inject(whole)
        targets = faults.targets
    asked = [status.spec for agent in stage.agents.values() for status in agent.faults.values()]
    assert len(targets) == len(asked) == HIT[said[2]]
    if said[2] in {"leader", "follower"}:
        assert (LEADER in targets) is (said[2] == "leader")
    for spec in asked:
        assert ASKED[said[1]].items() <= spec.model_dump().items()
        if said[1] not in {"kill", "sigterm", "sigquit-and-remove"}:
            assert len(getattr(spec, "peers", ())) == 2, "all of its peers"
    assert case.until is WAITS[said[3]]
    removed = [action.kind() for action in case.actions]
    assert removed == (["remove-and-add-back"] if said[1] == "sigquit-and-remove" else [])
