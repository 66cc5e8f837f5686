"""A scenario file or the name of a built-in one, to a validated ``Scenario``; every mistake at once."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
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
from tester.scenario.tree import Mapping, Plain, TreeError, parse, plain
from tester.scenario.written import written

MAX_BYTES: Final = 1024**2
SUFFIXES: Final = frozenset({".yml", ".yaml"})


@dataclass(frozen=True, slots=True)
class LoadedScenario:
    """A scenario and where it came from."""

    scenario: Scenario
    path: Path
    text: str
    """As it was read."""
    alone: str
    """The same, with the cases of those it includes written out: it needs no other file."""


@dataclass(frozen=True, slots=True)
class _Judged:
    """What a text says, as far as it makes sense."""

    scenario: Scenario | None
    mistakes: list[Mistake]
    said: dict[str, Plain] = field(default_factory=dict)
    """As it was written, short forms and all."""


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
    scenario, alone = _parse(text, str(path))
    return LoadedScenario(scenario, path, text, alone)


def parse_scenario(text: str, file: str) -> Scenario:
    """Validate the text of a scenario; ``file`` is its name in messages.

    Raises:
        ScenarioError: as ``load_scenario`` says.
    """
    return _parse(text, file)[0]


def _parse(text: str, file: str) -> tuple[Scenario, str]:
    """The scenario, and a text that says it alone."""
    judged = _judge(text)
    if judged.scenario is None or judged.mistakes:
        raise ScenarioError(
            render_all(judged.mistakes, file),
            remedy=f"mend the file, then: etcd-chaos scenarios validate {file}",
        )
    return _with_included(judged, Path(file)) if judged.scenario.include else (judged.scenario, text)


def _with_included(judged: _Judged, file: Path) -> tuple[Scenario, str]:
    """The scenario with the cases of those it includes after its own, and a text that says so.

    Raises:
        ScenarioError: one is not there, is wrong, includes others, or needs another cluster; or two cases have
            the same name.
    """
    remedy = f"mend the file, then: etcd-chaos scenarios validate {file}"
    scenario = judged.scenario
    assert scenario is not None  # noqa: S101 - whoever calls has looked
    cases, said = list(scenario.cases), _cases(judged)
    for name in scenario.include:
        # A file is beside the one that names it, never in whatever folder somebody stands in.
        path = _path_of(file.parent / name if Path(name).suffix in SUFFIXES else name)
        included = _judge(_read(path))
        if included.scenario is None or included.mistakes:
            raise ScenarioError(render_all(included.mistakes, str(path)), remedy=remedy)
        if included.scenario.include:
            raise ScenarioError(f"{file}: include: {name} includes others itself", remedy=remedy)
        if included.scenario.cluster != scenario.cluster:
            raise ScenarioError(
                f"{file}: include: {name} is for another cluster: its cluster section must be the same",
                remedy=remedy,
            )
        cases += included.scenario.cases
        said += _cases(included)
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
    rest = {key: value for key, value in judged.said.items() if key != "include"}
    alone = written(
        {**rest, "cases": said}, f"{file.name} and what it includes: {', '.join(scenario.include)}"
    )
    return scenario.model_copy(update={"cases": tuple(cases), "include": ()}), alone


def _cases(judged: _Judged) -> list[Plain]:
    said = judged.said.get("cases", [])
    return list(said) if isinstance(said, list) else []


def _judge(text: str) -> _Judged:
    try:
        tree, mistakes = parse(text)
    except TreeError as error:
        return _Judged(None, error.mistakes)
    if tree is None:
        return _Judged(
            None, [Mistake(Position(1, 1), (), "is empty", "a scenario needs at least a name and cases")]
        )
    if not isinstance(tree, Mapping):
        return _Judged(
            None, [*mistakes, Mistake(tree.position, (), "is not a mapping", "write KEY: VALUE lines")]
        )
    full = in_full(tree)
    found = [*full.mistakes, *rule_mistakes(full.tree)]
    scenario = None
    try:
        # JSON, because strict JSON takes text for enums and lists for tuples, and nothing else for anything.
        scenario = Scenario.model_validate_json(json.dumps(plain(full.tree)), strict=True)
    except ValidationError as error:
        found += field_mistakes(full.tree, error)
    said = {key: plain(item) for key, item in tree.items.items()}
    return _Judged(scenario, [*mistakes, *map(full.as_written, found)], said)


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
