"""What a person sees of a runner: one line that changes on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PLAIN_SECONDS = 5.0


@contextmanager
def progress_on(stream: TextIO = sys.stderr) -> Iterator[Callable[[str], None]]:
    """Gives a function that shows the state of things; leaving gives the terminal back as it was."""
    if not stream.isatty() or os.environ.get("TERM", "") in {"", "dumb"}:
        yield _plain(stream)
        return
    console = Console(file=stream, markup=False, highlight=False, emoji=False)
    with console.status(Text("connecting")) as status:
        yield lambda text: status.update(Text(text))


def _plain(stream: TextIO) -> Callable[[str], None]:
    last = -_PLAIN_SECONDS

    def show(text: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _PLAIN_SECONDS:
            last = now
            print(text, file=stream, flush=True)

    return show
