"""``etcd-chaos heal``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from tester.agents import connect
from tester.cli.options import inventory_option
from tester.healing import Healed, heal_hosts
from tester.session import open_session

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@inventory_option
def heal(*, inventory: Path) -> None:
    """Undo every fault on every host of the inventory, whoever injected it; safe to repeat.

    Asks the agents; where one does not answer, playbooks/heal.yml goes over ssh and works without it.
    """
    for healed in asyncio.run(_heal(inventory)):
        click.echo(f"{healed.host}: {_words(healed)}")


async def _heal(source: Path) -> tuple[Healed, ...]:
    def progress(text: str) -> None:
        click.echo(text, err=True)

    async with open_session(source, progress, healing=True) as session, connect(session.inventory) as agents:
        return await heal_hosts(session.inventory, agents, session.playbooks)


def _words(healed: Healed) -> str:
    if healed.how == "playbook":
        return "healed over ssh, its agent did not answer"
    return f"healed {', '.join(healed.faults)}" if healed.faults else "nothing to heal"
