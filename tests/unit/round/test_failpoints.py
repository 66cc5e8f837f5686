"""A case for each failpoint of the build, as its members name them."""

from __future__ import annotations

import pytest

from agent_client import AgentUnreachableError
from agent_service.models import FailpointFault
from tester.errors import AgentError, FaultIneffectiveError
from tester.failpoints import briefly, one_for_each_failpoint
from tester.scenario.faults import FailpointSection
from tests.unit.scenario.cases import single

NAMES = ("etcdserver/raftBeforeSave", "etcdserver/raftAfterWALRelease", "mvcc/backend/beforeCommit")


class Agent:
    def __init__(self, *names: str) -> None:
        self.names = names

    async def failpoints(self) -> dict[str, str]:
        if not self.names:
            raise AgentUnreachableError("was not built with gofail")
        return dict.fromkeys(self.names, "")


async def test_each_failpoint_has_a_case() -> None:
    cases = (single("kill", "k"), single("failpoint", "one", every="panic", hold="2s"), single("none", "n"))
    agents = {"h1": Agent(*NAMES[:2]), "h2": Agent(*NAMES[1:])}
    made = await one_for_each_failpoint(cases, agents)
    assert [case.name for case in made] == [
        "k",
        "one-before-commit",
        "one-raft-after-wal-release",
        "one-raft-before-save",
        "n",
    ]
    faults = [case.faults[0] for case in made[1:4]]
    assert [fault.terms for fault in faults if isinstance(fault, FailpointSection)] == [
        {"beforeCommit": "panic"},
        {"raftAfterWALRelease": "panic"},
        {"raftBeforeSave": "panic"},
    ]
    assert {case.hold for case in made[1:4]} == {2.0}


async def test_nobody_is_asked_without_need_and_one_who_has_none_says_so() -> None:
    cases = (single("kill", "k"),)
    assert await one_for_each_failpoint(cases, {"h1": Agent()}) == cases
    with pytest.raises(AgentError, match="h1: was not built with gofail"):
        await one_for_each_failpoint((single("failpoint", every="panic"),), {"h1": Agent()})


async def test_a_build_without_a_single_one_is_no_round_without_cases() -> None:
    class Bare(Agent):
        async def failpoints(self) -> dict[str, str]:
            return {}

    with pytest.raises(FaultIneffectiveError, match="without a single failpoint"):
        await one_for_each_failpoint((single("failpoint", every="panic"),), {"h1": Bare()})


def test_names_are_short_where_that_is_enough() -> None:
    assert briefly(["a/x", "b/x", "b/y"]) == ("a/x", "b/x", "y")


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("5%sleep(50)", "5.0%sleep(50)"),
        ("0.5%3*sleep(10)->100%panic", "0.5%3*sleep(10)->100.0%panic"),
        ('panic("etcd-tester")', 'panic("etcd-tester")'),
    ],
)
def test_gofail_wants_a_fraction_before_a_percent_sign(written: str, sent: str) -> None:
    assert FailpointFault(terms={"a": written}).terms == {"a": sent}
