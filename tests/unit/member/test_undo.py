"""An undo that does not come through leaves etcd its excuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from agent_service import failpoints
from agent_service.errors import UnavailableError
from agent_service.faults.disksteps import ExcuseNothing
from agent_service.faults.steps import DeleteFailpoints, FaultSteps
from agent_service.faults.undo import undo

if TYPE_CHECKING:
    from agent_service.member import MemberControl

STEPS = FaultSteps(
    inject=(),
    verify_injected=(),
    undo=(DeleteFailpoints("127.0.0.1:2381", ("beforeCommit",)), ExcuseNothing()),
    verify_healed=(),
)


class Member:
    def __init__(self) -> None:
        self.excuses: list[str | None] = []

    async def excuse(self, cause: str | None) -> None:
        self.excuses.append(cause)


@pytest.mark.parametrize("answers", [True, False])
async def test_a_failpoint_that_may_still_be_set_still_explains_a_panic(
    monkeypatch: pytest.MonkeyPatch,
    answers: bool,  # noqa: FBT001
) -> None:
    async def delete(_address: str, _names: object) -> None:
        if not answers:
            raise UnavailableError("does not answer")

    monkeypatch.setattr(failpoints, "delete", delete)
    member = Member()
    done = await undo(STEPS, cast("MemberControl", member), "fault f")
    assert member.excuses == ([None] if answers else [])
    assert ("does not answer" in done.evidence) is not answers
