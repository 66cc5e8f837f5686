"""A worker on a load host: ``python -m tester.load.workers.hosted DESCRIPTOR``, started by the host's agent.

As ``tester.load.workers.worker``, but for what it trusts: its order is JSON, every field of it checked. Its history
goes to a descriptor that it was given, with times of the host's own CLOCK_MONOTONIC; the tester maps them.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from agent_service.models import LoadOrder
from tester.clock import RunClock
from tester.errors import LoadError
from tester.etcd.credentials import ClientTls, Login
from tester.etcd.endpoint import Endpoint
from tester.history.writer import HistoryWriter
from tester.load.share import Share
from tester.load.workers.messages import Order
from tester.load.workers.worker import commands_of_parent, ended, work
from tester.scenario.stressers import Stresser
from tester.scenario.units import PLAIN

MAX_HISTORY_BYTES = 8 * 1024**3
"""The tester fetches what is written; nothing is cut off the file meanwhile."""
_STRESSERS: TypeAdapter[tuple[Stresser, ...]] = TypeAdapter(tuple[Stresser, ...])
_HISTORY = Path("history.jsonl")
"""For messages alone: the agent knows the file."""


def order_of(line: bytes) -> Order:
    """The order in a line of JSON.

    Raises:
        LoadError: it is none; the message names the field.
    """
    try:
        wire = LoadOrder.model_validate_json(line)
        stressers = _STRESSERS.validate_json(json.dumps(wire.stressers), strict=True, context=PLAIN)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]  # an order has secrets
        place = ".".join(map(str, first["loc"])) or "the order"
        raise LoadError(f"{place}: {first['msg']}", remedy="deploy the agent of this release") from None
    if wire.number >= wire.workers:
        raise LoadError(f"there is no worker {wire.number} of {wire.workers}")
    tls = login = None
    if wire.tls is not None:
        key = wire.tls.key
        tls = ClientTls(
            ca=_pem(wire.tls.ca),
            certificate=_pem(wire.tls.certificate),
            key=None if key is None else key.get_secret_value().encode(),
        )
    if wire.login is not None:
        login = Login(wire.login.user, wire.login.password.get_secret_value())
    return Order(
        stressers=stressers,
        endpoints=tuple(Endpoint(one.member, one.address, one.port, tls, login) for one in wire.endpoints),
        clock=RunClock(origin_ns=0, started_realtime_ns=0),
        seed=wire.seed,
        prefix=wire.prefix,
        share=Share(wire.number, wire.workers),
        history=_HISTORY,
        over_grpc=wire.transport == "grpc",
    )


def _pem(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


async def _as_ordered(descriptor: int) -> None:
    commands = await commands_of_parent()
    order = order_of(await commands.readline())
    await work(order, commands, HistoryWriter(order.history, descriptor))


def _live_modestly() -> None:
    """Not with the agent's claim on memory, and with a bound on what it writes."""
    with contextlib.suppress(OSError):  # no such right: then it has none of the agent's either
        Path("/proc/self/oom_score_adj").write_text("0", encoding="ascii")
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_HISTORY_BYTES, MAX_HISTORY_BYTES))


if __name__ == "__main__":
    _live_modestly()
    sys.exit(ended(_as_ordered(int(sys.argv[1]))))
