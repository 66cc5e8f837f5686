"""Runners on real members: as a person starts them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tester.errors import ExitCode
from tester.history.reader import read_history
from tester.history.records import ClaimRecord, Fail, Info, Invoke, WatchEnd
from tester.load import crews
from tester.recipes.contest import Contest, Standing, Ticket
from tester.results import Verdict
from tester.runner.running import run_runner
from tester.runner.setting import Credentials, RunnerSetting
from tester.scenario.stressers import LockStresser
from tests.agent.certs import Authority
from tests.etcd.inside.cluster import Cluster, binary
from tests.etcd.inside.conftest import INSIDE, bench_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

    from tests.etcd.inside.conftest import Bench

ENDPOINTS = "127.0.0.1:2379,127.0.0.2:2379,http://127.0.0.3:2379"


@dataclass
class Ran:
    code: int
    out: str
    err: str


async def start(*arguments: str, **env: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from tester.cli import main; main()", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **env},
    )


async def ended(process: asyncio.subprocess.Process) -> Ran:
    try:
        out, err = await asyncio.wait_for(process.communicate(), 90)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())


async def runner(*arguments: str, **env: str) -> Ran:
    return await ended(await start("runner", *arguments, **env))


async def keys_left(bench: Bench) -> int:
    return len((await bench.clients["m1"].range_all("etcd-chaos/runner/"))[1])


class Impatient(Contest):
    def wins(self, ticket: Ticket, standing: Standing) -> bool:
        return True


async def broken_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crews, "Contest", Impatient)
    setting = RunnerSetting(
        title="lock-racer",
        unit="times held",
        stresser=LockStresser.model_validate({"kind": "lock", "clients": 4, "rate": "300/s"}),
        checkers=("locks", "linearizable"),
        endpoints=tuple(ENDPOINTS.split(",")),
        credentials=Credentials(),
        prefix="etcd-chaos/runner/",
        dial_timeout=5,
        rounds=3,
        running_time=None,
        writing_seconds=None,
        no_progress=30,
        seed=1,
        history=None,
    )
    outcome = await run_runner(setting, lambda _: None)
    assert {result.checker: result.verdict for result in outcome.results} == {
        "locks": Verdict.INVALID,
        "linearizable": Verdict.VALID,
    }
    assert outcome.exit_code is ExitCode.INVALID


async def test_each_runner(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = tmp_path / "election.jsonl"
    fast = ("--endpoints", ENDPOINTS, "--req-rate", "300")
    runs = {
        "election": ("--rounds", "2", "--total-client-connections", "4", "--history", str(history)),
        "lock-racer": ("--rounds", "2", "--total-client-connections", "4"),
        "watcher": (
            "--rounds",
            "3",
            "--running-time",
            "2",
            "--total-prefixes",
            "2",
            "--watch-per-prefix",
            "2",
            "--total-keys",
            "20",
        ),
        "lease-renewer": ("--running-time", "3s", "--ttl", "3", "--clients", "2"),
        "watch-storm": ("--running-time", "2s", "--watchers", "30", "--total-keys", "20"),
        "lease-storm": ("--running-time", "2s", "--clients", "3", "--leases", "5"),
    }
    found = await asyncio.gather(*(runner(name, *options, *fast) for name, options in runs.items()))
    for name, ran in zip(runs, found, strict=True):
        assert ran.code == ExitCode.VALID, (name, ran)
        assert " valid " in ran.out
    assert await keys_left(bench) == 0
    claims = [record for record in read_history(history) if isinstance(record, ClaimRecord)]
    assert sum(claim.state == "held" for claim in claims) == 8
    checked = await ended(await start("check", str(history), "-c", "elections", "-c", "linearizable"))
    assert checked.code == ExitCode.VALID, checked
    hasty = await runner("lease-renewer", "--running-time", "1s", "--ttl", "60", *fast)
    assert hasty.code == ExitCode.INFRASTRUCTURE, hasty
    assert "0 renewals: nothing was tested" in hasty.out
    await broken_lock(monkeypatch)
    assert await keys_left(bench) == 0


async def test_on_members_with_default_flags(tmp_path: Path) -> None:
    """Who pings as often as members that are started here allow is cut off by others, some seconds into a silence."""
    history = tmp_path / "renewals.jsonl"
    slow = (
        "--ttl",
        "18",
        "--clients",
        "4",
        "--rounds",
        "2",
        "--no-progress",
        "30s",
        "--history",
        str(history),
    )
    async with bench_of(Cluster(os.environ[INSIDE], tmp_path, flags=("--grpc-keepalive-min-time", "5s"))):
        ran = await runner("lease-renewer", *slow, "--endpoints", ENDPOINTS)
    assert ran.code == ExitCode.VALID, ran
    assert ", 8 renewals, seed" in ran.out
    assert [line for line in ran.err.splitlines() if not line.startswith("lease-renewer: ")] == []
    records = list(read_history(history))
    assert [record for record in records if isinstance(record, Info | Fail)] == []
    ends = [record.reason for record in records if isinstance(record, WatchEnd)]
    assert set(ends) == {"the watcher was stopped"}


def size(history: Path) -> int:
    return history.stat().st_size if history.exists() else 0


async def grown(history: Path) -> None:
    for _ in range(600):
        if size(history) > 20_000:
            return
        await asyncio.sleep(0.05)
    raise TimeoutError(history)


async def test_ctrl_c_and_no_progress(bench: Bench, tmp_path: Path) -> None:
    stopped, stalled = tmp_path / "stopped.jsonl", tmp_path / "stalled.jsonl"
    endless = ("runner", "lock-racer", "--rounds", "0", "--endpoints", ENDPOINTS, "--no-progress", "2s")
    first, second = [await start(*endless, "--history", str(history)) for history in (stopped, stalled)]
    await grown(stopped)
    await grown(stalled)
    first.send_signal(signal.SIGINT)
    ran = await ended(first)
    assert ran.code == ExitCode.INTERRUPTED, ran
    assert "locks" in ran.out
    assert "interrupted" in ran.err
    assert "Traceback" not in ran.err
    try:
        for name in ("m1", "m2"):
            bench.cluster.signal(name, signal.SIGSTOP)
        ran = await ended(second)
    finally:
        for name in ("m1", "m2"):
            bench.cluster.signal(name, signal.SIGCONT)
    assert ran.code == ExitCode.INFRASTRUCTURE, ran
    assert "no progress for 2 s: lock-racer racers" in ran.err
    assert "keys are left: etcdctl del --prefix" in ran.err, "nobody took the deletion"
    assert any(isinstance(record, Invoke) for record in read_history(stalled))


@asynccontextmanager
async def secured(directory: Path) -> AsyncIterator[tuple[str, ...]]:
    """One member with TLS, client certificates and users; options that let one in."""
    authority = Authority()
    (directory / "ca.crt").write_bytes(authority.pem)
    authority.issue(directory, "server", "m1", address="127.0.0.1", client=False)
    authority.issue(directory, "client", "tester")
    url = "https://127.0.0.1:2379"
    with (directory / "etcd.log").open("wb") as log:
        member = await asyncio.create_subprocess_exec(
            str(binary(os.environ[INSIDE])),
            *(
                "--data-dir",
                str(directory / "data"),
                "--listen-client-urls",
                url,
                "--advertise-client-urls",
                url,
            ),
            *("--cert-file", str(directory / "server.crt"), "--key-file", str(directory / "server.key")),
            *("--trusted-ca-file", str(directory / "ca.crt"), "--client-cert-auth"),
            stdout=log,
            stderr=log,
        )
    tls = ("--cacert", "ca.crt", "--cert", "client.crt", "--key", "client.key")
    files = tuple(part if part.startswith("--") else str(directory / part) for part in tls)
    try:
        for command in (
            ("user", "add", "root:secret"),
            ("user", "grant-role", "root", "root"),
            ("auth", "enable"),
        ):
            await _etcdctl(directory, *command)
        yield ("--endpoints", url, *files, "--dial-timeout", "30s")  # a password is hashed for long
    finally:
        member.kill()
        await member.wait()


async def _etcdctl(directory: Path, *command: str) -> None:
    tls = (
        "--cacert",
        "ca.crt",
        "--cert",
        "client.crt",
        "--key",
        "client.key",
        "--endpoints",
        "https://127.0.0.1:2379",
    )
    async with asyncio.timeout(30):
        while True:
            process = await asyncio.create_subprocess_exec(
                str(binary(os.environ[INSIDE]).with_name("etcdctl")),
                *(*tls, *command),
                cwd=directory,
                env={"ETCDCTL_API": "3"},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            out, _ = await process.communicate()
            if process.returncode == 0 or b"already" in out:
                return
            await asyncio.sleep(0.2)


async def test_tls_and_users(tmp_path: Path) -> None:
    short = ("--rounds", "1", "--total-client-connections", "2", "--req-rate", "200")
    async with secured(tmp_path) as options:
        right, wrong, nobody, plain, no_ca = await asyncio.gather(
            runner("lock-racer", *short, *options, "--user", "root", ETCD_CHAOS_PASSWORD="secret"),
            runner("lock-racer", *short, *options, "--user", "root:guess"),
            runner("lock-racer", *short, *options),
            runner("lock-racer", *short, "--endpoints", "127.0.0.1:2379"),
            runner("lock-racer", *short, "--endpoints", "https://127.0.0.1:2379"),
        )
    assert right.code == ExitCode.VALID, right
    assert (wrong.code, "invalid user ID or password" in wrong.err) == (ExitCode.USAGE, True), wrong
    assert (nobody.code, "the cluster refuses" in nobody.err) == (ExitCode.USAGE, True), nobody
    assert (plain.code, "no endpoint answers" in plain.err) == (ExitCode.INFRASTRUCTURE, True), plain
    assert (no_ca.code, "speaks TLS" in no_ca.err) == (ExitCode.USAGE, True), no_ca
    for ran in (wrong, nobody, plain, no_ca):
        assert "remedy: " in ran.err
        assert "Traceback" not in ran.err
