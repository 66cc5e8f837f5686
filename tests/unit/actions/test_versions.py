"""When the end of a member is a refusal of its data, and when it is something else."""

from __future__ import annotations

import pytest

from tester.actions.versions import may_say, refusal_in

STARTS = '{"level":"info","msg":"set initial cluster version","cluster-version":"3.5"}'
REFUSES = (
    '{"level":"fatal","msg":"invalid downgrade; server version is lower than determined cluster version",'
    '"current-server-version":"3.4.23","determined-cluster-version":"3.5"}'
)
OLD = (
    "C | cluster cannot be downgraded (current version: 3.3.9 is lower than determined cluster version: 3.4)."
)


@pytest.mark.parametrize("line", [REFUSES, OLD])
def test_the_line_that_refuses_is_found(line: str) -> None:
    assert refusal_in(f"{STARTS}\n{line}\nexit status 1") == line


def test_a_version_that_is_named_is_no_refusal() -> None:
    assert refusal_in(f'{STARTS}\n{{"level":"fatal","msg":"listen tcp: address already in use"}}') == ""


@pytest.mark.parametrize(
    ("version", "said", "may"),
    [
        ("3.5.30", "3.5.30", True),
        ("3.5.30", "3.5.3", False),
        ("3.5.3", "3.5.30", False),
        ("3.5.16-patched", "3.5.16", True),
        ("3.5-main", "3.5.30", True),
        ("3.5-main", "3.4.30", False),
        ("mine", "3.5.16", True),
        ("3.5.16", "", False),
    ],
)
def test_what_a_build_may_say_it_is(version: str, said: str, may: bool) -> None:  # noqa: FBT001 - a table
    assert may_say(version, said) is may
