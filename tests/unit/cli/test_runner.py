"""``etcd-chaos runner`` without a cluster: wrong command lines, and nobody there."""

from __future__ import annotations

import math
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from tester.cli import runner as runner_module
from tester.cli.entry import run_command
from tester.cli.runner import runner
from tester.cli.runner_options import DURATION
from tester.errors import ExitCode
from tester.results import CheckResult, Verdict
from tester.runner import running
from tester.runner.running import Outcome
from tests.agent.certs import Authority

if TYPE_CHECKING:
    from tester.runner.setting import RunnerSetting

PEM = "-----BEGIN CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["election", "--rounds", "-1"], "--rounds"),
        (["election", "--total-client-connections", "0"], "--total-client-connections"),
        (["election", "--req-rate", "0"], "--req-rate"),
        (["lock-racer", "--no-progress", "soon"], "'soon' is not a duration"),
        (["watcher", "--running-time", "1e3"], "'1e3' is not a duration"),
        (["watcher", "--total-keys", "many"], "--total-keys"),
        (["watcher", "--total-prefixes", "51"], "51 prefixes with 10 watchers each are too many: 500 in all"),
        (["watcher", "--total-prefixes", "50", "--endpoints", "localhost"], "no HOST:PORT"),
        (["lease-renewer", "--ttl", "0"], "from 1 s to a day"),
        (["lease-storm", "--short-ttl", "0.5"], "--short-ttl: from 1 s to a day"),
        (["election", "--user", "somebody"], "there is no password"),
        (["election", "--history", "/nowhere/there/h.jsonl"], "there is no folder /nowhere/there"),
        (["election", "--history", "{tmp}/there.jsonl"], "exists"),
        (["election", "--cacert", "{tmp}/none.crt"], "--cacert"),
        (["election", "--cacert", "{tmp}/there.jsonl"], "there is no PEM in it"),
        (["election", "--cacert", "{tmp}/bad.crt"], "does not contain a certificate"),
        (["election", "--cert", "{tmp}/ca.crt"], "--cert and --key belong together"),
        (["election", "--cert", "{tmp}/ca.crt", "--key", "{tmp}/ca.crt"], "--cert without --cacert"),
        (["election", "--endpoints", "localhost"], "--endpoints localhost: no HOST:PORT"),
        (["election", "--endpoints", "a:70000"], "no HOST:PORT"),
        (["election", "--endpoints", "ftp://a:1"], "no HOST:PORT"),
        (["election", "--endpoints", "::1:2379"], "no HOST:PORT"),
        (["election", "--endpoints", " , "], "no endpoint is given"),
        (["election", "--endpoints", ",".join(f"a{n}:1" for n in range(101))], "101 endpoints are too many"),
        (["election", "--endpoints", "https://127.0.0.1:1"], "speaks TLS"),
        (["election", "--cacert", "{tmp}/ca.crt", "--endpoints", "http://127.0.0.1:1"], "speaks no TLS"),
        (["nonsense"], "No such command 'nonsense'"),
    ],
)
def test_a_wrong_command_line(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there.jsonl").write_text("")
    (tmp_path / "bad.crt").write_text(PEM)
    (tmp_path / "ca.crt").write_bytes(Authority().pem)
    code = run_command(["runner", *(argument.replace("{tmp}", str(tmp_path)) for argument in arguments)])
    shown = capsys.readouterr()
    assert (code, told in shown.err) == (ExitCode.USAGE, True), shown.err
    assert not shown.out


def test_nobody_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history = tmp_path / "h.jsonl"
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        code = run_command(
            ["runner", "election", "--endpoints", where, "--dial-timeout", "300ms", "--history", str(history)]
        )
    shown = capsys.readouterr().err
    assert code == ExitCode.INFRASTRUCTURE
    assert f"no endpoint answers within 0.3 s\n       {where}: " in shown
    assert not history.exists()


def test_a_name_that_means_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["runner", "election", "--endpoints", "nobody.invalid:1"]) == ExitCode.INFRASTRUCTURE
    assert "nobody.invalid cannot be resolved" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60", 60.0), ("60s", 60.0), ("1m30s", 90.0), ("500ms", 0.5), ("0", 0.0), ("1.5", 1.5)],
)
def test_durations_mean_what_they_say(text: str, seconds: float) -> None:
    assert DURATION.convert(text, None, None) == seconds


def asked(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> RunnerSetting:
    """What is run by a command line, instead of running it."""
    seen: list[RunnerSetting] = []

    async def run(setting: RunnerSetting, _show: object) -> Outcome:
        seen.append(setting)
        return Outcome((), 0, 0, 0.0, (), interrupted=False)

    monkeypatch.setattr(runner_module, "run_runner", run)
    assert run_command(["runner", *arguments]) == ExitCode.VALID
    return seen[0]


def test_the_running_time_of_a_watcher_is_that_of_each_round(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = asked(monkeypatch, "watcher", "--rounds", "0", "--running-time", "2")
    assert (setting.rounds, setting.running_time, setting.writing_seconds) == (None, None, 2)
    setting = asked(monkeypatch, "watcher")
    assert (setting.rounds, setting.running_time, setting.writing_seconds) == (100, None, 60)
    setting = asked(monkeypatch, "lease-renewer", "--running-time", "2")
    assert (setting.rounds, setting.running_time, setting.writing_seconds) == (None, 2, None)


def test_without_a_bound_it_may_stand_still_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(monkeypatch, "lock-racer", "--no-progress", "0").no_progress == math.inf
    assert asked(monkeypatch, "lease-renewer", "--no-progress", "0", "--ttl", "90").no_progress == math.inf
    assert asked(monkeypatch, "lease-renewer", "--ttl", "90").no_progress == 90


def test_a_name_is_that_of_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(monkeypatch, "election").prefix == "etcd-chaos/runner/elector/"
    assert asked(monkeypatch, "lock-racer", "mine").prefix == "etcd-chaos/runner/mine/"
    assert asked(monkeypatch, "watcher").prefix == "etcd-chaos/runner/"


@pytest.mark.parametrize(
    ("verdict", "of_nothing"),
    [
        (Verdict.VALID, Verdict.UNKNOWN),
        (Verdict.UNKNOWN, Verdict.UNKNOWN),
        (Verdict.INVALID, Verdict.INVALID),
    ],
)
def test_nothing_is_proven_where_nothing_was_done(verdict: Verdict, of_nothing: Verdict) -> None:
    told = running._of_nothing(CheckResult("leases", verdict, "said so"), "renewals")
    assert told.verdict is of_nothing
    assert told.message == ("0 renewals: nothing was tested" if verdict is Verdict.VALID else "said so")


def test_every_flag_of_etcd_runner_has_its_default() -> None:
    assert isinstance(runner, click.Group)
    wanted = {
        "election": {"total-client-connections": 10, "rounds": 100},
        "lock-racer": {"total-client-connections": 10, "rounds": 100},
        "watcher": {
            "rounds": 100,
            "running-time": 60,
            "prefix": "",
            "total-prefixes": 10,
            "watch-per-prefix": 10,
            "total-keys": 1000,
        },
        "lease-renewer": {"ttl": 5, "rounds": 0},
    }
    for name, flags in wanted.items():
        options = {
            option.opts[0].removeprefix("--"): option.default
            for option in runner.commands[name].params
            if isinstance(option, click.Option)
        }
        common = {"endpoints": "localhost:2379", "dial-timeout": 2, "req-rate": 30, "no-progress": 60}
        for flag, default in {**flags, **common}.items():
            assert options[flag] == default, (name, flag)


def test_every_command_and_option_is_described() -> None:
    text = (Path(__file__).parents[3] / "docs" / "usage.md").read_text()
    for name, command in runner.commands.items():
        assert f"| `{name}" in text
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.opts[0] in text, (name, option.opts)
