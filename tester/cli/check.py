"""``etcd-chaos check``."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from tester.checkers import CHECKERS
from tester.cli.torn import tell_torn
from tester.console.units import printable
from tester.recheck import Judgement, exit_code, recheck

if TYPE_CHECKING:
    from tester.errors import ExitCode


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path), metavar="RUN_OR_HISTORY")
@click.option(
    "--checker",
    "-c",
    "checkers",
    type=click.Choice(list(CHECKERS)),
    multiple=True,
    help="Default: those of the run; without a run, those that find something to judge.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def check(*, path: Path, checkers: tuple[str, ...], as_json: bool) -> ExitCode:
    """Judge a saved run, round or history again. Contacts nobody."""
    judgements: list[Judgement] = []
    for judgement in recheck(path, checkers):
        if all(other.history != judgement.history for other in judgements):
            tell_torn(judgement.history)
        judgements.append(judgement)
        click.echo(msgspec.json.encode(judgement, enc_hook=str) if as_json else _text(judgement))
    return exit_code(judgements)


def _text(judgement: Judgement) -> str:
    lines = [f"{judgement.history}{f', case {judgement.case}' if judgement.case else ', no end state'}"]
    for result in judgement.results:
        lines.append(f"  {result.checker:<12} {result.verdict:<8} {printable(result.message)}")
        lines += textwrap.wrap(result.explanation, 110, initial_indent=" " * 6, subsequent_indent=" " * 6)
        lines += [f"      known: {result.known}"] if result.known else []
        lines += [f"      {printable(finding.message)}" for finding in result.findings]
        if (more := result.findings_total - len(result.findings)) > 0:
            lines.append(f"      and {more} more")
    if judgement.left_out:
        names = ", ".join(result.checker for result in judgement.left_out)
        lines.append(
            textwrap.fill(f"nothing to judge for {names}", 110, initial_indent="  ", subsequent_indent="    ")
        )
    return "\n".join(lines)
