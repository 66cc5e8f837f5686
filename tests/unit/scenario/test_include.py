"""Scenarios made of others."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.functional import SUCCESSOR
from tester.errors import ScenarioError
from tester.order import draw_order
from tester.plan import stream
from tester.scenario.faults import NetworkSection
from tester.scenario.faults.quality import QualityPreset
from tester.scenario.loader import builtin_scenarios, load_scenario, parse_scenario
from tester.scenario.model import Until

DOCS = Path(__file__).parents[3] / "docs"
PART = """
name: part
cluster: {members: 3}
stressers: [{kind: kv}]
cases:
  - {name: one, fault: kill}
  - {name: two, fault: pause}
"""


def whole(folder: Path, *include: str, extra: str = "", cluster: str = "{members: 3}") -> str:
    names = ", ".join(include)
    return f"name: whole\ncluster: {cluster}\nstressers: [{{kind: kv}}]\ninclude: [{names}]\n{extra}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "part.yml").write_text(PART)
    (tmp_path / "other.yml").write_text(PART.replace("one", "three").replace("two", "four"))
    return tmp_path


def test_cases_follow_in_order(folder: Path) -> None:
    text = whole(folder, "part.yml", "other.yml", extra="cases: [{name: own, fault: none}]")
    scenario = parse_scenario(text, str(folder / "whole.yml"))
    assert [case.name for case in scenario.cases] == ["own", "one", "two", "three", "four"]
    assert scenario.include == (), "what is written beside a run stands by itself"


def test_what_is_kept_of_it_needs_no_other_file(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    weights = "stressers: [{kind: kv, weights: {put: 0.00001, get: 0.5}}]"
    text = whole(folder, "part.yml", extra="description: 'no'\ncases: [{name: own, fault: none}]")
    (folder / "whole.yml").write_text(text.replace("stressers: [{kind: kv}]", weights))
    loaded = load_scenario(folder / "whole.yml")
    kept = tmp_path_factory.mktemp("elsewhere") / "scenario.yml"
    kept.write_text(loaded.alone)
    again = load_scenario(kept)
    assert again.scenario == loaded.scenario
    assert again.alone == loaded.alone
    assert load_scenario(folder / "part.yml").alone == PART, "nothing to write out"


def test_a_file_of_this_name_where_somebody_stands_is_another(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (folder / "part.yml").rename(elsewhere / "part.yml")
    monkeypatch.chdir(elsewhere)
    with pytest.raises(ScenarioError, match=f"{folder}/part.yml: No such file"):
        parse_scenario(whole(folder, "part.yml"), str(folder / "whole.yml"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (whole(Path(), "nothing.yml"), "no built-in scenario|No such file"),
        (whole(Path(), "part.yml", "part.yml"), "two cases are called one, two"),
        (whole(Path(), "part.yml", cluster="{members: 5}"), "for another cluster"),
        (whole(Path(), "part.yml", extra="limits: {round: 6s}"), "may take 6s, and its cases"),
        (whole(Path(), "nested.yml"), "includes others itself"),
        (whole(Path(), "broken.yml"), "broken.yml:6:24: "),
    ],
)
def test_mistakes_are_told(folder: Path, text: str, message: str) -> None:
    (folder / "nested.yml").write_text(whole(folder, "part.yml"))
    (folder / "broken.yml").write_text(PART.replace("fault: kill", "fault: kil"))
    with pytest.raises(ScenarioError, match=message):
        parse_scenario(text, str(folder / "whole.yml"))


def test_the_functional_suite_has_every_case_and_shuffles() -> None:
    suite = load_scenario("functional").scenario
    parts = [name for name in builtin_scenarios() if name.startswith("functional/")]
    assert len(parts) == 15
    assert len(suite.cases) == 40
    names = [case.name for case in suite.cases]
    assert len(SUCCESSOR) == 22
    assert set(names) > SUCCESSOR, "what is timed against the old suite"
    assert suite.shuffle
    assert suite.defragment_every == 500
    # A leader forgets no entries for half a minute after a snapshot: five cases lie between two that want one.
    order = draw_order(suite.cases, stream(7, "order", 1))
    waiting = [place for place, case in enumerate(order) if case.until is Until.SNAPSHOT and not case.actions]
    assert len(waiting) == 6
    assert min(after - before for before, after in pairwise([*waiting, waiting[0] + len(order)])) > 5


def test_the_delays_of_the_suite_are_held_for_longer_than_its_case_delay() -> None:
    cases = load_scenario("functional/delay").scenario.cases
    late = [
        case
        for case in cases
        for fault in case.faults
        if isinstance(fault, NetworkSection) and fault.preset is QualityPreset.VERY_SLOW
    ]
    assert len(late) == 6
    assert all(case.hold > 7 for case in late), "case-delay-ms: packets are 5 s late"


def test_members_that_lose_their_data_are_away_for_as_long_as_they_are_held() -> None:
    cases = load_scenario("functional/data").scenario.cases
    for case in cases:
        (action,) = case.actions
        assert action.last if case.until else action.after >= case.hold >= 3


def rows() -> list[str]:
    """Of all tables of the page, without their heads."""
    lines = (DOCS / "from-functional-tester.md").read_text().splitlines()
    heads = {
        number - offset for number, line in enumerate(lines) if line.startswith("|---") for offset in (0, 1)
    }
    return [line for number, line in enumerate(lines) if line.startswith("| ") and number not in heads]


def test_every_case_of_the_suite_is_in_the_table() -> None:
    parts = [name for name in builtin_scenarios() if name.startswith("functional/")]
    missing = [
        (part, case.name)
        for part in parts
        for case in load_scenario(part).scenario.cases
        if not any(f"{part.partition('/')[2]}: " in row and f"`{case.name}`" in row for row in rows())
    ]
    assert missing == []


def test_every_row_of_the_tables_has_what_shows_it() -> None:
    assert len(rows()) > 70
    for row in rows():
        shown = row.rstrip("| ").rpartition(" | ")[2]
        assert (
            "](../tests/" in shown
            or "[the set itself](performance.md#" in shown
            or shown.startswith("none: ")
        ), row


def test_links_of_the_table_lead_somewhere() -> None:
    page = DOCS / "from-functional-tester.md"
    links = [link.partition("#")[0] for link in re.findall(r"\]\((?!https:)([^)]+)\)", page.read_text())]
    assert len(links) > 20
    assert [link for link in links if not (DOCS / link).exists()] == []
