"""Options of ``etcd-chaos runner``."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tester.runner.setting import Credentials
from tester.scenario.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable

_F = TypeVar("_F", bound="Callable[..., Any]")
_LONGEST_SECONDS = 86_400 * 365.0


class Duration(click.ParamType):  # type: ignore[type-arg]  # a parameter that older click lacks
    """``60`` and ``60s`` are sixty seconds; ``1m30s`` and ``500ms`` are what they say."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        if isinstance(value, int | float):
            return float(value)
        text = str(value)
        try:
            seconds = float(text) if text.replace(".", "", 1).isdigit() else parse_duration(text)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not 0 <= seconds <= _LONGEST_SECONDS:
            self.fail(f"{text} is out of bounds", param, ctx)
        return seconds


DURATION = Duration()


@dataclass(frozen=True, slots=True)
class Common:
    """Options that every runner has."""

    endpoints: str
    dial_timeout: float
    req_rate: float
    no_progress: float
    seed: int | None
    history: Path | None
    credentials: Credentials


_REQ_RATE = 30.0


_COMMON = (
    click.option(
        "--endpoints", default="localhost:2379", show_default=True, help="HOST:PORT, separated by commas."
    ),
    click.option("--dial-timeout", type=DURATION, default=2.0, show_default="2s", help="For a first answer."),
    click.option(
        "--no-progress",
        type=DURATION,
        default=60.0,
        show_default="60s",
        help="Fail after so long without any; 0: never.",
    ),
    click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Default: drawn."),
    click.option(
        "--history",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Keep the history in this new file: etcd-chaos check takes it.",
    ),
    click.option(
        "--cacert", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="TLS: the CA."
    ),
    click.option(
        "--cert", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="TLS: who we are."
    ),
    click.option(
        "--key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="TLS: the key to --cert."
    ),
    click.option("--user", default="", help="etcd's user, NAME or NAME:PASSWORD."),
    click.option(
        "--password",
        default="",
        envvar="ETCD_CHAOS_PASSWORD",
        show_envvar=True,
        help="Better in the variable.",
    ),
)


def common(req_rate: float = _REQ_RATE) -> Callable[[_F], _F]:
    """The options that all have; ``req_rate`` is the default of ``--req-rate``."""
    rate = click.option(
        "--req-rate",
        type=click.FloatRange(0, 1_000_000, min_open=True),
        default=req_rate,
        show_default=True,
        help="Operations a second, all clients together.",
    )

    def add(command: _F) -> _F:
        for option in reversed((*_COMMON, rate)):
            command = option(command)
        return command

    return add


def rounds_option(default: int = 100, of: str = "Of each client") -> Callable[[_F], _F]:
    """``--rounds``, as etcd-runner has it."""
    return click.option(
        "--rounds",
        type=click.IntRange(0, 1_000_000_000),
        default=default,
        show_default=True,
        help=f"{of}; 0: until stopped.",
    )


def running_time_option(
    default: float, of: str = "The load ends after this; 0: until stopped."
) -> Callable[[_F], _F]:
    """``--running-time``; 0: without a bound."""
    return click.option(
        "--running-time",
        type=DURATION,
        default=default,
        show_default=f"{default:g}s",
        help=of,
    )


connections_option = click.option(
    "--total-client-connections",
    "clients",
    type=click.IntRange(1, 200),
    default=10,
    show_default=True,
    help="Clients.",
)


def common_of(options: dict[str, Any]) -> Common:
    """What all runners were given, seen to make sense together.

    Raises:
        click.BadParameter: it does not.
    """
    name, colon, password = str(options["user"]).partition(":")
    password = password if colon else str(options["password"])
    if name and not password:
        if not sys.stdin.isatty():
            raise click.BadParameter("there is no password", param_hint="--user")
        password = click.prompt("Password", hide_input=True, err=True)
    history: Path | None = options["history"]
    if history is not None and history.exists():
        raise click.BadParameter(f"{history} exists", param_hint="--history")
    if history is not None and not history.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no folder {history.absolute().parent}", param_hint="--history")
    credentials = Credentials(options["cacert"], options["cert"], options["key"], name, password)
    return Common(
        endpoints=options["endpoints"],
        dial_timeout=options["dial_timeout"],
        req_rate=options["req_rate"],
        no_progress=options["no_progress"] or math.inf,
        seed=options["seed"],
        history=history,
        credentials=credentials,
    )
