"""What every command that reads a saved history says of its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tester.history.damage import as_bad_input
from tester.history.named import torn_ends

if TYPE_CHECKING:
    from pathlib import Path


def tell_torn(history: Path) -> None:
    """Say on stderr what is left out because no newline ends it: no mistake, a tester may have been killed.

    Raises:
        UsageError: the history cannot be read.
    """
    with as_bad_input(history):
        for end in torn_ends(history):
            click.echo(f"note: {end}", err=True)
