"""The JSON schema of scenario files, for editors and other tools (``docs/scenario.schema.json``)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tester.scenario.faults import FAULTS
from tester.scenario.model import NO_FAULT, Scenario

if TYPE_CHECKING:
    from collections.abc import Collection

    from pydantic import JsonValue


def schema_text() -> str:
    """The schema as committed: JSON, indented, with a newline at the end."""
    schema = Scenario.model_json_schema()
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    schema["title"] = "etcd-chaos scenario"
    _add_short_forms(schema)
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


def _add_short_forms(schema: dict[str, Any]) -> None:
    """Let a case, and an entry of a menu, have the keys of a single fault beside its own."""
    sections = schema["$defs"]
    for owner, key in (("CaseSection", "faults"), ("NemesisItem", "fault")):
        own = _pointers(owner, sections, leave_out={key})
        required = [name for name in sections[owner]["required"] if name != key]
        forms: list[JsonValue] = [{"$ref": f"#/$defs/{owner}"}]
        for kind, section in FAULTS.items():
            fault = _pointers(section.__name__, sections)
            forms.append(_form({**own, **fault}, [*required, "fault"], kind))
        if owner == "CaseSection":
            none = _pointers(owner, sections, leave_out={key, "allow_quorum_loss"})
            forms.append(_form({**none, "fault": {"const": NO_FAULT}}, [*required, "fault"], NO_FAULT))
        sections[f"Any{owner}"] = {"anyOf": forms}
    schema["properties"]["cases"]["items"] = {"$ref": "#/$defs/AnyCaseSection"}
    sections["NemesisSection"]["properties"]["menu"]["items"] = {"$ref": "#/$defs/AnyNemesisItem"}
    nemesis = schema["properties"]["nemesis"]
    nemesis["anyOf"] = [{"$ref": "#/$defs/NemesisSection"}, {"const": "random"}, {"type": "null"}]


def _pointers(
    section: str, sections: dict[str, Any], leave_out: Collection[str] = ()
) -> dict[str, JsonValue]:
    return {
        name: {"$ref": f"#/$defs/{section}/properties/{name}"}
        for name in sections[section]["properties"]
        if name not in leave_out
    }


def _form(properties: dict[str, JsonValue], required: list[str], title: str) -> JsonValue:
    return {
        "type": "object",
        "title": title,
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }
