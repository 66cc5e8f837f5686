"""Where the time of a run of the functional set went, case by case, from its artefacts.

    etcd-chaos run --inventory INVENTORY --scenario functional
    python -m benchmarks.functional runs/latest

The control is the successor of the functional test suite, whose 22 default cases took 455 s on such a machine, three
members on loopback, etcd 3.4.23: its own delays of 7 s a case and 5 s a fault are most of that.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tester.results import CaseState
from tester.rundir import RunDirectory

if TYPE_CHECKING:
    from tester.results import CaseResult

_PHASES: Final = ("steady", "inject", "hold", "recover", "settle", "check")
_SUCCESSOR_SECONDS: Final = 455.0
SUCCESSOR: Final = frozenset(
    {
        "sigterm-follower",
        "sigterm-follower-until-snapshot",
        "sigterm-leader",
        "sigterm-leader-until-snapshot",
        "sigterm-quorum",
        "sigterm-all",
        "sigquit-and-remove-follower",
        "sigquit-and-remove-follower-snapshot",
        "blackhole-leader",
        "blackhole-leader-until-snapshot",
        "blackhole-quorum",
        "blackhole-all",
        "delay-leader",
        "delay-leader-until-entries",
        "delay-quorum",
        "delay-all",
        "random-delay-leader",
        "random-delay-leader-until-entries",
        "random-delay-quorum",
        "random-delay-all",
        "no-fail-with-stress",
        "no-fail-with-no-stress",
    }
)
"""Its default cases by the names they have here."""


def main() -> None:
    """Print the table of each round."""
    parser = argparse.ArgumentParser(description="Wall time of each case of a run, by phase.")
    parser.add_argument("run", type=Path, help="directory of the run")
    for directory in RunDirectory.open(parser.parse_args().run).rounds():
        result = directory.read_result()
        if result is not None:
            print(f"round {result.number}: {result.elapsed_seconds:.1f} s")
            _print(result.cases)


def _print(cases: tuple[CaseResult, ...]) -> None:
    print(f"| case | {' | '.join(_PHASES)} | all s | state |")
    print(f"|---|{'---:|' * (len(_PHASES) + 1)}---|")
    for case in sorted(cases, key=lambda case: case.name):
        print(
            _row(case.name, [case.phases.get(phase, 0.0) for phase in _PHASES], case.elapsed_seconds),
            case.state,
            "|",
        )
    there = [case for case in cases if case.name in SUCCESSOR]
    sums = [sum(case.phases.get(phase, 0.0) for case in there) for phase in _PHASES]
    whole = sum(case.elapsed_seconds for case in there)
    print(_row(f"*{len(there)} of the successor's {len(SUCCESSOR)}*", sums, whole), "|")
    if len(there) == len(SUCCESSOR) and all(case.state is CaseState.PASSED for case in there):
        print(f"of the successor's {_SUCCESSOR_SECONDS:g} s: {whole / _SUCCESSOR_SECONDS:.2f} (target: 0.5)")
    else:
        print("no ratio: not all of its cases were there and passed")


def _row(name: str, seconds: list[float], whole: float) -> str:
    return f"| {name} | {' | '.join(f'{value:.1f}' for value in seconds)} | {whole:.1f} |"


if __name__ == "__main__":
    main()
