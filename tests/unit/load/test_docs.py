"""The example lines of docs/history.md are lines."""

from pathlib import Path

import msgspec

from tester.history.records import HistoryRecord

DOCS = Path(__file__).parents[3] / "docs" / "history.md"


def test_the_documented_lines_are_records_as_they_are_written() -> None:
    lines = DOCS.read_text().split("```json\n")[1].split("```")[0].splitlines()
    assert len(lines) == 7
    for line in lines:
        record = msgspec.json.decode(line, type=HistoryRecord)
        assert msgspec.json.encode(record).decode() == line
