"""Stores that lie: each kind bends a right history in one way that no right store could have produced."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

import msgspec

from tester.history.endstate import EndState, MemberExit
from tester.history.history import History
from tester.history.mismatch import HistoryMismatchError
from tester.history.operations import is_local
from tester.history.records import (
    Compact,
    Delete,
    DeleteResult,
    Event,
    Fail,
    HistoryRecord,
    Info,
    Invoke,
    KeyValue,
    LeaseRevoke,
    Ok,
    Operation,
    Put,
    Range,
    RangeResult,
    RestoredRecord,
    Txn,
    TxnResult,
    Watched,
    WatchEnd,
    WatchStart,
)
from tests.unit.checkers.world import MEMBERS, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from random import Random

T = TypeVar("T")
R = TypeVar("R", bound=msgspec.Struct)


def changed(record: R, **changes: object) -> R:
    return msgspec.structs.replace(record, **changes)


def with_record(run: Run, place: int, record: HistoryRecord) -> Run:
    return replace(run, records=[*run.records[:place], record, *run.records[place + 1 :]])


# --- small bends, for the comparison with brute force: the result may or may not be right -----------------


def bend_anything(run: Run, rng: Random) -> Run:
    """Change one number or text of one answer, event, or of the content at the end.

    The first operation stays: its answer says that the history begins with an empty store.
    """
    places = [
        place
        for place, record in enumerate(run.records)
        if (isinstance(record, Ok) and record.id > 1) or (isinstance(record, Watched) and record.ev)
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


# --- lies: never right ------------------------------------------------------------------------------------

Lie: TypeAlias = "Callable[[Run, Random], Run | None]"
"""Returns ``None`` when the history has nothing that it could bend."""

LIES: dict[str, tuple[Lie, str]] = {}
"""By name: the lie, and the checker that must catch it."""


def caught_by(checker: str) -> Callable[[Lie], Lie]:
    def register(lie: Lie) -> Lie:
        LIES[lie.__name__] = (lie, checker)
        return lie

    return register


class Answered(NamedTuple):
    place: int
    invoke: Invoke
    ok: Ok


def answered(run: Run, *kinds: type, local: bool = False) -> list[Answered]:
    invokes = {r.id: r for r in run.records if isinstance(r, Invoke)}
    found = [Answered(n, invokes[r.id], r) for n, r in enumerate(run.records) if isinstance(r, Ok)]
    return [a for a in found if isinstance(a.invoke.op, kinds) and is_local(a.invoke.op) == local]


def pick(rng: Random, things: Sequence[T]) -> T | None:
    return rng.choice(things) if things else None


def bend_answer(run: Run, rng: Random, chosen: list[tuple[Answered, object]]) -> Run | None:
    picked = pick(rng, chosen)
    return picked and with_record(run, picked[0].place, changed(picked[0].ok, out=picked[1]))


def ranges(run: Run, *, local: bool = False) -> list[tuple[Answered, RangeResult]]:
    return [(a, a.ok.out) for a in answered(run, Range, local=local) if isinstance(a.ok.out, RangeResult)]


def bend_kv(
    run: Run, rng: Random, bend: Callable[[KeyValue], KeyValue], *, local: bool = False
) -> Run | None:
    """One key of one full answer."""
    chosen = []
    for a, out in ranges(run, local=local):
        assert isinstance(a.invoke.op, Range)
        if out.kv and not a.invoke.op.keys_only:
            chosen.append((a, changed(out, kv=(bend(out.kv[0]), *out.kv[1:]))))
    return bend_answer(run, rng, chosen)


@caught_by("linearizable")
def value_from_nowhere(run: Run, rng: Random) -> Run | None:
    return bend_kv(run, rng, lambda kv: changed(kv, v="9999:4"))


@caught_by("linearizable")
def wrong_version(run: Run, rng: Random) -> Run | None:
    return bend_kv(run, rng, lambda kv: changed(kv, ver=kv.ver + 1))


@caught_by("linearizable")
def wrong_mod_revision(run: Run, rng: Random) -> Run | None:
    return bend_kv(run, rng, lambda kv: changed(kv, m=kv.m + 1))


@caught_by("linearizable")
def wrong_create_revision(run: Run, rng: Random) -> Run | None:
    return bend_kv(run, rng, lambda kv: changed(kv, c=kv.c - 1))


@caught_by("linearizable")
def wrong_lease(run: Run, rng: Random) -> Run | None:
    return bend_kv(run, rng, lambda kv: changed(kv, l=kv.l + 7))


@caught_by("linearizable")
def older_state_under_a_new_revision(run: Run, rng: Random) -> Run | None:
    chosen: list[tuple[Answered, object]] = []
    for a, out in ranges(run):
        assert isinstance(a.invoke.op, Range)
        if a.invoke.op.r:
            continue
        olds = (run.store.read(a.invoke.op, r) for r in range(1, a.ok.rev) if r in run.store.states)
        chosen += [(a, old) for old in olds if old != out]
    return bend_answer(run, rng, chosen)


@caught_by("linearizable")
def stale_read(run: Run, rng: Random) -> Run | None:
    """A read that is right for an earlier revision, after a later one was acknowledged."""
    chosen = []
    for a, _ in ranges(run):
        assert isinstance(a.invoke.op, Range)
        returned = [b.ok.rev for b in answered(run, object) if b.ok.at < a.invoke.at]
        if not a.invoke.op.r and returned and max(returned) > 1:
            revision = max(returned) - 1
            if revision in run.store.states:
                chosen.append(
                    (a.place, changed(a.ok, rev=revision, out=run.store.read(a.invoke.op, revision)))
                )
    picked = pick(rng, chosen)
    return picked and with_record(run, *picked)


@caught_by("linearizable")
def key_missing_from_a_range(run: Run, rng: Random) -> Run | None:
    return bend_answer(
        run, rng, [(a, changed(out, kv=out.kv[1:], count=out.count - 1)) for a, out in ranges(run) if out.kv]
    )


@caught_by("linearizable")
def key_repeated_in_a_range(run: Run, rng: Random) -> Run | None:
    return bend_answer(
        run,
        rng,
        [
            (a, changed(out, kv=(*out.kv, out.kv[-1]), count=out.count + 1))
            for a, out in ranges(run)
            if out.kv
        ],
    )


@caught_by("linearizable")
def range_out_of_order(run: Run, rng: Random) -> Run | None:
    return bend_answer(
        run, rng, [(a, changed(out, kv=out.kv[::-1])) for a, out in ranges(run) if len(out.kv) > 1]
    )


@caught_by("linearizable")
def wrong_count(run: Run, rng: Random) -> Run | None:
    return bend_answer(run, rng, [(a, changed(out, count=out.count + 1)) for a, out in ranges(run)])


@caught_by("linearizable")
def more_is_wrong(run: Run, rng: Random) -> Run | None:
    return bend_answer(run, rng, [(a, changed(out, more=not out.more)) for a, out in ranges(run)])


@caught_by("linearizable")
def limit_skips_the_first_key(run: Run, rng: Random) -> Run | None:
    chosen = []
    for a, out in ranges(run):
        assert isinstance(a.invoke.op, Range)
        if out.more and not a.invoke.op.keys_only:
            everything = run.store.read(changed(a.invoke.op, n=0, r=a.invoke.op.r or a.ok.rev), a.ok.rev)
            chosen.append((a, changed(out, kv=everything.kv[1 : len(out.kv) + 1])))
    return bend_answer(run, rng, chosen)


@caught_by("linearizable")
def keys_only_tells_a_value(run: Run, rng: Random) -> Run | None:
    chosen = [
        (a, changed(out, kv=(changed(out.kv[0], v="0001:4"), *out.kv[1:])))
        for a, out in ranges(run)
        if out.kv and out.kv[0].v == ""
    ]
    return bend_answer(run, rng, chosen)


@caught_by("linearizable")
def revision_moves_back(run: Run, rng: Random) -> Run | None:
    """A put is acknowledged with the revision of an earlier one."""
    puts = answered(run, Put)
    chosen = [(b, a) for a in puts for b in puts if a.ok.at < b.invoke.at]
    picked = pick(rng, chosen)
    return picked and with_record(run, picked[0].place, changed(picked[0].ok, rev=picked[1].ok.rev))


@caught_by("linearizable")
def revision_from_the_future(run: Run, rng: Random) -> Run | None:
    picked = pick(rng, answered(run, Put, Delete))
    return picked and with_record(run, picked.place, changed(picked.ok, rev=run.store.revision + 5))


@caught_by("linearizable")
def too_many_deleted(run: Run, rng: Random) -> Run | None:
    return bend_answer(
        run,
        rng,
        [
            (a, DeleteResult(a.ok.out.deleted + 1))
            for a in answered(run, Delete)
            if isinstance(a.ok.out, DeleteResult)
        ],
    )


@caught_by("linearizable")
def deletion_denied(run: Run, rng: Random) -> Run | None:
    chosen: list[tuple[Answered, object]] = [
        (a, DeleteResult(0))
        for a in answered(run, Delete)
        if isinstance(a.ok.out, DeleteResult) and a.ok.out.deleted
    ]
    return bend_answer(run, rng, chosen)


def txns(run: Run) -> list[tuple[Answered, Txn, TxnResult]]:
    return [
        (a, a.invoke.op, a.ok.out)
        for a in answered(run, Txn)
        if isinstance(a.invoke.op, Txn) and isinstance(a.ok.out, TxnResult)
    ]


@caught_by("linearizable")
def other_branch(run: Run, rng: Random) -> Run | None:
    """The transaction says that it took the branch in which there is nothing to do."""
    chosen: list[tuple[Answered, object]] = [
        (a, TxnResult(not out.succeeded))
        for a, op, out in txns(run)
        if out.responses and not (op.orelse if out.succeeded else op.then)
    ]
    return bend_answer(run, rng, chosen)


@caught_by("linearizable")
def bent_read_in_a_transaction(run: Run, rng: Random) -> Run | None:
    chosen = []
    for a, _, out in txns(run):
        for n, response in enumerate(out.responses):
            if isinstance(response, RangeResult):
                bent = changed(response, count=response.count + 1)
                chosen.append(
                    (a, changed(out, responses=(*out.responses[:n], bent, *out.responses[n + 1 :])))
                )
    return bend_answer(run, rng, chosen)


@caught_by("linearizable")
def refused_write_is_applied(run: Run, rng: Random) -> Run | None:
    """A put answers with an error that says it was not applied, and was."""
    picked = pick(rng, answered(run, Put))
    return picked and with_record(run, picked.place, Fail(picked.ok.id, picked.ok.at, "UNAVAILABLE"))


def without_events(run: Run, gone: Callable[[Event], bool], session: int | None = None) -> Run:
    """Watchers are not told of some changes."""
    records = [
        changed(r, ev=tuple(e for e in r.ev if not gone(e)))
        if isinstance(r, Watched) and session in {None, r.w} and r.ev
        else r
        for r in run.records
    ]
    # A response that is left empty would be a bookmark, which says more than the lie does.
    kept = [
        r
        for r, old in zip(records, run.records, strict=True)
        if not (isinstance(r, Watched) and isinstance(old, Watched) and old.ev and not r.ev)
    ]
    return replace(run, records=kept)


def with_content(
    run: Run, bend: Callable[[tuple[KeyValue, ...]], tuple[KeyValue, ...]], members: Iterable[str]
) -> Run:
    bent = {
        name: changed(member, content=bend(member.content or ())) if name in members else member
        for name, member in run.end.members.items()
    }
    return replace(run, end=EndState(run.end.at, bent))


def last_puts(run: Run) -> list[Answered]:
    """Acknowledged puts that are the content at the end."""
    final = {kv.k: kv.m for kv in run.end.members["m1"].content or ()}
    return [
        a for a in answered(run, Put) if isinstance(a.invoke.op, Put) and final.get(a.invoke.op.k) == a.ok.rev
    ]


@caught_by("durability")
def acknowledged_write_is_lost(run: Run, rng: Random) -> Run | None:
    picked = pick(rng, last_puts(run))
    if picked is None:
        return None
    bent = without_events(run, lambda event: event.m == picked.ok.rev)
    return with_content(bent, lambda kvs: tuple(kv for kv in kvs if kv.m != picked.ok.rev), MEMBERS)


@caught_by("linearizable")
def acknowledged_write_never_happened(run: Run, rng: Random) -> Run | None:
    return acknowledged_write_is_lost(run, rng)


@caught_by("durability")
def lost_and_overwritten(run: Run, rng: Random) -> Run | None:
    final = {kv.m for kv in run.end.members["m1"].content or ()}
    picked = pick(
        rng, [a for a in answered(run, Put) if a.ok.rev not in final and a.ok.rev < run.store.revision]
    )
    return picked and without_events(run, lambda event: event.m == picked.ok.rev)


@caught_by("durability")
def one_member_lost_it(run: Run, rng: Random) -> Run | None:
    picked = pick(rng, last_puts(run))
    return picked and with_content(run, lambda kvs: tuple(kv for kv in kvs if kv.m != picked.ok.rev), ["m2"])


@caught_by("durability")
def value_is_bent_at_rest(run: Run, rng: Random) -> Run | None:
    picked = pick(rng, last_puts(run))
    return picked and with_content(
        run,
        lambda kvs: tuple(changed(kv, v="9999:4") if kv.m == picked.ok.rev else kv for kv in kvs),
        MEMBERS,
    )


@caught_by("durability")
def deleted_key_comes_back(run: Run, rng: Random) -> Run | None:
    final = {kv.k for kv in run.end.members["m1"].content or ()}
    gone = [e for e in run.store.events if e.d and e.p and e.k not in final and e.k.startswith("k")]
    acknowledged = {a.ok.rev for a in answered(run, Delete)}
    event = pick(rng, [e for e in gone if e.m in acknowledged])
    if event is None or event.p is None:
        return None
    back = event.p
    return with_content(run, lambda kvs: tuple(sorted((*kvs, back), key=lambda kv: kv.k)), MEMBERS)


@caught_by("durability")
def cluster_goes_back(run: Run, rng: Random) -> Run | None:
    newest = max((a.ok.rev for a in answered(run, Put)), default=0)
    if newest < 2:
        return None
    bent = {n: changed(m, revision=newest - 1, hash_revision=newest - 1) for n, m in run.end.members.items()}
    return replace(run, end=EndState(run.end.at, bent))


@caught_by("kv-hash")
def one_hash_differs(run: Run, rng: Random) -> Run | None:
    bent = {**run.end.members, "m3": changed(run.end.members["m3"], hash=7)}
    return replace(run, end=EndState(run.end.at, bent))


@caught_by("kv-hash")
def one_member_is_a_revision_behind(run: Run, rng: Random) -> Run | None:
    member = run.end.members["m3"]
    bent = {**run.end.members, "m3": changed(member, revision=member.revision - 1)}
    return replace(run, end=EndState(run.end.at, bent))


@caught_by("kv-hash")
def one_member_has_another_content(run: Run, rng: Random) -> Run | None:
    return with_content(run, lambda kvs: kvs[1:], ["m2"]) if run.end.members["m1"].content else None


@caught_by("exits")
def member_dies(run: Run, rng: Random) -> Run | None:
    died = MemberExit(5, expected=False, cause="unexpected", signal=11)
    bent = {**run.end.members, "m2": changed(run.end.members["m2"], exits=(died,))}
    return replace(run, end=EndState(run.end.at, bent))


@caught_by("linearizable")
def change_that_nobody_asked_for(run: Run, rng: Random) -> Run | None:
    return everywhere(run, rng, lambda m: Event("k0", m, "9999:4", m, 1))


@caught_by("linearizable")
def write_is_applied_twice(run: Run, rng: Random) -> Run | None:
    puts = [e for e in run.store.events if not e.d and e.k.startswith("k")]
    picked = pick(rng, puts)
    return picked and everywhere(run, rng, lambda m: changed(picked, m=m, p=None, ver=picked.ver + 1))


def everywhere(run: Run, rng: Random, make: Callable[[int], Event]) -> Run | None:
    """All watchers are told of one change more, at the end, and the store has it."""
    revision = run.store.revision + 1
    event = make(revision)
    at = run.end.at - 5
    extra: list[HistoryRecord] = [
        Watched(r.w, at, revision, (event,)) for r in run.records if isinstance(r, WatchStart)
    ]
    kv = KeyValue(event.k, event.v, event.c, event.m, event.ver, event.l)
    bent = with_content(
        run, lambda kvs: tuple(sorted((*(o for o in kvs if o.k != kv.k), kv), key=lambda o: o.k)), MEMBERS
    )
    ends = {n: changed(m, revision=revision, hash_revision=revision) for n, m in bent.end.members.items()}
    return Run([*run.records, *extra], EndState(run.end.at, ends), run.store)


@caught_by("linearizable")
def transaction_is_torn(run: Run, rng: Random) -> Run | None:
    """Of the changes of one transaction one is missing, for everybody."""
    events = [e for e in run.store.events if e.k.startswith("k")]
    torn = {a.ok.rev for a, _, _ in txns(run)}
    picked = pick(rng, [e for e in events if e.m in torn and sum(o.m == e.m for o in events) > 1])
    return picked and without_events(run, lambda event: (event.m, event.k) == (picked.m, picked.k))


@caught_by("linearizable")
def revoked_lease_keeps_a_key(run: Run, rng: Random) -> Run | None:
    revoked = {a.ok.rev for a in answered(run, LeaseRevoke)}
    others = {a.ok.rev for a in answered(run, Put, Delete, Txn)}
    picked = pick(rng, [e for e in run.store.events if e.d and e.m in revoked - others])
    return picked and without_events(run, lambda event: (event.m, event.k) == (picked.m, picked.k))


@caught_by("linearizable")
def write_seen_before_it_was_asked_for(run: Run, rng: Random) -> Run | None:
    seen = {e.m: r.at for r in reversed(run.records) if isinstance(r, Watched) for e in r.ev}
    late = [a for a in answered(run, Put) if seen.get(a.ok.rev, 10**9) < a.ok.at - 1]
    picked = pick(rng, late)
    if picked is None:
        return None
    place = run.records.index(picked.invoke)
    return with_record(run, place, changed(picked.invoke, at=picked.ok.at - 1))


@caught_by("serializable")
def bent_serializable_read(run: Run, rng: Random) -> Run | None:
    return bend_kv(run, rng, lambda kv: changed(kv, v="9999:4"), local=True)


@caught_by("serializable")
def serializable_read_omits_a_key(run: Run, rng: Random) -> Run | None:
    chosen = [
        (a, changed(out, kv=out.kv[1:], count=out.count - 1)) for a, out in ranges(run, local=True) if out.kv
    ]
    return bend_answer(run, rng, chosen)


@caught_by("serializable")
def member_forgets(run: Run, rng: Random) -> Run | None:
    chosen = []
    for a, _ in ranges(run, local=True):
        assert isinstance(a.invoke.op, Range)
        shown = [
            b.ok.rev for b in answered(run, object) if b.invoke.m == a.invoke.m and b.ok.at < a.invoke.at
        ]
        if shown and max(shown) > 1 and not a.invoke.op.r and max(shown) - 1 in run.store.states:
            revision = max(shown) - 1
            chosen.append((a.place, changed(a.ok, rev=revision, out=run.store.read(a.invoke.op, revision))))
    picked = pick(rng, chosen)
    return picked and with_record(run, *picked)


@caught_by("serializable")
def serializable_read_from_the_future(run: Run, rng: Random) -> Run | None:
    chosen = []
    last = run.store.revision
    latest_call = max((a.invoke.at for a in answered(run, Put)), default=0)
    for a, _ in ranges(run, local=True):
        assert isinstance(a.invoke.op, Range)
        if not a.invoke.op.r and a.ok.at < latest_call:
            chosen.append((a.place, changed(a.ok, rev=last, out=run.store.read(a.invoke.op, last))))
    picked = pick(rng, chosen)
    return picked and with_record(run, *picked)


def responses(run: Run, least: int = 1) -> list[tuple[int, Watched]]:
    return [(n, r) for n, r in enumerate(run.records) if isinstance(r, Watched) and len(r.ev) >= least]


def bend_response(run: Run, rng: Random, chosen: list[tuple[int, Watched]]) -> Run | None:
    picked = pick(rng, chosen)
    return picked and with_record(run, *picked)


@caught_by("watch")
def event_is_dropped(run: Run, rng: Random) -> Run | None:
    picked = pick(rng, [(r, e) for _, r in responses(run) for e in r.ev])
    return picked and without_events(run, lambda e: (e.m, e.k) == (picked[1].m, picked[1].k), picked[0].w)


@caught_by("watch")
def event_is_repeated(run: Run, rng: Random) -> Run | None:
    return bend_response(run, rng, [(n, changed(r, ev=(*r.ev, r.ev[-1]))) for n, r in responses(run)])


@caught_by("watch")
def events_are_reordered(run: Run, rng: Random) -> Run | None:
    chosen = [(n, changed(r, ev=r.ev[::-1])) for n, r in responses(run, 2) if r.ev[0].m != r.ev[-1].m]
    return bend_response(run, rng, chosen)


@caught_by("watch")
def changes_of_a_revision_are_turned_round(run: Run, rng: Random) -> Run | None:
    """For one watcher."""
    chosen = []
    for n, r in responses(run, 2):
        places = [place for place in range(1, len(r.ev)) if r.ev[place].m == r.ev[place - 1].m]
        chosen += [(n, changed(r, ev=(*r.ev[: p - 1], r.ev[p], r.ev[p - 1], *r.ev[p + 1 :]))) for p in places]
    return bend_response(run, rng, chosen)


@caught_by("watch")
def transaction_is_turned_round(run: Run, rng: Random) -> Run | None:
    """For everybody: only the transaction's client knows better."""
    turned = pick(
        rng,
        [
            a.ok.rev
            for a, op, out in txns(run)
            if out.succeeded and len(op.then) > 1 and all(isinstance(step, Put) for step in op.then)
        ],
    )
    if turned is None:
        return None

    def turn(events: tuple[Event, ...]) -> tuple[Event, ...]:
        mine = iter([event for event in events if event.m == turned][::-1])
        return tuple(next(mine) if event.m == turned else event for event in events)

    return replace(
        run, records=[changed(r, ev=turn(r.ev)) if isinstance(r, Watched) else r for r in run.records]
    )


@caught_by("watch")
def deletion_is_told_to_nobody(run: Run, rng: Random) -> Run | None:
    deleted = [
        (a.ok.rev, a.invoke.op.k)
        for a in answered(run, Delete)
        if isinstance(a.invoke.op, Delete) and not a.invoke.op.e and a.ok.out == DeleteResult(1)
    ]
    picked = pick(rng, [one for one in deleted if one[0] < run.store.revision])
    return picked and without_events(run, lambda event: (event.m, event.k) == picked)


@caught_by("watch")
def everybody_is_told_another_value(run: Run, rng: Random) -> Run | None:
    picked = pick(rng, answered(run, Put))
    if picked is None:
        return None

    def bend(event: Event) -> Event:
        return changed(event, v="9999:4") if event.m == picked.ok.rev else event

    return replace(
        run,
        records=[changed(r, ev=tuple(map(bend, r.ev))) if isinstance(r, Watched) else r for r in run.records],
    )


@caught_by("watch")
def header_is_older_than_its_changes(run: Run, rng: Random) -> Run | None:
    return bend_response(run, rng, [(n, changed(r, rev=r.ev[-1].m - 1)) for n, r in responses(run)])


@caught_by("watch")
def deletion_has_a_version(run: Run, rng: Random) -> Run | None:
    chosen = [
        (n, changed(r, ev=(changed(r.ev[0], c=r.ev[0].m, ver=1), *r.ev[1:])))
        for n, r in responses(run)
        if r.ev[0].d
    ]
    return bend_response(run, rng, chosen)


@caught_by("watch")
def revision_is_split(run: Run, rng: Random) -> Run | None:
    picked = pick(rng, [(n, r) for n, r in responses(run, 2) if r.ev[-1].m == r.ev[-2].m])
    if picked is None:
        return None
    n, r = picked
    halves = [changed(r, ev=r.ev[:-1]), changed(r, ev=r.ev[-1:])]
    return replace(run, records=[*run.records[:n], *halves, *run.records[n + 1 :]])


@caught_by("watch")
def bookmark_is_ahead(run: Run, rng: Random) -> Run | None:
    picked = pick(rng, responses(run))
    if picked is None:
        return None
    n, r = picked
    return replace(run, records=[*run.records[:n], Watched(r.w, r.at, r.ev[-1].m), *run.records[n:]])


@caught_by("watch")
def event_from_before_the_start(run: Run, rng: Random) -> Run | None:
    picked = pick(rng, responses(run))
    if picked is None or picked[1].ev[0].m < 2:
        return None
    start = WatchStart(50, picked[1].at, "m1", "k", picked[1].ev[0].m + 1, "l")
    return replace(
        run, records=[*run.records, start, Watched(50, picked[1].at + 1, picked[1].rev, picked[1].ev[:1])]
    )


@caught_by("watch")
def event_of_another_key(run: Run, rng: Random) -> Run | None:
    picked = pick(rng, responses(run))
    if picked is None:
        return None
    start = WatchStart(50, picked[1].at, "m1", "kx", 1, "")
    return replace(
        run, records=[*run.records, start, Watched(50, picked[1].at + 1, picked[1].rev, picked[1].ev[:1])]
    )


@caught_by("watch")
def filtered_event_is_delivered(run: Run, rng: Random) -> Run | None:
    puts = pick(rng, [(r, e) for _, r in responses(run) for e in r.ev if not e.d])
    if puts is None:
        return None
    start = WatchStart(50, puts[0].at, "m1", "k", puts[1].m, "l", filters=("put",))
    return replace(run, records=[*run.records, start, Watched(50, puts[0].at + 1, puts[1].m, puts[1:])])


@caught_by("watch")
def resumption_repeats_events(run: Run, rng: Random) -> Run | None:
    picked = pick(rng, responses(run))
    if picked is None:
        return None
    at, last = run.end.at, max(e.m for _, r in responses(run) if r.w == picked[1].w for e in r.ev)
    again = [
        WatchEnd(picked[1].w, at, "UNAVAILABLE"),
        WatchStart(picked[1].w, at, "m2", "k", last + 1, "l"),
        Watched(picked[1].w, at, last, picked[1].ev),
    ]
    return replace(run, records=[*run.records, *again])


@caught_by("watch")
def creation_is_denied(run: Run, rng: Random) -> Run | None:
    chosen = []
    for n, r in responses(run):
        event = r.ev[0]
        if not event.d:
            bent = (
                changed(event, c=event.c - 1, ver=2)
                if event.c == event.m
                else changed(event, c=event.m, ver=1)
            )
            chosen.append((n, changed(r, ev=(bent, *r.ev[1:]))))
    return bend_response(run, rng, chosen)


@caught_by("watch")
def watched_value_is_bent(run: Run, rng: Random) -> Run | None:
    chosen = [
        (n, changed(r, ev=(changed(r.ev[0], v="9999:4"), *r.ev[1:])))
        for n, r in responses(run)
        if not r.ev[0].d
    ]
    return bend_response(run, rng, chosen)


@caught_by("watch")
def previous_key_is_bent(run: Run, rng: Random) -> Run | None:
    chosen = []
    for n, r in responses(run):
        if r.ev[0].p is not None:
            bent = changed(r.ev[0], p=changed(r.ev[0].p, v="9999:4"))
            chosen.append((n, changed(r, ev=(bent, *r.ev[1:]))))
    return bend_response(run, rng, chosen)


@caught_by("watch")
def previous_key_is_withheld(run: Run, rng: Random) -> Run | None:
    chosen = [
        (n, changed(r, ev=(changed(r.ev[0], p=None), *r.ev[1:])))
        for n, r in responses(run)
        if r.ev[0].p is not None
    ]
    return bend_response(run, rng, chosen)


@caught_by("watch")
def compaction_is_claimed(run: Run, rng: Random) -> Run | None:
    return replace(run, records=[*run.records, WatchEnd(0, run.end.at, "OUT_OF_RANGE", compacted=2)])


@caught_by("watch")
def compaction_that_nobody_asked_for(run: Run, rng: Random) -> Run | None:
    """The session goes on where it was, and loses nothing: only the claim is wrong."""
    newest = run.store.revision + 1
    return replace(run, records=[*run.records, WatchEnd(0, run.end.at, "OUT_OF_RANGE", compacted=newest + 1)])


def ask(run: Run, end: HistoryRecord, op: Operation, at: int) -> Run:
    """One operation more, which is answered so."""
    return replace(run, records=[*run.records, Invoke(9000, at, 99, "m2", op), end])


@caught_by("linearizable")
def compaction_is_claimed_to_a_reader(run: Run, rng: Random) -> Run | None:
    at = run.end.at - 5
    text = "etcdserver: mvcc: required revision has been compacted"
    return ask(run, Fail(9000, at + 1, "OUT_OF_RANGE", text), Range("k0", r=run.store.revision), at)


@caught_by("linearizable")
def revision_that_was_shown_is_called_a_future_one(run: Run, rng: Random) -> Run | None:
    at = run.end.at - 5
    text = "etcdserver: mvcc: required revision is a future revision"
    revision = rng.randint(2, max(2, run.store.revision - 1))
    shown = any(a.ok.rev >= revision for a in answered(run, Put, Delete, Range))
    return ask(run, Fail(9000, at + 1, "OUT_OF_RANGE", text), Range("k0", r=revision), at) if shown else None


@caught_by("linearizable")
def compaction_is_acknowledged_and_not_done(run: Run, rng: Random) -> Run | None:
    at, last = run.end.at - 6, run.store.revision
    if last - 1 not in run.store.states:
        return None
    compacted = [Invoke(9001, at, 98, "m1", Compact(last)), Ok(9001, at + 1, last, 1)]
    bent = replace(run, records=[*run.records, *compacted])
    op = Range("k0", r=last - 1)
    return ask(bent, Ok(9000, at + 3, last, 1, run.store.read(op, last)), op, at + 2)


@caught_by("durability")
def unknown_write_is_shown_and_taken_back(run: Run, rng: Random) -> Run | None:
    """A put of unknown outcome, which one client reads; at the end it never was."""
    at, revision = run.end.at - 6, run.store.revision + 1
    put = [Invoke(9001, at, 98, "m1", Put("kz", "9001:4")), Info(9001, at + 1, "UNAVAILABLE")]
    bent = replace(run, records=[*run.records, *put])
    seen = KeyValue("kz", "9001:4", revision, revision, 1)
    return ask(bent, Ok(9000, at + 3, revision, 1, RangeResult((seen,), 1)), Range("kz"), at + 2)


@caught_by("availability")
def reads_are_refused_for_long(run: Run, rng: Random) -> Run | None:
    second = 1_000_000_000
    asked: list[HistoryRecord] = []
    for number in range(6):
        at = run.end.at + number * second
        error = rng.choice(("etcdserver: no leader", "etcdserver: request timed out"))
        asked += [
            Invoke(9000 + number, at, 99, "m2", Range("k0")),
            Fail(9000 + number, at + 9, "UNAVAILABLE", error),
        ]
    end = msgspec.structs.replace(run.end, at=run.end.at + 6 * second)
    return replace(run, records=[*run.records, *asked], end=end)


def with_restored(
    run: Run, rng: Random, members: Iterable[str], bend: Callable[[KeyValue], KeyValue]
) -> Run | None:
    """One key of the snapshot is another on these members of the new cluster."""
    told = [r for r in run.records if isinstance(r, RestoredRecord) and r.kv]
    if not told:
        return None
    n = rng.randrange(len(told[0].kv))
    records = [
        changed(r, kv=(*r.kv[:n], bend(r.kv[n]), *r.kv[n + 1 :]))
        if isinstance(r, RestoredRecord) and r.m in members
        else r
        for r in run.records
    ]
    return replace(run, records=records)


@caught_by("restore")
def restored_with_another_version(run: Run, rng: Random) -> Run | None:
    return with_restored(run, rng, MEMBERS, lambda kv: changed(kv, ver=kv.ver + 3))


@caught_by("restore")
def restored_with_another_create_revision(run: Run, rng: Random) -> Run | None:
    return with_restored(run, rng, MEMBERS, lambda kv: changed(kv, c=kv.c - 1))


@caught_by("restore")
def restored_with_another_lease(run: Run, rng: Random) -> Run | None:
    return with_restored(run, rng, MEMBERS, lambda kv: changed(kv, l=kv.l + 7))


@caught_by("restore")
def one_member_is_restored_differently(run: Run, rng: Random) -> Run | None:
    return with_restored(run, rng, ["m2"], lambda kv: changed(kv, ver=kv.ver + 3))
