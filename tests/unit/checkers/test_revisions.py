"""Look-ups of revisions by addition, against a binary search."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tester.checkers.linearizability.revisions import RevisionIndex

_NUMBERS = st.lists(st.integers(0, 60), max_size=30)


@given(_NUMBERS, st.lists(st.integers(-5, 10**9), min_size=1, max_size=30), st.integers(0, 10**8))
def test_it_finds_what_a_search_finds(revisions: list[int], asked: list[int], far: int) -> None:
    """With one revision far behind the others, too far for an index of all between."""
    for column in (np.array(sorted(revisions), dtype=np.int64), np.array(sorted([*revisions, 10**7 + far]))):
        looked_up = np.array([*asked, *column, *(column + 1)])
        found = RevisionIndex(column).at_or_above(looked_up)
        assert found.tolist() == np.searchsorted(column, looked_up, side="left").tolist()
