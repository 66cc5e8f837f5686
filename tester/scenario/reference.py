"""The generated parts of ``docs/scenarios.md``: a table of keys for each section of a scenario.

``python -m tester.scenario.reference docs/scenarios.md`` writes them; a test keeps them current.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from pydantic import TypeAdapter

from tester.scenario.actions import ACTIONS, ActionSection
from tester.scenario.faults import FAULTS, FaultSection
from tester.scenario.schema import schema_text
from tester.scenario.target import Target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from tester.scenario.section import Section

_MARK: Final = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_UNITS: Final = {
    "500ms": "duration",
    "1h": "duration, also with a minus",
    "100B": "size",
    "500/s": "rate",
    "10%": "share",
    "10Mbit/s": "rate",
}
"""By the first example of the schema."""
_TARGET_EXAMPLES: Final = TypeAdapter(Target).json_schema()["examples"]


def generate(document: str) -> str:
    """The document with all tables between ``<!-- generated: NAME -->`` and ``<!-- end -->`` made anew."""
    schema = json.loads(schema_text())
    sections = {**schema["$defs"], "Scenario": schema}
    (common, *_) = (sections[section.__name__]["properties"] for section in FAULTS.values())
    sections["FaultSection"] = {
        "properties": {name: part for name, part in common.items() if name in FaultSection.model_fields}
    }

    (shared, *_) = (sections[section.__name__]["properties"] for section in ACTIONS.values())
    sections["ActionSection"] = {
        "properties": {name: part for name, part in shared.items() if name in ActionSection.model_fields}
    }

    def table(found: re.Match[str]) -> str:
        match found[2]:
            case "faults":
                rows = _own_keys(sections, "fault", FAULTS, FaultSection)
            case "actions":
                rows = _own_keys(sections, "action", ACTIONS, ActionSection)
            case name:
                rows = _table(sections[name], sections)
        return f"{found[1]}{rows}{found[3]}"

    return _MARK.sub(table, document)


def _own_keys(
    sections: Mapping[str, JsonValue], word: str, kinds: Mapping[str, type[Section]], base: type[Section]
) -> str:
    """The keys that only some faults, or some actions, have."""
    rows = [f"| {word} | key | value | default | meaning |", "|---|---|---|---|---|"]
    for kind, section in kinds.items():
        described = cast("dict[str, JsonValue]", sections[section.__name__])
        required = cast("list[str]", described.get("required", []))
        for name, part in cast("dict[str, dict[str, JsonValue]]", described["properties"]).items():
            if name not in base.model_fields and name != word:
                what = part.get("description", "")
                default = "required" if name in required else _default(part)
                rows.append(f"| `{kind}` | `{name}` | {_kind(part, sections)} | {default} | {what} |")
    return "\n".join(rows) + "\n"


def _table(section: Mapping[str, JsonValue], sections: Mapping[str, JsonValue]) -> str:
    required = cast("list[str]", section.get("required", []))
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    properties = cast("dict[str, dict[str, JsonValue]]", section["properties"])
    for name, part in properties.items():
        default = "required" if name in required else _default(part)
        rows.append(f"| `{name}` | {_kind(part, sections)} | {default} | {part.get('description', '')} |")
    return "\n".join(rows) + "\n"


def _default(part: Mapping[str, JsonValue]) -> str:
    default = part.get("default")
    if default in (None, "", [], {}):
        return ""
    return f"`{default}`" if isinstance(default, str) else f"`{json.dumps(default)}`"


def _kind(part: Mapping[str, JsonValue], sections: Mapping[str, JsonValue]) -> str:
    if part.get("examples") == _TARGET_EXAMPLES:
        return "[target](#targets)"
    if "discriminator" in part:
        return _union(cast("dict[str, JsonValue]", part["discriminator"]))
    if "$ref" in part:
        name = str(part["$ref"]).rpartition("/")[2].removeprefix("Any")
        values = cast("dict[str, JsonValue]", sections[name]).get("enum")
        return _values(values) if isinstance(values, list) else f"[{name}](#{name.lower()})"
    if "anyOf" in part:
        (kind, *_) = [
            one for one in cast("list[dict[str, JsonValue]]", part["anyOf"]) if one.get("type") != "null"
        ]
        return _kind(kind, sections)
    if "const" in part:
        return _values([part["const"]])
    if part["type"] == "array":
        return f"list of {_kind(cast('dict[str, JsonValue]', part['items']), sections)}"
    if part["type"] == "string" and "examples" in part:
        return _UNITS[str(cast("list[JsonValue]", part["examples"])[0])]
    if part["type"] == "object" and "propertyNames" in part:
        names = cast("dict[str, JsonValue]", part["propertyNames"])
        if "$ref" in names:
            return f"mapping of {_kind(names, sections)} to numbers"
    words = {
        "string": "text",
        "number": "number",
        "object": "mapping of text" if "patternProperties" in part else "mapping of targets",
        "boolean": "`true`, `false`",
        "integer": "whole number",
    }
    return words[str(part["type"])] + _bounds(part)


def _union(discriminator: Mapping[str, JsonValue]) -> str:
    key = str(discriminator["propertyName"])
    return f"[{key}](#keys-of-{key}s)" if key in {"fault", "action"} else "[stresser](#stressers)"


def _values(values: list[JsonValue]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _bounds(part: Mapping[str, JsonValue]) -> str:
    low, high = part.get("minimum"), part.get("maximum")
    if low is None:
        return ""
    return f", {low} to {high}" if high is not None else f", at least {low}"


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(generate(target.read_text(encoding="utf-8")), encoding="utf-8")
