"""The end of a run: what was found, how to see it again, where everything lies, what to do next."""

from __future__ import annotations

import shlex

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tester.console import units
from tester.errors import ExitCode
from tester.results import CaseState, RunResult

_VERDICTS = {
    ExitCode.VALID: ("VALID", "bold green", "No acknowledged write was lost or bent, as far as was checked."),
    ExitCode.INVALID: ("INVALID", "bold red", "A checker found a violation."),
    ExitCode.USAGE: ("NOT RUN", "bold yellow", "The request makes no sense as it stands."),
    ExitCode.INFRASTRUCTURE: ("ERROR", "bold yellow", "Not everything could be tested or proven."),
    ExitCode.UNHEALED: ("NOT HEALED", "bold red", "A fault is still active on a host."),
    ExitCode.INTERRUPTED: ("INTERRUPTED", "bold yellow", "The run was ended before it was done."),
}

_NEXT = {
    ExitCode.VALID: "Nothing has to be done. More rounds meet rarer timing.",
    ExitCode.INVALID: "Read the findings above, then replay. Keep the artefacts: they are the evidence.",
    ExitCode.USAGE: "Mend the scenario, the inventory or the options, and run again.",
    ExitCode.INFRASTRUCTURE: "Remove the cause named above, then replay: what it hit is not proven.",
    ExitCode.UNHEALED: "Now: etcd-chaos heal --inventory INVENTORY, then look at the host named above.",
    ExitCode.INTERRUPTED: "Replay when you like.",
}


def run_summary(result: RunResult) -> RenderableType:
    """The last thing a run says; print it with ``crop=False``."""
    word, style, meaning = _VERDICTS[result.exit_code]
    verdict = Text.assemble((word, style), f"  {meaning}")
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(overflow="fold")
    rows.add_row("verdict", verdict)
    if result.reason:
        rows.add_row("reason", Text(units.printable_lines(result.reason)))
    rows.add_row("cases", _cases(result))
    rounds = units.plural(result.rounds_total, "round")
    rows.add_row("took", f"{units.seconds(result.elapsed_seconds)}, {rounds}")
    rows.add_row("seed", str(result.seed))
    rows.add_row("artefacts", Text(result.directory))
    rows.add_row("next", Text(_NEXT[result.exit_code].replace("INVENTORY", shlex.quote(result.inventory))))
    rows.add_row("exit code", str(int(result.exit_code)))
    # On a line of its own that is never broken, so that it can be copied whole.
    replay = Text(f"  {replay_command(result)}", no_wrap=True, overflow="ignore")
    return Group(rows, Text("replay with", style="dim"), replay)


def replay_command(result: RunResult) -> str:
    """The command that does the same again; the run directory holds the scenario as it was given."""
    scenario = f"{result.directory}/scenario.yml"
    command = ["etcd-chaos", "run", "--inventory", result.inventory, "--scenario", scenario]
    return shlex.join([*command, "--seed", str(result.seed)])


def _cases(result: RunResult) -> Text:
    states = result.cases_total
    total = sum(states.values())
    if total == 0:
        return Text("none was run")
    text = ", ".join(f"{states[state]} {state.value}" for state in CaseState if state in states)
    return Text(f"{total}: {text}")
