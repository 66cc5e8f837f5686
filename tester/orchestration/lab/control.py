"""A lab as a whole: up, down, status, and switching its hosts off and on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tester.errors import InfrastructureError
from tester.orchestration.commands import run_command
from tester.orchestration.debian import KEYRING, debian_mirror
from tester.orchestration.lab.inventory import render_inventory, render_power_on
from tester.orchestration.lab.machine import is_running, power_off
from tester.orchestration.lab.preflight import check_rights_and_programs, check_subnet, check_watches
from tester.orchestration.lab.removal import close_connection, remove_lab
from tester.orchestration.lab.spec import (
    PACKAGES,
    SUITE,
    LabError,
    LabHost,
    LabSpec,
    base_root,
    check_name,
    load_spec,
    mark,
)
from tester.orchestration.locks import file_lock
from tester.orchestration.paths import share_dir
from tester.orchestration.plays import Playbooks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tester.orchestration.playwire import JsonValue

_SSH_PORT = 22
_PROBE_SECONDS = 2.0
_ANSWER_SECONDS = 30.0
_POLL_SECONDS = 0.1
_POWER_SECONDS = 60.0
_LOCK_SECONDS = 900.0  # another lab may be building the base root
_MIRROR_VARIABLE = "ETCD_CHAOS_LAB_MIRROR"


@dataclass(frozen=True, slots=True)
class HostStatus:
    """One host as it is now."""

    name: str
    address: str
    running: bool
    ssh: bool
    """Its sshd answers."""


@dataclass(frozen=True, slots=True)
class LabStatus:
    """A lab as it is now."""

    name: str
    subnet: str
    directory: Path
    hosts: tuple[HostStatus, ...]

    @property
    def is_whole(self) -> bool:
        """Every host runs and answers."""
        return all(host.running and host.ssh for host in self.hosts)


class Lab:
    """The lab that ``spec`` describes, standing or not.

    Args:
        spec: what it is to be. :meth:`standing` finds one that exists.
        on_progress: gets a line before each long step.
    """

    def __init__(self, spec: LabSpec, on_progress: Callable[[str], None]) -> None:
        self.spec = spec
        self._on_progress = on_progress

    @classmethod
    def standing(cls, name: str, on_progress: Callable[[str], None]) -> Lab:
        """The lab of this name that was brought up before.

        Raises:
            LabError: there is none.
        """
        spec = load_spec(name)
        if spec is None:
            raise LabError(f"there is no lab {name}", remedy=f"run `etcd-chaos lab up --name {name}`")
        return cls(spec, on_progress)

    @property
    def name(self) -> str:
        """Its name."""
        return self.spec.name

    @property
    def hosts(self) -> tuple[LabHost, ...]:
        """Its hosts, in order."""
        return self.spec.hosts

    @property
    def inventory(self) -> Path:
        """Its inventory, for every command of this tool."""
        return self.spec.inventory

    async def up(self) -> None:
        """Build what is missing, switch on what is off, and wait until every host answers over ssh.

        Raises:
            LabError: this machine cannot hold it, or a lab of this name and another shape exists.
            AnsibleError: building failed.
        """
        check_rights_and_programs()
        async with self._lock():
            standing = load_spec(self.name)
            if standing not in {None, self.spec}:
                raise LabError(
                    f"lab {self.name} exists with another shape: {standing}",
                    remedy=f"run `etcd-chaos lab down --name {self.name}` first, or choose another --name",
                )
            await check_subnet(self.spec)
            await asyncio.to_thread(self._lay_out)
            if await self._is_complete():
                self._on_progress(f"lab {self.name}: {len(self.hosts)} hosts stand already")
                return
            await asyncio.to_thread(check_watches, sum(not is_running(host) for host in self.hosts))
            playbooks = Playbooks(self.inventory, self.spec.directory / "ansible", self._on_progress)
            await playbooks.run("lab", variables=self.variables())

    async def down(self) -> bool:
        """Remove everything of this lab; ``False``: there was nothing.

        Raises:
            LabError: not root, or something of it cannot be removed.
        """
        check_name(self.name)
        if os.geteuid() != 0:
            raise LabError("a lab needs root", remedy="run it with sudo")
        async with self._lock():
            return await remove_lab(self.name, self._on_progress)

    async def status(self) -> LabStatus:
        """Every host as it is now."""
        answers = await asyncio.gather(*(_answers(host) for host in self.hosts))
        hosts = tuple(
            HostStatus(host.name, str(host.address), is_running(host), ssh)
            for host, ssh in zip(self.hosts, answers, strict=True)
        )
        return LabStatus(self.name, str(self.spec.subnet), self.spec.directory, hosts)

    async def power_on(self, name: str) -> bool:
        """Switch a host on and wait until it answers over ssh; ``False``: it was on.

        Raises:
            LabError: no such host, or it does not start or answer.
        """
        host = self.spec.host(name)
        said = await run_command(
            (sys.executable, "-m", "tester.orchestration.lab.machine", self.name, name),
            timeout_seconds=_POWER_SECONDS,
            cwd=share_dir(),
        )
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                while not await _answers(host):  # noqa: ASYNC110 - another machine sets no event of ours
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError as error:
            raise LabError(
                f"host {name} runs, and its sshd does not answer", remedy=f"its console is in {host.log}"
            ) from error
        return said.startswith("switched on")

    async def power_off(self, name: str, *, grace_seconds: float = 0.0) -> bool:
        """Switch a host off; ``False``: it was off. Its disk and its address stay.

        Args:
            name: the host.
            grace_seconds: how long it may shut down in order; 0 pulls the plug.

        Raises:
            LabError: no such host, or a process of it does not end.
        """
        host = self.spec.host(name)
        was_on = await asyncio.to_thread(power_off, host, grace_seconds=grace_seconds)
        # The shared connection would hang on a peer that never says goodbye.
        socket = self.spec.directory / "ssh" / str(host.address)
        if socket.is_socket():
            await close_connection(socket)
        return was_on

    async def run(self, name: str, argv: tuple[str, ...], *, timeout_seconds: float = 60.0) -> str:
        """Run a command as root on a host over ssh, and return what it printed. For tests and for a person.

        Raises:
            InfrastructureError: ssh or the command failed.
        """
        return await run_command((*self.ssh_command(name), *argv), timeout_seconds=timeout_seconds)

    def ssh_command(self, name: str) -> tuple[str, ...]:
        """The argv that opens a shell on a host."""
        ssh = self.spec.directory / "ssh"
        options = (
            "BatchMode=yes",
            f"ConnectTimeout={_ANSWER_SECONDS:.0f}",
            "IdentitiesOnly=yes",
            f"IdentityFile={ssh / 'id_ed25519'}",
            f"UserKnownHostsFile={ssh / 'known_hosts'}",
        )
        arguments = [word for option in options for word in ("-o", option)]
        return ("ssh", "-F", "none", *arguments, f"root@{self.spec.host(name).address}")

    def variables(self) -> dict[str, JsonValue]:
        """What playbooks/lab.yml wants to know beside the inventory."""
        return {
            "lab_host_directory": str(self.spec.directory),
            "lab_host_lab": self.name,
            "lab_host_switch": self.spec.switch,
            "lab_host_gateway": str(self.spec.gateway),
            "lab_host_prefix_length": self.spec.subnet.prefixlen,
            "lab_host_base": str(base_root()),
            "lab_host_suite": SUITE,
            "lab_host_packages": PACKAGES,
            "lab_host_keyring": str(KEYRING),
            "lab_host_mirror": "" if base_root().is_dir() else _mirror(),
        }

    @contextlib.asynccontextmanager
    async def _lock(self) -> AsyncIterator[None]:
        """One ``up`` or ``down`` at a time on this machine: labs share the base root and choose subnets."""
        path = base_root().parent / "lock"
        async with file_lock(path, self._on_progress, timeout_seconds=_LOCK_SECONDS):
            yield

    def _lay_out(self) -> None:
        mark(self.spec.directory)
        for name, text in render_inventory(self.spec).items():
            path = self.inventory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        self.spec.power_on.write_text(render_power_on(self.spec), encoding="utf-8")
        self.spec.power_on.chmod(0o755)
        self.spec.spec_file.write_bytes(self.spec.encode())

    async def _is_complete(self) -> bool:
        files = (self.spec.directory / "ssh" / name for name in ("id_ed25519", "known_hosts"))
        return all(path.exists() for path in files) and (await self.status()).is_whole


def _mirror() -> str:
    if named := os.environ.get(_MIRROR_VARIABLE):
        return named
    try:
        return debian_mirror(Path("/etc/apt"))
    except InfrastructureError as error:
        raise LabError(
            f"no Debian archive to build hosts from: {error.message}",
            remedy=f"name one: {_MIRROR_VARIABLE}=URL etcd-chaos lab up",
        ) from error


async def _answers(host: LabHost) -> bool:
    """Whether an sshd greets at the host's address."""
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            reader, writer = await asyncio.open_connection(str(host.address), _SSH_PORT)
            try:
                return (await reader.readline()).startswith(b"SSH-")
            finally:
                writer.close()
                await writer.wait_closed()
    except (OSError, TimeoutError):
        return False
