"""A scenario file or the name of a built-in one, to a validated ``Scenario``; every mistake at once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from tester.errors import ScenarioError
from tester.orchestration.paths import scenario_dir
from tester.scenario.fields import field_mistakes
from tester.scenario.mistakes import Mistake, Position, render_all, suggestion
from tester.scenario.model import Scenario
from tester.scenario.rules import rule_mistakes
from tester.scenario.shorthand import in_full
from tester.scenario.tree import Mapping, TreeError, parse, plain

MAX_BYTES: Final = 1024**2
SUFFIXES: Final = frozenset({".yml", ".yaml"})


@dataclass(frozen=True, slots=True)
class LoadedScenario:
    """A scenario, where it came from, and its text as it was read."""

    scenario: Scenario
    path: Path
    text: str


def builtin_scenarios() -> dict[str, Path]:
    """The built-in scenarios by name; one in a folder has the folder's before its own: ``functional/network``."""
    root = scenario_dir()
    found = {str(path.relative_to(root).with_suffix("")): path for path in root.rglob("*.yml")}
    return dict(sorted(found.items()))


def load_scenario(reference: str | Path) -> LoadedScenario:
    """Read and validate a scenario.

    Args:
        reference: a path (with a slash or a suffix ``.yml``, ``.yaml``), or the name of a built-in scenario.

    Raises:
        ScenarioError: there is no such scenario, or it is wrong; the message has one
            ``file:line:column: where: what; hint`` for each mistake.
    """
    path = _path_of(reference)
    text = _read(path)
    return LoadedScenario(parse_scenario(text, str(path)), path, text)


def parse_scenario(text: str, file: str) -> Scenario:
    """Validate the text of a scenario; ``file`` is its name in messages.

    Raises:
        ScenarioError: as ``load_scenario`` says.
    """
    scenario, mistakes = _judge(text)
    if scenario is None or mistakes:
        raise ScenarioError(
            render_all(mistakes, file),
            remedy=f"mend the file, then: etcd-chaos scenarios validate {file}",
        )
    return _with_included(scenario, Path(file)) if scenario.include else scenario


def _with_included(scenario: Scenario, file: Path) -> Scenario:
    """The scenario with the cases of those it includes after its own.

    Raises:
        ScenarioError: one is not there, is wrong, includes others, or needs another cluster; or two cases have
            the same name.
    """
    remedy = f"mend the file, then: etcd-chaos scenarios validate {file}"
    cases = list(scenario.cases)
    for name in scenario.include:
        beside = file.parent / name
        reference = beside if beside.suffix in SUFFIXES and beside.is_file() else name
        text = _read(path := _path_of(reference))
        included, mistakes = _judge(text)
        if included is None or mistakes:
            raise ScenarioError(render_all(mistakes, str(path)), remedy=remedy)
        if included.include:
            raise ScenarioError(f"{file}: include: {name} includes others itself", remedy=remedy)
        if included.cluster != scenario.cluster:
            raise ScenarioError(
                f"{file}: include: {name} is for another cluster: its cluster section must be the same",
                remedy=remedy,
            )
        cases += included.cases
    names = [case.name for case in cases]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ScenarioError(f"{file}: include: two cases are called {', '.join(twice)}", remedy=remedy)
    needed = sum(case.steady + case.hold + case.settle for case in cases)
    if needed > scenario.limits.round:
        raise ScenarioError(
            f"{file}: limits.round: a round may take {scenario.limits.round:g}s, and its cases, those that are "
            f"included too, need more than {needed:g}s",
            remedy=remedy,
        )
    return scenario.model_copy(update={"cases": tuple(cases), "include": ()})


def _judge(text: str) -> tuple[Scenario | None, list[Mistake]]:
    try:
        tree, mistakes = parse(text)
    except TreeError as error:
        return None, error.mistakes
    if tree is None:
        return None, [Mistake(Position(1, 1), (), "is empty", "a scenario needs at least a name and cases")]
    if not isinstance(tree, Mapping):
        return None, [*mistakes, Mistake(tree.position, (), "is not a mapping", "write KEY: VALUE lines")]
    full = in_full(tree)
    found = [*full.mistakes, *rule_mistakes(full.tree)]
    scenario = None
    try:
        # JSON, because strict JSON takes text for enums and lists for tuples, and nothing else for anything.
        scenario = Scenario.model_validate_json(json.dumps(plain(full.tree)), strict=True)
    except ValidationError as error:
        found += field_mistakes(full.tree, error)
    return scenario, [*mistakes, *map(full.as_written, found)]


def _path_of(reference: str | Path) -> Path:
    path = Path(reference)
    if isinstance(reference, Path) or path.suffix in SUFFIXES:
        return path
    known = builtin_scenarios()
    if "/" in reference and reference not in known:
        return path
    if reference not in known:
        raise ScenarioError(
            f"{reference}: there is no built-in scenario of this name; {suggestion(reference, list(known))}",
            remedy=f"etcd-chaos scenarios list shows them; a file of your own is ./{reference}.yml",
        )
    return known[reference]


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ScenarioError(
            f"{path}: {error.strerror or error}", remedy="etcd-chaos scenarios list shows the built-in ones"
        ) from error
    if len(data) > MAX_BYTES:
        raise ScenarioError(f"{path}: is larger than {MAX_BYTES} bytes: this is no scenario")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        mistake = Mistake(Position(line, 1), (), "is not UTF-8 text", "is this a scenario file?")
        raise ScenarioError(mistake.render(str(path))) from error
