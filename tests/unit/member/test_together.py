from __future__ import annotations

import asyncio

import pytest

from agent_service.faults.together import together


async def test_all_are_waited_for_also_where_one_fails() -> None:
    done: list[str] = []

    async def fails() -> None:
        raise ValueError("first")

    async def takes_longer() -> None:
        await asyncio.sleep(0.01)
        done.append("second")

    with pytest.raises(ValueError, match="first"):
        await together(fails(), takes_longer())
    assert done == ["second"]
    assert await together(asyncio.sleep(0, 1), asyncio.sleep(0, "two"), asyncio.sleep(0)) == (1, "two", None)
