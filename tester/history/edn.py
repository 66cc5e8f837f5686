"""As much of EDN, Clojure's notation for data, as histories of Jepsen are written in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    Edn: TypeAlias = "bool | int | float | str | Keyword | list[Edn] | dict[Edn, Edn] | None"


class Keyword(str):
    """``:name``, held without the colon; a symbol is held as one, too."""

    __slots__ = ()


class EdnError(ValueError):
    """Text that is not EDN; says at which character."""


_TOKEN = re.compile(
    r"""(?:[\s,]|;[^\n]*)*(?:
        (?P<open>\#?\{|\[|\()|(?P<close>[\]})])|(?P<string>"(?:[^"\\]|\\.)*")
        |(?P<discard>\#_)|(?P<tag>\#[A-Za-z][\w.*+!?<>=/$&-]*)|(?P<atom>[^\s,;()\[\]{}"]+))""",
    re.VERBOSE | re.DOTALL,
)
_BLANK = re.compile(r"(?:[\s,]|;[^\n]*)*\Z")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_CLOSES = {"{": "}", "#{": "}", "[": "]", "(": ")"}
_WORDS = {"nil": None, "true": True, "false": False}


def parse(text: str) -> Iterator[Edn]:
    """Every form of a text.

    Raises:
        EdnError: it is not EDN.
    """
    place = 0
    while not _BLANK.match(text, place):
        place, discarded, form = _form(text, place)
        if not discarded:
            yield form


def write(form: Edn) -> str:
    """One form as text."""
    match form:
        case None:
            return "nil"
        case bool():
            return "true" if form else "false"
        case Keyword():
            return f":{form}"
        case str():
            escaped = form.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
            return f'"{escaped}"'
        case list():
            return f"[{' '.join(map(write, form))}]"
        case dict():
            return "{" + ", ".join(f"{write(key)} {write(value)}" for key, value in form.items()) + "}"
        case _:
            return str(form)


def _form(text: str, place: int) -> tuple[int, bool, Edn]:
    """The form at ``place``: where it ends, whether it is to be ignored, and itself."""
    token = _TOKEN.match(text, place)
    if token is None or token["close"]:
        raise EdnError(f"character {place}: a value was expected")
    after = token.end()
    if token["discard"]:
        return _form(text, after)[0], True, None
    if token["tag"]:
        # Jepsen tags its operations with the name of their class; what they are is in the form.
        return _form(text, after)
    if token["open"]:
        after, forms = _collection(text, after, _CLOSES[token["open"]])
        return after, False, _as_map(forms, place) if token["open"] == "{" else forms
    if token["string"]:
        return after, False, re.sub(r"\\(.)", lambda e: _ESCAPES.get(e[1], e[1]), token["string"][1:-1])
    return after, False, _atom(token["atom"])


def _collection(text: str, place: int, close: str) -> tuple[int, list[Edn]]:
    forms: list[Edn] = []
    while True:
        token = _TOKEN.match(text, place)
        if token is None:
            raise EdnError(f"character {place}: {close} was expected")
        if token["close"]:
            if token["close"] != close:
                raise EdnError(f"character {place}: {close} was expected, not {token['close']}")
            return token.end(), forms
        place, discarded, form = _form(text, place)
        if not discarded:
            forms.append(form)


def _as_map(forms: list[Edn], place: int) -> dict[Edn, Edn]:
    if len(forms) % 2:
        raise EdnError(f"character {place}: a map with a key that has no value")
    if any(isinstance(key, list | dict) for key in forms[::2]):
        raise EdnError(f"character {place}: a map whose key is a collection")
    return dict(zip(forms[::2], forms[1::2], strict=True))


def _atom(word: str) -> Edn:
    if word in _WORDS:
        return _WORDS[word]
    if word.startswith(":"):
        return Keyword(word[1:])
    for number, pattern in ((int, r"[+-]?\d+N?"), (float, r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?M?")):
        if re.fullmatch(pattern, word):
            return number(word.rstrip("NM"))
    return Keyword(word)
