"""``etcd-chaos version``."""

from __future__ import annotations

import platform
from importlib.metadata import version as version_of

import click

from agent_service import API_VERSION
from tester import __version__


@click.command()
def version() -> None:
    """Versions of this tool and of what it stands on."""
    click.echo(f"etcd-chaos {__version__} (agent interface {API_VERSION})")
    click.echo(f"Python {platform.python_version()}")
    for package in ("ansible-core", "ansible-runner", "cslab-etcd3", "grpcio"):
        click.echo(f"{package} {version_of(package)}")
