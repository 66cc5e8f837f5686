"""nftables by its library says and does what the program would."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from agent_service import commands
from agent_service.errors import UnavailableError
from agent_service.faults import nft
from agent_service.faults.nftables import is_listed, table_steps
from agent_service.faults.steps import Exec

if TYPE_CHECKING:
    from agent_service.commands import Completed
    from agent_service.faults.steps import FaultSteps

pytestmark = pytest.mark.usefixtures("namespace")

LIST = ("nft", "-j", "list", "tables")


@pytest.fixture
def steps() -> FaultSteps:
    return table_steps("f-1", ("tcp dport 2380 drop",), ("tcp sport 2380 drop",), (22, 9027))


async def load(steps: FaultSteps, program: object) -> Completed:
    (action,) = steps.inject
    assert isinstance(action, Exec)
    completed: Completed = await program.run(action.argv, stdin=action.stdin)  # type: ignore[attr-defined]
    return completed


def rules(listing: str) -> list[object]:
    """Without the numbers that the kernel gives."""
    found = json.loads(listing)["nftables"]
    return [{**body, "handle": 0} for item in found for kind, body in item.items() if kind != "metainfo"]


async def test_both_load_and_list_the_same(steps: FaultSteps) -> None:
    table = ("nft", "-j", "list", "table", "inet", "etcd_chaos_f_1")
    assert not is_listed((await nft.check(LIST)).stdout, "etcd_chaos_f_1"), "the control"
    seen = []
    for program in (nft, commands):
        assert (await load(steps, program)).code == 0
        by_library, by_program = await nft.check(table), await commands.check(table)
        assert rules(by_library.stdout) == rules(by_program.stdout)
        assert is_listed((await nft.check(LIST)).stdout, "etcd_chaos_f_1")
        seen.append(rules(by_library.stdout))
    assert seen[0] == seen[1]
    (undo,) = steps.undo
    assert isinstance(undo, Exec)
    await nft.check(undo.argv, stdin=undo.stdin)
    assert not is_listed((await commands.check(LIST)).stdout, "etcd_chaos_f_1")


@pytest.mark.parametrize(
    "argv",
    [("nft", "-j", "list", "table", "inet", "none"), ("nft", "-f", "-"), ("nft", "--check", "-f", "-")],
)
async def test_both_complain_the_same(argv: tuple[str, ...]) -> None:
    wrong = "add rule inet none input tcp dport 1 drop\n"
    library, program = await nft.run(argv, stdin=wrong), await commands.run(argv, stdin=wrong)
    assert library.code == program.code == 1
    assert library.complaint.partition("Error: ")[2] == program.complaint.partition("Error: ")[2] != ""
    with pytest.raises(UnavailableError, match="No such file or directory"):
        await nft.check(argv, stdin=wrong)


async def test_a_check_loads_nothing(steps: FaultSteps) -> None:
    (action,) = steps.inject
    assert isinstance(action, Exec)
    assert (await nft.run(("nft", "--check", "-f", "-"), stdin=action.stdin)).code == 0
    assert not is_listed((await nft.check(LIST)).stdout, "etcd_chaos_f_1")


async def test_without_the_library_the_program_does_it(
    steps: FaultSteps, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OSError, match="no-such"):
        nft.Library("no-such-library.so")
    monkeypatch.setattr(nft, "_library", lambda: None)
    assert (await load(steps, nft)).code == 0
    assert is_listed((await nft.check(LIST)).stdout, "etcd_chaos_f_1")


async def test_an_option_that_nobody_knows_is_a_defect() -> None:
    with pytest.raises(ValueError, match="--debug"):
        await nft.run(("nft", "--debug", "all", "list", "tables"))
