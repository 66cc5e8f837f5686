"""What the command line asks of a runner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tester.scenario.stressers import RecipeStresser


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to be let in. Files hold PEM."""

    ca: Path | None = None
    """Who vouches for the members; ``None``: no TLS."""
    certificate: Path | None = None
    key: Path | None = None
    user: str = ""
    """Of etcd's own users; empty: nobody."""
    password: str = ""


@dataclass(frozen=True, slots=True)
class RunnerSetting:
    """One runner on one cluster. Times in seconds."""

    title: str
    unit: str
    """What it counts: times that a lock was held, renewals."""
    stresser: RecipeStresser
    checkers: tuple[str, ...]
    endpoints: tuple[str, ...]
    """``HOST:PORT``, with or without a scheme."""
    credentials: Credentials
    prefix: str
    """Of every key; each run adds a part of its own."""
    dial_timeout: float
    rounds: int | None
    """``None``: without end."""
    running_time: float | None
    """The load ends in order after this; ``None``: when its rounds are done."""
    writing_seconds: float | None
    """Each round of a crowd of watchers writes so long at most; ``None``: until all is written."""
    no_progress: float
    """It fails after so long without any; infinite: never."""
    seed: int
    history: Path | None
    """Where the history is kept; ``None``: nowhere."""
