from __future__ import annotations

import json
from pathlib import Path

from tester.scenario.schema import schema_text

PUBLISHED = Path(__file__).parents[3] / "docs" / "scenario.schema.json"


def test_the_published_schema_is_current() -> None:
    assert PUBLISHED.read_text() == schema_text(), "etcd-chaos scenarios schema > docs/scenario.schema.json"


def test_the_schema_refuses_unknown_keys_everywhere() -> None:
    schema = json.loads(schema_text())
    objects = [schema, *(part for part in schema["$defs"].values() if part.get("type") == "object")]
    assert all(part["additionalProperties"] is False for part in objects)


def test_defaults_are_what_a_file_may_say() -> None:
    case = json.loads(schema_text())["$defs"]["CaseSection"]["properties"]
    assert case["hold"]["default"] == "3s"
    assert case["allow_quorum_loss"]["default"] is False
    assert "default" not in json.loads(schema_text())["properties"]["limits"]
