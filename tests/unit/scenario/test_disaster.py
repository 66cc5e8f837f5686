"""Rules about a cluster that is lost and restored."""

from __future__ import annotations

import pytest

from tester.errors import ScenarioError
from tester.scenario.loader import parse_scenario
from tester.scenario.model import CheckerName

GOOD = """\
name: s
stressers: [{kind: kv}]
cases:
  - name: c
    fault: lose-data
    target: all
    allow_quorum_loss: true
    actions:
      - {action: save-snapshot}
      - {action: restore-snapshot}
"""


def test_a_snapshot_comes_before_the_faults_and_is_judged() -> None:
    scenario = parse_scenario(GOOD, "s.yml")
    save, restore = scenario.cases[0].actions
    assert (save.first, restore.first) == (True, False)
    assert CheckerName.RESTORE in scenario.checkers
    without = GOOD[: GOOD.index("    actions")]
    assert CheckerName.RESTORE not in parse_scenario(without, "s.yml").checkers


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("      - {action: save-snapshot}\n", "", "there is no snapshot to restore"),
        ("fault: lose-data", "fault: kill", "nobody has lost anything"),
        (
            "target: all\n    allow_quorum_loss: true",
            "target: follower",
            "takes every member away that still has data",
        ),
        ("restore-snapshot}", "restore-snapshot, first: true}", "comes before anything is lost"),
        (
            "save-snapshot}\n      - {action: restore-snapshot}",
            "save-snapshot, quiet: true}",
            "pauses the load for nothing",
        ),
        ("{kind: kv}", "{kind: kv}, {kind: lock}", "lock cannot go on at a cluster that was restored"),
        ("save-snapshot}", "save-snapshot, last: true}", "means nothing beside first"),
        ("save-snapshot}", "save-snapshot, target: same}", "no fault hits anybody who could be the same"),
        ("name: s\n", "name: s\nworkers: 2\n", "load workers cannot follow"),
        ("target: all\n", "target: all\n    load: false\n", "ends with the load going on"),
    ],
)
def test_what_does_not_belong_together(old: str, new: str, expected: str) -> None:
    assert GOOD.count(old) == 1
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(GOOD.replace(old, new), "s.yml")
    assert expected in str(caught.value)
