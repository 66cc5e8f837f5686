"""Loads under which lies are told, as a scenario has them."""

from __future__ import annotations

from typing import TypeAlias

Weights: TypeAlias = "dict[str, float] | str"
"""Of the operations of a load, or the name of another one."""

_OTHERS: dict[str, dict[str, object]] = {
    "lease": {"kind": "lease", "clients": 3, "leases": 4, "keys": 4, "rate": "2000/s"},
    "brief leases": {"kind": "lease", "clients": 3, "leases": 2, "keys": 2, "rate": "2000/s"},
    "slow leases": {
        "kind": "lease",
        "clients": 3,
        "rate": "150/s",
        "leases": 4,
        "keys": 20,
        "ttl": "3s",
        "short_ttl": "2s",
        "keepalive": "300ms",
    },
    "lock": {"kind": "lock", "clients": 5, "ttl": "3s", "rate": "300/s"},
    "election": {"kind": "election", "clients": 5, "ttl": "3s", "rate": "300/s"},
    "watcher": {"kind": "watcher", "prefixes": 3, "watchers": 4, "keys": 30, "rate": "150/s"},
    "kubernetes": {"kind": "kv", "preset": "kubernetes", "clients": 9, "keys": 60, "page_keys": 7},
}
"""Loads that are no weights."""


def section_of(load: Weights) -> dict[str, object]:
    """The section of a scenario."""
    if isinstance(load, str):
        return _OTHERS[load]
    return {"kind": "kv", "clients": 9, "keys": 30, "value_size": "40B", "weights": load}
