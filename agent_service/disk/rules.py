"""What a layer does to operations, beside passing them on."""

from __future__ import annotations

import errno
import os
import threading
import time
from typing import TYPE_CHECKING, Final

from agent_service.disk.messages import Delay, Fail, Full, Throttle

if TYPE_CHECKING:
    import random

    from agent_service.disk.messages import AnyRule, Operation, Scope

_LOG_DIRECTORIES: Final = frozenset({"wal", "wal.tmp"})
_STORE_DIRECTORIES: Final = frozenset({"snap"})
_FURTHEST: Final = 3.0
"""No normal delay is further from the mean than so many standard deviations."""
_LONGEST: Final = 3.0
"""No exponential extra is longer than so many means."""


def scope_of(path: str) -> Scope:
    """Which files a path in a data directory belongs to, by the directories in it."""
    parts = path.split("/")[:-1]
    if not _LOG_DIRECTORIES.isdisjoint(parts):
        return "wal"
    return "all" if _STORE_DIRECTORIES.isdisjoint(parts) else "db"


def seconds_of(rule: Delay, chance: random.Random) -> float:
    """How long one operation waits."""
    jitter = rule.jitter_seconds
    if not jitter:
        return rule.seconds
    if rule.distribution == "uniform":
        extra = chance.uniform(-jitter, jitter)
    elif rule.distribution == "normal":
        extra = max(-_FURTHEST * jitter, min(_FURTHEST * jitter, chance.gauss(0.0, jitter)))
    else:
        extra = min(_LONGEST * jitter, chance.expovariate(1.0 / jitter))
    return max(0.0, rule.seconds + extra)


class Rules:
    """The rules in effect, by fault. Safe for threads."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._rules: dict[str, AnyRule] = {}
        self._changed = threading.Condition()
        self._next_free = 0.0
        self.delayed = 0
        self.failed = 0
        self.active = False
        """Whether there is any rule on operations; read without a lock."""

    def snapshot(self) -> dict[str, AnyRule]:
        """All of them."""
        with self._changed:
            return dict(self._rules)

    def put(self, fault: str, rule: AnyRule) -> None:
        """From now on."""
        with self._changed:
            self._rules = {**self._rules, fault: rule}
            self._note()

    def drop(self, fault: str) -> None:
        """No more, and nobody waits for it any longer."""
        with self._changed:
            self._rules = {name: rule for name, rule in self._rules.items() if name != fault}
            self._note()

    def _note(self) -> None:
        self.active = any(not isinstance(rule, Full) for rule in self._rules.values())
        self._next_free = 0.0
        self._changed.notify_all()

    def wake(self) -> None:
        """Nobody waits any longer: the power is gone."""
        with self._changed:
            self._next_free = 0.0
            self._waits_end()

    def _waits_end(self) -> None:
        self._rules = dict(self._rules)  # whoever waits does so as long as the rules are the same object
        self._changed.notify_all()

    def count_failure(self) -> None:
        """Something else made an operation fail."""
        with self._changed:
            self.failed += 1

    def before(self, operation: Operation, scope: Scope, size: int) -> None:
        """Wait or fail, as the rules want it for this operation on ``size`` bytes.

        Raises:
            OSError: EIO.
        """
        with self._changed:
            fails = False
            wait = 0.0
            for rule in self._rules.values():
                match rule:
                    case Delay():
                        if operation in rule.operations and rule.scope in {scope, "all"}:
                            wait += seconds_of(rule, self._chance)
                    case Fail():
                        fails |= operation in rule.operations and rule.scope in {scope, "all"}
                    case Throttle():
                        wait += self._turn(rule, size)
                    case _:
                        pass  # room is asked for where it is taken
            if wait > 0.0:
                self.delayed += 1
                rules = self._rules
                self._changed.wait_for(lambda: self._rules is not rules, wait)
            if fails:
                self.failed += 1
                raise OSError(errno.EIO, os.strerror(errno.EIO))

    def _turn(self, rule: Throttle, size: int) -> float:
        """Seconds until this operation may begin; those behind it wait for its end."""
        now = time.monotonic()
        begin = max(now, self._next_free)
        takes = max(
            size / rule.bytes_per_second if rule.bytes_per_second else 0.0,
            1.0 / rule.operations_per_second if rule.operations_per_second else 0.0,
        )
        self._next_free = begin + takes
        return self._next_free - now
