"""A mistake in a scenario file, with its place, and how a person reads it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Where: TypeAlias = tuple[str | int, ...]
"""The way from the top of the file to a value: keys and list positions."""

_MAX_SHOWN: Final = 100


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the file, both counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong at a place, and what to write instead."""

    position: Position
    where: Where
    what: str
    hint: str = ""

    def render(self, file: str) -> str:
        """``file:line:column: where: what; hint``."""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{file}:{self.position.line}:{self.position.column}: {dotted(self.where)}: {self.what}{hint}"


def dotted(where: Where) -> str:
    """``cases[2].hold`` of ``("cases", 2, "hold")``."""
    text = ""
    for step in where:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text or "(file)"


def render_all(mistakes: Iterable[Mistake], file: str) -> str:
    """Every mistake on a line of its own, in the order of the file."""
    ordered = sorted(set(mistakes), key=lambda m: (m.position, dotted(m.where), m.what))
    lines = [mistake.render(file) for mistake in ordered[:_MAX_SHOWN]]
    if len(ordered) > _MAX_SHOWN:
        lines.append(f"{file}: and {len(ordered) - _MAX_SHOWN} more mistakes")
    return "\n".join(lines)


def suggestion(word: str, known: Sequence[str]) -> str:
    """``did you mean 'hold'?`` if one of ``known`` is close to ``word``, else all of them."""
    close = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(sorted(known))}"


def shown(value: object) -> str:
    """A value as the file has it, cut to a readable length."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
