"""Histories of Jepsen's register workload, read as ours: what each operation becomes is in ``docs/history.md``.

They carry no revisions: ``rev`` is 0 in every answer, and ``linearizable`` searches for an order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tester.history import edn
from tester.history.edn import Keyword
from tester.history.reader import HistoryFormatError
from tester.history.records import (
    FORMAT_VERSION,
    Compare,
    Delete,
    DeleteResult,
    Fail,
    Header,
    HistoryRecord,
    Info,
    Invoke,
    KeyValue,
    Ok,
    Operation,
    Put,
    PutResult,
    Range,
    RangeResult,
    Result,
    Txn,
    TxnResult,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tester.history.edn import Edn

ONLY_KEY = "register"
"""The key of a history that has one register and does not name it."""

MEMBER = "jepsen"
"""Jepsen's operations do not say which node was asked."""


def read_jepsen(path: Path) -> Iterator[HistoryRecord]:
    """The records of an EDN file.

    Raises:
        HistoryFormatError: it is no EDN, or holds an operation other than ``read``, ``write`` and ``cas``. The
            line it names is the number of the operation.
        OSError: the file cannot be read.
    """
    try:
        forms = list(edn.parse(path.read_text()))
    except (edn.EdnError, UnicodeDecodeError, RecursionError) as error:
        raise HistoryFormatError(path, 1, f"not EDN: {error}") from error
    if len(forms) == 1 and isinstance(forms[0], list):
        forms = forms[0]
    return _Reader(path, forms).records()


@dataclass(slots=True)
class _Reader:
    path: Path
    forms: list[Edn]

    def records(self) -> Iterator[HistoryRecord]:
        """Header, and a record per operation of a client."""
        yield Header(FORMAT_VERSION, "jepsen", 1, self.path.stem, 0, 0, prefix="", members=(MEMBER,))
        entries = [(number, self._map(number, form)) for number, form in enumerate(self.forms, 1)]
        clients = [(number, op) for number, op in entries if isinstance(op.get(Keyword("process")), int)]
        keyed = self._is_keyed([op for _, op in clients])
        opened: dict[int, Invoke] = {}
        for number, op in clients:
            try:
                yield self._record(number, op, opened, keyed=keyed)
            except ValueError as error:
                raise HistoryFormatError(self.path, number, str(error)) from error

    def _map(self, number: int, form: Edn) -> dict[Edn, Edn]:
        if not isinstance(form, dict):
            raise HistoryFormatError(self.path, number, "an operation is a map")
        return form

    def _is_keyed(self, ops: list[dict[Edn, Edn]]) -> bool:
        """Whether values are ``[key value]``: a register's own are never vectors, but for ``cas``."""
        values = [op.get(Keyword("value")) for op in ops if op.get(Keyword("f")) != "cas"]
        if any(values) or not ops:
            return any(isinstance(value, list) for value in values)
        pairs = [value for op in ops if isinstance(value := op.get(Keyword("value")), list)]
        return any(len(value) == 2 and isinstance(value[1], list) for value in pairs)

    def _record(
        self, number: int, op: dict[Edn, Edn], opened: dict[int, Invoke], *, keyed: bool
    ) -> HistoryRecord:
        process, kind, at = op[Keyword("process")], op.get(Keyword("type")), op.get(Keyword("time"), number)
        if not isinstance(process, int) or not isinstance(at, int):
            raise ValueError(":time is a number of nanoseconds")  # noqa: TRY004 - a value of the file
        key, value = _keyed(op.get(Keyword("value"))) if keyed else (ONLY_KEY, op.get(Keyword("value")))
        if kind == "invoke":
            if process in opened:
                raise ValueError(f"process {process} has not ended what it did before")
            opened[process] = Invoke(number, at, process, MEMBER, _request(op.get(Keyword("f")), key, value))
            return opened[process]
        invoke = opened.pop(process, None)
        if invoke is None:
            raise ValueError(f"process {process} ends what it did not begin")
        error = edn.write(op.get(Keyword("error")))
        match kind:
            case "ok":
                return Ok(invoke.id, at, 0, 0, _result(invoke.op, key, value))
            case "fail":
                return Fail(invoke.id, at, "FAILED", error)
            case "info":
                return Info(invoke.id, at, "UNKNOWN", error)
            case _:
                raise ValueError(f":type is :invoke, :ok, :fail or :info, not {edn.write(kind)}")


def _keyed(value: Edn) -> tuple[str, Edn]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"[key value] was expected, not {edn.write(value)}")
    return _text(value[0]), value[1]


def _text(value: Edn) -> str:
    """A key or value as text: numbers, and strings that do not look like one."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or isinstance(value, Keyword) or not value or looks_like_a_number(value):
        raise ValueError(f"{edn.write(value)}: only numbers and strings that are no numbers are understood")
    return value


def looks_like_a_number(text: str) -> bool:
    """Whether a text stands for a number in EDN."""
    return text.removeprefix("-").isascii() and text.removeprefix("-").isdigit()


def _request(f: Edn, key: str, value: Edn) -> Operation:
    match f:
        case "read":
            return Range(key)
        case "write":
            return Delete(key) if value is None else Put(key, _text(value))
        case "cas" if isinstance(value, list) and len(value) == 2 and value[1] is not None:
            old, new = value
            same = Compare(key, "version", "=", 0) if old is None else Compare(key, "value", "=", _text(old))
            return Txn((same,), (Put(key, _text(new)),))
        case _:
            raise ValueError(f"only :read, :write and :cas [old new], not {edn.write(f)} {edn.write(value)}")


def _result(op: Operation, key: str, value: Edn) -> Result | None:
    match op:
        case Range():
            return RangeResult() if value is None else RangeResult((KeyValue(key, _text(value), 0, 0, 0),), 1)
        case Delete():
            return DeleteResult()
        case Txn():
            return TxnResult(succeeded=True, responses=(PutResult(),))
        case _:
            return None
