"""The top command. Commands are loaded when they are used: ``--help`` does not wait for gRPC and Ansible."""

from __future__ import annotations

import importlib
from typing import Final

import click

from tester import __version__

COMMANDS: Final = {
    "run": ("tester.cli.run", "Run a scenario on the hosts of an inventory."),
    "heal": ("tester.cli.heal", "Undo every fault on every host."),
    "stop": ("tester.cli.emergency", "Emergency stop: heal everything, refuse new faults."),
    "clear": ("tester.cli.emergency", "Allow faults again after an emergency stop."),
    "scenarios": ("tester.cli.scenarios", "List, show and validate scenarios."),
    "check": ("tester.cli.check", "Judge a saved run or history again."),
    "runner": ("tester.cli.runner", "Locks, elections, watchers, leases on any cluster."),
    "history": ("tester.cli.history", "Look at saved histories, and convert them."),
    "lab": ("tester.cli.lab", "Throwaway hosts on this machine."),
    "version": ("tester.cli.version", "Show versions."),
}
"""By name: the module that has a click command of that name, and one line of help."""


class LazyGroup(click.Group):
    """Imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """All names, in the order of ``COMMANDS``."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Load a command."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(COMMANDS[cmd_name][0]), cmd_name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[cmd_name][0]}.{cmd_name} is no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list in ``--help``, without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="etcd-chaos", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an unexpected error.")
def etcd_chaos(*, debug: bool) -> None:
    """Break an etcd cluster on real hosts, heal it, and prove that no acknowledged write was lost.

    Exit codes: 0 all valid; 1 a checker said invalid; 2 usage or scenario error; 3 hosts, agents or Ansible
    failed, or a verdict is unknown; 4 a fault could not be healed; 130 interrupted.
    """
