"""``etcd-chaos check``: judge a saved history again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from tester.checkers import CHECKERS, run_checkers
from tester.errors import ExitCode, UsageError
from tester.history.damage import as_bad_input
from tester.history.endstate import EndState
from tester.history.loading import load_history, records_of
from tester.history.named import refuse_other_files
from tester.history.parquet import is_parquet
from tester.results import CheckResult, Verdict
from tester.rundir import MARKER, RunDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_END_STATE = "end-state-"
_CODES = {
    Verdict.VALID: ExitCode.VALID,
    Verdict.INVALID: ExitCode.INVALID,
    Verdict.UNKNOWN: ExitCode.INFRASTRUCTURE,
}


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the checkers say of one history up to one end state."""

    history: Path
    case: str
    """Whose end state it is; empty: there was none."""
    results: tuple[CheckResult, ...]
    left_out: tuple[CheckResult, ...] = ()
    """Checkers that nobody named and that found nothing of their kind."""


def exit_code(judgements: Sequence[Judgement]) -> ExitCode:
    """The worst of all verdicts."""
    return ExitCode.worst(*(_CODES[result.verdict] for one in judgements for result in one.results))


def recheck(path: Path, names: Sequence[str] = ()) -> Iterator[Judgement]:
    """Judge a run directory, a round's directory or a history file.

    Args:
        path: which; end states are looked for beside each history. A history may be a Parquet directory.
        names: checkers; default: those of the run's scenario. For a history without a run, those that it has
            something for; `linearizable` in any case.

    Raises:
        UsageError: there is no history, it is malformed or cannot be read, or the run's scenario is damaged.
    """
    with as_bad_input(path):
        histories = list(_histories(path))
    if not histories:
        raise UsageError(f"{path}: there is no history", remedy="name a run directory or a history.jsonl")
    for history in histories:
        with as_bad_input(history):
            if history == path:  # those of a run are histories, if empty ones as yet
                refuse_other_files(path)
            asked = names or _asked_for(history)
            judged = _judge(history, asked or tuple(CHECKERS))
            yield from judged if asked else map(_with_evidence, judged)


def _histories(path: Path) -> Iterator[Path]:
    if path.is_file() or is_parquet(path):
        yield path
    elif (path / MARKER).exists():
        for one in RunDirectory.open(path).rounds():
            if one.history.is_file():
                yield one.history
    elif (path / "history.jsonl").is_file():
        yield path / "history.jsonl"


class _Resolved(msgspec.Struct):
    checkers: tuple[str, ...]


def _asked_for(history: Path) -> tuple[str, ...]:
    """Who judged when the run was made: what was not asked for then may lack evidence now. Empty: nobody knows."""
    run = RunDirectory(history.absolute().parent.parent.parent)
    if not (run.path / MARKER).exists():
        return ()
    try:
        asked = msgspec.json.decode(run.resolved_scenario.read_bytes(), type=_Resolved).checkers
    except FileNotFoundError:
        return ()
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(
            f"{run.resolved_scenario}: {error}", remedy="name the checkers with --checker"
        ) from error
    return tuple(name for name in CHECKERS if name in asked)


def _with_evidence(judgement: Judgement) -> Judgement:
    judged = [one for one in judgement.results if not one.nothing_to_judge]
    left_out = [one for one in judgement.results if one.nothing_to_judge]
    return replace(judgement, results=tuple(judged), left_out=tuple(left_out))


def _judge(path: Path, names: Sequence[str]) -> Iterator[Judgement]:
    history = load_history(path)
    anew = partial(records_of, path)
    found = [
        (one.stem.removeprefix(_END_STATE), EndState.load(one))
        for one in path.parent.glob(f"{_END_STATE}*.json")
    ]
    ends = sorted(found, key=lambda pair: pair[1].at)
    for case, end in ends[:-1]:
        wanted = [name for name in names if CHECKERS[name].scope == "case"]
        yield Judgement(path, case, run_checkers(wanted, history, end, anew))
    case, end = ends[-1] if ends else ("", EndState(at=2**62, members={}))
    yield Judgement(path, case, run_checkers(names, history, end, anew))
