"""``etcd-chaos runner``: etcd-runner's commands, on any cluster."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from tester.cli.runner_options import (
    DURATION,
    Common,
    common,
    common_of,
    connections_option,
    rounds_option,
    running_time_option,
)
from tester.console.units import printable
from tester.runner.progress import progress_on
from tester.runner.running import Outcome, run_runner
from tester.runner.setting import RunnerSetting
from tester.scenario.stressers import (
    MOST_WATCHERS,
    ElectionStresser,
    LeaseStresser,
    LockStresser,
    RenewerStresser,
    WatcherStresser,
)

if TYPE_CHECKING:
    from tester.errors import ExitCode
    from tester.scenario.stressers import RecipeStresser

_PREFIX = "etcd-chaos/runner/"


@click.group()
def runner() -> None:
    """Run one recipe on any cluster, record it, and judge it. No agent, no fault, no inventory.

    Keys are written under etcd-chaos/runner/ and removed at the end.
    """


@runner.command()
@click.argument("name", default="elector")
@connections_option
@rounds_option()
@common()
def election(*, name: str, clients: int, rounds: int, **options: Any) -> ExitCode:  # noqa: ANN401 - the options
    """Clients campaign and observe: one leader at a time, the same for all.

    NAME is part of the key that they contend for. Other runners of this name have keys of their own.
    """
    given = common_of(options)
    stresser = ElectionStresser.model_construct(kind="election", clients=clients, rate=given.req_rate)
    return _run(
        f"election {name}",
        "terms",
        stresser,
        ("elections", "leases", "linearizable"),
        given,
        rounds=rounds,
        prefix=f"{name}/",
    )


@runner.command("lock-racer")
@click.argument("name", default="racers")
@connections_option
@rounds_option()
@common()
def lock_racer(*, name: str, clients: int, rounds: int, **options: Any) -> ExitCode:  # noqa: ANN401 - the options
    """Clients race for a lock: never more than one holder.

    NAME is part of the key that they race for. Other runners of this name have keys of their own.
    """
    given = common_of(options)
    stresser = LockStresser.model_construct(kind="lock", clients=clients, rate=given.req_rate)
    return _run(
        f"lock-racer {name}",
        "times held",
        stresser,
        ("locks", "leases", "linearizable"),
        given,
        rounds=rounds,
        prefix=f"{name}/",
    )


@runner.command()
@rounds_option(of="In each, keys are written and all watchers end")
@running_time_option(60.0, "Each round writes so long at most; 0: until all keys are written.")
@click.option("--prefix", default="", help="Of the keys, behind etcd-chaos/runner/.")
@click.option(
    "--total-prefixes",
    type=click.IntRange(1, MOST_WATCHERS),
    default=10,
    show_default=True,
    help="Of the keys.",
)
@click.option(
    "--watch-per-prefix",
    type=click.IntRange(1, MOST_WATCHERS),
    default=10,
    show_default=True,
    help=f"Watchers of each; {MOST_WATCHERS} in all at most.",
)
@click.option(
    "--total-keys", type=click.IntRange(1, 1_000_000), default=1000, show_default=True, help="In each round."
)
@common()
def watcher(
    *,
    rounds: int,
    running_time: float,
    prefix: str,
    total_prefixes: int,
    watch_per_prefix: int,
    total_keys: int,
    **options: Any,  # noqa: ANN401 - the options
) -> ExitCode:
    """Watchers see every key, in order, and end when they are cancelled.

    It ends after so many rounds. The running time is that of the writing in each.
    """
    given = common_of(options)
    if total_prefixes * watch_per_prefix > MOST_WATCHERS:
        asked = f"{total_prefixes} prefixes with {watch_per_prefix} watchers each"
        raise click.BadParameter(
            f"{asked} are too many: {MOST_WATCHERS} in all at most", param_hint="--watch-per-prefix"
        )
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
        rounds=rounds,
        prefix=prefix,
        writing_time=running_time,
    )


@runner.command("lease-renewer")
@click.option("--ttl", type=DURATION, default=5.0, show_default="5s", help="Of the lease.")
@click.option("--clients", type=click.IntRange(1, 1000), default=1, show_default=True, help="One lease each.")
@rounds_option(0, "Renewals of each client")
@running_time_option(0.0)
@common()
def lease_renewer(
    *,
    ttl: float,
    clients: int,
    rounds: int,
    running_time: float,
    **options: Any,  # noqa: ANN401 - the options
) -> ExitCode:
    """Leases are renewed for as long as it runs: none may be lost.

    Each is renewed three times in its TTL, and nothing for a whole TTL is what no progress means at the least.
    """
    given = common_of(options)
    stresser = RenewerStresser.model_construct(kind="lease-renewer", clients=clients, ttl=_ttl(ttl))
    given = replace(given, no_progress=max(given.no_progress, ttl))
    return _run(
        "lease-renewer",
        "renewals",
        stresser,
        ("leases",),
        given,
        rounds=rounds,
        running_time=running_time,
    )


@runner.command("watch-storm")
@running_time_option(30.0)
@click.option("--watchers", type=click.IntRange(1, 2000), default=300, show_default=True, help="In all.")
@click.option(
    "--total-prefixes", type=click.IntRange(1, 1000), default=10, show_default=True, help="Of the keys."
)
@click.option(
    "--total-keys", type=click.IntRange(1, 1_000_000), default=200, show_default=True, help="In each round."
)
@common(100.0)
def watch_storm(
    *,
    running_time: float,
    watchers: int,
    total_prefixes: int,
    total_keys: int,
    **options: Any,  # noqa: ANN401
) -> ExitCode:
    """Hundreds of watchers, each with a connection of its own."""
    given = common_of(options)
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
@common(1000.0)
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
    given = common_of(options)
    stresser = LeaseStresser.model_construct(
        kind="lease",
        clients=clients,
        leases=leases,
        keys=keys,
        ttl=_ttl(ttl),
        short_ttl=_ttl(short_ttl, "--short-ttl"),
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


def _ttl(seconds: float, option: str = "--ttl") -> float:
    if not 1 <= seconds <= 86_400:
        raise click.BadParameter("from 1 s to a day", param_hint=option)
    return seconds


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
    writing_time: float = 0.0,
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
        writing_seconds=writing_time or None,
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
        click.echo(f"  {result.checker:<12} {result.verdict:<8} {printable(result.message)}")
        for finding in result.findings:
            click.echo(f"      {printable(finding.message)}")
    if setting.history is not None:
        click.echo(f"history {setting.history}")
    for trouble in outcome.trouble:
        click.echo(f"error: {trouble}", err=True)
    if outcome.interrupted:
        click.echo("interrupted", err=True)
