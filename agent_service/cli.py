"""``etcd-chaos-agent``: run the agent, heal in its place, check its settings.

Exit codes: 0 all is well; 2 the command line or the settings are wrong; 3 the agent cannot run; 4 a fault on
this host is not healed.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import uvloop

from agent_service import __version__
from agent_service.audit import AUDIT_FILE, AuditLog
from agent_service.errors import AgentServiceError, FaultFailedError, ListenError
from agent_service.faults.heal import UnhealedError, heal_host, require_healed
from agent_service.settings import DEFAULT_PATH, SettingsError, load_settings
from agent_service.tls import ServerTls, TlsError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

T = TypeVar("T")


class ExitCode(IntEnum):
    """What the command returns."""

    OK = 0
    SETTINGS = 2
    RUNTIME = 3
    UNHEALED = 4


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; errors are one line on stderr and an exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        return _run(options)
    except (SettingsError, TlsError) as error:
        return _fail(ExitCode.SETTINGS, str(error))
    except (UnhealedError, FaultFailedError) as error:
        return _fail(ExitCode.UNHEALED, f"not healed: {_text(error)}")
    except AgentServiceError as error:
        return _fail(ExitCode.RUNTIME, _text(error))
    except (ListenError, OSError) as error:
        return _fail(ExitCode.RUNTIME, str(error))
    except Exception:
        logging.getLogger(__name__).exception("a defect of the agent")
        return ExitCode.RUNTIME


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="etcd-chaos-agent", description="The etcd-chaos agent of a host.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--settings", type=Path, default=DEFAULT_PATH, metavar="PATH", help="default: %(default)s"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", parents=[common], help="run the agent")
    healing = commands.add_parser("heal", parents=[common], help="undo the faults of an agent that is dead")
    healing.add_argument("--expired", action="store_true", help="only faults whose lease has run out")
    commands.add_parser("check", parents=[common], help="check settings and certificates, change nothing")
    return parser


def _run(options: argparse.Namespace) -> ExitCode:
    if options.command == "serve":
        # Healing comes between two agents, and whoever waits for the next one must not wait for a web server twice.
        from agent_service.server import serve  # noqa: PLC0415

        _await(serve(options.settings))
    elif options.command == "heal":
        _heal(options.settings, expired_only=options.expired)
    else:
        settings = load_settings(options.settings)
        ServerTls(settings.tls)
        sys.stdout.write(f"{options.settings}: ok, for host {settings.host}\n")
    return ExitCode.OK


def _heal(settings_path: Path, *, expired_only: bool) -> None:
    settings = load_settings(settings_path)
    audit = AuditLog(settings.state_dir / AUDIT_FILE)
    undone = _await(heal_host(settings, audit, who="heal-command", expired_only=expired_only))
    for fault in undone:
        sys.stdout.write(f"{fault.id}: {fault.state}: {fault.evidence}\n")
    require_healed(undone)


def _await(work: Coroutine[object, object, T]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def _text(error: Exception) -> str:
    remedy = error.remedy if isinstance(error, AgentServiceError) else None
    return f"{error}; {remedy}" if remedy else str(error)


def _fail(code: ExitCode, message: str) -> ExitCode:
    sys.stderr.write(f"etcd-chaos-agent: {message}\n")
    return code
