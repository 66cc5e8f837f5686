"""Mixes with a name."""

from __future__ import annotations

import math
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from tester.load.kinds import KeyDistribution, OperationKind, Preset
from tester.load.leases import LeaseMix
from tester.load.operations import Mix

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tester.scenario.stressers import KvStresser, LeaseStresser

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

# Everything a transaction can ask, and reads that tell whether it was answered from one state.
_TRANSACTIONS = Mix(
    weights=(
        (OperationKind.PUT, 0.25),
        (OperationKind.PUT_LEASE, 0.05),
        (OperationKind.TXN_RANGE, 0.15),
        (OperationKind.TXN_MIXED, 0.25),
        (OperationKind.TXN_CAS, 0.10),
        (OperationKind.GET, 0.08),
        (OperationKind.GET_AT_REVISION, 0.05),
        (OperationKind.RANGE, 0.05),
        (OperationKind.DELETE_RANGE, 0.01),
        (OperationKind.COMPACT, 0.001),
    ),
    keys=5_000,
    value_size=64,
    compare_keys=4_000,
)

# What an API server asks: guarded writes, lists in pages at one revision, and watches from where a list ended.
_KUBERNETES = Mix(
    weights=(
        (OperationKind.CREATE, 0.15),
        (OperationKind.UPDATE, 0.40),
        (OperationKind.DELETE_GUARDED, 0.05),
        (OperationKind.GET, 0.15),
        (OperationKind.GET_SERIALIZABLE, 0.05),
        (OperationKind.LIST, 0.15),
        (OperationKind.COUNT, 0.05),
    ),
    keys=1_000,
    value_size=1_024,
    page_keys=100,
    list_watchers=3,
    distribution=KeyDistribution.ZIPF,
)

# Entries that fill log, snapshots and messages. A member's quota is 2 GiB: set a rate, or its flag.
_LARGE = Mix(
    weights=(
        (OperationKind.PUT, 0.30),
        (OperationKind.PUT_LARGE, 0.20),
        (OperationKind.GET, 0.40),
        (OperationKind.RANGE, 0.05),
        (OperationKind.DELETE, 0.05),
    ),
    keys=200,
    value_size=4_096,
    large_value_size=256 * 1024,
    range_keys=5,
)

PRESETS: Mapping[Preset, Mix] = MappingProxyType(
    {
        Preset.FUNCTIONAL: _FUNCTIONAL,
        Preset.REGISTER: _REGISTER,
        Preset.TRANSACTIONS: _TRANSACTIONS,
        Preset.KUBERNETES: _KUBERNETES,
        Preset.LARGE_VALUES: _LARGE,
    }
)

_OVERRIDES = (
    "keys",
    "value_size",
    "large_value_size",
    "distribution",
    "range_keys",
    "compare_keys",
    "txn_keys",
    "txn_operations",
    "page_keys",
    "keep_revisions",
    "list_watchers",
)


def mix_of(stresser: KvStresser) -> Mix:
    """The preset a stresser names, with what it overrides."""
    changes = {name: value for name in _OVERRIDES if (value := getattr(stresser, name)) is not None}
    if stresser.weights is not None:
        changes["weights"] = tuple(stresser.weights.items())
    return replace(PRESETS[stresser.preset], **changes)


def mix_of_leases(stresser: LeaseStresser) -> LeaseMix:
    """What a lease stresser asks for; etcd counts whole seconds."""
    return LeaseMix(
        leases=stresser.leases,
        keys=stresser.keys,
        ttl=math.ceil(stresser.ttl),
        short_ttl=math.ceil(stresser.short_ttl),
        keepalive=stresser.keepalive,
    )
