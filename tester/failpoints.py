"""Cases of which there is one for each failpoint that the build has: its members say which, once they run."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from tester.errors import FaultIneffectiveError
from tester.fleet import ask_all
from tester.scenario.faults import FailpointSection

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agent_client import AgentClient
    from tester.scenario.model import CaseSection

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[^A-Za-z0-9]+")


async def one_for_each_failpoint(
    cases: tuple[CaseSection, ...], agents: Mapping[str, AgentClient]
) -> tuple[CaseSection, ...]:
    """The cases, and in the place of one with ``every`` as many as there are failpoints.

    Raises:
        AgentError: a member has no failpoint server; the message says why.
        FaultIneffectiveError: there is one, and it has no failpoint.
    """
    if not any(fault.for_each for case in cases for fault in case.faults):
        return cases
    told = await ask_all(agents, lambda _, agent: agent.failpoints())
    names = briefly({name for terms in told.values() for name in terms})
    if not names:
        raise FaultIneffectiveError(
            "the members were built with gofail, and without a single failpoint",
            remedy="run gofail enable before etcd is built: make gofail-etcd does",
        )
    return tuple(one for case in cases for one in _spelled_out(case, names))


def briefly(names: Iterable[str]) -> tuple[str, ...]:
    """Failpoints by the last part of their names, in full where two share it; sorted. Pure."""
    last = {name: name.rpartition("/")[2] for name in names}
    shared = Counter(last.values())
    return tuple(sorted(name if shared[short] > 1 else short for name, short in last.items()))


def _spelled_out(case: CaseSection, names: tuple[str, ...]) -> Iterable[CaseSection]:
    if not any(fault.for_each for fault in case.faults):
        return [case]
    return [
        case.model_copy(
            update={
                "name": f"{case.name}-{'-'.join(filter(None, _WORDS.split(name))).lower()}",
                "faults": tuple(
                    fault.model_copy(update={"terms": {name: fault.every}})
                    if isinstance(fault, FailpointSection) and fault.every is not None
                    else fault
                    for fault in case.faults
                ),
            }
        )
        for name in names
    ]
