"""Linearizability by trying every order: slow, simple, and written without a look at the checker."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tester.history.operations import is_local, is_write
from tester.history.records import Event, Fail, Invoke, KeyValue, Ok, Operation, Watched
from tests.unit.checkers.model import RefusedError, Store

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from tests.unit.checkers.world import Run

FOREVER = 10**18


class Permissive(Store):
    """Leases exist whenever they are named: whether they should is another checker's question."""

    def _check_leases(self, op: Operation) -> None:
        pass

    def apply(self, op: Operation) -> tuple[int, object]:
        self.leases.add(getattr(op, "l", 0))
        if type(op).__name__ == "LeaseGrant":
            self.leases.discard(getattr(op, "l", 0))
        return super().apply(op)


@dataclass(frozen=True)
class Call:
    """``answer`` of ``None``: nobody knows."""

    invoke: Invoke
    answer: Ok | None

    @property
    def returned(self) -> int:
        return self.answer.at if self.answer else FOREVER


class BruteForce:
    def __init__(
        self, run: Run, prefix: str, begun: Store | None = None, unseen: Container[int] = ()
    ) -> None:
        """``begun`` is what was there before: an empty store, if none is given. ``unseen``: what no watcher saw."""
        self._unseen = unseen
        self._begun = begun or Store()
        self._prefix = prefix
        self._end = run.end
        invokes = {r.id: r for r in run.records if isinstance(r, Invoke)}
        answers = {r.id: r for r in run.records if isinstance(r, Ok)}
        failed = {r.id for r in run.records if isinstance(r, Fail)}
        self._calls = []
        self._sightings = [(r.at, r.rev) for r in run.records if isinstance(r, Watched)]
        self._watched: dict[int, list[Event]] = {}
        self._covered = 0
        for record in run.records:
            if isinstance(record, Watched):
                self._sightings += [(record.at, event.m) for event in record.ev]
                self._covered = max(
                    [self._covered, *(e.m for e in record.ev)] + ([] if record.ev else [record.rev])
                )
                for event in record.ev:
                    self._watched.setdefault(event.m, []).append(event)
        for number, invoke in invokes.items():
            answer = answers.get(number)
            if answer and is_local(invoke.op):
                self._sightings.append((answer.at, answer.rev))
            elif answer or (is_write(invoke.op) and number not in failed):
                self._calls.append(Call(invoke, answer))
        revisions = [a.rev for a in answers.values()] + [m.hash_revision for m in run.end.members.values()]
        self._last = max(revisions)

    def linearizable(self) -> bool:
        begun = deepcopy(self._begun)
        store = Permissive(begun.revision, leases=begun.leases, live=begun.live, states=begun.states)
        return self._extend(store, frozenset(range(len(self._calls))))

    def _extend(self, store: Permissive, left: frozenset[int]) -> bool:
        if all(self._calls[i].answer is None for i in left) and self._finishes(store):
            return True
        first_return = min((self._calls[i].returned for i in left), default=FOREVER)
        for i in left:
            call = self._calls[i]
            if call.invoke.at <= first_return:
                for after in self._outcomes(store, call):
                    if self._extend(after, left - {i}):
                        return True
        attached = {kv.l for kv in store.live.values()} - {0}
        return any(
            self._extend(after, left) for lease in attached for after in self._expirations(store, lease)
        )

    def _jumps(self, store: Permissive) -> Iterator[Permissive]:
        """Somebody else may write any number of times outside the prefix."""
        for revision in range(store.revision, self._last + 1):
            if self._skipped_is_unwatched(store.revision, revision):
                after = deepcopy(store)
                for between in range(store.revision + 1, revision + 1):
                    after.states[between] = dict(store.live)
                after.revision = revision
                yield after

    def _skipped_is_unwatched(self, revision: int, upto: int) -> bool:
        return not any(between in self._watched for between in range(revision + 1, upto + 1))

    def _outcomes(self, store: Permissive, call: Call) -> Iterator[Permissive]:
        seen = max((revision for at, revision in self._sightings if at < call.invoke.at), default=0)
        for after in self._jumps(store):
            before = after.revision
            if before < seen:
                continue
            try:
                revision, out = after.apply(call.invoke.op)
            except (RefusedError, KeyError):
                continue
            if not self._is_watched_right(after, before):
                continue
            if call.answer is None:
                if revision > before:
                    yield after
            elif (revision, out) == (call.answer.rev, call.answer.out):
                yield after

    def _expirations(self, store: Permissive, lease: int) -> Iterator[Permissive]:
        for after in self._jumps(store):
            before = after.revision
            after.expire(lease)
            if self._is_watched_right(after, before):
                yield after

    def _is_watched_right(self, store: Permissive, before: int) -> bool:
        revision = store.revision
        if revision == before or revision > self._covered or revision in self._unseen:
            return True
        made = [event for event in store.events if event.m == revision]
        return [plain(event) for event in made] == [plain(event) for event in self._watched.get(revision, [])]

    def _finishes(self, store: Permissive) -> bool:
        for after in self._jumps(store):
            told = [member for member in self._end.members.values() if member.content is not None]
            if all(member.content == self._content(after, member.hash_revision) for member in told):
                return not any(revision > after.revision for revision in self._watched)
        return False

    def _content(self, store: Permissive, revision: int) -> tuple[KeyValue, ...] | None:
        state = store.states.get(revision)
        return (
            None
            if state is None
            else tuple(state[key] for key in sorted(state) if key.startswith(self._prefix))
        )


def plain(event: Event) -> tuple[object, ...]:
    if event.d:
        return (event.k, event.m, "deleted")
    return (event.k, event.m, event.v, event.c, event.ver, event.l)
