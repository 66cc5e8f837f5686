"""Who is hit, as a file says it: a word, a member's name, or a sum of them.

::

    target: leader
    target: [node1, node3]
    target: leader + 1 follower
    target: all - leader

Plus adds members, minus takes them away from what stands before it. Plus and minus stand between blanks: a
name may have dashes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema


class TargetWord(StrEnum):
    """Who is hit. Resolved when the fault is injected, from the cluster as it then is."""

    ONE = "one"
    """Any one voting member, drawn with the seed."""
    FOLLOWER = "follower"
    LEADER = "leader"
    LEARNER = "learner"
    MINORITY = "minority"
    """The most members that leave a quorum, drawn with the seed."""
    MAJORITY = "majority"
    """The fewest members whose absence breaks quorum, drawn with the seed."""
    QUORUM = "quorum"
    """As many members as a quorum has, drawn with the seed."""
    ALL = "all"
    SAME = "same"
    """Those that the first fault of the case has hit."""


COUNTED: Final = frozenset({TargetWord.ONE, TargetWord.FOLLOWER, TargetWord.LEARNER})
"""Words that mean several members when a number stands before them."""
BY_ROLE: Final = frozenset({TargetWord.FOLLOWER, TargetWord.LEADER, TargetWord.LEARNER, TargetWord.SAME})
"""Words whose meaning the seed alone does not decide."""

_PLURALS: Final = {"followers": "follower", "learners": "learner", "member": "one", "members": "one"}
_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_MOST_TERMS: Final = 16


@dataclass(frozen=True, slots=True)
class Term:
    """One summand. ``who`` is a word or a member's name; ``count`` is for the words in ``COUNTED``."""

    who: TargetWord | str
    count: int = 1
    minus: bool = False


@dataclass(frozen=True, slots=True)
class TargetSum:
    """A target: its text as it was written, and its summands in their order."""

    text: str
    terms: tuple[Term, ...]

    def __str__(self) -> str:
        return self.text

    @property
    def names(self) -> tuple[str, ...]:
        """The members it names."""
        return tuple(term.who for term in self.terms if not isinstance(term.who, TargetWord))

    @property
    def by_role(self) -> bool:
        """Whether it depends on what the cluster does and not on the seed alone."""
        return any(term.who in BY_ROLE for term in self.terms)

    def is_only(self, *words: TargetWord) -> bool:
        """Whether it is one of these words and nothing else."""
        return len(self.terms) == 1 and self.terms[0].who in words


def parse_target(written: object) -> TargetSum:
    """A target out of its text, or of a list whose entries are added.

    Raises:
        ValueError: it is none; says what is wrong with it: what to write.
    """
    if isinstance(written, TargetSum):
        return written
    if isinstance(written, list | tuple) and written and all(isinstance(one, str) for one in written):
        written = " + ".join(written)
    if not isinstance(written, str) or not written.strip():
        raise ValueError(
            f"{written!r} is no target: one of {', '.join(TargetWord)}, a member's name, or a sum"
        )
    words = written.split()
    terms: list[Term] = []
    minus = False
    while words:
        terms.append(_term(words, minus))
        if len(terms) > _MOST_TERMS:
            raise ValueError(f"the target has too many parts: at most {_MOST_TERMS}")
        if words:
            sign = words.pop(0)
            if sign not in {"+", "-"} or not words:
                raise ValueError(f"{written!r} is no target: parts are joined by ' + ' or ' - '")
            minus = sign == "-"
    return TargetSum(written, tuple(terms))


def _term(words: list[str], minus: bool) -> Term:  # noqa: FBT001 - a sign
    count = 1
    number = None
    if words[0].isdecimal() and len(words) > 1 and words[1] not in {"+", "-"}:
        number = words.pop(0)
        count = int(number[:3])
    word = words.pop(0)
    plain = _PLURALS.get(word, word)
    if plain in set(TargetWord):
        who: TargetWord | str = TargetWord(plain)
    elif _NAME.fullmatch(word):
        who = word
    else:
        raise ValueError(f"{word!r} is neither a target nor a name: one of {', '.join(TargetWord)}")
    if number is not None and (who not in COUNTED or not 1 <= count <= 15):
        raise ValueError(
            f"'{number} {word}' means nothing: numbers from 1 to 15 stand before followers, members, learners"
        )
    return Term(who, count, minus)


Target = Annotated[
    TargetSum,
    PlainValidator(parse_target),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": _MOST_TERMS},
            ],
            "examples": ["leader", "all - leader", "node1 + node3"],
        }
    ),
]

ONE: Final = TargetSum("one", (Term(TargetWord.ONE),))
