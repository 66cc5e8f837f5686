"""The words of a mix: which operations, which keys, which clients."""

from __future__ import annotations

from enum import StrEnum


class OperationKind(StrEnum):
    """Operations a mix is made of."""

    PUT = "put"
    PUT_LARGE = "put-large"
    GET = "get"
    GET_SERIALIZABLE = "get-serializable"
    """The member answers from its own state, perhaps a stale one."""
    GET_AT_REVISION = "get-at-revision"
    """A linearizable read of a revision of the recent past."""
    RANGE = "range"
    COUNT = "count"
    """How many keys there are."""
    LIST = "list"
    """The next page of a list of all keys; all pages of a list are read at the revision of the first. Every
    fourth list asks for keys alone."""
    PUT_LEASE = "put-lease"
    """Write a key with one of a few leases of this client, which end or are revoked in turn."""
    DELETE = "delete"
    DELETE_RANGE = "delete-range"
    TXN_TOGGLE = "txn-toggle"
    """Delete the key if it exists, else write it; with several keys, nested."""
    TXN_CAS = "txn-cas"
    """Write the key if it is unchanged since this client last saw it, else read it."""
    TXN_RANGE = "txn-range"
    """Write into a wide range if no key of it has changed since this client's last answer, else count it."""
    TXN_MIXED = "txn-mixed"
    """Conditions of every kind; writes, a range delete, reads and a transaction within, in both branches."""
    CREATE = "create"
    """Write the key if there is none, else read it."""
    UPDATE = "update"
    """Write the key if it exists as this client last saw it, else read it."""
    DELETE_GUARDED = "delete-guarded"
    """Delete the key if it is as this client last saw it, else read it."""
    COMPACT = "compact"
    """Every second one asks etcd to answer no sooner than it is done (``physical``)."""


class Preset(StrEnum):
    """Mixes with a name."""

    FUNCTIONAL = "functional"
    """The mix of the etcd functional test suite."""
    REGISTER = "register"
    """Few keys, read, written, compared and swapped: for proof."""
    TRANSACTIONS = "transactions"
    """Range compares over thousands of keys, mixed and nested transactions, leases, the past, compaction."""
    KUBERNETES = "kubernetes"
    """Guarded writes, lists in pages, lists that go on as watches."""
    LARGE_VALUES = "large-values"
    """A fifth of the operations writes 256 KiB."""


class KeyDistribution(StrEnum):
    """How often which key is drawn."""

    UNIFORM = "uniform"
    ZIPF = "zipf"
    """The n-th key with probability in proportion to 1/n: a few hot keys, a long tail."""
    HOT_KEY = "hot-key"
    """The first key half of the time, the others alike."""


class Arrivals(StrEnum):
    """What starts an operation."""

    CLOSED = "closed"
    """A client that is free. Where ``rate`` is set, no more often than that; a slot that nobody took is lost."""
    OPEN = "open"
    """The clock: every slot of ``rate`` is taken, late if no client is free, and latency counts from the slot."""
