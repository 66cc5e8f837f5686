"""A worker: ``python -m tester.load.workers.worker``, with its order and then commands on stdin.

It ends when it is told to, when its stdin ends (the tester is gone), or when its load is dead.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from tester import loop
from tester.errors import EtcdChaosError
from tester.history.writer import HistoryWriter
from tester.load.channels import channels_of
from tester.load.engine import Load
from tester.load.workers.messages import MAX_LINE_BYTES, PAUSE, RESUME, STOP, Failed, Message, Order, Paused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine

_REPORT_SECONDS = 0.1
_STATUS_FAILED = 1


def _tell(message: Message) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


async def _report(load: Load) -> None:
    while True:
        await asyncio.sleep(_REPORT_SECONDS)
        load.check_alive()
        _tell(load.report())


async def _obey(commands: asyncio.StreamReader, load: Load, writer: HistoryWriter) -> None:
    while (command := await commands.readline()) not in {b"", STOP}:
        if command == PAUSE:
            await load.pause()
            writer.flush()
            writer.check()
            _tell(load.report())
            _tell(Paused())
        elif command == RESUME:
            await load.resume()
        else:
            raise ValueError(f"no command: {command!r}")


async def _first_of(*works: Awaitable[None]) -> None:
    """Until one of them ends; raises what it raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def commands_of_parent() -> asyncio.StreamReader:
    """What comes on stdin."""
    commands = asyncio.StreamReader(limit=MAX_LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
    )
    return commands


async def work(order: Order, commands: asyncio.StreamReader, writer: HistoryWriter) -> None:
    """Do what the order says, until the end."""
    load = Load(
        order.stressers,
        order.endpoints,
        writer,
        order.clock,
        order.seed,
        order.prefix,
        connect=channels_of(writer, over_grpc=order.over_grpc),
        share=order.share,
    )
    try:
        await load.start()
        await _first_of(_obey(commands, load, writer), _report(load))
    finally:
        await load.stop()
        await writer.close()
    _tell(load.report())


async def _as_ordered() -> None:
    commands = await commands_of_parent()
    order = Order.decode(await commands.readline())
    await work(order, commands, HistoryWriter(order.history))


def ended(life: Coroutine[Any, Any, None]) -> int:
    """Live to the end of it; the exit status."""
    try:
        loop.run(life)
    except EtcdChaosError as error:
        _tell(Failed(error.message, error.remedy))
        return _STATUS_FAILED
    return 0


if __name__ == "__main__":
    sys.exit(ended(_as_ordered()))
