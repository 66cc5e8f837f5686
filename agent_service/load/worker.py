"""One worker process: started, told, heard, ended. Its history is a file of the agent's own."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from agent_service.errors import IllegalStateError, NotFoundError, UnavailableError
from agent_service.load.launch import ENVIRONMENT, worker_argv
from agent_service.models import MAX_CHUNK_BYTES, LoadMessages, LoadWorkerStatus

if TYPE_CHECKING:
    import pwd
    from pathlib import Path

    from agent_service.models import LoadOrder

PAUSE, RESUME, STOP = b"pause\n", b"resume\n", b"stop\n"
"""As ``tester.load.workers.messages`` has them."""
HISTORY: Final = "history.jsonl"
_LINE_BYTES: Final = 1 << 18
_KEPT_LINES: Final = 1024
"""A worker reports ten times a second, and nobody is waited for longer than a lease."""
_LINES_AT_ONCE: Final = 64
_STOP_SECONDS: Final = 10.0
_SAY_SECONDS: Final = 5.0
_GONE_SECONDS: Final = 2.0
"""From the end of what it says to its own."""
_LAST_WORDS: Final = 5


class LoadWorker:
    """One, from its start to the removal of what it wrote."""

    def __init__(self, name: str, directory: Path) -> None:
        """Of a worker in a directory that the agent made; it may be of an earlier agent, and have ended."""
        self.name = name
        self._history = directory / HISTORY
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._said = 0
        """Lines so far; those that are kept are the last of them."""
        self._news = asyncio.Event()
        self._words: deque[str] = deque(maxlen=_LAST_WORDS)
        self._why = "its agent has ended"
        self.lease_seconds = 0.0
        self.deadline = 0.0
        """On the host's monotonic clock: then nobody has asked for it for too long."""

    @property
    def running(self) -> bool:
        """Whether its process lives and is heard."""
        return self._listening is not None and not self._listening.done()

    async def start(
        self, order: LoadOrder, lease_seconds: float, setpriv: str, user: pwd.struct_passwd | None
    ) -> None:
        """Start it and hand it its order.

        Raises:
            UnavailableError: it cannot be started.
        """
        try:
            # The worker gets the descriptor alone: it needs no directory that it may write to.
            descriptor = os.open(
                self._history, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *worker_argv(setpriv, user, descriptor),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    cwd="/",
                    env=ENVIRONMENT,
                    limit=_LINE_BYTES,
                    pass_fds=(descriptor,),
                    start_new_session=True,
                )
            finally:
                os.close(descriptor)
        except OSError as error:
            raise UnavailableError(f"load worker {self.name} cannot be started: {error.strerror}") from error
        self._why = ""
        self.lease_seconds = lease_seconds
        self.renew()
        self._listening = asyncio.create_task(self._listen(self._process), name=f"load worker {self.name}")
        await self.say(order.model_dump_json().encode() + b"\n")

    def renew(self) -> None:
        """Somebody has asked for it."""
        self.deadline = time.monotonic() + self.lease_seconds

    async def say(self, line: bytes) -> None:
        """Hand it a line.

        Raises:
            IllegalStateError: it has ended.
            UnavailableError: it does not read.
        """
        if self._process is None or self._process.stdin is None or not self.running:
            raise IllegalStateError(f"load worker {self.name} has ended: {self._why}", state="ended")
        self._process.stdin.write(line)
        try:
            async with asyncio.timeout(_SAY_SECONDS):
                await self._process.stdin.drain()
        except TimeoutError:
            raise UnavailableError(f"load worker {self.name} does not read what it is told") from None
        except OSError as error:
            raise IllegalStateError(f"load worker {self.name} has ended", state="ended") from error

    async def end(self, why: str) -> None:
        """End it, in order or not; what it wrote stays. Safe to repeat."""
        process, listening = self._process, self._listening
        if process is None or listening is None:
            return
        self._why = self._why or why
        with suppress(IllegalStateError, UnavailableError):
            await self.say(STOP)
        done, _ = await asyncio.wait({listening}, timeout=_STOP_SECONDS)
        if not done:
            with suppress(ProcessLookupError):
                process.kill()
            await asyncio.wait({listening}, timeout=_STOP_SECONDS)

    async def messages(self, after: int, wait_seconds: float) -> LoadMessages:
        """Lines from number ``after`` on, those that are still kept; waits for the first."""
        self.renew()
        if after >= self._said and self.running:
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    await self._news.wait()
        first = max(after, self._said - len(self._lines))
        skip = first - (self._said - len(self._lines))
        lines = tuple(self._lines)[skip : skip + _LINES_AT_ONCE]
        self.renew()
        return LoadMessages(first=first, next=first + len(lines), lines=lines, status=self.status())

    def status(self) -> LoadWorkerStatus:
        """As it is now."""
        running, process = self.running, self._process
        try:
            size = self._history.lstat().st_size
        except FileNotFoundError:
            size = 0
        return LoadWorkerStatus(
            id=self.name,
            running=running,
            pid=process.pid if process is not None and running else None,
            end="" if running else self._end(),
            history_bytes=size,
        )

    def read_history(self, offset: int) -> bytes:
        """Some of what it wrote, from a byte on; nothing: that is all until now.

        Raises:
            NotFoundError: it wrote no history.
        """
        self.renew()
        try:
            descriptor = os.open(self._history, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFoundError(f"load worker {self.name} has no history") from None
        try:
            return os.pread(descriptor, MAX_CHUNK_BYTES, offset)
        finally:
            os.close(descriptor)

    def _end(self) -> str:
        process = self._process
        if process is None or process.returncode is None:
            return self._why or "it is not known how"
        status = process.returncode
        how = f"signal {-status}" if status < 0 else f"status {status}"
        words = f"; its last words: {' | '.join(self._words)}" if self._words and status != 0 else ""
        return f"{how}{f', {self._why}' if self._why else ''}{words}"

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        overhearing = asyncio.create_task(self._overhear(process), name=f"load worker {self.name}, stderr")
        try:
            await self._hear(process)
        finally:
            await self._reap(process)
            await asyncio.wait({overhearing}, timeout=_GONE_SECONDS)
            overhearing.cancel()
            self._news.set()

    async def _reap(self, process: asyncio.subprocess.Process) -> None:
        """Have it gone. One that has just ended gets no signal: asyncio would then miss how it ended."""
        if not await _gone(process):
            with suppress(ProcessLookupError):
                process.kill()
            await _gone(process)

    async def _hear(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            raise TypeError("a worker speaks through a pipe")
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:
                self._why = f"it said more than {_LINE_BYTES} bytes in one line"
                return
            if not line:
                return
            self._lines.append(line.decode(errors="replace").rstrip("\n"))
            self._said += 1
            self._news.set()

    async def _overhear(self, process: asyncio.subprocess.Process) -> None:
        while process.stderr is not None:
            try:
                line = await process.stderr.readline()
            except ValueError:
                continue  # too long a line: what comes after it is heard
            if not line:
                return
            self._words.append(line.decode(errors="replace").rstrip()[:500])


async def _gone(process: asyncio.subprocess.Process) -> bool:
    """Whether it has ended, after a moment."""
    try:
        async with asyncio.timeout(_GONE_SECONDS):
            # A pipe is closed when it has been read to its end, and waiting is for that, too.
            while process.stdout is not None and await process.stdout.read(_LINE_BYTES):
                pass
            await process.wait()
    except TimeoutError:
        return False
    return True
