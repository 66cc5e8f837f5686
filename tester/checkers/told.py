"""What a watcher was told, in words: the two halves of a contradiction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tester.history.columns import NONE, EventCol, KvCol, ResponseCol

if TYPE_CHECKING:
    from tester.checkers.linearizability.changelog import ChangeLog
    from tester.history.history import History
    from tester.history.table import Columns


class Told:
    """Quotes from a history. An event is a column of ``EventCol``; times are seconds of the run clock."""

    def __init__(self, history: History) -> None:
        self._history = history

    def change(self, key: int, value: int, revision: int) -> str:
        """A change as etcd's log has it."""
        name = self._history.keys.texts[key]
        what = f"delete {name}" if value == NONE else f"put {name} = {self._history.values.texts[value]}"
        return f"{what} at revision {revision}"

    def event(self, event: Columns) -> str:
        """A change as it was told, and when."""
        return f"{self._change(event)}, told at {self.time(int(event[EventCol.RESPONSE]))} s"

    def bare(self, event: Columns) -> str:
        """A change as somebody had it, without a time."""
        return self._change(event)

    def time(self, response: int) -> str:
        """When a response came."""
        return f"{self._history.responses.columns[ResponseCol.AT, response] / 1e9:.6f}"

    def numbers(self, event: Columns) -> str:
        """What an event says of its key's age."""
        return f"create revision {event[EventCol.CREATE]}, version {event[EventCol.VERSION]}"

    def previous(self, event: Columns) -> str:
        """The previous key as an event has it."""
        if event[EventCol.PREV] == NONE:
            return "no previous key"
        kv = self._history.previous.columns[:, int(event[EventCol.PREV])]
        value = self._history.values.texts[int(kv[KvCol.VALUE])]
        return (
            f"{self._history.keys.texts[int(kv[KvCol.KEY])]} = {value} (mod revision {kv[KvCol.MOD]}, create revision"
            f" {kv[KvCol.CREATE]}, version {kv[KvCol.VERSION]}, lease {kv[KvCol.LEASE]})"
        )

    def state(self, replay: ChangeLog, row: int) -> str:
        """A key as a row of the merged log left it; ``NONE``: nothing came before."""
        if row == NONE or replay.value[row] == NONE:
            gone = "" if row == NONE else f", deleted at revision {replay.revision[row]}"
            return f"no key{gone}"
        key, value = int(replay.key[row]), int(replay.value[row])
        return (
            f"{self._history.keys.texts[key]} = {self._history.values.texts[value]} (mod revision"
            f" {replay.revision[row]}, create revision {replay.told_create[row]}, version"
            f" {replay.told_version[row]}, lease {replay.lease[row]})"
        )

    def _change(self, event: Columns) -> str:
        return self.change(int(event[EventCol.KEY]), int(event[EventCol.VALUE]), int(event[EventCol.REV]))
