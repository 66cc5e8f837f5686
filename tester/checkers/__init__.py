"""Checkers: history and end state in, verdict out. ``CHECKERS`` has them by the names that scenarios use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tester.checkers.alarms import Alarms
from tester.checkers.availability import Availability
from tester.checkers.base import Checker
from tester.checkers.clocks import timely
from tester.checkers.durability import Durability
from tester.checkers.epochs import run_over
from tester.checkers.exits import Exits
from tester.checkers.kv_hash import KvHash
from tester.checkers.leases import Leases
from tester.checkers.linearizability.checker import Linearizable
from tester.checkers.logs import Logs
from tester.checkers.ownership import Elections, Locks
from tester.checkers.progress import Progress
from tester.checkers.recovery import RecoveryTimes
from tester.checkers.restore import Restore
from tester.checkers.serializable import Serializable
from tester.checkers.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tester.history.endstate import EndState
    from tester.history.history import History
    from tester.history.records import HistoryRecord
    from tester.results import CheckResult

CHECKERS: dict[str, Checker] = {
    checker.name: checker
    for checker in (
        KvHash(),
        Durability(),
        RecoveryTimes(),
        Exits(),
        Linearizable(),
        Serializable(),
        Watch(),
        Leases(),
        Locks(),
        Elections(),
        Progress(),
        Availability(),
        Logs(),
        Alarms(),
        Restore(),
    )
}


OUT_OF_TIME: Final = frozenset({KvHash.name, RecoveryTimes.name, Exits.name, Logs.name, Alarms.name})
"""Those that ask for no time of an operation: they judge also where a load host's clock was lost."""


def run_checkers(
    names: Iterable[str],
    history: History,
    end: EndState,
    records: Callable[[], Iterable[HistoryRecord]] | None = None,
) -> tuple[CheckResult, ...]:
    """Run the named checkers. One that crashes or lacks evidence is ``unknown`` with the reason.

    ``records`` reads the history anew: a history in which a cluster was lost and restored is judged epoch by epoch,
    and without it most checkers have to say ``unknown``.
    """
    checks = run_over(CHECKERS, names, history, end, records)
    return tuple(check if check.checker in OUT_OF_TIME else timely(check, history) for check in checks)


__all__ = ["CHECKERS", "Checker", "run_checkers"]
