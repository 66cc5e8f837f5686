"""Run the playbooks, and say in plain words what came of it.

A play runs in a child process of its own (``runner_child``). Its Ansible output is kept as a text file;
everything else ansible-runner writes goes to a private folder that is removed with the play.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tester.errors import AnsibleError, InventoryError
from tester.orchestration.hostvars import HostVars, host_vars
from tester.orchestration.paths import ansible_cfg, cache_dir, playbook_dir, roles_dir
from tester.orchestration.playwire import (
    OUTPUT,
    FactCaptured,
    HostFailed,
    JsonValue,
    NoHosts,
    PlayEnded,
    PlayEvent,
    PlayRequest,
    Summary,
    TaskStarted,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_DEFAULT_SECONDS = 1800.0
_CANCEL_SECONDS = 10.0
_LINE_BYTES = 16 * 1024**2
_RESOLVED_FACT = "etcd_chaos_resolved"


@dataclass(frozen=True, slots=True)
class TaskFailure:
    """A task that failed on a host, or (``unreachable``) the host that could not be reached for it."""

    host: str
    task: str
    message: str
    unreachable: bool = False


@dataclass(frozen=True, slots=True)
class PlayOutcome:
    """A playbook, done. ``changed`` counts tasks per host; ``output`` is the file with Ansible's own words.

    ``unreachable`` also names the hosts that the play was told to go on without.
    """

    playbook: str
    changed: dict[str, int]
    unreachable: tuple[str, ...]
    failures: tuple[TaskFailure, ...]
    elapsed_seconds: float
    output: Path


class PlayError(AnsibleError):
    """A playbook failed; ``outcome`` has host, task and message of every failure."""

    def __init__(self, message: str, *, outcome: PlayOutcome, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.outcome = outcome


@dataclass
class _Collected:
    """What the events of a play add up to."""

    failures: list[TaskFailure] = field(default_factory=list)
    facts: dict[str, msgspec.Raw] = field(default_factory=dict)
    summary: Summary | None = None
    ended: PlayEnded | None = None
    no_hosts: bool = False


class Playbooks:
    """The playbooks of this tool on one inventory.

    Args:
        inventory: a file or folder, as for ``ansible-playbook -i``.
        artifacts: folder that gets ``NNN-PLAYBOOK.txt``, the Ansible output of every play; made when missing.
        on_progress: gets a line for each task and failure, from the event loop's thread.
    """

    def __init__(self, inventory: Path, artifacts: Path, on_progress: Callable[[str], None]) -> None:
        self._inventory = inventory
        self._artifacts = artifacts
        self._on_progress = on_progress

    async def run(
        self,
        playbook: str,
        *,
        variables: Mapping[str, JsonValue] | None = None,
        limit: Sequence[str] = (),
        tags: Sequence[str] = (),
        timeout_seconds: float = _DEFAULT_SECONDS,
    ) -> PlayOutcome:
        """Run ``playbook`` (``deploy``, ``heal``...) to its end. Cancelled, it takes Ansible with it.

        Args:
            playbook: its name, without folder and ``.yml``.
            variables: extra variables. They lie on disk while the play runs: paths of secrets, never secrets.
            limit: hosts to stay on; default: all of the inventory.
            tags: parts to run; default: all.
            timeout_seconds: then the play is ended as failed.

        Raises:
            PlayError: a task failed, a host could not be reached (unless the play goes on without), no host
                matched, or time ran out.
        """
        collected, outcome = await self._play(playbook, variables or {}, limit, tags, timeout_seconds)
        _raise_if_failed(collected, outcome, self._inventory)
        return outcome

    async def resolve(self) -> dict[str, HostVars]:
        """Every host of groups ``etcd`` and ``load`` with its variables as Ansible templates them. Contacts no host.

        Raises:
            InventoryError: it cannot be read, the group is missing or empty, or a variable is wrong.
        """
        if not await asyncio.to_thread(self._inventory.exists):
            raise InventoryError(f"{self._inventory}: no such inventory", remedy="name it with --inventory")
        collected, outcome = await self._play("resolve", {}, (), (), 120.0, capture_fact=_RESOLVED_FACT)
        if not collected.failures and collected.summary and not collected.facts:
            raise _no_members(self._inventory)
        try:
            _raise_if_failed(collected, outcome, self._inventory)
        except PlayError as error:
            raise InventoryError(error.message, remedy=f"correct {self._inventory}") from error
        resolved = await host_vars(collected.facts, cache_dir())
        if all(values.load for values in resolved.values()):
            raise _no_members(self._inventory)
        return resolved

    async def _play(
        self,
        playbook: str,
        variables: Mapping[str, JsonValue],
        limit: Sequence[str],
        tags: Sequence[str],
        timeout_seconds: float,
        *,
        capture_fact: str | None = None,
    ) -> tuple[_Collected, PlayOutcome]:
        started = time.monotonic()
        collected = _Collected()
        with _disk_errors(playbook):
            scratch, output = await asyncio.to_thread(_make_room, self._artifacts, playbook)
        request = PlayRequest(
            playbook=str(playbook_dir() / f"{playbook}.yml"),
            inventory=str(self._inventory.absolute()),
            scratch=str(scratch),
            variables=msgspec.Raw(msgspec.json.encode(variables)),
            limit=",".join(limit),
            tags=",".join(tags),
            env=_environment(),
            timeout_seconds=max(1, round(timeout_seconds)),
            capture_fact=capture_fact,
        )
        with _disk_errors(playbook):
            try:
                await _drive(request, lambda event: self._note(playbook, event, collected), timeout_seconds)
            finally:
                await asyncio.to_thread(_keep_output, scratch, output)
        return collected, _outcome(playbook, collected, time.monotonic() - started, output)

    def _note(self, playbook: str, event: PlayEvent, collected: _Collected) -> None:
        match event:
            case TaskStarted(name):
                self._on_progress(f"{playbook}: {name}")
            case HostFailed(host, task, message, unreachable):
                collected.failures.append(TaskFailure(host, task, message, unreachable))
                what = "unreachable" if unreachable else "failed"
                self._on_progress(f"{playbook}: {host} {what}: {task}: {message.splitlines()[0]}")
            case FactCaptured(host, value):
                collected.facts[host] = value
            case Summary():
                collected.summary = event
            case NoHosts():
                collected.no_hosts = True
            case PlayEnded():
                collected.ended = event


def _no_members(inventory: Path) -> InventoryError:
    return InventoryError(
        f"{inventory}: group `etcd` has no hosts",
        remedy="write the hosts to test under `etcd: hosts:`, as inventory/hosts.yml does",
    )


async def _drive(request: PlayRequest, on_event: Callable[[PlayEvent], None], timeout_seconds: float) -> None:
    """Run the child to its end, which has come when this returns, whatever the reason."""
    name = Path(request.playbook).stem
    errors = Path(request.scratch) / "child-errors"
    with errors.open("wb") as error_file:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tester.orchestration.runner_child",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=error_file,
            env={**os.environ, **request.env},
            limit=_LINE_BYTES,
            start_new_session=True,  # Ctrl-C is ours to handle; the child hears of it when its input ends
        )
    try:
        async with asyncio.timeout(timeout_seconds + _CANCEL_SECONDS):
            await _converse(child, request, on_event)
    except TimeoutError as error:
        raise AnsibleError(f"{name}: not done after {timeout_seconds:.0f} s") from error
    finally:
        await _end(child)
    if child.returncode:
        said = (await asyncio.to_thread(errors.read_text, errors="replace")).splitlines()[-8:]
        raise AnsibleError("\n".join([f"{name}: Ansible did not run", *said]))


async def _converse(
    child: asyncio.subprocess.Process, request: PlayRequest, on_event: Callable[[PlayEvent], None]
) -> None:
    if child.stdin is None or child.stdout is None:
        raise TypeError("the child needs pipes")
    decoder = msgspec.json.Decoder(PlayEvent)
    child.stdin.write(msgspec.json.encode(request) + b"\n")
    async for line in child.stdout:
        on_event(decoder.decode(line))
    await child.wait()


async def _end(child: asyncio.subprocess.Process) -> None:
    """Close the child's input, which makes it end its play; the hard way if it does not."""
    if child.stdin is not None:
        child.stdin.close()
    try:
        async with asyncio.timeout(_CANCEL_SECONDS):
            await child.wait()
    except TimeoutError:
        pass
    finally:
        if child.returncode is None:
            os.killpg(child.pid, signal.SIGKILL)
            await child.wait()


def _environment() -> dict[str, str]:
    """What makes Ansible this project's: configuration, roles, interpreter, host keys that are checked."""
    checkout = str(playbook_dir().parent)
    return {
        "ANSIBLE_CONFIG": str(ansible_cfg()),
        "ANSIBLE_ROLES_PATH": str(roles_dir()),
        "ANSIBLE_HOST_KEY_CHECKING": "True",  # ansible-runner switches it off unless told
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_FORCE_COLOR": "0",
        "LC_ALL": "C.UTF-8",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join(filter(None, [checkout, os.environ.get("PYTHONPATH")])),
    }


def _make_room(artifacts: Path, playbook: str) -> tuple[Path, Path]:
    """A private scratch folder, and a new numbered file for the output."""
    artifacts.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(p.name[:3]) for p in artifacts.glob("[0-9][0-9][0-9]-*.txt")), default=0)
    output = artifacts / f"{number:03}-{playbook}.txt"
    output.touch(mode=0o600)
    return Path(tempfile.mkdtemp(prefix="etcd-chaos-play-")), output


def _keep_output(scratch: Path, output: Path) -> None:
    try:
        if (said := scratch / OUTPUT).is_file():
            shutil.copyfile(said, output)
    finally:
        shutil.rmtree(scratch)


@contextmanager
def _disk_errors(playbook: str) -> Iterator[None]:
    """A full disk here is an error of this machine, to be told like every other that a play can meet."""
    try:
        yield
    except OSError as error:
        raise AnsibleError(f"{playbook}: {error}", remedy="see that there is room on this machine") from error


def _outcome(playbook: str, collected: _Collected, elapsed_seconds: float, output: Path) -> PlayOutcome:
    """A failure that a ``rescue`` took care of is no failure: the hosts' counts decide."""
    summary = collected.summary
    failures = [f for f in collected.failures if f.unreachable or not summary or f.host in summary.failed]
    unreachable = {f.host: None for f in collected.failures if f.unreachable}
    return PlayOutcome(
        playbook=playbook,
        changed=dict(summary.changed) if summary else {},
        unreachable=tuple(unreachable),
        failures=tuple(failures),
        elapsed_seconds=elapsed_seconds,
        output=output,
    )


def _raise_if_failed(collected: _Collected, outcome: PlayOutcome, inventory: Path) -> None:
    name = outcome.playbook
    ended = collected.ended
    if ended and ended.code == 0 and not collected.no_hosts:
        return
    lines = [f"{name}: host {f.host}, task `{f.task}`: {f.message}" for f in outcome.failures]
    remedy = f"Ansible's own words are in {outcome.output}"
    if outcome.unreachable:
        host = outcome.unreachable[0]
        remedy = f"check ssh to {', '.join(outcome.unreachable)}: ansible -i {inventory} -m ansible.builtin.ping {host}"
    if ended and ended.status == "timeout":
        lines.append(f"{name}: time ran out after {outcome.elapsed_seconds:.0f} s")
    elif collected.no_hosts and not lines:
        lines.append(f"{name}: {inventory} has no host that matches")
    elif not lines:
        lines.append(f"{name}: Ansible ended with exit code {ended and ended.code}: {_last_words(outcome)}")
    raise PlayError("\n".join(lines), outcome=outcome, remedy=remedy)


def _last_words(outcome: PlayOutcome) -> str:
    said = outcome.output.read_text(encoding="utf-8", errors="replace").split("\n")
    errors = [line for line in said if line.startswith(("[ERROR]", "ERROR!", "fatal:"))]
    return "\n".join(errors[-3:] or said[-8:]).strip()
