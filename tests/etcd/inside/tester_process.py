"""A tester that loads the members until somebody kills it: ``python -m ... HISTORY PREFIX``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tester import loop
from tester.clock import RunClock
from tester.history.writer import HistoryWriter
from tester.load.engine import Load
from tester.scenario.stressers import KvStresser
from tests.etcd.inside.cluster import Cluster


async def main(path: Path, prefix: str) -> None:
    endpoints = Cluster("", path.parent).endpoints
    stresser = KvStresser.model_validate({"kind": "kv", "clients": 30, "timeout": "2s"})
    load = Load([stresser], endpoints, HistoryWriter(path), RunClock(), 1, prefix)
    await load.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    loop.run(main(Path(sys.argv[1]), sys.argv[2]))
