"""``etcd-chaos scenarios``."""

from __future__ import annotations

import click

from tester.errors import ExitCode, ScenarioError
from tester.scenario.loader import builtin_scenarios, load_scenario
from tester.scenario.schema import schema_text


@click.group()
def scenarios() -> None:
    """List, show and validate scenarios."""


@scenarios.command("list")
def list_() -> None:
    """The built-in scenarios."""
    loaded = {name: load_scenario(name).scenario for name in builtin_scenarios()}
    width = max(map(len, loaded), default=0)
    for name, scenario in loaded.items():
        seconds = sum(case.steady + case.hold + case.settle for case in scenario.cases)
        cases = f"{len(scenario.cases)} cases, {seconds:g}s and recoveries"
        click.echo(f"{name:<{width}}  {scenario.description} ({cases})")


@scenarios.command()
@click.argument("scenario", metavar="NAME_OR_FILE")
@click.option("--resolved", is_flag=True, help="As JSON with every default filled in; times in seconds.")
def show(*, scenario: str, resolved: bool) -> None:
    """A scenario's text."""
    loaded = load_scenario(scenario)
    click.echo(loaded.scenario.model_dump_json(indent=2) if resolved else loaded.text.rstrip("\n"))


@scenarios.command()
@click.argument("files", metavar="NAME_OR_FILE...", nargs=-1, required=True)
def validate(*, files: tuple[str, ...]) -> ExitCode:
    """Find every mistake in scenario files: one line each, FILE:LINE:COLUMN: where: what; hint."""
    code = ExitCode.VALID
    for file in files:
        try:
            loaded = load_scenario(file)
        except ScenarioError as error:
            click.echo(error.message, err=True)
            code = ExitCode.USAGE
        else:
            click.echo(f"{loaded.path}: {len(loaded.scenario.cases)} cases, no mistakes")
    return code


@scenarios.command()
def schema() -> None:
    """The JSON schema of scenario files, for editors."""
    click.echo(schema_text(), nl=False)
