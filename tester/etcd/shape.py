"""Whether a transaction was answered as it was asked: step by step, each with an answer of its kind. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tester.history.records import (
    Delete,
    DeleteResult,
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
    from tester.etcd.codec import LoadOperation

_ANSWERED: dict[type[Operation], type[Result]] = {
    Put: PutResult,
    Range: RangeResult,
    Delete: DeleteResult,
    Txn: TxnResult,
}


def misfit(op: LoadOperation, result: Result | None) -> str | None:
    """What does not fit, for a message; ``None``: the answer has the shape that was asked for."""
    if not isinstance(op, Txn) or not isinstance(result, TxnResult):
        return None
    steps = op.then if result.succeeded else op.orelse
    if len(steps) != len(result.responses):
        return f"{len(steps)} steps of a transaction were answered with {len(result.responses)}"
    for step, response in zip(steps, result.responses, strict=True):
        if type(response) is not _ANSWERED[type(step)]:
            return f"{_name(step)} in a transaction was answered with {_name(response)}"
        if (inner := misfit(step, response)) is not None:
            return inner
    return None


def _name(one: Operation | Result) -> str:
    return f"a {one.__struct_config__.tag}"
