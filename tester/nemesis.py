"""Cases drawn at random: a menu with weights, and the same draw from the same seed. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tester.quorum import most_at_once, objection
from tester.scenario.faults import AnyFault, PartitionSection
from tester.scenario.model import CaseSection, NemesisItem
from tester.scenario.target import parse_target

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

    from tester.scenario.model import NemesisSection

_TRIES: Final = 50
"""Draws of one case before it is left with fewer faults."""

_SAME: Final = parse_target("same")

COMMON: Final[tuple[NemesisItem, ...]] = tuple(
    NemesisItem.model_validate({"fault": fault})
    for fault in (
        {"fault": "stop"},
        {"fault": "kill"},
        {"fault": "kill", "target": "leader"},
        {"fault": "pause"},
        {"fault": "pause", "target": "leader"},
        {"fault": "restart"},
        {"fault": "crash-loop", "every": "1s"},
        {"fault": "isolate"},
        {"fault": "isolate", "target": "leader"},
        {"fault": "partition", "partition": "minority-majority"},
        {"fault": "partition", "partition": "to-leader"},
        {"fault": "partition", "partition": "leader-to-followers"},
        {"fault": "client-port"},
    )
)
"""What a nemesis draws from that has no menu: every host can do these."""


def menu_of(nemesis: NemesisSection) -> tuple[NemesisItem, ...]:
    """What it draws from."""
    return nemesis.menu or COMMON


def draw_cases(
    nemesis: NemesisSection, voters: Sequence[str], bound: int | None, rng: random.Random
) -> tuple[CaseSection, ...]:
    """The cases of a round. Each may run: what would be refused is drawn again.

    Args:
        nemesis: the section of the scenario.
        voters: the members' names.
        bound: members hit at once at most, says the inventory.
        rng: the draw; the same generator state draws the same cases.
    """
    possible = _possible(nemesis, voters, bound)
    return tuple(
        _draw(nemesis, f"random-{number}", possible, voters, bound, rng)
        for number in range(1, nemesis.cases + 1)
    )


def menu_problems(nemesis: NemesisSection, voters: Sequence[str], bound: int | None) -> Iterator[str]:
    """Entries of the menu that could never run alone on these members, one line each."""
    for number, item in enumerate(menu_of(nemesis) if nemesis.menu else (), 1):
        if problem := _problem(_case(nemesis, "alone", [item.fault]), voters, bound):
            yield f"nemesis: entry {number} of the menu ({item.fault.kind()}): {problem}"
    if not nemesis.menu and not _possible(nemesis, voters, bound):
        yield f"nemesis: none of the common faults can run on {len(voters)} members: give a menu"


def _draw(
    nemesis: NemesisSection,
    name: str,
    possible: Sequence[NemesisItem],
    voters: Sequence[str],
    bound: int | None,
    rng: random.Random,
) -> CaseSection:
    weights = [item.weight for item in possible]
    wanted = rng.randint(1, nemesis.at_once)
    for _ in range(_TRIES):
        first, *others = (item.fault for item in rng.choices(possible, weights, k=wanted))
        faults = [first, *(_beside(fault, rng) for fault in others)]
        case = _case(nemesis, name, faults)
        if not _collide(faults) and _problem(case, voters, bound) is None:
            return case
    return _case(nemesis, name, [rng.choices(possible, weights)[0].fault])


def _beside(fault: AnyFault, rng: random.Random) -> AnyFault:
    """The fault as it was written, or, as often, on those that the first one hits."""
    if isinstance(fault, PartitionSection) or rng.random() < 0.5:
        return fault
    return fault.model_copy(update={"target": _SAME})


def _possible(nemesis: NemesisSection, voters: Sequence[str], bound: int | None) -> list[NemesisItem]:
    return [
        item
        for item in menu_of(nemesis)
        if _problem(_case(nemesis, "alone", [item.fault]), voters, bound) is None
    ]


def _case(nemesis: NemesisSection, name: str, faults: Sequence[AnyFault]) -> CaseSection:
    return CaseSection.model_construct(
        name=name,
        faults=tuple(faults),
        steady=nemesis.steady,
        hold=nemesis.hold,
        settle=nemesis.settle,
        allow_quorum_loss=nemesis.allow_quorum_loss,
    )


def _problem(case: CaseSection, voters: Sequence[str], bound: int | None) -> str | None:
    if bound is not None and most_at_once(case, voters) > bound:
        return f"hits more members than etcd_chaos_max_faulted, {bound}"
    return objection(case, voters)


def _collide(faults: Sequence[AnyFault]) -> bool:
    """Whether two of them might want the same thing of the same host."""
    held = [what for fault in faults for what in fault.holds()]
    return len(held) != len(set(held))
