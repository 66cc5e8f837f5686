"""What the roles promise in writing, held against what they do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from agent_service.faults.groups import KINDS
from agent_service.settings import AgentSettings
from tester.orchestration.paths import playbook_dir, roles_dir

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
        etcd_agent_faults=["process", "network"],
        none=None,
    )
    settings = AgentSettings.model_validate_json(rendered)
    defaults = AgentSettings.model_fields
    assert settings.member_user == (user or None)
    assert (settings.allow_faults, settings.own_clock) == (False, True)
    assert (defaults["allow_faults"].default, defaults["own_clock"].default) == (True, False)
    assert settings.requests_per_second == 300
    assert settings.tls.readers == ("prometheus",)
    assert settings.faults == {"process", "network"}
    for name in ("etcd_root", "state_dir", "data_roots", "log_dir", "archive_dir"):
        assert getattr(settings, name) == defaults[name].default, name


UNITS: dict[str, tuple[list[str], bool, set[str]]] = {
    "all": (sorted(KINDS), False, {"CAP_NET_ADMIN", "CAP_NET_RAW"}),
    "own-clock": (sorted(KINDS), True, {"CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_TIME"}),
    "no-network": (["process", "disk", "cgroup", "host"], True, set()),
    "network": (["network"], False, {"CAP_NET_ADMIN", "CAP_NET_RAW"}),
    "clock": (["clock"], True, {"CAP_SYS_TIME"}),
    "load": (sorted(KINDS), True, set()),
}


def test_the_unit_can_do_what_its_faults_need_and_no_more(tmp_path: Path) -> None:
    template = str(ROLE / "templates/etcd-chaos-agent.service.j2")
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": sys.executable},
        "vars_files": [str(ROLE / "defaults/main.yml"), str(ROLE / "vars/main.yml")],
        "tasks": [
            {
                "ansible.builtin.template": {"src": template, "dest": str(tmp_path / name), "mode": "0600"},
                "vars": {
                    "etcd_agent_faults": groups,
                    "etcd_agent_own_clock": own_clock,
                    "etcd_agent_load": name == "load",
                },
            }
            for name, (groups, own_clock, _) in UNITS.items()
        ],
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    playbook = str(Path(sys.executable).with_name("ansible-playbook"))
    command = [playbook, "-i", "localhost,", "-c", "local", str(tmp_path / "play.yml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    always = set(load(ROLE / "vars/main.yml")["etcd_agent_capabilities_always"])
    assert len(always) == 7
    for name, (groups, _, more) in UNITS.items():
        unit = (tmp_path / name).read_text().splitlines()
        (line,) = (line for line in unit if line.startswith("CapabilityBoundingSet="))
        given = line.partition("=")[2].split()
        needed = (always - {"CAP_SYS_PTRACE"} if name == "load" else always) | more
        assert (set(given), len(given)) == (needed, len(needed)), name
        writes = name != "load" and bool({"cgroup", "disk"} & set(groups))
        assert ("ReadWritePaths=-/sys/fs/cgroup" in unit) == writes, name
        assert f"ProtectClock={'no' if 'CAP_SYS_TIME' in more else 'yes'}" in unit, name


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
