"""Flags that only some versions of etcd know."""

from __future__ import annotations

import pytest

from tester.errors import ScenarioError
from tester.scenario.loader import parse_scenario
from tester.versions import flags_of, number_of

TEXT = """
name: s
cluster:
  flags: {pre-vote: "true"}
  flags_by_version:
    - {since: 3.5.5, below: "3.6", flags: {experimental-compact-hash-check-enabled: "true"}}
    - {since: "3.6", flags: {compact-hash-check-time: 1m}}
    - {below: "3.5", flags: {pre-vote: "false"}}
stressers: [{kind: kv}]
cases: [{name: c, fault: kill}]
"""


@pytest.mark.parametrize(
    ("version", "number"),
    [("3.5.16", (3, 5, 16)), ("3.5.16-patched", (3, 5, 16)), ("3.4.23-gofail", (3, 4, 23)), ("main", None)],
)
def test_the_number_of_a_build(version: str, number: tuple[int, ...] | None) -> None:
    assert number_of(version) == number


@pytest.mark.parametrize(
    ("version", "more"),
    [
        ("3.4.23", {"pre-vote": "false"}),
        ("3.5.1", {}),
        ("3.5.5", {"experimental-compact-hash-check-enabled": "true"}),
        ("3.5.30-patched", {"experimental-compact-hash-check-enabled": "true"}),
        ("3.6.0", {"compact-hash-check-time": "1m"}),
        ("main", {}),
    ],
)
def test_each_version_gets_the_flags_that_it_knows(version: str, more: dict[str, str]) -> None:
    assert flags_of(parse_scenario(TEXT, "s.yml").cluster, version) == {"pre-vote": "true"} | more


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{flags: {pre-vote: 'true'}}", "these flags are for every version; put them into cluster.flags"),
        ("{since: newest, flags: {pre-vote: 'true'}}", "since"),
        ("{since: 3.5.5, flags: {}}", "flags"),
    ],
)
def test_what_is_no_range_of_versions(entry: str, message: str) -> None:
    rest = "stressers: [{kind: kv}]\ncases: [{name: c, fault: kill}]"
    text = f"name: s\ncluster: {{flags_by_version: [{entry}]}}\n{rest}"
    with pytest.raises(ScenarioError, match=message):
        parse_scenario(text, "s.yml")
