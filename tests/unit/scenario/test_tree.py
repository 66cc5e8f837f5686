from __future__ import annotations

import pytest

from tester.scenario.mistakes import Position
from tester.scenario.tree import Mapping, TreeError, find, parse, plain


def refused(text: str) -> list[str]:
    try:
        _, mistakes = parse(text)
    except TreeError as error:
        mistakes = error.mistakes
    return [mistake.render("f") for mistake in mistakes]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("True", "True"),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("12:30", "12:30"),
        ("010", "010"),
        ("0x1f", "0x1f"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("1e3", "1e3"),
        (".inf", ".inf"),
        ("-3", -3),
        ("3.5", 3.5),
        ("3.5.16", "3.5.16"),
        ("'3'", "3"),
        ('"true"', "true"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_a_word_is_text_unless_it_is_exactly_a_value(text: str, value: object) -> None:
    tree, mistakes = parse(f"key: {text}")
    assert tree is not None
    assert plain(tree) == {"key": value}
    assert mistakes == []


def test_keys_are_always_text() -> None:
    tree, mistakes = parse("no: a\n1: b\ntrue: c\nnull: d\n")
    assert tree is not None
    assert plain(tree) == {"no": "a", "1": "b", "true": "c", "null": "d"}
    assert mistakes == []


def test_values_and_keys_know_their_place() -> None:
    tree, _ = parse("a:\n  - b: 1\n    c: 2\n")
    assert isinstance(tree, Mapping)
    assert find(tree, ("a", 0, "c")).position == Position(3, 8)
    assert tree.keys["a"] == Position(1, 1)
    assert find(tree, ("a", 0, "absent", "x")).position == Position(2, 5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\na: 2", "f:2:1: a: is given twice; first on line 1: keep one"),
        ("a: &x 1", "f:1:4: a: anchors (&x) are not allowed; write values out"),
        ("a: {b: *x}", "f:1:8: a.b: aliases (*x) are not allowed; write the value out"),
        (
            "a: !!str 1",
            "f:1:4: a: tags (tag:yaml.org,2002:str) are not allowed; leave it out; quotes make text",
        ),
        ("<<: {a: 1}", "f:1:1: (file): merge keys (<<) are not allowed; write the keys out"),
        ("? [a]\n: 1", "f:1:3: (file): has a key that is not a word; write KEY: VALUE"),
        ("a: 1\n---\nb: 2", "f:2:1: (file): has a second document; one file holds one scenario"),
        ("a: 1\n\tb: 2", "indent with spaces"),
        ("a: 'b", "f:1:6: (file): not YAML: found unexpected end of stream"),
        ("a: \x01", "f:1:1: (file): not YAML: special characters are not allowed; is this a text file?"),
    ],
)
def test_what_is_refused_says_where(text: str, expected: str) -> None:
    lines = refused(text)
    assert len(lines) == 1
    assert expected in lines[0]


def test_deep_nesting_ends_at_once() -> None:
    assert "nested too deeply" in refused("[" * 200_000)[0]


def test_laughs_do_not_multiply() -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{c}: &{c} [{', '.join([f'*{p}'] * 9)}]\n" for p, c in zip("abcdef", "bcdefg", strict=True)
    )
    lines = refused(bomb)
    assert len([line for line in lines if "alias" in line]) == 9 * 6


def test_mistakes_before_broken_yaml_are_kept() -> None:
    assert len(refused("a: 1\na: 2\nb: 'c")) == 2


def test_nothing_is_no_tree() -> None:
    assert parse("# only a comment\n") == (None, [])
