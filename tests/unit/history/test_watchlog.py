"""The merged watch log against its definition, said once more in plain loops."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from tester.history.columns import NONE, EventCol
from tester.history.history import History
from tester.history.records import Event, Watched, WatchStart
from tester.history.watchlog import merge_watch_log

if TYPE_CHECKING:
    from tester.history.records import HistoryRecord

KEY, REVISION = st.sampled_from("abc"), st.integers(2, 8)
PUT, DELETE = (
    st.builds(Event, KEY, REVISION, st.sampled_from("xy")),
    st.builds(Event, KEY, REVISION, d=st.booleans().filter(bool)),
)
# Filters: a session that does not see everything proves nothing.
SESSION = st.tuples(
    st.integers(0, 4),
    st.lists(st.lists(PUT | DELETE, max_size=4), max_size=5),
    st.sampled_from([(), ("put",)]),
)


def records(sessions: list[tuple[int, list[list[Event]], tuple[str, ...]]]) -> list[HistoryRecord]:
    """Their responses in turn, as watchers that run side by side have them."""
    found: list[HistoryRecord] = [
        WatchStart(w, 0, "m1", "\0", rev, "\0", filters=filters)
        for w, (rev, _, filters) in enumerate(sessions)
    ]
    for turn in range(5):
        for w, (_, responses, _) in enumerate(sessions):
            if turn < len(responses):
                newest = max((event.m for event in responses[turn]), default=5)
                found.append(Watched(w, turn, newest, tuple(responses[turn])))
    return found


def plain(
    sessions: list[tuple[int, list[list[Event]], tuple[str, ...]]],
) -> list[tuple[int, str, str | None]]:
    """Per revision the changes of the session that told most of it; of equals, of the one that told most in all."""
    tellers = []
    for _, responses, filters in sessions:
        if not filters:
            told: defaultdict[int, list[tuple[int, str, str | None]]] = defaultdict(list)
            for event in (event for response in responses for event in response):
                change = (event.m, event.k, None if event.d else event.v)
                if change not in told[event.m]:
                    told[event.m].append(change)
            tellers.append(told)
    tellers.sort(key=lambda told: -sum(map(len, told.values())))
    log = []
    for revision in sorted({revision for told in tellers for revision in told}):
        stories = [told[revision] for told in tellers]
        most = max(stories, key=len)
        log += most
    return log


@given(st.lists(SESSION, max_size=5))
def test_merged_is_what_its_definition_says(
    sessions: list[tuple[int, list[list[Event]], tuple[str, ...]]],
) -> None:
    history = History(records(sessions))
    events = merge_watch_log(history).events
    keys, values = history.keys.texts, history.values.texts
    merged = [
        (revision, keys[key], None if value == NONE else values[value])
        for revision, key, value in events[[EventCol.REV, EventCol.KEY, EventCol.VALUE]].T.tolist()
    ]
    assert merged == plain(sessions)
