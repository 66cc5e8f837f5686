"""``etcd-chaos stop`` and ``etcd-chaos clear``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from tester.agents import connect
from tester.cli.options import inventory_option
from tester.emergency import stop_hosts
from tester.fleet import ask_all
from tester.session import open_session

if TYPE_CHECKING:
    from pathlib import Path

    from tester.healing import Healed

_MAX_REASON = 500


@click.command()
@inventory_option
@click.option("--reason", default="", metavar="TEXT", help="For whoever meets the stop later.")
def stop(*, inventory: Path, reason: str) -> None:
    """Emergency stop: heal every host, and refuse new faults on all of them until cleared.

    The stop outlives agents and reboots. Runs that are under way end with an error.
    """
    if len(reason) > _MAX_REASON or not (reason.isprintable()):
        raise click.BadParameter(f"one line of at most {_MAX_REASON} characters", param_hint="--reason")
    for healed in asyncio.run(_stop(inventory, reason)):
        how = "" if healed.how == "agent" else ", over ssh"
        click.echo(f"{healed.host}: stopped; nothing is left{how}")


@click.command()
@inventory_option
def clear(*, inventory: Path) -> None:
    """Allow faults again on every host of the inventory, after an emergency stop."""
    for host, was in asyncio.run(_clear(inventory)).items():
        click.echo(f"{host}: {was}")


async def _stop(source: Path, reason: str) -> tuple[Healed, ...]:
    async with (
        open_session(source, _progress, healing=True) as session,
        connect(session.inventory) as agents,
    ):
        return await stop_hosts(session.inventory, agents, session.playbooks, reason)


async def _clear(source: Path) -> dict[str, str]:
    async with (
        open_session(source, _progress, healing=True) as session,
        connect(session.inventory) as agents,
    ):
        before = await ask_all(agents, lambda _, agent: agent.emergency())
        await ask_all(agents, lambda _, agent: agent.clear_emergency_stop())
    return {
        host: f"cleared (was stopped by {stop.who}: {stop.reason or 'no reason given'})"
        if stop.engaged
        else "was not stopped"
        for host, stop in before.items()
    }


def _progress(text: str) -> None:
    click.echo(text, err=True)
