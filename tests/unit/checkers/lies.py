"""Stores that lie: each kind bends a right history in one way that no right store could have produced."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import msgspec

from tester.history.endstate import EndState
from tester.history.history import History, HistoryMismatchError
from tester.history.records import (
    DeleteResult,
    Event,
    HistoryRecord,
    Invoke,
    KeyValue,
    Ok,
    RangeResult,
    TxnResult,
    Watched,
)

if TYPE_CHECKING:
    from random import Random

    from tests.unit.checkers.world import Run

R = TypeVar("R", bound=msgspec.Struct)


def changed(record: R, **changes: object) -> R:
    return msgspec.structs.replace(record, **changes)


def with_record(run: Run, place: int, record: HistoryRecord) -> Run:
    return replace(run, records=[*run.records[:place], record, *run.records[place + 1 :]])


# --- small bends, for the comparison with brute force: the result may or may not be right -----------------------


def bend_anything(run: Run, rng: Random) -> Run:
    """Change one number or text of one answer, event, or of the content at the end."""
    places = [
        place
        for place, record in enumerate(run.records)
        if isinstance(record, Ok) or (isinstance(record, Watched) and record.ev)
    ]
    if not places or rng.random() < 0.1:
        return _bend_content(run, rng)
    place = rng.choice(places)
    record = run.records[place]
    if isinstance(record, Watched):
        return with_record(run, place, _bend_watched(record, rng))
    assert isinstance(record, Ok)
    called = next(r.at for r in run.records if isinstance(r, Invoke) and r.id == record.id)
    bent_ok = _bend_ok(record, rng)
    bent = with_record(run, place, changed(bent_ok, at=max(bent_ok.at, called + 1)))
    try:
        History(bent.records)
    except HistoryMismatchError:  # an answer with the shape of the other branch
        return run
    return bent


def _bend_ok(ok: Ok, rng: Random) -> Ok:
    if ok.out is None or rng.random() < 0.3:
        return changed(ok, rev=max(1, ok.rev + rng.choice((-1, 1))))
    if rng.random() < 0.15:
        return changed(ok, at=ok.at + rng.choice((-15, -5, 30)))
    return changed(ok, out=_bend_result(ok.out, rng))


def _bend_result(out: object, rng: Random) -> object:
    match out:
        case RangeResult():
            if out.kv and rng.random() < 0.7:
                n = rng.randrange(len(out.kv))
                return changed(out, kv=(*out.kv[:n], _bend_kv(out.kv[n], rng), *out.kv[n + 1 :]))
            return changed(out, count=max(0, out.count + rng.choice((-1, 1))))
        case DeleteResult():
            return DeleteResult(max(0, out.deleted + rng.choice((-1, 1))))
        case TxnResult() if out.responses and rng.random() < 0.7:
            n = rng.randrange(len(out.responses))
            bent = _bend_result(out.responses[n], rng)
            return changed(out, responses=(*out.responses[:n], bent, *out.responses[n + 1 :]))
        case TxnResult():
            return changed(out, succeeded=not out.succeeded)
        case _:
            return out


def _bend_kv(kv: KeyValue, rng: Random) -> KeyValue:
    field = rng.choice(("v", "m", "c", "ver", "l"))
    if field == "v":
        return changed(kv, v=f"{rng.randrange(6):04d}:4")
    return changed(kv, **{field: max(0, getattr(kv, field) + rng.choice((-1, 1)))})


def _bend_watched(record: Watched, rng: Random) -> Watched:
    n = rng.randrange(len(record.ev))
    event = record.ev[n]
    if rng.random() < 0.4 and len(record.ev) > 1:
        return changed(record, ev=record.ev[:n] + record.ev[n + 1 :])
    bent = (
        changed(event, v=f"{rng.randrange(6):04d}:4")
        if not event.d
        else changed(event, d=False, v="0001:4", c=2, ver=1)
    )
    return changed(record, ev=(*record.ev[:n], bent, *record.ev[n + 1 :]))


def _bend_content(run: Run, rng: Random) -> Run:
    member = run.end.members["m1"]
    content = list(member.content or ())
    if not content:
        return run
    n = rng.randrange(len(content))
    if rng.random() < 0.5:
        del content[n]
    else:
        content[n] = _bend_kv(content[n], rng)
    return replace(
        run, end=EndState(run.end.at, dict.fromkeys(run.end.members, changed(member, content=tuple(content))))
    )


__all__ = ["Event", "Invoke", "bend_anything"]
