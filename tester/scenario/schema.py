"""The JSON schema of scenario files, for editors and other tools (``docs/scenario.schema.json``)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tester.scenario.model import Scenario

if TYPE_CHECKING:
    from pydantic import JsonValue


def schema_text() -> str:
    """The schema as committed: JSON, indented, with a newline at the end."""
    schema = Scenario.model_json_schema()
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    schema["title"] = "etcd-chaos scenario"
    return json.dumps(_as_written(schema), indent=2) + "\n"


def _as_written(part: JsonValue) -> JsonValue:
    """Defaults as a file would have them (durations with a unit), and no other keys than the named ones."""
    if isinstance(part, list):
        return [_as_written(item) for item in part]
    if not isinstance(part, dict):
        return part
    default = part.get("default")
    if isinstance(default, dict):
        part = {key: value for key, value in part.items() if key != "default"}
    elif isinstance(default, float) and part.get("type") == "string":
        unit = "/s" if "/s" in str(part.get("pattern")) else "s"
        part = {**part, "default": f"{default:g}{unit}"}
    if "patternProperties" in part:
        part = {**part, "additionalProperties": False}
    return {key: _as_written(value) for key, value in part.items()}
