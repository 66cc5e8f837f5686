from collections import Counter
from itertools import count
from random import Random

import pytest

from tester.errors import ScenarioError
from tester.etcd import codec
from tester.history.records import KeyValue, Put, PutResult, Range, RangeResult, Txn, TxnResult
from tester.load.operations import KeyDistribution, Mix, OperationKind, OperationSource
from tester.load.presets import PRESETS, mix_of
from tester.scenario.stressers import KvStresser


def source(mix: Mix, seed: str = "1") -> OperationSource:
    return OperationSource(mix, "p/0/", Random(seed), count(1))


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
        method, request = codec.request(drawn.draw())
        assert request.count(b"p/0/") >= 1
        assert method.startswith("/etcdserverpb.KV/")


def test_the_mix_is_drawn_by_its_weights() -> None:
    drawn = source(PRESETS["functional"])
    kinds = Counter(type(drawn.draw()).__name__ for _ in range(20_000))
    share = {kind: number / 20_000 for kind, number in kinds.items()}
    assert share["Put"] == pytest.approx(0.352 / 0.982, abs=0.02)
    assert share["Txn"] == pytest.approx(0.35 / 0.982, abs=0.02)
    assert share["Range"] == share["Delete"] == pytest.approx(0.14 / 0.982, abs=0.02) or share["Delete"] > 0.1


def test_no_two_writes_write_the_same_value() -> None:
    ids = count(1)
    sources = [OperationSource(PRESETS["register"], "p/", Random(n), ids) for n in range(3)]
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


def test_an_unknown_preset_names_those_there_are() -> None:
    with pytest.raises(ScenarioError, match="functional, register"):
        mix_of(stresser(preset="nonsense"))
