"""The ways in which the load's own watchers look at changes, in turn."""

from __future__ import annotations

from tester.etcd.watch import View

VIEWS = (
    View(),
    View(prev_kv=True, filters=("put",)),
    View(filters=("delete",)),
    View(prev_kv=True, fragment=True),
)
"""Whoever has made a few watches, one after the other, has asked for all that etcd can be asked for."""
