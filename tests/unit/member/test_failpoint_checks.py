"""Failpoints are gone when somebody says so; that nobody answers is no proof while a process may be about to end."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from agent_service import failpoints
from agent_service.errors import FaultFailedError
from agent_service.faults import execute
from agent_service.faults.steps import FailpointsAre
from agent_service.models import MemberState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent_service.member import MemberControl

UNSET = FailpointsAre("127.0.0.1:2381", {"beforeCommit": ""})


class Member:
    """Serves peers from its so many-th look on."""

    state = MemberState.RUNNING

    def __init__(self, serves_at: int) -> None:
        self._left = serves_at

    async def serves(self, _seconds: float) -> bool:
        self._left -= 1
        return self._left < 1


@pytest.mark.parametrize(("serves_at", "looks"), [(1, 1), (3, 3), (10**9, 0)])
async def test_nobody_answers_for_failpoints(
    monkeypatch: pytest.MonkeyPatch, serves_at: int, looks: int
) -> None:
    asked = 0

    async def nobody(_address: str, _names: Iterable[str]) -> dict[str, str]:
        nonlocal asked
        asked += 1
        raise failpoints.NobodyAnswersError("nobody")

    monkeypatch.setattr(failpoints, "terms_of", nobody)
    monkeypatch.setattr(execute, "CONFIRM_SECONDS", 0.2)
    member = cast("MemberControl", Member(serves_at))
    if looks:
        assert await execute.confirm((UNSET,), member) == "failpoint beforeCommit is not set"
        assert asked == looks
    else:
        with pytest.raises(FaultFailedError, match="about to end"):
            await execute.confirm((UNSET,), member)
