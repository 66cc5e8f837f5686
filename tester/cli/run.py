"""``etcd-chaos run``."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
import msgspec

from tester.agents import connect
from tester.cli.options import inventory_option
from tester.errors import ExitCode, UsageError
from tester.plan import make_plan
from tester.preview import preview, render
from tester.resume import find_unfinished
from tester.run_request import RunRequest
from tester.scenario.loader import load_scenario
from tester.session import open_session
from tester.status.address import parse_address


@click.command()
@inventory_option
@click.option(
    "--scenario", "-s", default="quick", show_default=True, help="A built-in scenario's name, or a file."
)
@click.option(
    "--rounds", type=click.IntRange(0, 1_000_000), help="Instead of the scenario's; 0: until stopped."
)
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), help="Instead of the scenario's; else drawn and printed."
)
@click.option(
    "--output",
    "-o",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder that gets the run's directory.",
)
@click.option("--dry-run", is_flag=True, help="Show targets, commands and undo; touch nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line instead of the live view.")
@click.option("--keep-data", is_flag=True, help="Collect the data directories of failed rounds, too.")
@click.option("--keep-cluster", is_flag=True, help="Leave the members running at the end; faults are healed.")
@click.option("--exit-on-failure", is_flag=True, help="End after the first round that is not valid.")
@click.option(
    "--keep-rounds",
    type=click.IntRange(0),
    metavar="N",
    help="Keep the evidence of the last N valid rounds; default: of all.",
)
@click.option(
    "--resume",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="RUN",
    help="Go on with a run that was killed or interrupted, from its directory.",
)
@click.option("--status", metavar="ADDRESS:PORT", help="Serve /status and /metrics there while it runs.")
def run(
    *,
    inventory: Path,
    scenario: str,
    rounds: int | None,
    seed: int | None,
    output: Path,
    dry_run: bool,
    as_json: bool,
    keep_data: bool,
    keep_cluster: bool,
    exit_on_failure: bool,
    keep_rounds: int | None,
    resume: Path | None,
    status: str | None,
) -> ExitCode:
    """Run a scenario: provision, load, break, heal, prove, clean up."""
    unfinished = None
    if resume is not None:
        _refuse_beside_resume(click.get_current_context())
        unfinished = find_unfinished(resume, rounds)
        rounds, seed = unfinished.rounds, unfinished.seed
        keep_data |= unfinished.keep_data
        exit_on_failure |= unfinished.exit_on_failure
    request = RunRequest(
        inventory=inventory,
        scenario=unfinished.scenario if unfinished else load_scenario(scenario),
        seed=seed,
        rounds=rounds,
        output=output,
        json=as_json,
        keep_data=keep_data,
        keep_cluster=keep_cluster,
        exit_on_failure=exit_on_failure,
        keep_rounds=keep_rounds,
        resume=unfinished,
        status=None if status is None else parse_address(status),
    )
    if dry_run:
        return asyncio.run(_dry_run(request))
    from tester.run import execute  # noqa: PLC0415 - loads gRPC and more; a wrong scenario need not wait for it

    return execute(request)


def _refuse_beside_resume(context: click.Context) -> None:
    given = [
        name
        for name in ("scenario", "seed", "output")
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        raise UsageError(
            f"--resume goes on with what the run was: --{given[0]} means nothing beside it",
            remedy="leave it out, or start another run",
        )


async def _dry_run(request: RunRequest) -> ExitCode:
    async with open_session(request.inventory, lambda _: None) as session:
        plan = make_plan(
            request.scenario.scenario, session.inventory, seed=request.seed, rounds=request.rounds
        )
        if request.resume is not None:
            request.resume.refuse_elsewhere(plan)
        async with connect(session.inventory) as agents:
            shown = await preview(plan, agents)
    if request.json:
        click.echo(msgspec.json.encode(shown))
    else:
        click.echo(render(shown, str(request.inventory)))
    return ExitCode.INFRASTRUCTURE if shown.lacking else ExitCode.VALID
