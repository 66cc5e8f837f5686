from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from tester.checkers import run_checkers
from tester.history.endstate import EndState
from tester.history.history import History
from tester.history.jepsen import read_jepsen
from tester.history.reader import HistoryFormatError
from tester.results import CheckResult, Verdict
from tests.unit.history.registers import bend, is_linearizable, simulate, to_edn

if TYPE_CHECKING:
    from pathlib import Path


def judge(path: Path) -> CheckResult:
    (result,) = run_checkers(["linearizable"], History(read_jepsen(path)), EndState(2**62, {}))
    return result


@pytest.mark.parametrize("keyed", [False, True])
def test_verdicts_are_those_of_a_search_through_every_order(tmp_path: Path, *, keyed: bool) -> None:
    seen = set()
    for seed in range(150):
        rng = Random(seed)
        calls = simulate(rng, rng.randrange(1, 7), keys=2 if keyed else 1)
        if seed % 2:
            calls = bend(calls, rng)
        path = tmp_path / f"{seed}.edn"
        path.write_text(to_edn(calls, keyed=keyed))
        truth = is_linearizable(calls)
        seen.add(truth)
        result = judge(path)
        if not any(call.kind == "ok" for call in calls):
            assert result.verdict is Verdict.UNKNOWN
        else:
            assert result.verdict is (Verdict.VALID if truth else Verdict.INVALID), (seed, result)
    assert seen == {True, False}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{:type :invoke :f :append :value 1 :process 0}", "only :read, :write and :cas"),
        ("{:type :ok :f :write :value 1 :process 0}", "ends what it did not begin"),
        ("{:type :invoke :f :write :value 1.5 :process 0}", "only numbers and strings"),
        ('{:type :invoke :f :write :value "5" :process 0}', "only numbers and strings"),
        ("{:type :later :f :write :value 1 :process 0}", "did not begin"),
        (
            "{:type :invoke :f :write :value 1 :process 0} {:type :invoke :f :read :process 0}",
            "has not ended",
        ),
        ("{:type :invoke :f :write :value 1 :process 0 :time 1.5}", "nanoseconds"),
        ("[{:type :invoke} 5]", "is a map"),
    ],
)
def test_what_is_not_understood_is_named(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "h.edn").write_text(text)
    with pytest.raises(HistoryFormatError, match=told):
        list(read_jepsen(tmp_path / "h.edn"))


def test_a_history_as_jepsen_prints_it(tmp_path: Path) -> None:
    """Tags, a nemesis, strings, and a process that crashes."""
    (tmp_path / "h.edn").write_text(
        """#jepsen.history.Op{:index 0, :time 1, :type :info, :process :nemesis, :f :start, :value nil}
        #jepsen.history.Op{:index 1, :time 2, :type :invoke, :process 0, :f :write, :value ["x" 1]}
        #jepsen.history.Op{:index 2, :time 3, :type :info, :process 0, :f :write, :value ["x" 1], :error :timeout}
        #jepsen.history.Op{:index 3, :time 4, :type :invoke, :process 1, :f :cas, :value ["x" [1 2]]}
        #jepsen.history.Op{:index 4, :time 5, :type :ok, :process 1, :f :cas, :value ["x" [1 2]]}
        ; a comment
        #jepsen.history.Op{:index 5, :time 6, :type :invoke, :process 5, :f :read, :value ["x" nil]}
        #jepsen.history.Op{:index 6, :time 7, :type :ok, :process 5, :f :read, :value ["x" 2]}
        """
    )
    assert judge(tmp_path / "h.edn").verdict is Verdict.VALID
    text = (tmp_path / "h.edn").read_text()
    (tmp_path / "h.edn").write_text(text.replace(':read, :value ["x" 2]', ':read, :value ["x" 1]'))
    result = judge(tmp_path / "h.edn")
    assert result.verdict is Verdict.INVALID
    assert result.findings[0].operations == (6, 2, 4)
    assert "its value could only be 2" in result.message


def test_too_much_at_a_time_is_unknown(tmp_path: Path) -> None:
    lines = [f"{{:type :invoke :f :write :value {n} :process {n}}}" for n in range(40)]
    lines += ["{:type :invoke :f :read :value nil :process 99}", "{:type :ok :f :read :value 77 :process 99}"]
    (tmp_path / "h.edn").write_text("\n".join(lines))
    result = judge(tmp_path / "h.edn")
    assert result.verdict is Verdict.UNKNOWN
    assert "overlaps too many" in result.message
