"""Every operation of every preset against real members: judged valid, and invalid where its answer is bent."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import pytest

from tester.checkers import run_checkers
from tester.history.endstate import EndState, MemberEnd
from tester.history.history import History
from tester.history.reader import read_history
from tester.history.records import (
    FORMAT_VERSION,
    Compact,
    Delete,
    DeleteResult,
    Fail,
    Header,
    HistoryRecord,
    Invoke,
    LeaseRevoke,
    Ok,
    Operation,
    Put,
    Range,
    RangeResult,
    Result,
    Txn,
    TxnResult,
    Watched,
    WatchStart,
)
from tester.history.writer import HistoryWriter
from tester.load.channels import channels_of
from tester.load.engine import Load
from tester.load.kinds import OperationKind
from tester.load.watcher import Watcher
from tester.results import Verdict
from tester.scenario.stressers import KvStresser
from tests.etcd.inside.known import is_known

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.etcd.inside.conftest import Bench

PREFIX = "load/"
SECONDS = 1.0


@dataclass(frozen=True)
class Taken:
    """A recorded load with its evidence."""

    records: list[HistoryRecord]
    end: EndState

    def verdicts(self, records: Sequence[HistoryRecord], *names: str) -> dict[str, Verdict]:
        history = History()
        history.extend(records)
        checks = run_checkers(names or ("linearizable", "watch"), history, self.end)
        return {check.checker: check.verdict for check in checks}

    def complaints(self, version: str) -> dict[str, str]:
        """What checkers have against the members, but for what is known of that version."""
        history = History()
        history.extend(self.records)
        checks = run_checkers(("linearizable", "watch"), history, self.end)
        return {
            check.checker: check.message
            for check in checks
            if check.verdict is not Verdict.VALID and not is_known(version, check)
        }

    def answered(self) -> list[tuple[int, Invoke, Ok]]:
        invokes = {r.id: r for r in self.records if isinstance(r, Invoke)}
        return [(n, invokes[r.id], r) for n, r in enumerate(self.records) if isinstance(r, Ok)]


async def take(bench: Bench, path: Path, settings: dict[str, object], seconds: float = SECONDS) -> Taken:
    members = bench.cluster.endpoints
    writer = HistoryWriter(path)
    names = tuple(bench.cluster.names)
    writer.write(Header(FORMAT_VERSION, "test", 1, "test", 1, 0, PREFIX, names))
    stresser = KvStresser.model_validate({"kind": "kv", "clients": 12, "rate": "600/s", **settings})
    connect = channels_of(writer, over_grpc=False)
    load = Load([stresser], members, writer, bench.clock, 1, PREFIX, connect=connect)
    watchers = [Watcher(n, e, writer, bench.clock, PREFIX, 1) for n, e in enumerate(members)]
    for watcher in watchers:
        await watcher.start()
    await load.start()
    await asyncio.sleep(seconds)
    await load.pause()
    load.check_alive()
    revision = await load.mark(10)
    assert all([await watcher.caught_up(revision, 20) for watcher in watchers])
    ends = {}
    for endpoint in members:
        _, content = await bench.clients[endpoint.member].range_all(PREFIX, revision)
        ends[endpoint.member] = MemberEnd(revision=revision, hash_revision=revision, content=content)
    end = EndState(bench.clock.now(), ends)
    for watcher in watchers:
        await watcher.stop()
    await load.stop()
    await writer.close()
    return Taken(list(read_history(path)), end)


def bent_range(result: RangeResult) -> RangeResult:
    if result.kv:
        first = msgspec.structs.replace(result.kv[0], ver=result.kv[0].ver + 1)
        return msgspec.structs.replace(result, kv=(first, *result.kv[1:]))
    return msgspec.structs.replace(result, count=result.count + 1)


def bent_txn(result: TxnResult) -> TxnResult:
    """One of its reads told something else."""
    responses = list(result.responses)
    for place, response in enumerate(responses):
        if isinstance(response, RangeResult):
            responses[place] = bent_range(response)
        elif isinstance(response, TxnResult) and response.responses:
            responses[place] = bent_txn(response)
        else:
            continue
        return msgspec.structs.replace(result, responses=tuple(responses))
    return result


def bent(op: Operation, out: Result | None) -> Result | None:
    if isinstance(out, RangeResult):
        return bent_range(out)
    if isinstance(out, TxnResult):
        return bent_txn(out)
    if isinstance(out, DeleteResult):
        return DeleteResult(deleted=out.deleted + 1)
    return out


def nested(op: Operation) -> bool:
    return isinstance(op, Txn) and any(isinstance(step, Txn) for step in (*op.then, *op.orelse))


def compares_a_range(op: Operation) -> bool:
    return isinstance(op, Txn) and len(op.cmp) == 1 and bool(op.cmp[0].e)


KINDS: dict[str, Callable[[Operation], bool]] = {
    "get at a revision": lambda op: isinstance(op, Range) and op.r > 0 and not op.e,
    "page of a list": lambda op: isinstance(op, Range) and op.n > 0 and op.r > 0,
    "count": lambda op: isinstance(op, Range) and op.count_only,
    "get": lambda op: isinstance(op, Range) and op == Range(k=op.k),
    "range": lambda op: isinstance(op, Range) and bool(op.e) and op == Range(k=op.k, e=op.e),
    "delete": lambda op: isinstance(op, Delete) and not op.e,
    "delete range": lambda op: isinstance(op, Delete) and bool(op.e),
    "range compare": compares_a_range,
    "mixed": nested,
    "guarded": lambda op: isinstance(op, Txn) and op.cmp[0].target == "mod" and not op.cmp[0].e,
}
ASKED = {
    "transactions": (
        "get at a revision",
        "get",
        "range",
        "delete range",
        "range compare",
        "mixed",
        "guarded",
    ),
    "kubernetes": ("page of a list", "count", "get", "guarded"),
    "large-values": ("get", "range", "delete"),
    "register": tuple(KINDS),
}
# Lists weigh more: a second page needs a first one, more keys than fit on it, and no compaction in between.
EVERYTHING = {
    "weights": dict.fromkeys(OperationKind, 1) | {OperationKind.LIST: 4},
    "keys": 80,
    "page_keys": 5,
    "keep_revisions": 100,
}


def lie(taken: Taken, wanted: Callable[[Operation], bool]) -> list[HistoryRecord] | None:
    """The records with one answer bent; ``None``: nothing of the kind could be."""
    for place, invoke, ok in taken.answered():
        if wanted(invoke.op) and (out := bent(invoke.op, ok.out)) != ok.out:
            records = list(taken.records)
            records[place] = msgspec.structs.replace(ok, out=out)
            return records
    return None


def other_branch(taken: Taken) -> list[HistoryRecord]:
    """A range compare that says it chose the other branch: a write that nobody sees, or a write denied."""
    for place, invoke, ok in taken.answered():
        if compares_a_range(invoke.op) and isinstance(ok.out, TxnResult) and not ok.out.succeeded:
            records = list(taken.records)
            out = TxnResult(succeeded=True, responses=(DeleteResult(),))
            op = invoke.op
            assert isinstance(op, Txn)
            # then: something that changes nothing, so that only the condition speaks against it
            claimed = msgspec.structs.replace(op, then=(Delete(k=op.cmp[0].k[:-1] + "x"),))
            records[records.index(invoke)] = msgspec.structs.replace(invoke, op=claimed)
            records[place] = msgspec.structs.replace(ok, out=out)
            return records
    raise AssertionError("no range compare was refuted")


@pytest.mark.parametrize(
    ("preset", "settings"),
    [
        ("transactions", {}),
        ("kubernetes", {"keys": 60, "page_keys": 7, "arrivals": "open"}),
        ("large-values", {"rate": "150/s"}),
        ("register", EVERYTHING),
    ],
)
async def test_presets(bench: Bench, tmp_path: Path, preset: str, settings: dict[str, object]) -> None:
    seconds = 4.0 if settings is EVERYTHING else SECONDS
    taken = await take(bench, tmp_path / "history.jsonl", {"preset": preset, **settings}, seconds)
    assert taken.complaints(bench.cluster.version) == {}
    errors = Counter(r.text for r in taken.records if isinstance(r, Fail))
    # a machine that stalls lets a lease end before the put with it arrives
    compacted, late = "etcdserver: mvcc: required revision has been compacted", "requested lease not found"
    assert set(errors) <= {compacted, f"etcdserver: {late}"}, errors
    for kind in ASKED[preset]:
        records = lie(taken, KINDS[kind])
        assert records is not None, f"no {kind} was answered"
        assert taken.verdicts(records)["linearizable"] is Verdict.INVALID, kind
    if preset == "transactions":
        assert taken.verdicts(other_branch(taken))["linearizable"] is Verdict.INVALID
    if preset == "register":
        assert taken.verdicts(taken.records, "serializable") == {"serializable": Verdict.VALID}
        records = lie(taken, lambda op: isinstance(op, Range) and op.s)
        assert records is not None
        assert taken.verdicts(records, "serializable") == {"serializable": Verdict.INVALID}
        compactions = [place for place, invoke, _ in taken.answered() if isinstance(invoke.op, Compact)]
        records = list(taken.records)
        last = records[compactions[-1]]
        assert isinstance(last, Ok)
        records[compactions[-1]] = msgspec.structs.replace(last, rev=2)
        assert taken.verdicts(records)["linearizable"] is Verdict.INVALID
    if preset == "kubernetes":
        listers = {r.w for r in taken.records if isinstance(r, WatchStart) and r.w >= 1000}
        assert len(listers) == 3
        asked = {r.filters for r in taken.records if isinstance(r, WatchStart) and r.w >= 1000}
        assert asked == {(), ("put",), ("delete",)}
        assert taken.verdicts(taken.records, "serializable") == {"serializable": Verdict.VALID}


NEGATED = {"=": "!=", "!=": "="}


async def test_leases_end_amid_transactions_that_compare_them(bench: Bench, tmp_path: Path) -> None:
    weights = {"put-lease": 0.4, "txn-mixed": 0.3, "txn-cas": 0.1, "get": 0.2}
    settings: dict[str, object] = {"preset": "transactions", "keys": 300, "range_keys": 2, "weights": weights}
    taken = await take(bench, tmp_path / "history.jsonl", settings, seconds=6.0)
    assert taken.complaints(bench.cluster.version) == {}
    invoked = [r.op for r in taken.records if isinstance(r, Invoke)]
    put_with = {op.l for op in invoked if isinstance(op, Put) and op.l}
    compared = {one.x for op in invoked if isinstance(op, Txn) for one in op.cmp if one.target == "lease"}
    assert put_with & compared
    asked = {r.rev for _, invoke, r in taken.answered() if isinstance(invoke.op, Delete | Txn | LeaseRevoke)}
    ended = [e for r in taken.records if isinstance(r, Watched) for e in r.ev if e.d and e.m not in asked]
    assert ended, "no lease ended"
    answered = {ok.id for _, _, ok in taken.answered()}
    place, invoke = next(
        (n, r)
        for n, r in enumerate(taken.records)
        if isinstance(r, Invoke)
        and isinstance(r.op, Txn)
        and r.op.cmp[0].target == "lease"
        and r.op.cmp[0].op in NEGATED
        and r.op.cmp[0].x
        and r.id in answered
    )
    assert isinstance(invoke.op, Txn)
    condition = invoke.op.cmp[0]
    negated = msgspec.structs.replace(condition, op=NEGATED[condition.op])
    records = list(taken.records)
    records[place] = msgspec.structs.replace(invoke, op=msgspec.structs.replace(invoke.op, cmp=(negated,)))
    assert taken.verdicts(records)["linearizable"] is Verdict.INVALID
