"""From whatever happened to one clear block on stderr and an exit code."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from typing import TYPE_CHECKING, NoReturn

import click

from agent_client.errors import AgentClientError
from tester import __version__
from tester.cli.group import etcd_chaos
from tester.errors import EtcdChaosError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence


def main() -> NoReturn:
    """The console script."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code. Nothing but the exit of the interpreter itself gets out."""
    try:
        code = etcd_chaos.main(args=list(arguments), prog_name="etcd-chaos", standalone_mode=False)
        sys.stdout.flush()
        return int(code or ExitCode.VALID)
    except (BrokenPipeError, SystemExit):
        # The reader has gone (a pipe into head). click exits with 1 then, which is our code for an invalid
        # verdict. Nobody is left to tell; later flushes must not fail, too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.INFRASTRUCTURE
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return ExitCode.INTERRUPTED
    except EtcdChaosError as error:
        _tell(error.message, error.remedy)
        return error.exit_code
    except AgentClientError as error:
        _tell(error.message, error.remedy)
        return ExitCode.INFRASTRUCTURE
    except Exception as error:  # noqa: BLE001 - the boundary: a defect of ours, told without a wall of text
        _defect(error, debug="--debug" in arguments)
        return ExitCode.INFRASTRUCTURE


def _tell(message: str, remedy: str | None) -> None:
    first, *rest = message.splitlines() or [""]
    click.echo(f"error: {first}", err=True)
    for line in rest:
        click.echo(f"       {line}", err=True)
    if remedy:
        click.echo(f"remedy: {remedy}", err=True)


def _defect(error: Exception, *, debug: bool) -> None:
    what = traceback.format_exception_only(error)[-1].strip()
    told = "".join(traceback.format_exception(error))
    if debug:
        click.echo(told, err=True)
        _tell(f"a defect of etcd-chaos {__version__}: {what}", None)
        return
    with tempfile.NamedTemporaryFile(
        "w", prefix="etcd-chaos-", suffix="-traceback.txt", delete=False, encoding="utf-8"
    ) as file:
        file.write(told)
    _tell(
        f"a defect of etcd-chaos {__version__}: {what}",
        f"report it with {file.name}; etcd-chaos heal --inventory INVENTORY makes sure that no fault is left",
    )
