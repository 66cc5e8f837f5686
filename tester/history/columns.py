"""Names of the columns that a history is kept in. What an absent number looks like is said at each."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

NONE = -1
"""No key range end, no value (a deletion), no previous key."""


class Kind(IntEnum):
    """What a leaf did, and what an operation was."""

    PUT = 0
    DELETE = 1
    RANGE = 2
    TXN = 3
    COMPACT = 4
    GRANT = 5
    REVOKE = 6
    KEEPALIVE = 7
    TTL = 8


class OpCol(IntEnum):
    """One row per operation with outcome ``ok``."""

    ID = 0
    CLIENT = 1
    MEMBER = 2
    KIND = 3
    CALL = 4
    RET = 5
    REV = 6
    LOCAL = 7
    """1: answered from the own state of the member (serializable), maybe a stale one."""
    WROTE = 8
    """How many changes it made; ``NONE`` for a lease revocation, whose answer does not tell."""
    LEAF = 9
    """Row of its first leaf; the last ends where the next operation's first begins."""


class WaitCol(IntEnum):
    """One row per linearizable operation that is no write and was not answered: reads, grants, compactions."""

    ID = 0
    CLIENT = 1
    MEMBER = 2
    KIND = 3
    CALL = 4


class RefusalCol(IntEnum):
    """One row per operation that was refused because of a revision: not there yet, or compacted."""

    ID = 0
    CLIENT = 1
    MEMBER = 2
    KIND = 3
    CALL = 4
    RET = 5
    AT = 6
    """Revision asked for. Of several in a transaction the one most likely to be refused so."""
    FUTURE = 7
    """1: it was not there yet; 0: it was compacted."""
    LOCAL = 8


class LeafCol(IntEnum):
    """One row per put, delete, range or lease call that ran, in a transaction or alone."""

    OP = 0
    KIND = 1
    KEY = 2
    END = 3
    """``NONE``: the single key."""
    VALUE = 4
    LEASE = 5
    SLOT = 6
    """Changes that the same operation made before this leaf."""
    COUNT = 7
    """Keys deleted or counted; TTL of a lease call."""
    AT = 8
    """Revision asked for, 0: now."""
    LIMIT = 9
    """Of a range; the granted TTL that a question for a lease's TTL was answered with."""
    FLAGS = 10
    KV = 11
    """Row of its first answered key."""


class Flag(IntEnum):
    """Bits of ``LeafCol.FLAGS``."""

    MORE = 1
    KEYS_ONLY = 2
    COUNT_ONLY = 4


class KvCol(IntEnum):
    """One row per key in an answer."""

    LEAF = 0
    KEY = 1
    VALUE = 2
    CREATE = 3
    MOD = 4
    VERSION = 5
    LEASE = 6


class NodeCol(IntEnum):
    """One row per transaction that ran, nested ones included."""

    OP = 0
    SUCCEEDED = 1


class CompareCol(IntEnum):
    """One row per condition of a transaction that ran."""

    NODE = 0
    KEY = 1
    END = 2
    TARGET = 3
    """Index in ``TARGETS``."""
    OPERATOR = 4
    """Index in ``OPERATORS``."""
    X = 5
    """A number, or the number of a value."""


TARGETS = ("value", "version", "create", "mod", "lease")
OPERATORS = ("=", "!=", "<", ">")


class ResponseCol(IntEnum):
    """One row per watch response."""

    SESSION = 0
    AT = 1
    REV = 2
    EVENT = 3
    """Row of its first event."""


class EventCol(IntEnum):
    """One row per watched change."""

    SESSION = 0
    RESPONSE = 1
    REV = 2
    KEY = 3
    VALUE = 4
    """``NONE``: a deletion."""
    CREATE = 5
    VERSION = 6
    LEASE = 7
    PREV = 8
    """Row among the previous keys, or ``NONE``."""


TABLES: Final[dict[str, type[IntEnum]]] = {
    "operations": OpCol,
    "leaves": LeafCol,
    "answers": KvCol,
    "transactions": NodeCol,
    "conditions": CompareCol,
    "responses": ResponseCol,
    "events": EventCol,
    "previous": KvCol,
}
"""Names of the tables, and their columns."""

ROWS: Final[dict[str, dict[int, str]]] = {
    "operations": {OpCol.LEAF: "leaves"},
    "leaves": {LeafCol.OP: "operations", LeafCol.KV: "answers"},
    "answers": {KvCol.LEAF: "leaves"},
    "transactions": {NodeCol.OP: "operations"},
    "conditions": {CompareCol.NODE: "transactions"},
    "responses": {ResponseCol.EVENT: "events"},
    "events": {EventCol.RESPONSE: "responses", EventCol.PREV: "previous"},
    "previous": {KvCol.LEAF: "events"},
}
"""By table, the columns that are rows of another table."""
