"""The JSON schema of a history's lines: ``python -m tester.history.schema > docs/history.schema.json``."""

from __future__ import annotations

import json
import sys

import msgspec

from tester.history.records import FORMAT_VERSION, HistoryRecord


def history_schema() -> str:
    """The schema as JSON text: one line of a history is valid if it matches."""
    (line,), components = msgspec.json.schema_components([HistoryRecord], ref_template="#/$defs/{name}")
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"etcd-chaos history, version {FORMAT_VERSION}: one line",
        **line,
        "$defs": components,
    }
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.stdout.write(history_schema())
