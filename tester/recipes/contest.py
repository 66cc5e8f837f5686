"""Who is first: etcd's lock and election. Operations and what their answers mean; pure but for ``Ask``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tester.etcd.client import prefix_end
from tester.history.records import (
    Compare,
    Delete,
    KeyValue,
    Put,
    Range,
    RangeResult,
    Txn,
    TxnResult,
)

if TYPE_CHECKING:
    from tester.recipes.session import Ask


@dataclass(frozen=True, slots=True)
class Ticket:
    """A place in the queue: a key, and its create revision, which is the fencing token."""

    key: str
    revision: int


@dataclass(frozen=True, slots=True)
class Standing:
    """All contenders at a revision, first come first."""

    revision: int
    contenders: tuple[KeyValue, ...]

    @property
    def owner(self) -> KeyValue | None:
        """Who is first."""
        return self.contenders[0] if self.contenders else None


class Contest:
    """The contenders of one lock or election are the keys under ``prefix``."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._end = prefix_end(prefix).decode()

    async def enter(self, ask: Ask, lease: int, value: str) -> Ticket | None:
        """Take a place, or find the one that an earlier attempt took. ``None``: nobody knows."""
        key = f"{self.prefix}{lease:x}"
        answer = await ask(
            Txn(
                cmp=(Compare(k=key, target="create", op="=", x=0),),
                then=(Put(k=key, v=value, l=lease),),
                orelse=(Range(k=key),),
            )
        )
        if answer is None or not isinstance(answer.result, TxnResult):
            return None
        if answer.result.succeeded:
            return Ticket(key, answer.revision)
        (found,) = answer.result.responses
        return Ticket(key, found.kv[0].c) if isinstance(found, RangeResult) and found.kv else None

    async def look(self, ask: Ask) -> Standing | None:
        """Who is there, in the order of creation."""
        answer = await ask(Range(k=self.prefix, e=self._end))
        if answer is None or not isinstance(answer.result, RangeResult):
            return None
        return Standing(answer.revision, tuple(sorted(answer.result.kv, key=lambda kv: kv.c)))

    def wins(self, ticket: Ticket, standing: Standing) -> bool:
        """Whether the ticket's owner is first."""
        owner = standing.owner
        return owner is not None and (owner.k, owner.c) == (ticket.key, ticket.revision)

    def predecessor(self, ticket: Ticket, standing: Standing) -> KeyValue | None:
        """The last of those before: whose end is waited for. Waiting for all would wake everybody at once."""
        before = [kv for kv in standing.contenders if kv.c < ticket.revision]
        return before[-1] if before else None

    def is_there(self, ticket: Ticket, standing: Standing) -> bool:
        """Whether the ticket is still valid; its key goes with its lease."""
        return any((kv.k, kv.c) == (ticket.key, ticket.revision) for kv in standing.contenders)

    def fenced(self, ticket: Ticket, step: Put | Delete) -> Txn:
        """A step that only the owner of the ticket can take, whatever they believe."""
        mine = Compare(k=ticket.key, target="create", op="=", x=ticket.revision)
        return Txn(cmp=(mine,), then=(step,), orelse=(Range(k=ticket.key),))
