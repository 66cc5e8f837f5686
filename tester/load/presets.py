"""Mixes with a name."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from tester.errors import ScenarioError
from tester.load.operations import KeyDistribution, Mix, OperationKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tester.scenario.stressers import KvStresser

# The weights and sizes of the etcd functional test suite. It had 250,000 keys and ranges of 500, some 1 % of
# which existed at a time; here the key space is 25 times smaller and so are the ranges: the same share of the
# space per delete range, and an end state that is read back in a moment.
_FUNCTIONAL = Mix(
    weights=(
        (OperationKind.PUT, 0.35),
        (OperationKind.PUT_LARGE, 0.002),
        (OperationKind.GET, 0.07),
        (OperationKind.RANGE, 0.07),
        (OperationKind.DELETE, 0.07),
        (OperationKind.DELETE_RANGE, 0.07),
        (OperationKind.TXN_TOGGLE, 0.35),
    ),
    keys=10_000,
    value_size=100,
    large_value_size=32_769,
    range_keys=20,
    txn_keys=100,
    txn_operations=1,
)

# For proof: few keys, one of them hot, so that operations on the same key overlap all the time.
_REGISTER = Mix(
    weights=(
        (OperationKind.PUT, 0.25),
        (OperationKind.GET, 0.40),
        (OperationKind.DELETE, 0.05),
        (OperationKind.TXN_CAS, 0.30),
    ),
    keys=10,
    value_size=32,
    distribution=KeyDistribution.ZIPF,
)

PRESETS: Mapping[str, Mix] = MappingProxyType({"functional": _FUNCTIONAL, "register": _REGISTER})


def mix_of(stresser: KvStresser) -> Mix:
    """The preset a stresser names, with what it overrides.

    Raises:
        ScenarioError: there is no such preset.
    """
    mix = PRESETS.get(stresser.preset)
    if mix is None:
        raise ScenarioError(f"unknown preset {stresser.preset!r}: there are {', '.join(sorted(PRESETS))}")
    return replace(
        mix,
        keys=mix.keys if stresser.keys is None else stresser.keys,
        value_size=mix.value_size if stresser.value_size is None else stresser.value_size,
    )
