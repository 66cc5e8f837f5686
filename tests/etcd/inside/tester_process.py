"""A tester that loads the members until somebody kills it: ``python -m ... HISTORY PREFIX TRANSPORT``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tester import loop
from tester.clock import RunClock
from tester.history.writer import HistoryWriter
from tester.load.channels import channels_of
from tester.load.engine import Load
from tester.scenario.stressers import KvStresser
from tests.etcd.inside.cluster import Cluster


async def main(path: Path, prefix: str, *, over_grpc: bool) -> None:
    endpoints = Cluster("", path.parent).endpoints
    stresser = KvStresser.model_validate({"kind": "kv", "clients": 30, "timeout": "2s"})
    writer = HistoryWriter(path)
    connect = channels_of(writer, over_grpc=over_grpc)
    load = Load([stresser], endpoints, writer, RunClock(), 1, prefix, connect=connect)
    await load.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    loop.run(main(Path(sys.argv[1]), sys.argv[2], over_grpc=sys.argv[3] == "grpc"))
