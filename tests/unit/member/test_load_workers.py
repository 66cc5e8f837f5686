"""Load workers as the agent holds them: whoever behaves badly is ended, and only what is the agent's is removed."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

import pytest

from agent_service.errors import IllegalStateError, NotFoundError, UnavailableError
from agent_service.load import worker as one
from agent_service.load import workers as all_of_them
from agent_service.load.workers import LoadWorkers
from agent_service.models import LoadRequest
from tests.agent.settings import agent_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

GOOD = """
import os, sys
order = sys.stdin.readline()
os.write(int(sys.argv[1]), b"0123456789" * 200_000)
print(len(order) > 2, os.getcwd(), sorted(os.environ), flush=True)
while (line := sys.stdin.readline()) not in ("", "stop\\n"):
    print("heard", line.strip(), flush=True)
"""
DEAF = "import sys, time; print('here', flush=True); time.sleep(600)"
LOUD = "import sys, time; sys.stdin.readline(); sys.stdout.write('x' * 10**6); sys.stdout.flush(); time.sleep(600)"
DYING = "import sys; sys.stdin.readline(); sys.exit('no luck')"


def request(lease_seconds: float = 60.0) -> LoadRequest:
    order = {
        "stressers": [{"kind": "kv"}],
        "endpoints": [{"member": "m1", "address": "127.0.0.1", "port": 1}],
        "seed": 1,
        "prefix": "p/",
        "number": 0,
        "workers": 1,
    }
    return LoadRequest.model_validate({"order": order, "lease_seconds": lease_seconds})


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def choose(script: str) -> None:
        monkeypatch.setattr(
            one, "worker_argv", lambda *args: (sys.executable, "-I", "-c", script, str(args[-1]))
        )

    return choose


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[LoadWorkers]:
    settings = agent_settings(tmp_path)
    settings.state_dir.mkdir()
    made = LoadWorkers(settings)
    yield made
    await made.close()


async def heard(workers: LoadWorkers, name: str, wanted: int) -> list[str]:
    lines: list[str] = []
    async with asyncio.timeout(60):
        while len(lines) < wanted:
            answer = await workers.get(name).messages(len(lines), 1.0)
            lines += answer.lines
    return lines


async def ended(workers: LoadWorkers, name: str) -> str:
    async with asyncio.timeout(60):
        while workers.get(name).running:
            await workers.get(name).messages(10**6, 0.1)
    return workers.get(name).status().end


async def test_a_worker_is_told_heard_read_and_removed(
    workers: LoadWorkers, play: Callable[[str], None], tmp_path: Path
) -> None:
    play(GOOD)
    await workers.start("w1", request())
    worker = workers.get("w1")
    await worker.say(one.PAUSE)
    begun, paused = await heard(workers, "w1", 2)
    assert begun.startswith("True / ['LANG', ")
    assert begun.endswith("'PATH']")  # nothing of the agent's own environment
    assert paused == "heard pause"
    directory = tmp_path / "state" / "load" / "w1"
    history = directory / "history.jsonl"
    assert history.stat().st_mode & 0o777 == 0o600
    first = worker.read_history(0)
    assert len(first) == 1 << 20
    assert len(worker.read_history(1 << 20)) == 2_000_000 - (1 << 20)
    assert worker.read_history(2_000_000) == worker.read_history(10**12) == b""
    with pytest.raises(IllegalStateError, match="already"):
        await workers.start("w1", request())
    await worker.end("it was stopped")
    assert worker.status().end == "status 0, it was stopped"
    with pytest.raises(IllegalStateError, match="has ended"):
        await worker.say(one.RESUME)
    assert worker.read_history(0) == first
    await workers.remove("w1")
    assert not directory.exists()
    with pytest.raises(NotFoundError):
        workers.get("w1")


async def test_nobody_asks_for_it(
    workers: LoadWorkers, play: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(all_of_them, "_LOOK_SECONDS", 0.01)
    play(GOOD)
    await workers.start("kept", request())
    await workers.start("left", request(1.0))
    leases = asyncio.create_task(workers.run_leases())
    async with asyncio.timeout(60):
        while workers.get("left").running:  # noqa: ASYNC110 - asking would keep it alive
            await asyncio.sleep(0.01)
    assert workers.get("left").status().end == "status 0, its lease ran out: nobody asked for it"
    assert workers.get("kept").running
    leases.cancel()


async def test_one_that_does_not_listen_is_killed(
    workers: LoadWorkers, play: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one, "_STOP_SECONDS", 0.2)
    play(DEAF)
    pid = (await workers.start("w1", request())).pid
    assert pid is not None
    await heard(workers, "w1", 1)
    await workers.get("w1").end("it was stopped")
    assert await ended(workers, "w1") == "signal 9, it was stopped"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_one_that_says_too_much_is_killed(workers: LoadWorkers, play: Callable[[str], None]) -> None:
    play(LOUD)
    await workers.start("w1", request())
    assert "it said more than 262144 bytes in one line" in await ended(workers, "w1")


async def test_the_last_words_of_one_that_fails(workers: LoadWorkers, play: Callable[[str], None]) -> None:
    play(DYING)
    await workers.start("w1", request())
    assert await ended(workers, "w1") == "status 1; its last words: no luck"


async def test_what_an_earlier_agent_left_is_known_and_removed_and_nothing_else(
    workers: LoadWorkers, play: Callable[[str], None], tmp_path: Path
) -> None:
    play(GOOD)
    await workers.start("w1", request())
    await heard(workers, "w1", 1)
    await workers.close()
    root = tmp_path / "state" / "load"
    (root / "theirs").mkdir()
    (root / "theirs" / "file").touch()
    (root / "link").symlink_to(tmp_path)
    later = LoadWorkers(agent_settings(tmp_path))
    later.adopt()
    (status,) = later.list()
    assert (status.id, status.running, status.end, status.history_bytes) == (
        "w1",
        False,
        "its agent has ended",
        2_000_000,
    )
    assert len(later.get("w1").read_history(0)) == 1 << 20
    await later.remove("w1")
    assert sorted(path.name for path in root.iterdir()) == ["link", "theirs"]


async def test_a_history_is_no_way_to_another_file(
    workers: LoadWorkers, play: Callable[[str], None], tmp_path: Path
) -> None:
    play(GOOD)
    await workers.start("w1", request())
    await heard(workers, "w1", 1)
    history = tmp_path / "state" / "load" / "w1" / "history.jsonl"
    history.unlink()
    (tmp_path / "secret").write_text("secret")
    history.symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic links"):
        workers.get("w1").read_history(0)


async def test_there_are_only_so_many(
    workers: LoadWorkers, play: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(all_of_them, "MAX_WORKERS", 1)
    play(GOOD)
    await workers.start("w1", request())
    with pytest.raises(IllegalStateError, match="this host has 1 load workers"):
        await workers.start("w2", request())


async def test_what_cannot_be_started_is_told(workers: LoadWorkers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one, "worker_argv", lambda *_: ("/no/such/program",))
    with pytest.raises(UnavailableError, match="load worker w1 cannot be started: No such file"):
        await workers.start("w1", request())
    assert not workers.get("w1").running
    await workers.remove("w1")
