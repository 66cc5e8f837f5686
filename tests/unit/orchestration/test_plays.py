"""Real plays in the real child process, on this machine alone: no ssh, no host."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from tester.errors import InventoryError
from tester.orchestration import plays
from tester.orchestration.plays import Playbooks, PlayError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

INVENTORY = """\
etcd:
  vars: {ansible_connection: local, ansible_python_interpreter: "{{ ansible_playbook_python }}"}
  hosts: {one: , two: }
"""
PLAY = """\
- hosts: etcd
  gather_facts: false
  tasks:
    - name: Greet
      ansible.builtin.command: echo {{ word }}
      changed_when: inventory_hostname == 'one'
    - name: Refuse
      ansible.builtin.command: sh -c 'echo first; echo the reason >&2; exit 7'
      when: inventory_hostname in refusing
    - name: Rescued
      block:
        - name: Stumble
          ansible.builtin.fail: {msg: no matter}
      rescue:
        - name: Get up
          ansible.builtin.command: /bin/true
          changed_when: false
"""


@pytest.fixture
def playbooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Playbooks]:
    folder = tmp_path / "playbooks"
    folder.mkdir()
    monkeypatch.setattr(plays, "playbook_dir", lambda: folder)
    (tmp_path / "inventory.yml").write_text(INVENTORY)

    def write(text: str, lines: list[str]) -> Playbooks:
        (folder / "test.yml").write_text(text)
        return Playbooks(tmp_path / "inventory.yml", tmp_path / "artifacts", lines.append)

    return write


async def test_a_play_tells_what_it_did(playbooks: Callable[..., Playbooks], tmp_path: Path) -> None:
    lines: list[str] = []
    outcome = await playbooks(PLAY, lines).run("test", variables={"word": "hello", "refusing": []})
    assert outcome.changed == {"one": 1}
    assert outcome.failures == ()
    assert outcome.unreachable == ()
    assert outcome.output == tmp_path / "artifacts" / "001-test.txt"
    assert "TASK [Greet]" in outcome.output.read_text()
    assert "test: Greet" in lines
    # ansible-runner's own files are gone: they hold the whole environment.
    assert [path.name for path in (tmp_path / "artifacts").rglob("*")] == ["001-test.txt"]


async def test_a_failure_names_host_task_and_reason(playbooks: Callable[..., Playbooks]) -> None:
    lines: list[str] = []
    with pytest.raises(PlayError) as caught:
        await playbooks(PLAY, lines).run("test", variables={"word": "hello", "refusing": ["two"]})
    (failure,) = caught.value.outcome.failures  # the one that was rescued on host one is none
    assert (failure.host, failure.task, failure.unreachable) == ("two", "Refuse", False)
    assert failure.message == "the reason"
    assert caught.value.message == "test: host two, task `Refuse`: the reason"
    assert str(caught.value.outcome.output) in (caught.value.remedy or "")
    assert "test: two failed: Refuse: the reason" in lines


async def test_limits_reach_ansible(playbooks: Callable[..., Playbooks]) -> None:
    lines: list[str] = []
    books = playbooks(PLAY, lines)
    outcome = await books.run("test", variables={"word": "x", "refusing": ["one"]}, limit=["two"])
    assert outcome.changed == {}


async def test_cancelling_leaves_no_process(playbooks: Callable[..., Playbooks]) -> None:
    seconds = str(600 + time.time_ns() % 1000 / 1000)
    started = asyncio.Event()

    def on_progress(line: str) -> None:
        started.set()

    books = playbooks(
        f"- hosts: one\n  gather_facts: false\n  tasks: [{{ansible.builtin.command: sleep {seconds}}}]\n", []
    )
    books._on_progress = on_progress
    task = asyncio.create_task(books.run("test"))
    await asyncio.wait_for(started.wait(), 60)
    while not sleeping(seconds):  # noqa: ASYNC110 - a process gives no sign when it starts
        await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not sleeping(seconds)
    assert not [child for child in psutil.Process().children() if "runner_child" in " ".join(child.cmdline())]


def sleeping(seconds: str) -> list[int]:
    return [p.pid for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", seconds]]


async def test_time_runs_out(playbooks: Callable[..., Playbooks]) -> None:
    books = playbooks(
        "- hosts: one\n  gather_facts: false\n  tasks: [{ansible.builtin.command: sleep 90}]\n", []
    )
    with pytest.raises(PlayError, match="time ran out"):
        await books.run("test", timeout_seconds=3)


async def test_resolving_templates_the_variables(tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(
        "etcd:\n"
        "  vars: {base: 9000, etcd_agent_port: '{{ base + 27 }}', pki_dir: /secrets/pki, etcd_builds: []}\n"
        "  hosts:\n"
        "    b: {ansible_host: 192.0.2.2}\n"
        "    a: {ansible_host: a.example, etcd_address: '2001:db8::1', etcd_version: 3.5.16, etcd_chaos_allow: no}\n"
    )
    resolved = await Playbooks(inventory, tmp_path / "artifacts", lambda _: None).resolve()
    assert set(resolved) == {"a", "b"}
    assert (resolved["b"].address, resolved["b"].agent_port, resolved["b"].allow) == ("192.0.2.2", 9027, True)
    assert (resolved["b"].etcd_versions, resolved["b"].default_version) == ((), None)
    assert (resolved["a"].address, resolved["a"].default_version) == ("2001:db8::1", "3.5.16")
    assert not resolved["a"].allow
    assert resolved["a"].pki_dir == "/secrets/pki"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("all: {hosts: {one: {}}}", "group `etcd` has no hosts"),
        ("etcd: {hosts: {one: {ansible_host: 192.0.2.1, etcd_client_port: '{{ nowhere }}'}}}", "nowhere"),
        ("etcd: {hosts: {one: {ansible_host: one.example}}}", "host one: etcd_address"),
    ],
)
async def test_a_wrong_inventory_is_refused(tmp_path: Path, text: str, message: str) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(text)
    with pytest.raises(InventoryError, match=message) as caught:
        await Playbooks(inventory, tmp_path / "artifacts", lambda _: None).resolve()
    assert caught.value.remedy


async def test_an_inventory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="no such inventory"):
        await Playbooks(tmp_path / "nowhere", tmp_path, lambda _: None).resolve()
