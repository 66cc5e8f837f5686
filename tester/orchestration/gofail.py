"""Builds an etcd with failpoints, from Debian's sources of etcd and gofail, into the cache of builds.

``python -m tester.orchestration.gofail`` (``make gofail-etcd``) prints the folder that an inventory names::

    etcd_builds: [{source: path, path: FOLDER, version: 3.4.23-gofail}]

It needs the Debian packages in ``PACKAGES``; go downloads nothing. A build of the same packages is not built again.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tester.errors import EtcdChaosError, InfrastructureError
from tester.orchestration.builds import fetch_build
from tester.orchestration.commands import run_command
from tester.orchestration.locks import file_lock
from tester.orchestration.paths import cache_dir
from tester.orchestration.sources import PathSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from tester.orchestration.builds import Build

PACKAGES: Final = (
    "golang-go",
    "golang-etcd-server-dev",
    "golang-github-etcd-io-gofail",
    "golang-github-etcd-io-gofail-dev",
)
_SOURCES: Final = Path("/usr/share/gocode")
_ETCD: Final = Path("src/go.etcd.io/etcd")
_WITH_FAILPOINTS: Final = ("etcdserver", "etcdserver/api/rafthttp", "mvcc/backend")
_BUILD_SECONDS: Final = 600.0
_LOCK_SECONDS: Final = 900.0


async def build_gofail_etcd(cache: Path, on_progress: Callable[[str], None]) -> Build:
    """Have such a build in the cache; does nothing more when it is there.

    Raises:
        InfrastructureError: a package is missing, or etcd does not build.
    """
    packages = await _packages()
    label = f"{packages['golang-etcd-server-dev'].partition('-')[0]}-gofail"
    place = cache / "gofail" / "-".join(packages[name].replace(":", ".") for name in PACKAGES[:3])
    async with file_lock(cache / "gofail" / ".lock", on_progress, timeout_seconds=_LOCK_SECONDS):
        if not await asyncio.to_thread((place / "etcdctl").is_file):
            on_progress(f"building etcd {label} from Debian's sources")
            await _build(place)
    return await fetch_build(PathSource(source="path", path=str(place), version=label), cache, on_progress)


async def _packages() -> dict[str, str]:
    """The version of each package that is needed."""
    argv = ("dpkg-query", "--show", "--showformat=${Package} ${Version}\\n", *PACKAGES)
    said = await run_command(
        argv, timeout_seconds=30, remedy=f"apt-get install --no-install-recommends {' '.join(PACKAGES)}"
    )
    return dict(line.split() for line in said.splitlines())


async def _build(place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=place.parent) as scratch:
        source, out = Path(scratch) / _ETCD, Path(scratch) / "out"
        await asyncio.to_thread(shutil.copytree, _SOURCES / _ETCD, source)
        await run_command(("gofail", "enable", *_WITH_FAILPOINTS), timeout_seconds=60, cwd=source)
        env = {
            **os.environ,
            "GO111MODULE": "off",
            "GOPATH": f"{scratch}:{_SOURCES}",
            "GOFLAGS": "-trimpath",
            "CGO_ENABLED": "0",
            "GOPROXY": "off",
        }
        for name, package in (("etcd", "."), ("etcdctl", "./etcdctl")):
            argv = ("go", "build", "-o", str(out / name), package)
            await run_command(argv, timeout_seconds=_BUILD_SECONDS, env=env, cwd=source)
        if not await asyncio.to_thread((out / "etcd").is_file):
            raise InfrastructureError("go built no etcd")
        out.rename(place)


async def _main() -> None:
    def progress(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    build = await build_gofail_etcd(cache_dir(), progress)
    print(build.bin)


if __name__ == "__main__":
    try:
        asyncio.run(_main())
    except EtcdChaosError as error:
        sys.exit("\n".join(filter(None, (error.message, error.remedy))))
