from collections import Counter
from itertools import count
from random import Random

import pytest
from etcd3.etcdrpc import rpc_pb2 as pb
from pydantic import ValidationError

from tester.etcd import codec
from tester.etcd.channel import Method
from tester.history.records import (
    Compact,
    Delete,
    DeleteResult,
    KeyValue,
    LeaseGrant,
    LeaseResult,
    LeaseRevoke,
    Put,
    PutResult,
    Range,
    RangeResult,
    Txn,
    TxnResult,
)
from tester.load import values
from tester.load.keys import KeySpace
from tester.load.kinds import KeyDistribution, OperationKind
from tester.load.operations import Mix, OperationSource
from tester.load.presets import PRESETS, mix_of
from tester.scenario.stressers import KvStresser


def source(mix: Mix, seed: str = "1") -> OperationSource:
    return OperationSource(mix, "p/0/", Random(seed), count(1), count(1))


def stresser(**settings: object) -> KvStresser:
    return KvStresser.model_validate({"kind": "kv", **settings})


@pytest.mark.parametrize("name", PRESETS)
def test_the_same_seed_asks_the_same(name: str) -> None:
    first, second, other = source(PRESETS[name]), source(PRESETS[name]), source(PRESETS[name], "2")
    drawn = [first.draw() for _ in range(200)]
    assert drawn == [second.draw() for _ in range(200)]
    assert drawn != [other.draw() for _ in range(200)]


@pytest.mark.parametrize("name", PRESETS)
def test_every_operation_has_a_request_and_stays_under_the_prefix(name: str) -> None:
    drawn = source(PRESETS[name])
    for _ in range(500):
        op = drawn.draw()
        method, request = codec.request(op)
        if isinstance(op, LeaseGrant):
            assert method == Method.LEASE_GRANT
            drawn.learn(op, 2, LeaseResult(op.ttl))
        elif isinstance(op, LeaseRevoke):
            assert method == Method.LEASE_REVOKE
        else:
            assert request.count(b"p/0/") >= 1
            assert method.startswith("/etcdserverpb.KV/")


def test_compactions_have_a_request_and_an_answer() -> None:
    method, request = codec.request(Compact(r=7, physical=True))
    assert method == Method.COMPACT
    assert request == pb.CompactionRequest(revision=7, physical=True).SerializeToString()
    answer = pb.CompactionResponse(header=pb.ResponseHeader(revision=9, raft_term=2)).SerializeToString()
    assert codec.answer(Compact(r=7), answer) == codec.Answer(9, 2, None)
    assert codec.is_write(Compact(r=7))


def test_the_mix_is_drawn_by_its_weights() -> None:
    drawn = source(PRESETS["functional"])
    kinds = Counter(type(drawn.draw()).__name__ for _ in range(20_000))
    share = {kind: number / 20_000 for kind, number in kinds.items()}
    assert share["Put"] == pytest.approx(0.352 / 0.982, abs=0.02)
    assert share["Txn"] == pytest.approx(0.35 / 0.982, abs=0.02)
    assert share["Range"] == share["Delete"] == pytest.approx(0.14 / 0.982, abs=0.02) or share["Delete"] > 0.1


def test_no_two_writes_write_the_same_value() -> None:
    ids = count(1)
    sources = [OperationSource(PRESETS["register"], "p/", Random(n), ids, count(1)) for n in range(3)]
    written = [op.v for _ in range(300) for s in sources if isinstance(op := s.draw(), Put)]
    assert len(written) == len(set(written)) > 0


def test_ranges_are_bounded_by_the_key_space() -> None:
    mix = Mix(weights=((OperationKind.RANGE, 1.0),), keys=50, range_keys=20)
    drawn = source(mix)
    for _ in range(200):
        op = drawn.draw()
        assert isinstance(op, Range)
        start, end = int(op.k[-8:]), int(op.e[-8:])
        assert 0 < end - start <= 20
        assert end <= 50


def test_zipf_has_a_hot_key_and_uniform_has_none() -> None:
    def hottest(distribution: KeyDistribution) -> float:
        mix = Mix(weights=((OperationKind.GET, 1.0),), keys=100, distribution=distribution)
        drawn = source(mix)
        return Counter(op.k for _ in range(5000) if isinstance(op := drawn.draw(), Range)).most_common(1)[0][
            1
        ]

    assert hottest(KeyDistribution.ZIPF) > 500 > 150 > hottest(KeyDistribution.UNIFORM)


def test_compare_and_swap_uses_the_revision_last_seen() -> None:
    mix = Mix(weights=((OperationKind.TXN_CAS, 1.0),), keys=1)
    drawn = source(mix)
    first = drawn.draw()
    assert isinstance(first, Txn)
    assert first.cmp[0].x == 0
    found = RangeResult(kv=(KeyValue(k=first.cmp[0].k, v="1:9", c=4, m=7, ver=2),), count=1)
    drawn.learn(first, 9, TxnResult(succeeded=False, responses=(found,)))
    second = drawn.draw()
    assert isinstance(second, Txn)
    assert second.cmp[0].x == 7
    drawn.learn(second, 12, TxnResult(succeeded=True, responses=(PutResult(),)))
    third = drawn.draw()
    assert isinstance(third, Txn)
    assert third.cmp[0].x == 12


@pytest.mark.parametrize(
    ("value", "compared"), [(b"17:17:17:", True), (b"7:17:17:", False), (b"hello", False), (b"", False)]
)
def test_only_a_value_of_the_load_is_compared_with(value: bytes, *, compared: bool) -> None:
    drawn = source(Mix(weights=((OperationKind.TXN_MIXED, 1.0),), keys=3))
    space = KeySpace("p/0/", 3, KeyDistribution.UNIFORM, Random(1))
    targets = set()
    for _ in range(200):
        found = [KeyValue(k=space.at(n), v=values.decode(value), c=4, m=7, ver=2) for n in range(3)]
        drawn.learn(Range(k=space.first, e=space.end), 9, RangeResult(kv=tuple(found), count=3))
        op = drawn.draw()
        assert isinstance(op, Txn)
        codec.request(op)
        targets |= {condition.target for condition in op.cmp}
    assert targets - {"value"} == {"version", "create", "mod", "lease"}
    assert ("value" in targets) is compared


def test_toggling_several_keys_nests() -> None:
    mix = Mix(weights=((OperationKind.TXN_TOGGLE, 1.0),), keys=1, txn_operations=3)
    op = source(mix).draw()
    assert isinstance(op, Txn)
    keys = []
    while True:
        keys.append(op.cmp[0].k)
        inner = [part for part in op.then if isinstance(part, Txn)]
        if not inner:
            break
        (op,) = inner
    assert len(set(keys)) == 3


def test_a_stresser_overrides_its_preset() -> None:
    mix = mix_of(stresser(preset="functional", keys=7, value_size="1KiB"))
    assert (mix.keys, mix.value_size) == (7, 1024)
    assert mix_of(stresser()) == PRESETS["functional"]
    transactions = mix_of(stresser(txn_keys=5, txn_operations=3))
    assert (transactions.txn_keys, transactions.txn_operations) == (5, 3)
    with pytest.raises(ValidationError, match="txn_operations are more than txn_keys"):
        stresser(txn_keys=2, txn_operations=3)


def test_a_stresser_overrides_weights_and_distribution() -> None:
    mix = mix_of(stresser(preset="register", weights={"put": 1, "compact": 0.5}, distribution="hot-key"))
    assert mix.weights == ((OperationKind.PUT, 1.0), (OperationKind.COMPACT, 0.5))
    assert mix.distribution is KeyDistribution.HOT_KEY
    drawn = source(mix)
    keys = Counter(op.k for op in (drawn.draw() for _ in range(2000)) if isinstance(op, Put))
    (hottest, times), (_, second) = keys.most_common(2)
    assert hottest.endswith("k00000000")
    assert times > 3 * second


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"preset": "nonsense"}, ("preset",)),
        ({"weights": {"nonsense": 1}}, ("weights", "nonsense", "[key]")),
        ({"weights": {"put": 0}}, ("weights", "put")),
        ({"weights": {}}, ("weights",)),
        ({"distribution": "normal"}, ("distribution",)),
        ({"arrivals": "open"}, ()),
    ],
)
def test_a_stresser_refuses(settings: dict[str, object], place: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as refused:
        stresser(**settings)
    assert [error["loc"] for error in refused.value.errors()] == [place]


def test_a_list_is_read_in_pages_at_the_revision_of_the_first() -> None:
    drawn = source(Mix(weights=((OperationKind.LIST, 1.0),), keys=9, page_keys=2))
    first = drawn.draw()
    assert isinstance(first, Range)
    assert (first.k, first.e, first.r, first.n) == ("p/0/k00000000", "p/0/k00000009", 0, 2)
    found = tuple(KeyValue(k=f"p/0/k0000000{n}", v="1:9", c=4, m=7, ver=2) for n in (3, 5))
    drawn.learn(first, 30, RangeResult(kv=found, count=3, more=True))
    second = drawn.draw()
    assert isinstance(second, Range)
    assert (second.k, second.r) == ("p/0/k00000005\0", 30)
    drawn.lost(second)
    assert drawn.draw() == first
    drawn.learn(first, 31, RangeResult(kv=found[:1], count=1))
    assert drawn.draw() == first


def test_every_fourth_list_asks_for_keys_alone() -> None:
    drawn = source(Mix(weights=((OperationKind.LIST, 1.0),), keys=9, page_keys=2))
    found = (KeyValue(k="p/0/k00000003", v="1:9", c=4, m=7, ver=2),)
    asked = []
    for revision in range(2, 10):
        first = drawn.draw()
        assert isinstance(first, Range)
        drawn.learn(first, revision, RangeResult(kv=found, count=3, more=True))
        last = drawn.draw()
        assert isinstance(last, Range)
        assert last.keys_only == first.keys_only  # all pages of a list
        drawn.learn(last, revision, RangeResult(kv=found, count=3))
        asked.append(first.keys_only)
    assert asked == [False, False, False, True] * 2


def test_reads_of_the_past_and_compactions_follow_what_was_seen() -> None:
    weights = ((OperationKind.GET_AT_REVISION, 1.0), (OperationKind.COMPACT, 1.0))
    drawn = source(Mix(weights=weights, keys=5, keep_revisions=100))
    assert all(isinstance(op, Range) and op.r == 0 for op in (drawn.draw() for _ in range(20)))
    drawn.learn(Range(k="p/0/k00000000"), 1000, RangeResult())
    past = [drawn.draw() for _ in range(200)]
    assert {(op.r, op.physical) for op in past if isinstance(op, Compact)} == {(900, False), (900, True)}
    assert {500 < op.r <= 1000 for op in past if isinstance(op, Range)} == {True}


def test_guards_are_what_was_last_seen_of_a_key() -> None:
    kinds = (OperationKind.UPDATE, OperationKind.DELETE_GUARDED)
    drawn = source(Mix(weights=tuple((kind, 1.0) for kind in kinds), keys=1))
    unseen = drawn.draw()
    assert isinstance(unseen, Txn)
    assert unseen.cmp[0].x == 1  # a revision that no key of a load has
    key = unseen.cmp[0].k
    drawn.learn(Put(k=key, v="1:2"), 7, None)
    assert {op.cmp[0].x for op in (drawn.draw() for _ in range(20)) if isinstance(op, Txn)} == {7}
    drawn.learn(Delete(k=key), 9, DeleteResult(deleted=1))
    assert {op.cmp[0].x for op in (drawn.draw() for _ in range(20)) if isinstance(op, Txn)} == {10}


def test_mixed_transactions_compare_everything_and_never_put_a_key_twice() -> None:
    drawn = source(Mix(weights=((OperationKind.TXN_MIXED, 1.0), (OperationKind.PUT, 1.0)), keys=6))
    targets = set()
    for revision in range(2, 600):
        op = drawn.draw()
        if isinstance(op, Put):
            drawn.learn(op, revision, None)
            continue
        assert isinstance(op, Txn)
        targets.add(op.cmp[0].target)
        inner = [step for step in op.then if isinstance(step, Txn)]
        puts = [step.k for step in (*op.then, *inner[0].then) if isinstance(step, Put)]
        assert len(puts) == len(set(puts)) == 3
    assert targets == {"version", "create", "mod", "lease", "value"}


def test_transactions_compare_with_the_leases_that_keys_were_put_with() -> None:
    weights = ((OperationKind.TXN_MIXED, 1.0), (OperationKind.PUT_LEASE, 1.0))
    drawn = source(Mix(weights=weights, keys=6))
    granted, compared = set(), set()
    for revision in range(2, 600):
        op = drawn.draw()
        if isinstance(op, LeaseGrant):
            granted.add(op.l)
        if isinstance(op, Txn):
            compared |= {one.x for one in op.cmp if one.target == "lease"}
        else:
            drawn.learn(op, revision, None)
    assert len(granted) > 4
    assert compared > {0}
    assert compared <= {0, *granted}


def test_range_compares_are_as_wide_as_asked() -> None:
    mix = mix_of(stresser(preset="transactions", weights={"txn-range": 1}, compare_keys=4000))
    drawn = source(mix)
    widths = []
    for _ in range(50):
        op = drawn.draw()
        assert isinstance(op, Txn)
        widths.append(int(op.cmp[0].e[-8:]) - int(op.cmp[0].k[-8:]))
    assert max(widths) == 4000
