"""The child process that runs one play: ``python -m tester.orchestration.runner_child``.

ansible-runner forks, replaces signal handlers and is not thread-safe, so that it gets a process of its own.
The request comes as one JSON line on standard input, events leave as JSON lines on standard output. The play
ends when standard input does: that is how the controller cancels, and how one that died takes its play along.
"""

from __future__ import annotations

import ctypes
import os
import select
import sys
import time
from collections.abc import Mapping
from typing import IO, Any

import ansible_runner
import msgspec
import psutil

from tester.orchestration.playwire import (
    Event,
    FactCaptured,
    HostFailed,
    NoHosts,
    PlayEnded,
    PlayRequest,
    Summary,
    TaskStarted,
)

_PR_SET_CHILD_SUBREAPER = 36
_KILL_SECONDS = 5.0
_MESSAGE_CHARACTERS = 4000
_OUTPUT_LINES = 8


class EventHandler:
    """Turns ansible-runner's events into this project's, and keeps them out of its artefacts."""

    def __init__(self, out: IO[bytes], capture_fact: str | None) -> None:
        self._out = out
        self._capture_fact = capture_fact

    def __call__(self, event: Mapping[str, Any]) -> bool:
        """Pass one event on. False: ansible-runner need not write it to a file of its own."""
        data = event.get("event_data") or {}
        match event.get("event"):
            case "playbook_on_task_start" | "playbook_on_handler_task_start":
                self.send(TaskStarted(str(data.get("task", ""))))
            case "runner_on_failed" if not data.get("ignore_errors"):
                self.send(_failed(data, unreachable=False))
            case "runner_on_unreachable":
                self.send(_failed(data, unreachable=True))
            case "runner_on_ok" if self._capture_fact:
                self._send_fact(data, self._capture_fact)
            case "playbook_on_no_hosts_matched":
                self.send(NoHosts())
            case "playbook_on_stats":
                failed = {**(data.get("failures") or {}), **(data.get("dark") or {})}
                self.send(Summary(dict(data.get("changed") or {}), tuple(sorted(failed))))
        return False

    def send(self, event: Event) -> None:
        """Write one line."""
        self._out.write(msgspec.json.encode(event) + b"\n")

    def _send_fact(self, data: Mapping[str, Any], name: str) -> None:
        facts = (data.get("res") or {}).get("ansible_facts") or {}
        if name in facts:
            self.send(FactCaptured(str(data.get("host")), msgspec.Raw(msgspec.json.encode(facts[name]))))


def _failed(data: Mapping[str, Any], *, unreachable: bool) -> HostFailed:
    message = failure_text(data.get("res") or {})[:_MESSAGE_CHARACTERS]
    return HostFailed(str(data.get("host")), str(data.get("task", "")), message, unreachable)


def failure_text(result: Mapping[str, Any]) -> str:
    """Why a task failed, as its result says it: the message, a command's last words, each failed item's own."""
    if "censored" in result:
        return "the task hides its result (no_log)"
    parts = [str(result.get("msg", "")).strip()]
    items = [item for item in result.get("results") or () if isinstance(item, Mapping) and item.get("failed")]
    if items:
        parts = [f"{item.get('item', '')}: {failure_text(item)}" for item in items]
    if parts == ["non-zero return code"]:
        parts = []
    said = str(result.get("stderr") or result.get("module_stderr") or result.get("stdout") or "").strip()
    parts.extend(
        line for line in said.splitlines()[-_OUTPUT_LINES:] if not any(line in part for part in parts)
    )
    return "\n".join(filter(None, parts)) or str(result.get("msg") or "no reason given")


def run(request: PlayRequest, handler: EventHandler) -> None:
    """Run the play to its end, or until standard input ends."""
    runner = ansible_runner.run(
        private_data_dir=request.scratch,
        ident="play",
        playbook=request.playbook,
        inventory=request.inventory,
        extravars=msgspec.json.decode(request.variables),
        limit=request.limit or None,
        tags=request.tags or None,
        envvars=request.env,
        timeout=request.timeout_seconds,
        settings={"pexpect_timeout": 1},
        quiet=True,
        event_handler=handler,
        cancel_callback=_abandoned,
    )
    if runner.status in {"canceled", "timeout"}:
        _kill_descendants()
    handler.send(PlayEnded(runner.status, runner.rc if runner.rc is not None else -1))


def _abandoned() -> bool:
    """The controller writes nothing after the request: readable means that the pipe was closed."""
    return bool(select.select([0], [], [], 0)[0])


def _adopt_orphans() -> None:
    """Become the parent of what a killed Ansible leaves: its workers and ssh have their own sessions."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def _kill_descendants() -> None:
    deadline = time.monotonic() + _KILL_SECONDS
    while (left := psutil.Process().children(recursive=True)) and time.monotonic() < deadline:
        for process in left:
            process.kill()  # psutil checks that the pid is still the same process
        psutil.wait_procs(left, timeout=0.5)


def main() -> None:
    """Read the request, run it, report."""
    with os.fdopen(os.dup(1), "wb", buffering=0) as out:
        os.dup2(2, 1)  # whatever a library prints must not look like an event
        request = msgspec.json.decode(sys.stdin.buffer.readline(), type=PlayRequest)
        _adopt_orphans()
        run(request, EventHandler(out, request.capture_fact))


if __name__ == "__main__":
    main()
