"""etcd builds: fetched once on the controller, cached, and copied to the hosts by the role ``etcd``.

The cache holds one folder per version::

    CACHE/etcd/VERSION/bin/{etcd,etcdctl,etcdutl}    etcdutl where the build has it
    CACHE/etcd/VERSION/manifest.json                 where it came from, and the sum of every binary

A folder appears complete (made aside, then renamed). A source found in a manifest is not fetched again;
remove the folder to fetch it anew. As a command (the role's way in), it prints what it has as JSON::

    python -m tester.orchestration.builds '[{"source": "debian", "suite": "trixie"}]'
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from pydantic import BaseModel, ConfigDict, ValidationError

from agent_service.models import Version
from tester.errors import EtcdChaosError, InfrastructureError
from tester.orchestration.commands import run_command
from tester.orchestration.fetching import fetch_binaries
from tester.orchestration.locks import file_lock
from tester.orchestration.paths import cache_dir
from tester.orchestration.sources import (
    BuildSource,
    PathSource,
    PypiSource,
    ReleaseSource,
    describe,
    parse_sources,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

BINARIES = ("etcd", "etcdctl", "etcdutl")
_REQUIRED = ("etcd", "etcdctl")
_LOCK_SECONDS = 900.0
_VERSION = re.compile(r"^etcd Version: (\S+)$", re.MULTILINE)


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Version
    sources: tuple[BuildSource, ...]
    """All that turned out to hold these very binaries."""
    sha256: dict[str, str]


@dataclass(frozen=True, slots=True)
class Build:
    """One cached build. ``sha256`` has a sum per binary; ``fetched`` says whether this call brought it."""

    version: str
    bin: Path
    sha256: dict[str, str]
    fetched: bool


async def fetch_build(source: BuildSource, cache: Path, on_progress: Callable[[str], None]) -> Build:
    """Have the build of ``source`` in ``cache``; does nothing more when it is there already.

    Safe beside other processes that fetch into the same cache. ``on_progress`` gets a line before each long
    step.

    Raises:
        InfrastructureError: it cannot be fetched, has a wrong signature or sum, does not run on this machine,
            or another source already gave a different build of the same version.
    """
    root = cache / "etcd"
    async with file_lock(root / ".lock", on_progress, timeout_seconds=_LOCK_SECONDS):
        if build := await asyncio.to_thread(find_build, source, cache):
            return build
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=root) as scratch:
            binaries = await fetch_binaries(source, Path(scratch) / "fetched", on_progress)
            return await _install(source, binaries, root, Path(scratch) / "new")


def find_build(source: BuildSource, cache: Path) -> Build | None:
    """The cached build of ``source``, if any; for a path: only if the binaries there are still the same."""
    for manifest in _manifests(cache / "etcd"):
        if source in manifest.sources and _is_current(source, manifest):
            return _build(manifest, cache / "etcd", fetched=False)
    return None


def version_order(version: str) -> tuple[tuple[int, str], ...]:
    """Sort key: 3.5.9 before 3.5.16 before 3.5.16-patched."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"[.+~-]", version))


def _manifests(root: Path) -> Iterator[_Manifest]:
    for path in sorted(root.glob("*/manifest.json")):
        try:
            yield _Manifest.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise InfrastructureError(
                f"{path}: not a manifest of this tool", remedy=f"remove {path.parent} to fetch it again"
            ) from error


def _is_current(source: BuildSource, manifest: _Manifest) -> bool:
    return not isinstance(source, PathSource) or _sums(Path(source.path)) == manifest.sha256


def _build(manifest: _Manifest, root: Path, *, fetched: bool) -> Build:
    return Build(manifest.version, root / manifest.version / "bin", manifest.sha256, fetched)


async def _install(source: BuildSource, binaries: Path, root: Path, new: Path) -> Build:
    """Verify what was fetched, and move it into its place under ``root``."""
    await asyncio.to_thread(_lay_out, binaries, new / "bin", describe(source))
    said = await _asked_version(new / "bin" / "etcd", describe(source))
    version = said
    match source:
        case PypiSource() if source.version != said:
            raise InfrastructureError(f"{describe(source)} holds etcd {said}")
        case PathSource(version=str(label)) | ReleaseSource(version=str(label)):
            version = label
    manifest = await asyncio.to_thread(_settle, source, version, new, root / version)
    return _build(manifest, root, fetched=True)


def _settle(source: BuildSource, version: str, new: Path, place: Path) -> _Manifest:
    """Move ``new`` to ``place``; if the same is there, note that ``source`` has it too."""
    manifest = _Manifest(version=version, sources=(source,), sha256=_sums(new / "bin"))
    there = next((m for m in _manifests(place.parent) if m.version == version), None)
    same = place.exists() and _sums(place / "bin") == manifest.sha256
    if same and there:
        manifest = manifest.model_copy(update={"sources": (*there.sources, source)})
    if place.exists() and not same and not (there and there.sources == (source,)):
        held_by = " and ".join(map(describe, there.sources)) if there else "somebody else"
        raise InfrastructureError(
            f"etcd {version} of {describe(source)} is not the one of {held_by}, which is in {place}",
            remedy=f"give one of them a `version:` of its own, or remove {place}",
        )
    (new / "manifest.json").write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    if same:
        (new / "manifest.json").rename(place / "manifest.json")
        return manifest
    if place.exists():  # an older state of the same path; a rename cannot replace it
        place.rename(new.with_name("old"))
    new.rename(place)
    return manifest


def _lay_out(binaries: Path, target: Path, what: str) -> None:
    target.mkdir(parents=True)
    for name in BINARIES:
        if (found := binaries / name).is_file():
            shutil.copyfile(found, target / name)
            (target / name).chmod(0o755)
        elif name in _REQUIRED:
            raise InfrastructureError(f"{what}: there is no {name} in it")


async def _asked_version(etcd: Path, what: str) -> str:
    said = await run_command(
        (str(etcd), "--version"),
        timeout_seconds=30,
        remedy=f"the etcd of {what} does not run on this machine ({os.uname().machine}): take another build",
    )
    if match := _VERSION.search(said):
        return match[1]
    raise InfrastructureError(f"{what}: `etcd --version` does not say its version, but: {said[:200]}")


def _sums(folder: Path) -> dict[str, str]:
    sums = {}
    for name in BINARIES:
        if (folder / name).is_file():
            with (folder / name).open("rb") as file:
                sums[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return sums


async def _main(sources: Sequence[BuildSource]) -> None:
    def progress(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    builds = [await fetch_build(source, cache_dir(), progress) for source in sources]
    sys.stdout.buffer.write(msgspec.json.encode(builds, enc_hook=str) + b"\n")


if __name__ == "__main__":
    try:
        asyncio.run(_main(parse_sources(msgspec.json.decode(sys.argv[1]))))
    except EtcdChaosError as error:
        sys.exit("\n".join(filter(None, (error.message, error.remedy))))
