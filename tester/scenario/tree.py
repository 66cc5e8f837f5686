"""YAML to a tree of plain values that know their line and column.

A small, strict part of YAML: mappings with text keys, lists, text, numbers, ``true``, ``false``, ``null``.
A word is text unless it is exactly one of those: ``no``, ``on`` and ``12:30`` are text; ``3.10`` is a number
and has to be quoted where text is wanted. Refused, because a short file needs none of it and each has hurt
somebody: duplicate keys, anchors and aliases, merge keys, tags, several documents, deep nesting.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import yaml

from tester.scenario.mistakes import Mistake, Position, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH: Final = 16

Scalar: TypeAlias = str | int | float | bool | None
Plain: TypeAlias = "Scalar | list[Plain] | dict[str, Plain]"

_WORDS: Final[dict[str, Scalar]] = {"": None, "~": None, "null": None, "true": True, "false": False}
_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]{0,18})")
_FLOAT: Final = re.compile(r"-?(0|[1-9][0-9]{0,18})\.[0-9]{1,18}")
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A scalar. ``broken`` stands for something refused: its mistake is already known."""

    position: Position
    value: Scalar
    broken: bool = False


@dataclass(frozen=True, slots=True)
class Branch:
    """A list."""

    position: Position
    items: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping; ``keys`` says where each key stands."""

    position: Position
    items: dict[str, Tree]
    keys: dict[str, Position]


Tree: TypeAlias = Leaf | Branch | Mapping


class TreeError(Exception):
    """Nothing can be read behind this mistake; ``mistakes`` has those before it, too."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__(mistakes[-1].what)
        self.mistakes = mistakes


def parse(text: str) -> tuple[Tree | None, list[Mistake]]:
    """The tree of a document (``None`` of an empty one) and what was refused on the way.

    Raises:
        TreeError: the text is not YAML, or nested too deeply.
    """
    builder = _Builder(yaml.parse(text, Loader=yaml.SafeLoader))
    try:
        return builder.document(), builder.mistakes
    except yaml.MarkedYAMLError as error:
        position = _position(error.problem_mark or error.context_mark)
        problem = error.problem or error.context or "cannot be read"
        hint = "indent with spaces" if "'\\t'" in problem else ""
        mistake = Mistake(position, (), f"not YAML: {problem}", hint)
        raise TreeError([*builder.mistakes, mistake]) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        mistake = Mistake(Position(line, 1), (), f"not YAML: {error.reason}", "is this a text file?")
        raise TreeError([*builder.mistakes, mistake]) from error


def plain(tree: Tree) -> Plain:
    """The values alone."""
    match tree:
        case Leaf():
            return tree.value
        case Branch():
            return [plain(item) for item in tree.items]
        case Mapping():
            return {key: plain(item) for key, item in tree.items.items()}


def child(tree: Tree, step: str | int) -> Tree | None:
    """What lies one step below, if anything does."""
    if isinstance(tree, Mapping) and isinstance(step, str):
        return tree.items.get(step)
    if isinstance(tree, Branch) and isinstance(step, int) and 0 <= step < len(tree.items):
        return tree.items[step]
    return None


def find(tree: Tree, where: Where) -> Tree:
    """The deepest existing part of the tree on the way to ``where``."""
    for step in where:
        below = child(tree, step)
        if below is None:
            return tree
        tree = below
    return tree


class _Mark(Protocol):
    """A place as the parser counts: from 0."""

    line: int
    column: int


def _position(mark: _Mark | None) -> Position:
    return Position(1, 1) if mark is None else Position(mark.line + 1, mark.column + 1)


def _scalar(event: yaml.ScalarEvent) -> Scalar:
    text = event.value
    if event.style is not None:  # quoted or a block: text, whatever it looks like
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


class _Builder:
    """Builds the tree from the parser's events; ``mistakes`` grows on the way."""

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self.mistakes: list[Mistake] = []
        self._events = events

    def document(self) -> Tree | None:
        tree: Tree | None = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._refuse(event, (), "has a second document", "one file holds one scenario")
                    break
            elif isinstance(event, yaml.NodeEvent):
                tree = self._node(event, ())
        return tree

    def _node(self, event: yaml.NodeEvent, where: Where) -> Tree:
        position = _position(event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            self._refuse(event, where, f"aliases (*{event.anchor}) are not allowed", "write the value out")
            return Leaf(position, None, broken=True)
        if event.anchor is not None:
            self._refuse(event, where, f"anchors (&{event.anchor}) are not allowed", "write values out")
        if (tag := getattr(event, "tag", None)) is not None:
            self._refuse(event, where, f"tags ({tag}) are not allowed", "leave it out; quotes make text")
        if len(where) > MAX_DEPTH:
            self._refuse(event, where[:4], "is nested too deeply", f"at most {MAX_DEPTH} levels")
            raise TreeError(self.mistakes)
        if isinstance(event, yaml.ScalarEvent):
            if _LONE_SURROGATE.search(event.value):
                self._refuse(event, where, "has half a character", "write the character itself")
                return Leaf(position, None, broken=True)
            return Leaf(position, _scalar(event))
        if isinstance(event, yaml.SequenceStartEvent):
            return Branch(position, self._items(where))
        return self._mapping(position, where)

    def _items(self, where: Where) -> tuple[Tree, ...]:
        items: list[Tree] = []
        while isinstance(event := next(self._events), yaml.NodeEvent):
            items.append(self._node(event, (*where, len(items))))
        return tuple(items)

    def _mapping(self, position: Position, where: Where) -> Mapping:
        items: dict[str, Tree] = {}
        keys: dict[str, Position] = {}
        while isinstance(event := next(self._events), yaml.NodeEvent):
            key = self._key(event, where)
            value = next(self._events)
            assert isinstance(value, yaml.NodeEvent)  # noqa: S101 - the parser pairs keys with values
            tree = self._node(value, where if key is None else (*where, key))
            if key is None:
                continue
            if key in items:
                first = keys[key]
                self._refuse(event, (*where, key), "is given twice", f"first on line {first.line}: keep one")
                continue
            items[key] = tree
            keys[key] = _position(event.start_mark)
        return Mapping(position, items, keys)

    def _key(self, event: yaml.NodeEvent, where: Where) -> str | None:
        if not isinstance(event, yaml.ScalarEvent):
            self._node(event, where)
            self._refuse(event, where, "has a key that is not a word", "write KEY: VALUE")
            return None
        if _LONE_SURROGATE.search(event.value):
            self._refuse(event, where, "has a key with half a character", "write the character itself")
            return None
        if event.value == "<<" and event.style is None:
            self._refuse(event, where, "merge keys (<<) are not allowed", "write the keys out")
            return None
        return str(event.value)

    def _refuse(self, event: yaml.Event, where: Where, what: str, hint: str) -> None:
        self.mistakes.append(Mistake(_position(event.start_mark), where, what, hint))
