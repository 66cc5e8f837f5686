"""``etcd-chaos lab``."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

import click

from tester.errors import ExitCode, UsageError
from tester.orchestration.lab import Lab, LabSpec
from tester.orchestration.lab.spec import DEFAULT_HOSTS, DEFAULT_NAME, DEFAULT_SUBNET, check_name

if TYPE_CHECKING:
    from tester.orchestration.lab import LabStatus

_name_option = click.option("--name", default=DEFAULT_NAME, show_default=True, help="Which lab.")


@click.group()
def lab() -> None:
    """Throwaway hosts on this machine: systemd, sshd and Python, each in a network namespace of its own."""


@lab.command()
@_name_option
@click.option(
    "--hosts", "size", type=int, default=DEFAULT_HOSTS, show_default=True, help="How many.", metavar="N"
)
@click.option(
    "--load",
    default=0,
    show_default=True,
    help="So many of the hosts, the last ones, hold load and no member.",
    metavar="N",
)
@click.option("--subnet", default=str(DEFAULT_SUBNET), show_default=True, help="A range nobody else uses.")
def up(*, name: str, size: int, load: int, subnet: str) -> None:
    """Build the lab, or repair it. The first time, Debian is downloaded (about a minute)."""
    made = Lab(LabSpec(name, size, _network(subnet), load), _tell)
    asyncio.run(made.up())
    click.echo(f"lab {name} is up: --inventory {_inventory(made)}")


@lab.command()
@_name_option
def status(*, name: str) -> ExitCode:
    """Show every host. The exit code is 3 unless all of them run and answer."""
    found = asyncio.run(Lab.standing(name, _tell).status())
    for line in _table(found):
        click.echo(line)
    return ExitCode.VALID if found.is_whole else ExitCode.INFRASTRUCTURE


@lab.command()
@_name_option
def down(*, name: str) -> None:
    """Remove the lab: processes, mounts, network, files. The downloaded Debian stays for the next one."""
    check_name(name)
    removed = asyncio.run(Lab(LabSpec(name), _tell).down())
    click.echo(f"lab {name} is gone" if removed else f"there is no lab {name}")


@lab.command()
@_name_option
@click.argument("host")
@click.option(
    "--grace", default=0.0, show_default=True, help="Seconds to shut down in order; 0 pulls the plug."
)
def off(*, name: str, host: str, grace: float) -> None:
    """Switch a host off."""
    was_on = asyncio.run(Lab.standing(name, _tell).power_off(host, grace_seconds=grace))
    click.echo(f"{host} is off" if was_on else f"{host} was off")


@lab.command()
@_name_option
@click.argument("host")
def on(*, name: str, host: str) -> None:
    """Switch a host on again."""
    was_off = asyncio.run(Lab.standing(name, _tell).power_on(host))
    click.echo(f"{host} is on" if was_off else f"{host} was on")


def _tell(text: str) -> None:
    click.echo(text, err=True)


def _network(text: str) -> IPv4Network:
    try:
        return IPv4Network(text)
    except ValueError as error:
        raise UsageError(
            f"--subnet {text}: {error}", remedy="write for example --subnet 10.86.43.0/24"
        ) from error


def _inventory(made: Lab) -> str:
    """The project's own inventory names the default lab as it is by default."""
    return "inventory/" if made.spec == LabSpec() else str(made.inventory)


def _table(found: LabStatus) -> list[str]:
    lines = [f"lab {found.name}  {found.subnet}  {found.directory}"]
    for host in found.hosts:
        power = "on" if host.running else "off"
        ssh = "answers" if host.ssh else "silent"
        lines.append(f"  {host.name:<8} {host.address:<15} {power:<4} ssh {ssh}")
    return lines
