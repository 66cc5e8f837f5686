"""Draw a real run as an SVG for the README.

``etcd-chaos run --json ... > run.jsonl``, then ``python docs/capture.py run.jsonl docs/images/run.svg``. It
shows the live panel as it was at the last load sample of the first hold, the table of every round and the
summary, all drawn by the code that draws them on a terminal.
"""  # noqa: INP001 - a script

from __future__ import annotations

import io
import sys
from datetime import datetime
from pathlib import Path

import msgspec
from rich.console import Console

from tester.console.jsonlines import decode_event
from tester.console.panel import panel
from tester.console.summary import run_summary
from tester.console.tables import round_report
from tester.console.view import View, advance
from tester.events import LoadSample, Phase, RoundFinished, RunFinished, RunStarted

WIDTH = 100


def main(source: Path, target: Path) -> None:
    """Write ``target`` from the lines of ``source``."""
    console = Console(
        record=True, width=WIDTH, file=io.StringIO(), markup=False, highlight=False, emoji=False
    )
    console.print("$ etcd-chaos run --inventory inventory/\n", style="dim")
    view, shot, rounds = View(), None, 1
    for line in source.read_text(encoding="utf-8").splitlines():
        event = decode_event(line)
        now = datetime.fromisoformat(msgspec.json.decode(line)["time"]).timestamp()
        view = advance(view, event, now)
        if isinstance(event, RunStarted):
            rounds = event.rounds
        in_hold = view.phase is not None and view.phase.phase is Phase.HOLD
        if isinstance(event, LoadSample) and in_hold and view.round == 1 and view.cases_done == 0:
            shot = panel(view, now, WIDTH)
        if isinstance(event, RoundFinished):
            if shot is not None:
                console.print(shot, "")
                shot = None
            console.print(round_report(event.result, rounds, WIDTH))
        if isinstance(event, RunFinished):
            console.print(run_summary(event.result))
    target.write_text(console.export_svg(title="etcd-chaos"), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
