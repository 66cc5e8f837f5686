"""The loop of load workers: what it must do as asyncio's does."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest
import uvloop

from tester import loop
from tester.events import EventBus
from tester.interrupt import Interrupt

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def from_a_terminal() -> Iterator[None]:
    """What a shell starts in the background ignores SIGINT, and so would these tests."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_asks_for_the_end_once(number: signal.Signals) -> None:
    interrupt = Interrupt(EventBus())
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    async def main() -> bool:
        with interrupt.watching():
            os.kill(os.getpid(), number)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                os.kill(os.getpid(), number)  # impatience changes nothing
                await asyncio.sleep(0.05)
                return True
        return False

    assert loop.run(main())
    assert interrupt.asked
    assert {number: signal.getsignal(number) for number in handlers} == handlers


def test_ctrl_c_that_nobody_watches_for_ends_the_program() -> None:
    ended = []

    async def main() -> None:
        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGINT)
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("in order")

    with pytest.raises(KeyboardInterrupt):
        loop.run(main())
    assert ended == ["in order"]


CHILD = "import os, sys; print(os.getsid(0) == os.getpid(), flush=True); sys.exit(len(sys.stdin.read()))"


def test_a_child_has_a_session_of_its_own_and_its_end_is_seen() -> None:
    async def main() -> tuple[bytes, int]:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", CHILD),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        said = await child.stdout.readline()
        child.stdin.write(b"abc")
        child.stdin.close()
        return said, await child.wait()

    assert loop.run(main()) == (b"True\n", 3)


def test_it_is_uvloop() -> None:
    async def main() -> bool:
        return isinstance(asyncio.get_running_loop(), uvloop.Loop)

    assert loop.run(main())
