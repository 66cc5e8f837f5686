"""What the roles promise in writing, held against what they do."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import jinja2
import pytest
import yaml

from agent_service.settings import AgentSettings
from tester.orchestration.paths import playbook_dir, roles_dir

if TYPE_CHECKING:
    from pathlib import Path

ROLE = roles_dir() / "etcd_agent"


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("role", ["etcd", "etcd_agent"])
def test_every_default_is_an_argument_and_every_argument_has_a_default(role: str) -> None:
    defaults = load(roles_dir() / role / "defaults/main.yml")
    options = load(roles_dir() / role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert set(options) == set(defaults)
    for name, option in options.items():
        if "default" in option and "{{" not in str(defaults[name]):
            assert option["default"] == defaults[name], name


def test_plays_that_heal_go_on_without_unreachable_hosts() -> None:
    for name in ("heal", "cleanup", "collect"):
        for play in load(playbook_dir() / f"{name}.yml"):
            assert play["ignore_unreachable"] is True
            assert not play.get("any_errors_fatal", False)


@pytest.mark.parametrize("user", ["etcd-chaos", ""])
def test_the_settings_are_what_the_agent_accepts(user: str) -> None:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701 - JSON
    environment.filters["to_nice_json"] = lambda value, indent: json.dumps(value, indent=indent)
    environment.filters["bool"] = lambda value: str(value).lower() == "true"
    variables = load(ROLE / "vars/main.yml")
    rendered = environment.from_string((ROLE / "templates/agent.json.j2").read_text()).render(
        **{name: value for name, value in variables.items() if "{{" not in str(value)},
        inventory_hostname="node1",
        etcd_agent_address="192.0.2.1",
        etcd_agent_port="9027",
        etcd_agent_allowed_clients=["etcd-chaos-tester"],
        etcd_agent_readers=["prometheus"],
        etcd_agent_supervisor="systemd",
        etcd_agent_member_user=user,
        etcd_agent_data_roots=["/var/lib/etcd-chaos/data"],
        etcd_agent_protected_ports=["22"],
        etcd_agent_allow_faults="False",
        etcd_agent_own_clock="True",
        etcd_agent_requests_per_second="300",
        none=None,
    )
    settings = AgentSettings.model_validate_json(rendered)
    defaults = AgentSettings.model_fields
    assert settings.member_user == (user or None)
    assert (settings.allow_faults, settings.own_clock) == (False, True)
    assert (defaults["allow_faults"].default, defaults["own_clock"].default) == (True, False)
    assert settings.requests_per_second == 300
    assert settings.tls.readers == ("prometheus",)
    for name in ("etcd_root", "state_dir", "data_roots", "log_dir", "archive_dir"):
        assert getattr(settings, name) == defaults[name].default, name


def probe(**changes: object) -> Any:
    asked: dict[str, object] = {
        "pythons": [], "directories": [], "data_roots": [], "marker": ".mark", "user": "", "unit": "/no",
        "agents": "/no",
    }  # fmt: skip
    script = (ROLE / "files/probe.py").read_text()
    command = [sys.executable, "-", json.dumps(asked | changes)]
    said = subprocess.run(command, input=script, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(said.stdout)


def test_the_probe_tells_whose_a_directory_is(tmp_path: Path) -> None:
    for name in ("empty", "ours", "theirs"):
        (tmp_path / name).mkdir()
    (tmp_path / "ours" / ".mark").touch()
    (tmp_path / "theirs" / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "ours")
    names = ["absent", "empty", "ours", "theirs", "link"]
    said = probe(directories=[str(tmp_path / name) for name in names], data_roots=[str(tmp_path / "a" / "b")])
    assert list(said["directories"].values()) == ["absent", "empty", "ours", "foreign", "foreign"]
    assert said["data_roots_absent"] == [str(tmp_path / "a" / "b")]
    assert all(free > 0 for free in said["free_bytes"].values())


def test_the_probe_counts_finished_agents_only(tmp_path: Path) -> None:
    for name in ("one", "two", "half"):
        (tmp_path / name).mkdir()
    for name in ("one", "two"):
        (tmp_path / name / ".mark").touch()
    (tmp_path / "current").symlink_to("two")
    said = probe(agents=str(tmp_path))
    assert said["agents"] == ["one", "two"]
    assert said["current"] == "two"


def test_the_probe_describes_a_python_and_skips_what_is_none() -> None:
    said = probe(pythons=[sys.executable, "/nowhere/python3", "/bin/true"])
    (python,) = said["pythons"]
    assert python["python"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert python["glibc"][0].isdigit()
