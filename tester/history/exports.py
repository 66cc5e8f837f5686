"""Histories for other people's checkers: Jepsen's EDN, and operations as Go's porcupine has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tester.history import edn
from tester.history.edn import Keyword
from tester.history.jepsen import looks_like_a_number
from tester.history.records import HistoryRecord, Invoke
from tester.history.registers import Registers, outcome_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tester.history.edn import Edn


class _Processes:
    """Clients as checkers want them: one whose operation has an unknown outcome does nothing afterwards."""

    def __init__(self) -> None:
        self._now: dict[int, int] = {}
        self._next = 0

    def of(self, client: int) -> int:
        """The process that a client is now."""
        if client not in self._now:
            self._now[client] = self._next
            self._next += 1
        return self._now[client]

    def end(self, client: int) -> None:
        """The client's next operation is another process's."""
        self._now.pop(client, None)


def jepsen_lines(records: Iterable[HistoryRecord], registers: Registers) -> Iterator[str]:
    """A line of EDN for each invocation and each end, values ``[key value]``."""
    processes, clients = _Processes(), dict[int, int]()
    index = 0
    for record in records:
        number = getattr(record, "id", None)
        if not isinstance(number, int) or number not in registers.operations:
            continue
        operation = registers.operations[number]
        if isinstance(record, Invoke):
            clients[number] = record.c
        kind = "invoke" if isinstance(record, Invoke) else outcome_of(record, registers)
        if kind is None:
            continue
        value: Edn = _edn(operation.value)
        if operation.f == "cas":
            value = [_edn(operation.old), value]
        elif operation.f == "read" and kind != "ok":
            value = None
        yield edn.write(
            {
                Keyword("type"): Keyword(kind),
                Keyword("f"): Keyword(operation.f),
                Keyword("value"): [_edn(operation.key), value],
                Keyword("process"): processes.of(clients[number]),
                Keyword("time"): getattr(record, "at", 0),
                Keyword("index"): index,
            }
        )
        index += 1
        if kind == "info":
            processes.end(clients[number])


def _edn(text: str | None) -> Edn:
    return int(text) if text is not None and looks_like_a_number(text) else text


class _Input(msgspec.Struct, rename="pascal"):
    op: str
    key: str
    value: str | None = None
    old: str | None = None


class _Output(msgspec.Struct, rename="pascal"):
    value: str | None = None
    unknown: bool = False


class _Operation(msgspec.Struct, rename="pascal"):
    """Field names of porcupine's ``Operation``."""

    client_id: int
    input: _Input
    call: int
    output: _Output
    return_: int = msgspec.field(name="Return")


def porcupine_lines(records: Iterable[HistoryRecord], registers: Registers) -> Iterator[bytes]:
    """A line of JSON for each operation that was or may have been done.

    An unknown outcome returns after everything else, as porcupine wants it, and says so in its output. Reads
    of unknown outcome and what surely was not applied are left out: they tell nothing.
    """
    processes = _Processes()
    opened: dict[int, tuple[Invoke, int]] = {}
    last = 0
    for record in records:
        last = max(last, getattr(record, "at", 0))
        if isinstance(record, Invoke) and record.id in registers.operations:
            opened[record.id] = (record, processes.of(record.c))
            continue
        outcome = outcome_of(record, registers)
        number = getattr(record, "id", 0)
        if outcome is None or number not in opened:
            continue
        if outcome == "info":
            processes.end(opened[number][0].c)
            continue
        invoke, process = opened.pop(number)
        if outcome == "ok":
            yield _porcupine(registers, invoke, process, getattr(record, "at", 0), unknown=False)
    for number, (invoke, process) in opened.items():
        if registers.operations[number].f != "read":
            yield _porcupine(registers, invoke, process, last + 1, unknown=True)


def _porcupine(registers: Registers, invoke: Invoke, process: int, at: int, *, unknown: bool) -> bytes:
    operation = registers.operations[invoke.id]
    reads = operation.f == "read"
    asked = _Input(operation.f, operation.key, None if reads else operation.value, operation.old)
    out = _Output(operation.value if reads else None, unknown)
    return msgspec.json.encode(_Operation(process, asked, invoke.at, out, at))
