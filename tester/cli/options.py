"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path

import click

inventory_option = click.option(
    "--inventory",
    "-i",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    help="Ansible inventory: a file or a folder, with the hosts in group etcd.",
)
