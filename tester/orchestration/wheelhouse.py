"""Everything that a host needs to install the agent without internet, in one archive.

The controller downloads, from the lock ``requirements/agent.txt`` (``load.txt`` for a load host) and with its hashes,
the wheels for the host's own Python minor, C library and machine; adds the agent's own wheel, and the load's; and
writes one tar::

    install.txt          what to install, each with its hash (pip itself only travels along)
    wheels/*.whl

``key`` stands for all of it: the same key is the same agent on the same kind of Python. As a command (the
role's way in) it prints the result as JSON::

    python -m tester.orchestration.wheelhouse '{"python": "3.11", "machine": "x86_64", "glibc": "2.36"}'
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from tester.errors import EtcdChaosError, InfrastructureError
from tester.orchestration.agent_wheel import agent_wheel
from tester.orchestration.commands import run_command
from tester.orchestration.load_wheel import load_wheel
from tester.orchestration.locks import file_lock
from tester.orchestration.paths import agent_lock, cache_dir, load_lock

if TYPE_CHECKING:
    from collections.abc import Callable

_DOWNLOAD_SECONDS = 600.0
_LOCK_SECONDS = 900.0
_KEY_CHARACTERS = 16
_KEPT_ARCHIVES = 8
_OLDEST_GLIBC_MINOR = 17  # manylinux2014, the oldest for which projects still build

_Number = Annotated[str, StringConstraints(pattern=r"^\d{1,3}\.\d{1,3}$")]


class HostPython(BaseModel):
    """What decides which wheels fit: Python minor (``3.11``), machine (``x86_64``), glibc (``2.36``).

    ``load``: whether the host is to hold load, too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    python: _Number
    machine: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{2,20}$")]
    glibc: _Number
    load: bool = False


@dataclass(frozen=True, slots=True)
class Wheelhouse:
    """An archive on the controller. ``pip`` is the path in it of the pip that installs the rest."""

    key: str
    archive: Path
    pip: str
    built: bool


async def build_wheelhouse(host: HostPython, cache: Path, on_progress: Callable[[str], None]) -> Wheelhouse:
    """Have the wheelhouse for ``host`` in ``cache``; does nothing more when it is there already.

    Safe beside other processes with the same cache. ``on_progress`` gets a line before each long step.

    Raises:
        InfrastructureError: the wheels cannot be fetched, or one has not the hash of the lock.
    """
    root = cache / "wheelhouse"
    async with file_lock(root / ".lock", on_progress, timeout_seconds=_LOCK_SECONDS):
        wheels = await _dependencies(host, root, on_progress)
        own = (agent_wheel(), load_wheel()) if host.load else (agent_wheel(),)
        return await asyncio.to_thread(_pack, wheels, dict(own), root)


async def _dependencies(host: HostPython, root: Path, on_progress: Callable[[str], None]) -> Path:
    """The folder with the wheels of the lock for ``host``, complete."""
    lock = load_lock() if host.load else agent_lock()
    folder = root / f"wheels-{_digest(lock.read_bytes(), host.model_dump_json().encode())}"
    if await asyncio.to_thread(folder.is_dir):
        return folder
    on_progress(f"downloading the agent's wheels for Python {host.python} on {host.machine}")
    with tempfile.TemporaryDirectory(prefix=".new-", dir=root) as scratch:
        new = Path(scratch) / "wheels"
        await run_command(
            (
                *(
                    sys.executable,
                    "-m",
                    "pip",
                    "--disable-pip-version-check",
                    "download",
                    "--quiet",
                    "--no-deps",
                ),
                *("--only-binary=:all:", "--require-hashes", "--dest", str(new), "--requirement", str(lock)),
                *("--implementation", "cp", "--python-version", host.python),
                *(argument for tag in platform_tags(host) for argument in ("--platform", tag)),
            ),
            timeout_seconds=_DOWNLOAD_SECONDS,
            remedy="can this machine's pip reach its package index, and are there wheels for that Python?",
        )
        await asyncio.to_thread(new.rename, folder)
    return folder


def platform_tags(host: HostPython) -> tuple[str, ...]:
    """The wheel platforms that run on ``host``, newest first; pip takes each literally, so all are named.

    Raises:
        InfrastructureError: its glibc is older than any that wheels are built for.
    """
    major, minor = map(int, host.glibc.split("."))
    if (major, minor) < (2, _OLDEST_GLIBC_MINOR):
        raise InfrastructureError(
            f"glibc {host.glibc} is too old: the agent's wheels need 2.{_OLDEST_GLIBC_MINOR}"
        )
    versions = range(minor, _OLDEST_GLIBC_MINOR - 1, -1)
    tags = [f"manylinux_2_{version}_{host.machine}" for version in versions]
    return (*tags, f"manylinux2014_{host.machine}")


def _pack(wheels: Path, own: dict[str, bytes], root: Path) -> Wheelhouse:
    contents = {path.name: path.read_bytes() for path in sorted(wheels.glob("*.whl"))} | own
    (pip,) = (name for name in contents if name.startswith("pip-"))
    install = "".join(f"{_requirement(name, data)}\n" for name, data in contents.items() if name != pip)
    files = {"install.txt": install.encode()} | {f"wheels/{name}": data for name, data in contents.items()}
    key = _digest(wheels.name.encode(), *own.values())
    archive = root / f"{key}.tar"
    built = not archive.exists()
    if built:
        new = archive.with_suffix(".new")
        new.write_bytes(_tarred(files))
        new.rename(archive)
        _forget_oldest(root)
    return Wheelhouse(key, archive, f"wheels/{pip}", built)


def _forget_oldest(root: Path) -> None:
    """Every change of the agent's sources leaves an archive; only the newest few can still be wanted."""
    for archive in sorted(root.glob("*.tar"), key=lambda path: path.stat().st_mtime)[:-_KEPT_ARCHIVES]:
        archive.unlink()


def _requirement(wheel: str, content: bytes) -> str:
    name, version, *_ = wheel.split("-")
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(content).hexdigest()}"


def _tarred(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _digest(*parts: bytes) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()[:_KEY_CHARACTERS]


async def _main(argument: str) -> None:
    def progress(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    try:
        host = HostPython.model_validate_json(argument)
    except ValidationError as error:
        raise InfrastructureError(f"not a description of a host's Python: {error}") from error
    built = await build_wheelhouse(host, cache_dir(), progress)
    sys.stdout.buffer.write(msgspec.json.encode(built, enc_hook=str) + b"\n")


if __name__ == "__main__":
    try:
        asyncio.run(_main(sys.argv[1]))
    except EtcdChaosError as error:
        sys.exit("\n".join(filter(None, (error.message, error.remedy))))
