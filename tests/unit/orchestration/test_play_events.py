from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from tester.orchestration.runner_child import EventHandler, failure_text

if TYPE_CHECKING:
    from collections.abc import Mapping


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({"msg": "no room"}, "no room"),
        ({"msg": "non-zero return code", "stderr": "why\nand how", "stdout": "noise"}, "why\nand how"),
        ({"msg": "non-zero return code", "stdout": "only this"}, "only this"),
        ({"msg": "non-zero return code", "stderr": "", "stdout": ""}, "non-zero return code"),
        ({"msg": "failed: why", "stderr": "why"}, "failed: why"),
        (
            {"msg": "One or more items failed", "results": [
                {"item": "a", "failed": True, "msg": "x"}, {"item": "b"}, {"item": "c", "failed": True, "msg": "y"}
            ]},
            "a: x\nc: y",
        ),
        ({"censored": "hidden", "msg": "secret"}, "the task hides its result (no_log)"),
        ({}, "no reason given"),
    ],
)  # fmt: skip
def test_the_reason_of_a_failure(result: Mapping[str, Any], text: str) -> None:
    assert failure_text(result) == text


def handled(event: str, data: Mapping[str, Any], fact: str | None = None) -> list[dict[str, Any]]:
    out = io.BytesIO()
    assert (
        EventHandler(out, fact)({"event": event, "event_data": data}) is False
    )  # ansible-runner writes no file
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_ignored_errors_are_no_failures() -> None:
    data = {"host": "one", "task": "try", "res": {"msg": "no"}}
    assert handled("runner_on_failed", {**data, "ignore_errors": True}) == []
    assert handled("runner_on_failed", data) == [
        {"event": "failed", "host": "one", "task": "try", "message": "no", "unreachable": False}
    ]
    assert handled("runner_on_unreachable", data)[0]["unreachable"] is True


def test_statistics_come_from_the_last_event() -> None:
    data = {"changed": {"one": 2}, "failures": {"two": 1}, "dark": {"three": 1}}
    assert handled("playbook_on_stats", data) == [
        {"event": "summary", "changed": {"one": 2}, "failed": ["three", "two"]}
    ]


def test_only_the_fact_that_was_asked_for_is_sent() -> None:
    data = {"host": "one", "res": {"ansible_facts": {"wanted": {"port": 1}, "other": 2}}}
    assert handled("runner_on_ok", data) == []
    assert handled("runner_on_ok", data, "nothing") == []
    assert handled("runner_on_ok", data, "wanted") == [{"event": "fact", "host": "one", "value": {"port": 1}}]


def test_other_events_are_nobodys_business() -> None:
    assert handled("verbose", {}) == []
    assert handled("runner_on_start", {"host": "one"}) == []
