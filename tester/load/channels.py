"""Channels of a load that is recorded."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tester.etcd.connect import connect_grpc, connect_h2

if TYPE_CHECKING:
    from tester.etcd.channel import Connect
    from tester.history.writer import HistoryWriter


def channels_of(writer: HistoryWriter, *, over_grpc: bool) -> Connect:
    """What connects the clients whose operations ``writer`` records."""
    if over_grpc:
        return connect_grpc
    # An invocation has to be in the history before its request can leave.
    return partial(connect_h2, before_send=writer.flush)
