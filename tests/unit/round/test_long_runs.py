"""What keeps a run that goes on for days small, and what lets it be taken up again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tester.errors import ExitCode, UsageError
from tester.keeping import Keeping
from tester.plan import Plan
from tester.results import CaseState, RoundResult
from tester.resume import find_unfinished
from tester.rundir import RunDirectory, RunInfo
from tester.tally import KEPT, Tally
from tests.unit.console import fakerun
from tests.unit.scenario.hosts import host

if TYPE_CHECKING:
    from pathlib import Path

SCENARIO = "name: s\nstressers: [{kind: kv}]\ncases: [{name: a, fault: kill}]\n"
VALID = replace(fakerun.ROUND_1, exit_code=ExitCode.VALID, cases=fakerun.ROUND_1.cases[:1], checks=())


def run(
    base: Path, *results: RoundResult | None, rounds: int = 3, keep_rounds: int | None = None
) -> RunDirectory:
    """A run directory with these rounds; ``None``: begun and not done."""
    made = RunDirectory.create(base, "s", 5)
    made.write_scenario(SCENARIO, "{}")
    made.write_info(RunInfo("s", 5, 0, "0", "3.5.16", (), rounds=rounds, keep_rounds=keep_rounds))
    for number, result in enumerate(results, 1):
        found = made.make_round(number)
        if result is not None:
            found.write_result(replace(result, number=number))
    return made


def test_a_tally_stays_small_and_counts_all() -> None:
    tally = Tally()
    for number in range(1, KEPT + 51):
        tally.add(replace(VALID, number=number))
    tally.add(replace(fakerun.ROUND_1, number=KEPT + 51))
    assert (tally.rounds, len(tally.recent)) == (KEPT + 51, KEPT)
    assert tally.recent[-1].number == KEPT + 51
    assert tally.cases[CaseState.PASSED] >= KEPT + 50
    assert tally.code is ExitCode.INVALID
    assert tally.reason.startswith(f"round {KEPT + 51}, case ")


def test_a_run_is_taken_up_after_its_last_whole_round(tmp_path: Path) -> None:
    made = run(tmp_path, VALID, VALID, None, rounds=5)
    found = find_unfinished(made.path)
    assert (found.seed, found.rounds, found.next_round, found.broken_off) == (5, 5, 3, True)
    assert found.scenario.scenario.name == "s"
    assert [one.number for one in found.tally.recent] == [1, 2]
    made.set_aside(3)
    made.set_aside(3)
    assert [one.number for one in made.rounds()] == [1, 2]
    assert (made.path / "rounds" / "003-broken-off-1").is_dir()
    made.make_round(3)
    made.set_aside(3)
    assert (made.path / "rounds" / "003-broken-off-2").is_dir()


def test_a_long_run_is_taken_up_with_little_in_memory(tmp_path: Path) -> None:
    found = find_unfinished(run(tmp_path, *[VALID] * (KEPT + 5), rounds=0).path)
    assert (found.next_round, found.tally.rounds, len(found.tally.recent)) == (KEPT + 6, KEPT + 5, KEPT)


def test_an_interrupted_round_is_done_anew(tmp_path: Path) -> None:
    made = run(tmp_path, VALID, replace(VALID, exit_code=ExitCode.INTERRUPTED))
    assert (find_unfinished(made.path).next_round, find_unfinished(made.path).broken_off) == (2, True)


def test_a_run_between_two_rounds_has_nothing_to_set_aside(tmp_path: Path) -> None:
    found = find_unfinished(run(tmp_path, VALID).path)
    assert (found.next_round, found.broken_off) == (2, False)


def test_a_run_that_is_done_is_not_taken_up_unless_more_is_wanted(tmp_path: Path) -> None:
    made = run(tmp_path, VALID, VALID, rounds=2)
    with pytest.raises(UsageError, match="all of its 2 rounds are done"):
        find_unfinished(made.path)
    assert find_unfinished(made.path, rounds=4).next_round == 3
    assert find_unfinished(made.path, rounds=0).rounds == 0


@pytest.mark.parametrize(
    ("hosts", "versions", "told"),
    [
        ((1, 2, 3), ("3.4.23", "3.5.16"), ""),
        ((1, 2), ("3.5.16",), "h3 is missing"),
        ((1, 2, 4), ("3.5.16",), "h3 is missing; h4 is new"),
        ((1, 2, 3), ("3.5.30",), "etcd was 3.5.16, and is 3.5.30 now"),
    ],
)
def test_a_run_goes_on_where_it_began(
    tmp_path: Path, hosts: tuple[int, ...], versions: tuple[str, ...], told: str
) -> None:
    made = run(tmp_path, VALID)
    info = made.read_info()
    assert info is not None
    made.write_info(replace(info, hosts={"h1": "10.0.0.1", "h2": "10.0.0.2", "h3": "10.0.0.3"}))
    found = find_unfinished(made.path)
    scenario = found.scenario.scenario
    plan = Plan(scenario, tuple(host(number, versions=versions) for number in hosts), 5, 3, None)
    if not told:
        found.refuse_elsewhere(plan)  # whatever address a host has now
        return
    with pytest.raises(UsageError, match=f"{made.path}: the run did not begin with this inventory: {told}$"):
        found.refuse_elsewhere(plan)


def test_a_run_without_end_always_goes_on(tmp_path: Path) -> None:
    assert find_unfinished(run(tmp_path, VALID, VALID, rounds=0).path).next_round == 3


def test_what_is_no_run_or_never_began(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run directory"):
        find_unfinished(tmp_path)
    bare = RunDirectory.create(tmp_path, "s", 5)
    with pytest.raises(UsageError, match="ended before its first round"):
        find_unfinished(bare.path)


def test_pruning_removes_the_evidence_and_keeps_the_result(tmp_path: Path) -> None:
    made = run(tmp_path, VALID)
    (found,) = made.rounds()
    found.history.write_text("{}\n")
    found.write_end_state("a", b"{}")
    (found.ansible / "stdout").write_text("ok")
    found.member("h1").mkdir()
    found.scripts.mkdir()
    (found.scripts / "enable").write_text("ok")
    (found.path / "notes.txt").write_text("somebody's own")
    found.prune()
    assert sorted(path.name for path in found.path.iterdir()) == ["notes.txt", "result.json"]
    assert found.read_result() is not None
    found.prune()


def test_valid_rounds_of_earlier_sessions_are_pruned_too(tmp_path: Path) -> None:
    violated = replace(VALID, exit_code=ExitCode.INVALID)
    made = run(tmp_path, VALID, violated, VALID, rounds=0, keep_rounds=2)
    for found in made.rounds():
        found.history.write_text("{}\n")
    earlier = find_unfinished(made.path)
    assert (earlier.keep_rounds, [one.number for one in earlier.valid]) == (2, [1, 3])
    keeping = Keeping(earlier.keep_rounds, earlier.valid)

    def kept() -> list[int]:
        return [found.number for found in made.rounds() if found.history.exists()]

    for number, result, left in (
        (4, VALID, [2, 3, 4]),
        (5, violated, [2, 3, 4, 5]),
        (6, VALID, [2, 4, 5, 6]),
    ):
        fresh = made.make_round(number)
        fresh.history.write_text("{}\n")
        keeping.add(fresh, result)
        assert kept() == left


def test_without_a_wish_everything_is_kept(tmp_path: Path) -> None:
    (found,) = run(tmp_path, VALID).rounds()
    found.history.write_text("{}\n")
    Keeping(None, (found,)).add(found, VALID)
    assert found.history.exists()
