"""A run that was killed, taken up again: what it was asked for, what it has done, what is still to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tester.errors import ExitCode, UsageError
from tester.rundir import RunDirectory
from tester.scenario.loader import LoadedScenario, load_scenario
from tester.tally import Tally

if TYPE_CHECKING:
    from pathlib import Path

    from tester.plan import Plan
    from tester.rundir import RoundDirectory


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A run as an earlier session has left it."""

    directory: RunDirectory
    scenario: LoadedScenario
    seed: int
    rounds: int
    """As it was asked for; 0: until stopped."""
    keep_rounds: int | None
    """As it was asked for."""
    keep_data: bool
    exit_on_failure: bool
    tally: Tally
    """Of the rounds that came to their end, from the first one on without a gap: the run goes on adding to it."""
    next_round: int
    """The number of the first round to do."""
    valid: tuple[RoundDirectory, ...]
    """Where those of them are that were valid."""
    broken_off: bool
    """Whether another one was begun; it is done anew, on a new cluster, with the same draws."""
    hosts: frozenset[str]
    """The names of those that it ran on."""
    etcd_version: str

    def refuse_elsewhere(self, plan: Plan) -> None:
        """See that it goes on where it began: else targets are drawn among others, and verdicts are on another etcd.

        Raises:
            UsageError: the plan has other hosts, or another version of etcd.
        """
        hosts = {host.name for host in (*plan.hosts, *plan.load_hosts)}
        changes = [
            *(f"{name} is missing" for name in sorted(self.hosts - hosts)),
            *(f"{name} is new" for name in sorted(hosts - self.hosts)),
        ]
        if plan.etcd_version != self.etcd_version:
            changes.append(f"etcd was {self.etcd_version}, and is {plan.etcd_version} now")
        if changes:
            raise UsageError(
                f"{self.directory.path}: the run did not begin with this inventory: {'; '.join(changes)}",
                remedy="give it the inventory of then, or start another run",
            )


def find_unfinished(path: Path, rounds: int | None = None) -> Unfinished:
    """What is left to do of a run.

    Args:
        path: its directory.
        rounds: how many it is to have in the end; default: as it was asked for.

    Raises:
        UsageError: it is no run directory, it ended before anything was known of it, or nothing is
            left to do.
    """
    directory = RunDirectory.open(path)
    info = directory.read_info()
    if info is None:
        raise UsageError(f"{path}: the run ended before its first round", remedy="start it anew")
    wanted = info.rounds if rounds is None else rounds
    tally = Tally()
    valid: list[RoundDirectory] = []
    broken_off = False
    for found in directory.rounds():
        result = found.read_result()
        if result is None or result.exit_code is ExitCode.INTERRUPTED or found.number != tally.rounds + 1:
            broken_off = True
            break
        tally.add(result)
        if result.exit_code is ExitCode.VALID:
            valid.append(found)
    if wanted and tally.rounds >= wanted:
        raise UsageError(
            f"{path}: all of its {wanted} rounds are done",
            remedy=f"--rounds {wanted * 2} would go on with more",
        )
    return Unfinished(
        directory=directory,
        scenario=load_scenario(directory.scenario),
        seed=info.seed,
        rounds=wanted,
        keep_rounds=info.keep_rounds,
        keep_data=info.keep_data,
        exit_on_failure=info.exit_on_failure,
        tally=tally,
        next_round=tally.rounds + 1,
        valid=tuple(valid),
        broken_off=broken_off,
        hosts=frozenset(info.hosts),
        etcd_version=info.etcd_version,
    )
