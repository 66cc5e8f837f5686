"""``etcd-chaos runner``: etcd-runner's commands, on any cluster."""

from __future__ import annotations

import asyncio
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tester.runner.progress import progress_on
from tester.runner.running import Outcome, run_runner
from tester.runner.setting import Credentials, RunnerSetting
from tester.scenario.stressers import (
    ElectionStresser,
    LeaseStresser,
    LockStresser,
    RenewerStresser,
    WatcherStresser,
)
from tester.scenario.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from tester.errors import ExitCode
    from tester.scenario.stressers import RecipeStresser

_F = TypeVar("_F", bound="Callable[..., Any]")
_PREFIX = "etcd-chaos/runner/"
_LONGEST_SECONDS = 86_400 * 365.0


class Duration(click.ParamType):  # type: ignore[type-arg]
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


_COMMON = (
    click.option(
        "--endpoints", default="localhost:2379", show_default=True, help="HOST:PORT, separated by commas."
    ),
    click.option("--dial-timeout", type=DURATION, default=2.0, show_default="2s", help="For a first answer."),
    click.option(
        "--req-rate",
        type=click.FloatRange(0, 1_000_000, min_open=True),
        default=30.0,
        show_default=True,
        help="Operations a second, all clients together.",
    ),
    click.option(
        "--no-progress",
        type=DURATION,
        default=60.0,
        show_default="60s",
        help="Fail after so long without any.",
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
        "--password", default="", envvar="ETCD_CHAOS_PASSWORD", help="Better in the variable of that name."
    ),
)


def common(command: _F) -> _F:
    """Give a command the options that all have."""
    for option in reversed(_COMMON):
        command = option(command)
    return command


def rounds_option(command: _F) -> _F:
    """``--rounds``, as etcd-runner has it."""
    return click.option(
        "--rounds",
        type=click.IntRange(0, 1_000_000_000),
        default=100,
        show_default=True,
        help="Of each client; 0: until stopped.",
    )(command)


def running_time_option(default: float) -> Callable[[_F], _F]:
    """``--running-time``; 0: until stopped."""
    return click.option(
        "--running-time",
        type=DURATION,
        default=default,
        show_default=f"{default:g}s",
        help="The load ends after this; 0: until stopped.",
    )


connections_option = click.option(
    "--total-client-connections",
    "clients",
    type=click.IntRange(1, 200),
    default=10,
    show_default=True,
    help="Clients.",
)


@click.group()
def runner() -> None:
    """Run one recipe on any cluster, record it, and judge it. No agent, no fault, no inventory.

    Keys are written under etcd-chaos/runner/ and removed at the end.
    """


@runner.command()
@click.argument("name", default="elector")
@connections_option
@rounds_option
@common
def election(*, name: str, clients: int, rounds: int, **options: Any) -> ExitCode:  # noqa: ANN401 - the options
    """Clients campaign and observe: one leader at a time, the same for all."""
    given = _common(options)
    stresser = ElectionStresser.model_construct(kind="election", clients=clients, rate=given.req_rate)
    return _run(
        f"election {name}", "terms", stresser, ("elections", "leases", "linearizable"), given, rounds=rounds
    )


@runner.command("lock-racer")
@click.argument("name", default="racers")
@connections_option
@rounds_option
@common
def lock_racer(*, name: str, clients: int, rounds: int, **options: Any) -> ExitCode:  # noqa: ANN401 - the options
    """Clients race for a lock: never more than one holder."""
    given = _common(options)
    stresser = LockStresser.model_construct(kind="lock", clients=clients, rate=given.req_rate)
    return _run(
        f"lock-racer {name}",
        "times held",
        stresser,
        ("locks", "leases", "linearizable"),
        given,
        rounds=rounds,
    )


@runner.command()
@running_time_option(60.0)
@click.option("--prefix", default="", help="Of the keys, behind etcd-chaos/runner/.")
@click.option("--total-prefixes", type=click.IntRange(1, 1000), default=10, show_default=True)
@click.option("--watch-per-prefix", type=click.IntRange(1, 1000), default=10, show_default=True)
@click.option("--total-keys", type=click.IntRange(1, 1_000_000), default=1000, show_default=True)
@common
def watcher(
    *,
    running_time: float,
    prefix: str,
    total_prefixes: int,
    watch_per_prefix: int,
    total_keys: int,
    **options: Any,  # noqa: ANN401 - the options
) -> ExitCode:
    """Watchers see every key, in order, and end when they are cancelled."""
    given = _common(options)
    stresser = WatcherStresser.model_construct(
        kind="watcher",
        prefixes=total_prefixes,
        watchers=watch_per_prefix,
        keys=total_keys,
        rate=given.req_rate,
    )
    return _run(
        "watcher",
        "writes and watchers done",
        stresser,
        ("watch", "linearizable"),
        given,
        prefix=prefix,
        running_time=running_time,
    )


@runner.command("lease-renewer")
@click.option("--ttl", type=DURATION, default=5.0, show_default="5s", help="Of the lease.")
@click.option("--clients", type=click.IntRange(1, 1000), default=1, show_default=True, help="One lease each.")
@running_time_option(0.0)
@common
def lease_renewer(*, ttl: float, clients: int, running_time: float, **options: Any) -> ExitCode:  # noqa: ANN401
    """Leases are renewed for as long as it runs: none may be lost."""
    given = _common(options)
    stresser = RenewerStresser.model_construct(kind="lease-renewer", clients=clients, ttl=_ttl(ttl))
    return _run("lease-renewer", "renewals", stresser, ("leases",), given, running_time=running_time)


@runner.command("watch-storm")
@running_time_option(30.0)
@click.option("--watchers", type=click.IntRange(1, 2000), default=300, show_default=True, help="In all.")
@click.option("--total-prefixes", type=click.IntRange(1, 1000), default=10, show_default=True)
@click.option("--total-keys", type=click.IntRange(1, 1_000_000), default=200, show_default=True)
@common
def watch_storm(
    *,
    running_time: float,
    watchers: int,
    total_prefixes: int,
    total_keys: int,
    **options: Any,  # noqa: ANN401
) -> ExitCode:
    """Hundreds of watchers, each with a connection of its own."""
    given = _common(options)
    prefixes = min(total_prefixes, watchers)
    stresser = WatcherStresser.model_construct(
        kind="watcher",
        prefixes=prefixes,
        watchers=-(-watchers // prefixes),
        keys=total_keys,
        rate=given.req_rate,
    )
    return _run(
        "watch-storm",
        "writes and watchers done",
        stresser,
        ("watch", "linearizable"),
        given,
        running_time=running_time,
    )


@runner.command("lease-storm")
@running_time_option(30.0)
@click.option("--clients", type=click.IntRange(1, 1000), default=8, show_default=True)
@click.option(
    "--leases",
    type=click.IntRange(1, 10_000),
    default=250,
    show_default=True,
    help="Of a client, of each kind.",
)
@click.option("--keys", type=click.IntRange(1, 1000), default=2, show_default=True, help="Of a lease.")
@click.option("--ttl", type=DURATION, default=60.0, show_default="60s", help="Of leases that are renewed.")
@click.option("--short-ttl", type=DURATION, default=2.0, show_default="2s", help="Of those that are not.")
@common
def lease_storm(
    *,
    running_time: float,
    clients: int,
    leases: int,
    keys: int,
    ttl: float,
    short_ttl: float,
    **options: Any,  # noqa: ANN401 - the options
) -> ExitCode:
    """Thousands of leases granted, renewed, revoked and left to end."""
    given = _common(options)
    stresser = LeaseStresser.model_construct(
        kind="lease",
        clients=clients,
        leases=leases,
        keys=keys,
        ttl=_ttl(ttl),
        short_ttl=_ttl(short_ttl),
        keepalive=max(0.5, ttl / 4),
        rate=given.req_rate,
    )
    return _run(
        "lease-storm",
        "answers about leases",
        stresser,
        ("leases", "linearizable"),
        given,
        running_time=running_time,
    )


def _ttl(seconds: float) -> float:
    if not 1 <= seconds <= 86_400:
        raise click.BadParameter("from 1 s to a day", param_hint="--ttl")
    return seconds


def _common(options: dict[str, Any]) -> Common:
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
        no_progress=options["no_progress"],
        seed=options["seed"],
        history=history,
        credentials=credentials,
    )


def _run(
    title: str,
    unit: str,
    stresser: RecipeStresser,
    checkers: tuple[str, ...],
    given: Common,
    *,
    rounds: int = 0,
    prefix: str = "",
    running_time: float = 0.0,
) -> ExitCode:
    setting = RunnerSetting(
        title=title,
        unit=unit,
        stresser=stresser,
        checkers=checkers,
        endpoints=tuple(given.endpoints.split(",")),
        credentials=given.credentials,
        prefix=f"{_PREFIX}{prefix}",
        dial_timeout=given.dial_timeout,
        rounds=rounds or None,
        running_time=running_time or None,
        no_progress=given.no_progress,
        seed=secrets.randbits(63) if given.seed is None else given.seed,
        history=given.history,
    )
    with progress_on() as show:
        outcome = asyncio.run(run_runner(setting, show))
    _report(setting, outcome)
    return outcome.exit_code


def _report(setting: RunnerSetting, outcome: Outcome) -> None:
    click.echo(
        f"{setting.title}: {outcome.seconds:.1f} s, {outcome.operations} operations, {outcome.steps} {setting.unit},"
        f" seed {setting.seed}"
    )
    for result in outcome.results:
        click.echo(f"  {result.checker:<12} {result.verdict:<8} {result.message}")
        for finding in result.findings:
            click.echo(f"      {finding.message}")
    if setting.history is not None:
        click.echo(f"history {setting.history}")
    for trouble in outcome.trouble:
        click.echo(f"error: {trouble}", err=True)
    if outcome.interrupted:
        click.echo("interrupted", err=True)
