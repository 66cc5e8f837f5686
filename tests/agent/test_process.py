"""The agent as a process: signals, systemd, the lock, exit codes."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agent_client import AgentUnreachableError
from agent_service import __version__
from agent_service.cli import main
from agent_service.models import FaultRequest, KillFault
from tests.agent.process import ROOT, Process

if TYPE_CHECKING:
    from pathlib import Path


def command(*arguments: object) -> tuple[int, str, str]:
    """Exit code, output and errors of ``etcd-chaos-agent``."""
    argv = [sys.executable, "-m", "agent_service", *map(str, arguments)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


async def test_sigterm_heals_and_says_so(agent: Process) -> None:
    async with agent.client() as client:
        for name in ("first", "second"):
            await client.inject(FaultRequest(id=name, spec=KillFault(), lease_seconds=60, reason="test"))
        code, output = agent.stop()
        with pytest.raises(AgentUnreachableError):
            await client.clock()
    assert output.splitlines() == ["healed second by agent-stop", "healed first by agent-stop"]
    assert code == 0
    agent.notifications.wait_for("STOPPING=1")


async def test_sigkill_leaves_nothing_that_stops_the_next_agent(agent: Process) -> None:
    agent.kill()
    agent.start()
    async with agent.client() as client:
        await client.clock()


def test_watchdog_is_fed(idle: Process) -> None:
    idle.start(WATCHDOG_USEC="20000")
    for _ in range(3):
        idle.notifications.wait_for("WATCHDOG=1")


def test_heal_is_refused_while_an_agent_runs(real: Process) -> None:
    real.start()
    path = real.directory / "agent.json"
    for arguments in (("heal",), ("heal", "--expired")):
        code, output, error = command(*arguments, "--settings", path)
        assert (code, output) == (3, "")
        assert f"in use by process {real.process.pid}" in error
        assert "systemctl stop" in error
        assert len(error.splitlines()) == 1


def test_changed_settings_that_need_a_restart_are_named(agent: Process) -> None:
    agent.write_settings(log_dir=str(agent.directory / "elsewhere"))
    agent.reload()
    agent.wait_for_log("restart the agent for the changed log_dir")


def test_port_taken(agent: Process, tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("other")
    other = Process(directory, "tests.agent.fake_agent")
    try:
        other.write_settings(listen_address=agent.address)
        code, _, error = command("serve", "--settings", directory / "agent.json")
    finally:
        other.close()
    assert (code, error) == (
        3,
        f"etcd-chaos-agent: {agent.address} port {agent.port}: Address already in use\n",
    )


def test_check(idle: Process) -> None:
    path = idle.directory / "agent.json"
    assert command("check", "--settings", path) == (0, f"{path}: ok, for host h1\n", "")
    (idle.directory / "agent.key").unlink()
    code, _, error = command("check", "--settings", path)
    assert code == 2
    assert "agent.key" in error


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "No such file"),
        ("{", "Invalid JSON"),
        ("{}", "tls: Field required"),
        ('{"surprise": 1}', "surprise: Extra inputs"),
    ],
)
def test_wrong_settings_are_named_and_end_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, expected: str
) -> None:
    path = tmp_path / "agent.json"
    if text is not None:
        path.write_text(text)
    for verb in ("check", "serve", "heal"):
        assert main([verb, "--settings", str(path)]) == 2
        output, error = capsys.readouterr()
        assert output == ""
        assert f"{path}: " in error
        assert expected in error


def test_command_line() -> None:
    assert command("--version") == (0, f"etcd-chaos-agent {__version__}\n", "")
    assert command()[0] == 2
    assert command("serve", "--surprise")[0] == 2
