"""What the model says about a file, in words for whoever wrote the file."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, get_args

from pydantic import TypeAdapter, ValidationError

from agent_service.models import EnvName, FlagName, Value, Version
from tester.scenario.faults import FAULTS, FaultSection
from tester.scenario.mistakes import Mistake, Position, Where, shown, suggestion
from tester.scenario.model import CaseSection, Scenario
from tester.scenario.section import Section, Slug
from tester.scenario.stressers import STRESSERS
from tester.scenario.tree import Branch, Leaf, Mapping, Tree, child, find

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pydantic_core import ErrorDetails


def _pattern(kind: Any) -> str:  # noqa: ANN401 - an annotated type, which has no type of its own
    return str(TypeAdapter[Any](kind).json_schema()["pattern"])


_PATTERNS: Final = {
    _pattern(Slug): "lower-case letters, digits and inner dashes, at most 40",
    _pattern(FlagName): "a flag as etcd has it, without dashes in front, such as snapshot-count",
    _pattern(EnvName): "upper-case letters, digits and underscores, such as ETCD_AUTO_COMPACTION_MODE",
    _pattern(Version): "a version such as 3.5.16",
    _pattern(Value): "one line without control characters",
}
_KINDS: Final = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "a truth value",
    "tuple_type": "a list",
    "model_type": "a mapping",
    "dict_type": "a mapping",
}
_BOUNDS: Final = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}
_LENGTHS: Final = {
    "string_too_long": ("at most", "max_length", "characters"),
    "too_long": ("at most", "max_length", "entries"),
    "too_short": ("at least", "min_length", "entry"),
}


def field_mistakes(tree: Tree, error: ValidationError) -> Iterator[Mistake]:
    """One mistake per error of the model; none for what the tree has refused already."""
    for details in error.errors(include_url=False):
        if details["type"] == "default_factory_not_called":
            continue  # a default that depends on what has mistakes of its own
        where = _way(tree, details["loc"])
        if details["type"].startswith("union_tag_"):
            where = (*where, str(details.get("ctx", {})["discriminator"]).strip("'"))
        place = find(tree, where)
        if isinstance(place, Leaf) and place.broken:
            continue
        if details["type"] == "too_short" and isinstance(place, Branch) and place.items:
            continue  # pydantic counts valid entries alone; the invalid ones have their own mistakes
        what, hint = _words(details, where, place)
        yield Mistake(_position(tree, details, where), where, what, hint)


def _way(tree: Tree, loc: tuple[int | str, ...]) -> Where:
    """The path without what pydantic adds: the tag of a union, ``[key]``."""
    way: list[int | str] = []
    for number, step in enumerate(loc):
        below = child(tree, step)
        if below is not None:
            tree = below
        elif step == "[key]" or number < len(loc) - 1:
            continue
        way.append(step)
    return tuple(way)


def _position(tree: Tree, details: ErrorDetails, where: Where) -> Position:
    parent = find(tree, where[:-1])
    about_key = details["type"] == "extra_forbidden" or details["loc"][-1:] == ("[key]",)
    if about_key and isinstance(parent, Mapping):
        return parent.keys[str(where[-1])]
    return find(tree, where).position


def _words(details: ErrorDetails, where: Where, place: Tree) -> tuple[str, str]:
    kind, given, ctx = details["type"], details["input"], details.get("ctx", {})
    if kind in _SPECIAL:
        return _SPECIAL[kind](details, where)
    if isinstance(place, Leaf) and place.value is None:
        return "has no value", "give it one or remove the key"
    if kind in {"enum", "literal_error"}:
        known = str(ctx["expected"]).replace(" or ", ", ").replace("'", "").split(", ")
        return f"{shown(given)} is not one of its values", suggestion(str(given), known)
    if kind in _KINDS:
        return f"{_shown_tree(place)} is not {_KINDS[kind]}", _kind_hint(kind, place)
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        return f"{_shown_tree(place)} is out of bounds", f"{words} {ctx[key]:g}{_unit(place)}"
    if kind in _LENGTHS:
        words, key, noun = _LENGTHS[kind]
        return f"has {ctx.get('actual_length', len(given))} {noun}", f"{words} {ctx[key]}"
    if kind == "string_pattern_mismatch":
        hint = _PATTERNS.get(str(ctx["pattern"]), f"it has to match {ctx['pattern']}")
        return f"{shown(given)} has a wrong form", hint
    if kind == "value_error":
        what, _, hint = str(ctx["error"]).rpartition(": ")
        return what, hint
    return f"{shown(given)}: {details['msg']}", ""


def _missing_words(details: ErrorDetails, where: Where) -> tuple[str, str]:
    """Of a key that has to be there."""
    if details["type"] == "missing":
        return "is missing", _choices_hint(where)
    kinds: Iterable[str] = STRESSERS if details["loc"][:1] == ("stressers",) else FAULTS
    return "is missing", f"one of {', '.join(kinds)}"


def _tag_words(details: ErrorDetails, where: Where) -> tuple[str, str]:  # noqa: ARG001 - one signature
    """Of the key that decides a section's kind."""
    ctx = details.get("ctx", {})
    known = str(ctx["expected_tags"]).replace("'", "").split(", ")
    return f"{shown(ctx['tag'])} is not one of its values", suggestion(str(ctx["tag"]), known)


def _stranger_words(details: ErrorDetails, where: Where) -> tuple[str, str]:
    """Of a key that nobody knows there."""
    key = str(where[-1])
    fault = next((str(step) for step in reversed(details["loc"][:-1]) if step in FAULTS), None)
    if fault is None:
        return "there is no such key", suggestion(key, _known_keys(where[:-1]))
    if owners := _owners(key):
        return f"means nothing for {fault}", f"only for {', '.join(owners)}"
    # The keys of a case stand beside those of its only fault.
    beside = {*CaseSection.model_fields} - {"faults"}
    return "there is no such key", suggestion(key, sorted(beside.union(FAULTS[fault].model_fields)))


def _owners(key: str) -> tuple[str, ...]:
    """The faults that have a key which not all have."""
    if key in FaultSection.model_fields:
        return ()
    return tuple(kind for kind, section in FAULTS.items() if key in section.model_fields)


_SPECIAL: Final = {
    "extra_forbidden": _stranger_words,
    "missing": _missing_words,
    "union_tag_not_found": _missing_words,
    "union_tag_invalid": _tag_words,
}


def _shown_tree(tree: Tree) -> str:
    match tree:
        case Leaf():
            return shown(tree.value)
        case Branch():
            return "a list"
        case Mapping():
            return "a mapping"


def _unit(tree: Tree) -> str:
    """The unit in which a bound is told; the model counts seconds, bytes and operations per second."""
    text = tree.value if isinstance(tree, Leaf) else None
    if not isinstance(text, str):
        return ""
    return "/s" if text.endswith("/s") else "B" if text.endswith("B") else "s"


def _kind_hint(kind: str, place: Tree) -> str:
    if kind == "bool_type":
        return "write true or false"
    if kind == "tuple_type":
        return "write each entry on a line of its own, after a dash"
    if kind in {"model_type", "dict_type"}:
        return "write KEY: VALUE lines below it"
    if kind == "string_type" and isinstance(place, Leaf) and isinstance(place.value, bool | int | float):
        return f'put it in quotes: "{shown(place.value)}"'
    if kind == "int_type" and isinstance(place, Leaf) and isinstance(place.value, str):
        return "without quotes or unit"
    return ""


def _sections(annotation: object) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in get_args(annotation):
        yield from _sections(argument)


def _models(where: Where) -> tuple[type[Section], ...]:
    """The sections that may stand at a place of the file."""
    models: tuple[type[Section], ...] = (Scenario,)
    for step in where:
        if isinstance(step, str):
            fields = [model.model_fields[step] for model in models if step in model.model_fields]
            models = tuple(found for field in fields for found in _sections(field.annotation))
    return models


def _known_keys(where: Where) -> Sequence[str]:
    return sorted({name for model in _models(where) for name in model.model_fields})


def _choices_hint(where: Where) -> str:
    for model in _models(where[:-1]):
        field = model.model_fields.get(str(where[-1]))
        annotation: Any = field.annotation if field else None
        if isinstance(annotation, type) and issubclass(annotation, StrEnum):
            return f"one of {', '.join(annotation)}"
    return ""
