import json
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import msgspec
import pytest

from tester.history.records import (
    Compare,
    Event,
    HistoryRecord,
    Info,
    Invoke,
    KeyValue,
    Ok,
    Put,
    RangeResult,
    Txn,
    TxnResult,
    Watched,
)
from tester.history.schema import history_schema

PUBLISHED = Path(__file__).parents[3] / "docs" / "history.schema.json"
KV = KeyValue(k="k", v="1:2", c=1, m=2, ver=1)


def test_the_published_schema_is_current() -> None:
    assert PUBLISHED.read_text() == history_schema(), (
        "run: python -m tester.history.schema > docs/history.schema.json"
    )


@pytest.mark.parametrize(
    "record",
    [
        Invoke(
            id=1,
            at=2,
            c=3,
            m="m",
            op=Txn(
                cmp=(Compare(k="k", target="mod", op="=", x=3),), then=(Txn(then=(Put(k="k", v="1:2"),)),)
            ),
        ),
        Ok(id=1, at=2, rev=3, out=TxnResult(responses=(RangeResult(kv=(KV,)),))),
        Info(id=1, at=2, error="UNKNOWN"),
        Watched(w=1, at=2, rev=3, ev=(Event(k="k", m=3, d=True, p=KV),)),
    ],
)
def test_records_match_the_schema(record: HistoryRecord) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(PUBLISHED.read_text()))
    line = json.loads(msgspec.json.encode(record))
    validator.validate(line)
    line["t"] = "nonsense"
    assert not validator.is_valid(line)
