"""Lies told to the whole tool: a proxy stands in a host's network, and what comes from outside goes through it.

``ETCD_CHAOS_LIES=all`` tells every kind (``make lies``), as do names of kinds between commas; else two have their turn.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tester.errors import ExitCode
from tester.results import Verdict
from tests.lab.rig import CHECKOUT, scenario
from tests.lies import KINDS
from tests.lies.kinds import BASIC, ELECTION, LEASES, LOCK
from tests.lies.loads import section_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.lab.rig import Rig

PORT = 23790
REDIRECT = ("PREROUTING", "-p", "tcp", "--dport", "2379", "-j", "REDIRECT", "--to-ports", str(PORT))
CHECKERS = ["linearizable", "watch", "durability", "kv-hash"]
HONEST = (BASIC, LEASES, LOCK, ELECTION)
"""Loads beside which nobody lies."""
JUDGED = [*CHECKERS, "leases", "locks", "elections"]
"""What they give to judge."""
ASKED = os.environ.get("ETCD_CHAOS_LIES", "acknowledged write is lost,event is dropped")
LIES = tuple(KINDS) if ASKED == "all" else tuple(ASKED.split(","))
HOLD = "6s" if "ETCD_CHAOS_LIES" in os.environ else "2s"
"""For lies to single watches every view of the crowd's watchers has to look at changes."""


def load_of(kind: str) -> list[dict[str, object]]:
    """A load under which the lie can be told: of its kind, and watchers that look in every way."""
    watchers = {"kind": "watcher", "prefixes": 2, "watchers": 6, "keys": 20, "rate": "30/s"}
    if kind == "truth":
        return [*({**section_of(load), "rate": "60/s"} for load in HONEST), watchers]
    return [{**section_of(KINDS[kind].load), "rate": "200/s"}, watchers]


@asynccontextmanager
async def lying(rig: Rig, host: str, kind: str) -> AsyncIterator[None]:
    """Clients of this host's member talk to a proxy; the host itself and its peers do not."""
    place = next(one for one in rig.lab.hosts if one.name == host)
    inside = ("nsenter", f"--net=/run/netns/{place.machine}")
    arguments = (host, f"0.0.0.0:{PORT}", f"{place.address}:2379", kind)
    proxy = await asyncio.create_subprocess_exec(
        *(*inside, sys.executable, "-m", "tests.lies.serve", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=CHECKOUT,
    )
    assert proxy.stdin is not None
    assert proxy.stdout is not None
    assert (await proxy.stdout.readline()).strip() == b"ready"
    try:
        await run(*inside, "iptables", "-t", "nat", "-A", *REDIRECT)
        try:
            yield
        finally:
            # The table as a whole: without its rules it would stay, and a host at rest has none.
            await run(*inside, "nft", "delete", "table", "ip", "nat")
    finally:
        proxy.stdin.close()
        told = (await proxy.stdout.read()).decode()
        await proxy.wait()
    assert kind == "truth" or not told.startswith("told 0"), told


async def run(*argv: str) -> None:
    process = await asyncio.create_subprocess_exec(*argv)
    assert await process.wait() == 0, argv


def is_printed(paragraph: str, out: str) -> bool:
    """Whether it is there, wherever its lines were broken."""
    return "".join(paragraph.split()) in "".join(out.split())


@pytest.mark.parametrize("kind", ["truth", *LIES])
async def test_a_lie_is_found_by_the_whole_tool(rig: Rig, tmp_path: Path, kind: str) -> None:
    checkers = JUDGED if kind == "truth" else list(dict.fromkeys([*CHECKERS, KINDS[kind].checker]))
    case = {"name": "nothing", "fault": "none", "hold": HOLD}
    written = scenario(tmp_path, case, checkers=checkers, stressers=load_of(kind))
    async with lying(rig, rig.hosts[0], kind):
        ended = await rig.run(written)
    (one,) = ended.result.rounds
    checks = {check.checker: check for part in (*one.cases, one) for check in part.checks}
    if kind == "truth":
        assert ended.code == ExitCode.VALID, ended.said
        return
    lie = KINDS[kind]
    assert ended.code == ExitCode.INVALID, ended.said
    found = checks[lie.checker]
    assert found.verdict is Verdict.INVALID
    explanation = lie.explanation(found)
    assert explanation, found
    assert explanation in found.explanation.split("\n")
    again = await rig.cli("check", ended.directory.path, "--checker", lie.checker)
    assert again.code == ExitCode.INVALID
    assert re.search(lie.says, again.out)
    assert is_printed(explanation, again.out)
