from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from tester.history.records import HistoryRecord


def lines(*records: HistoryRecord) -> bytes:
    """Records as a history has them."""
    return msgspec.json.Encoder().encode_lines(records)
