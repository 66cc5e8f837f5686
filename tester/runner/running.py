"""One runner: load and witnesses on a cluster that is there already, then the verdict."""

from __future__ import annotations

import asyncio
import secrets
import signal
import tempfile
import time
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from etcd3.etcdrpc import rpc_pb2 as pb

from tester.checkers import run_checkers
from tester.clock import RunClock
from tester.errors import ClusterError, ExitCode, LoadError, UsageError
from tester.etcd.channel import Method
from tester.etcd.client import EtcdClient, prefix_end
from tester.etcd.connect import connect_grpc
from tester.etcd.errors import RpcError, StatusCode
from tester.etcd.monitor import ClusterMonitor
from tester.events import EventBus
from tester.history.endstate import EndState
from tester.history.history import History
from tester.history.reader import read_history
from tester.history.records import FORMAT_VERSION, Header
from tester.history.writer import HistoryWriter
from tester.load.engine import Load
from tester.load.watcher import Watcher
from tester.results import Verdict
from tester.roundlog import RoundLog
from tester.runner.connecting import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tester.etcd.endpoint import Endpoint
    from tester.results import CheckResult
    from tester.runner.setting import RunnerSetting

_LOOK_SECONDS = 0.2
_EVIDENCE_SECONDS = 10.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_REFUSALS = frozenset(
    {
        StatusCode.PERMISSION_DENIED,
        StatusCode.UNAUTHENTICATED,
        StatusCode.INVALID_ARGUMENT,
        StatusCode.FAILED_PRECONDITION,
    }
)
"""Of a read: the member wants to know who asks, or does not let them."""
_CODES = {
    Verdict.VALID: ExitCode.VALID,
    Verdict.INVALID: ExitCode.INVALID,
    Verdict.UNKNOWN: ExitCode.INFRASTRUCTURE,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a runner ended."""

    results: tuple[CheckResult, ...]
    steps: int
    operations: int
    seconds: float
    trouble: tuple[str, ...]
    """What went wrong beside the verdicts: no progress, a member that took no last write, keys that are left."""
    interrupted: bool

    @property
    def exit_code(self) -> ExitCode:
        """The worst of everything."""
        codes = [_CODES[result.verdict] for result in self.results]
        if self.trouble:
            codes.append(ExitCode.INFRASTRUCTURE)
        if self.interrupted:
            codes.append(ExitCode.INTERRUPTED)
        return ExitCode.worst(*codes)


async def run_runner(setting: RunnerSetting, show: Callable[[str], None]) -> Outcome:
    """Connect, load, judge, clean up.

    Args:
        setting: what to do where.
        show: told of the state of things, several times a second.

    Raises:
        UsageError: endpoints or credentials are wrong, or the history cannot be made there.
        ClusterError: the cluster cannot be reached, or serves nobody.
        LoadError: a client died, or the history could not be written.
    """
    endpoints = await connect(setting.endpoints, setting.credentials, setting.dial_timeout)
    prefix = f"{setting.prefix}{secrets.token_hex(6)}/"
    revision = await _first_revision(endpoints, prefix, setting.dial_timeout)
    with tempfile.TemporaryDirectory(prefix="etcd-chaos-") as temporary:
        path = setting.history or Path(temporary) / "history.jsonl"
        try:
            outcome = await _Runner(setting, endpoints, prefix, path, show).run(revision)
        except BaseException:
            if left := await _clean_up(endpoints, prefix, setting.dial_timeout):
                show(left)
            raise
        left = await _clean_up(endpoints, prefix, setting.dial_timeout)
        return replace(outcome, trouble=(*outcome.trouble, left)) if left else outcome


async def _first_revision(endpoints: Sequence[Endpoint], prefix: str, timeout: float) -> int:
    """The revision from which the witnesses watch; it also shows that the user may read here."""
    said: list[str] = []
    for endpoint in endpoints:
        client = EtcdClient(endpoint, connect_grpc(endpoint), timeout)
        try:
            return (await client.get(prefix))[0]
        except RpcError as error:
            if error.code in _REFUSALS:
                raise UsageError(
                    f"the cluster refuses: {error.text}",
                    remedy=f"--user needs a role that may read and write the prefix {prefix.partition('/')[0]}/",
                ) from error
            said.append(f"{endpoint.member}: {error}")
        finally:
            await client.close()
    told = "\n".join(said)
    raise ClusterError(f"the cluster serves nobody\n{told}", remedy="see that it has a leader")


async def _clean_up(endpoints: Sequence[Endpoint], prefix: str, timeout: float) -> str:
    """Leave no key behind; leases end by themselves. What is to be said of keys that stay.

    Who cannot be reached now is asked no more.
    """
    request = pb.DeleteRangeRequest(key=prefix.encode(), range_end=prefix_end(prefix)).SerializeToString()
    said = []
    for endpoint in endpoints:
        channel = connect_grpc(endpoint)
        try:
            await channel.call(Method.DELETE_RANGE, request, timeout)
        except RpcError as error:
            said.append(f"{endpoint.member}: {error}")
        else:
            return ""
        finally:
            await channel.close()
    return f"keys are left: etcdctl del --prefix {prefix} removes them; {'; '.join(said)}"


def _of_nothing(result: CheckResult, unit: str) -> CheckResult:
    """What a verdict is worth where nothing was done that could have gone wrong."""
    if result.verdict is not Verdict.VALID:
        return result
    return replace(result, verdict=Verdict.UNKNOWN, message=f"0 {unit}: nothing was tested")


class _Runner:
    def __init__(
        self,
        setting: RunnerSetting,
        endpoints: tuple[Endpoint, ...],
        prefix: str,
        path: Path,
        show: Callable[[str], None],
    ) -> None:
        self._setting = setting
        self._endpoints = endpoints
        self._show = show
        self._clock = RunClock()
        self._bus = EventBus()
        self._prefix = prefix
        self._writer = HistoryWriter(path)
        self._trouble: list[str] = []
        self._late: list[str] = []
        self._stop = asyncio.Event()
        self._started = time.monotonic()

    async def run(self, revision: int) -> Outcome:
        """Everything between the first record and the verdict."""
        setting, writer = self._setting, self._writer
        async with AsyncExitStack() as stack:
            stack.push_async_callback(writer.close)
            writer.write(self._header())
            stack.enter_context(self._bus.listening(RoundLog(writer)))
            stack.enter_context(self._signals())
            monitor = ClusterMonitor(self._endpoints, self._clock, self._bus)
            stack.push_async_callback(monitor.stop)
            await monitor.start()
            watchers = [
                Watcher(number, endpoint, writer, self._clock, self._prefix, revision)
                for number, endpoint in enumerate(self._endpoints, start=1)
            ]
            for watcher in watchers:
                stack.push_async_callback(watcher.stop)
                await watcher.start()
            load = Load(
                [setting.stresser],
                self._endpoints,
                writer,
                self._clock,
                setting.seed,
                self._prefix,
                connect=connect_grpc,
                rounds=setting.rounds,
                writing_seconds=setting.writing_seconds,
            )
            stack.push_async_callback(load.stop)
            await load.start()
            await self._watch_over(load, watchers)
            await self._collect(load, watchers)
            await load.stop()
            results = await asyncio.to_thread(self._judge)
            if not self._done(load):
                results = tuple(_of_nothing(result, setting.unit) for result in results)
            done = load.totals()
        return Outcome(
            results,
            self._done(load),
            done.ok + done.fail + done.info,
            time.monotonic() - self._started,
            tuple(self._trouble),
            self._stop.is_set(),
        )

    def _header(self) -> Header:
        return Header(
            version=FORMAT_VERSION,
            run=self._prefix.strip("/").rpartition("/")[2],
            round=1,
            scenario=f"runner-{self._setting.title}",
            seed=self._setting.seed,
            started_realtime_ns=self._clock.started_realtime_ns,
            prefix=self._prefix,
            members=tuple(endpoint.member for endpoint in self._endpoints),
        )

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._end)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    def _end(self) -> None:
        if self._stop.is_set():  # a history of millions is not judged in a moment
            self._show("still ending: what was recorded is judged, and keys are removed")
        self._stop.set()

    async def _watch_over(self, load: Load, watchers: Sequence[Watcher]) -> None:
        """Until the load has done all, its time is over, it makes no progress, or a person wants it to end."""
        setting = self._setting
        seen, since = -1, time.monotonic()
        while not await load.finished(_LOOK_SECONDS) and not self._stop.is_set():
            load.check_alive()
            for watcher in watchers:
                watcher.check_alive()
            done = self._done(load)
            now = time.monotonic()
            if done != seen:
                seen, since = done, now
            self._show(self._state(load))
            if setting.running_time is not None and now - self._started >= setting.running_time:
                return
            if now - since > setting.no_progress:
                self._trouble.append(f"no progress for {setting.no_progress:g} s: {self._state(load)}")
                return
        load.check_alive()

    async def _collect(self, load: Load, watchers: Sequence[Watcher]) -> None:
        """Let every witness see the last that was acknowledged."""
        self._show("ending: waiting for the witnesses")
        patience = min(_EVIDENCE_SECONDS, self._setting.no_progress)
        await load.pause()
        try:
            revision = await load.mark(patience)
        except LoadError as error:
            self._trouble.append(error.message)
            return
        seen = await asyncio.gather(*(watcher.caught_up(revision, patience) for watcher in watchers))
        for watcher, caught_up in zip(watchers, seen, strict=True):
            if not caught_up:
                self._late.append(f"{watcher.name} has not delivered revision {revision}")

    def _judge(self) -> tuple[CheckResult, ...]:
        self._writer.flush()
        history = History(read_history(self._writer.path))
        end = EndState(self._clock.now(), {}, late=tuple(self._late))
        return run_checkers(self._setting.checkers, history, end)

    def _done(self, load: Load) -> int:
        """What counts as progress."""
        return load.totals().ok if self._setting.stresser.kind == "lease" else sum(load.steps)

    def _state(self, load: Load) -> str:
        done = load.totals()
        seconds = time.monotonic() - self._started
        unwell = f", {done.fail} failed, {done.info} unknown" if done.fail or done.info else ""
        progress = f"{self._done(load)} {self._setting.unit}"
        return f"{self._setting.title}: {seconds:.0f} s, {done.ok} operations{unwell}, {progress}"
