"""What the command line asks of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tester.resume import Unfinished
    from tester.scenario.loader import LoadedScenario
    from tester.status.address import StatusAddress


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Everything ``tester.run.execute`` needs to know; nothing has been contacted yet.

    ``seed`` and ``rounds`` are ``None`` where the command line does not name them: the scenario's count, and
    ``tester.plan.make_plan`` draws a seed where there is none. ``rounds`` 0: until stopped.
    """

    inventory: Path
    scenario: LoadedScenario
    seed: int | None
    rounds: int | None
    output: Path
    """Folder that gets the run directory."""
    json: bool
    """Events as JSON lines on stdout instead of the console."""
    keep_data: bool
    """Collect the data directories of failed cases, too."""
    keep_cluster: bool
    """Leave the members running at the end. Faults are healed all the same."""
    exit_on_failure: bool = False
    """End after the first round that is not valid."""
    keep_rounds: int | None = None
    """Valid rounds whose evidence is kept: the last ones; ``None``: all."""
    resume: Unfinished | None = None
    """The run to go on with, instead of a new one."""
    status: StatusAddress | None = None
    """Where ``/status`` and ``/metrics`` are served; ``None``: nowhere."""
