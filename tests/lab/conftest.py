"""A lab of its own for every test session: sessions run side by side, and beside a person's lab."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tester.orchestration.lab import Lab, LabError, LabSpec
from tester.orchestration.lab.preflight import check_rights_and_programs, free_subnet, used_networks
from tests.conftest import SUITES
from tests.lab.rig import Rig, deployed_on

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

_HERE = os.path.dirname(__file__)  # noqa: PTH120 - compared with pytest's own strings


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, and skip it by name where this machine cannot hold a lab."""
    try:
        check_rights_and_programs()
        skip = None
    except LabError as error:
        skip = pytest.mark.skip(reason=f"no lab: {error.message} ({error.remedy})")
    for item in items:
        if str(item.path).startswith(_HERE):
            item.add_marker(pytest.mark.lab)
            if skip:
                item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> Iterator[None]:
    """What a script starts in the background is deaf to Ctrl-C, and so would be every run that is started here."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


async def lab_spec(name: str, size: int) -> LabSpec:
    """A spec with a subnet that is free now."""
    used = await used_networks(own_device="")
    return LabSpec(name, size, free_subnet((n for n, _ in used), first=os.getpid() % 256))


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Three hosts that stand; removed when the session ends, however it ends."""

    async def bring_up() -> Lab:
        made = Lab(await lab_spec(f"t{os.getpid():x}", 3), print)
        try:
            await made.up()
        except BaseException:
            await made.down()
            raise
        return made

    made = asyncio.run(bring_up())
    yield made
    asyncio.run(made.down())


@pytest.fixture(scope="session")
def deployed(lab: Lab, etcd_builds: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Rig:
    """The lab with two versions of etcd and the agent on every host."""
    return deployed_on(lab, tmp_path_factory.mktemp("rig"), tuple(etcd_builds), SUITES)


@pytest.fixture
async def rig(deployed: Rig) -> AsyncIterator[Rig]:
    """The same for one test. What a test that fails leaves on hosts does not fail the next one."""
    yield deployed
    if await deployed.dirt():
        played = await deployed.play("cleanup")
        assert played.code == 0, played
