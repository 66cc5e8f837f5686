import pytest
from hypothesis import given
from hypothesis import strategies as st

from tester.load import values

IDS = st.integers(1, 10**12)
SIZES = st.integers(1, 3000)


@given(IDS, SIZES)
def test_a_value_is_told_from_its_bytes(identifier: int, size: int) -> None:
    data = values.encode(identifier, size)
    assert values.decode(data) == values.text(identifier, size)
    assert values.to_bytes(values.text(identifier, size)) == data
    assert len(data) >= size


@given(IDS, st.integers(20, 300), st.data())
def test_a_damaged_value_does_not_pass(identifier: int, size: int, data: st.DataObject) -> None:
    whole = values.encode(identifier, size)
    at = data.draw(st.integers(0, size - 1))
    bent = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    assert values.decode(bent) != values.text(identifier, size)


@given(IDS, IDS, st.integers(40, 200))
def test_two_values_mixed_are_neither(one: int, other: int, size: int) -> None:
    mixed = values.encode(one, size)[:20] + values.encode(other, size)[20:]
    if one != other:
        assert values.decode(mixed).startswith("sha256:")


@given(st.binary(max_size=30))
def test_only_of_a_whole_value_the_bytes_are_known(value: bytes) -> None:
    recorded = values.decode(value)
    if values.is_whole(recorded):
        assert values.to_bytes(recorded) == value
    else:
        with pytest.raises(ValueError, match="is not a value of the load"):
            values.to_bytes(recorded)


def test_foreign_values_are_held_as_a_digest() -> None:
    assert not any(map(values.is_whole, (values.decode(b"hello"), values.decode(b""))))
    assert values.is_whole(values.decode(values.encode(17, 40)))
    assert values.decode(b"hello").startswith("sha256:")
    assert values.decode(b"007:007:").startswith("sha256:")
    assert values.decode(b"") == ""
