"""The history format, version 2: one JSON object a line (``docs/history.md``).

Field names are short because a history has millions of lines; docstrings say what each means. Times (``at``) are
nanoseconds on the run clock. Keys and values are text. A value as recorded is ``ID:SIZE``: the load writes
unique ids padded to SIZE bytes and checks the padding when it reads (``tester.load.values``).

An operation is an ``Invoke``, written before its request leaves, then exactly one of ``Ok``, ``Fail``, ``Info``
with the same ``id``; an ``Invoke`` without an end (a crash of the tester) counts as ``Info``.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

FORMAT_VERSION = 2


class Record(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="t"):
    """Base of all lines; ``t`` names the kind.

    Records hold no cycles: without ``gc`` the collector need not look at the millions of them.
    """


# --- operations -----------------------------------------------------------------------------------------------


class Op(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="f"):
    """Base of what a client asked for; ``f`` names the function."""


class Put(Op, frozen=True, tag="put"):
    """Write ``v`` to ``k``, attached to lease ``l`` (0: none)."""

    k: str
    v: str
    l: int = 0  # noqa: E741 - the format's name


class Range(Op, frozen=True, tag="range"):
    r"""Read ``k``, or ``[k, e)``; ``e`` as etcd has it (``"\0"``: to the end of the key space)."""

    k: str
    e: str = ""
    r: int = 0
    """Revision to read at; 0: now."""
    s: bool = False
    """Serializable: the member answers from its own state."""
    n: int = 0
    """Limit; 0: none."""
    keys_only: bool = False
    count_only: bool = False


class Delete(Op, frozen=True, tag="delete"):
    """Delete ``k``, or ``[k, e)``."""

    k: str
    e: str = ""


class Compare(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One condition: ``target`` of ``k`` (or of every key in ``[k, e)``) ``op`` ``x``."""

    k: str
    target: str
    """``value``, ``version``, ``create``, ``mod`` or ``lease``."""
    op: str
    """``=``, ``!=``, ``<`` or ``>``."""
    x: str | int
    e: str = ""


class Txn(Op, frozen=True, tag="txn"):
    """If every comparison holds then ``then``, else ``orelse``; may nest."""

    cmp: tuple[Compare, ...] = ()
    then: tuple[Put | Range | Delete | Txn, ...] = ()
    orelse: tuple[Put | Range | Delete | Txn, ...] = ()


class Compact(Op, frozen=True, tag="compact"):
    """Compact the key space at revision ``r``."""

    r: int
    physical: bool = False


class LeaseGrant(Op, frozen=True, tag="lease-grant"):
    """Ask for lease ``l`` with ``ttl`` seconds."""

    l: int  # noqa: E741
    ttl: int


class LeaseRevoke(Op, frozen=True, tag="lease-revoke"):
    """Revoke lease ``l``."""

    l: int  # noqa: E741


class LeaseKeepAlive(Op, frozen=True, tag="lease-keepalive"):
    """Renew lease ``l`` once."""

    l: int  # noqa: E741


class LeaseTimeToLive(Op, frozen=True, tag="lease-ttl"):
    """Ask how long lease ``l`` has to live."""

    l: int  # noqa: E741


LeaseOperation: TypeAlias = LeaseGrant | LeaseRevoke | LeaseKeepAlive | LeaseTimeToLive
Operation: TypeAlias = Put | Range | Delete | Txn | Compact | LeaseOperation


class KeyValue(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A key as etcd returned it: ``c`` create revision, ``m`` mod revision, ``ver`` version, ``l`` lease."""

    k: str
    v: str
    c: int
    m: int
    ver: int
    l: int = 0  # noqa: E741


class RangeResult(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="f", tag="range"):
    """Answer to ``Range``."""

    kv: tuple[KeyValue, ...] = ()
    count: int = 0
    more: bool = False


class PutResult(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="f", tag="put"):
    """Answer to ``Put``."""


class DeleteResult(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="f", tag="delete"):
    """Answer to ``Delete``: how many keys were deleted."""

    deleted: int = 0


class TxnResult(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="f", tag="txn"):
    """Answer to ``Txn``: which branch ran, and the answers of its operations in order."""

    succeeded: bool = False
    responses: tuple[RangeResult | PutResult | DeleteResult | TxnResult, ...] = ()


class LeaseResult(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="f", tag="lease"):
    """Answer to a lease operation."""

    ttl: int = 0
    """Seconds granted or left. There is no such lease: 0 for a keepalive, -1 for ``lease-ttl``."""
    granted: int = 0
    """Answer to ``lease-ttl``: the TTL that the lease was granted."""


Result: TypeAlias = RangeResult | PutResult | DeleteResult | TxnResult | LeaseResult


class Invoke(Record, frozen=True, tag="invoke"):
    """Client ``c`` is about to ask member ``m`` for ``op``. ``id`` is nobody else's in the file."""

    id: int
    at: int
    c: int
    m: str
    op: Operation


class Ok(Record, frozen=True, tag="ok"):
    """Surely done. ``rev`` is the revision in the answer's header."""

    id: int
    at: int
    rev: int
    term: int = 0
    out: Result | None = None
    """``None``: a put (or compaction) with nothing more to say."""


class Fail(Record, frozen=True, tag="fail"):
    """Surely not applied. ``error`` is the gRPC status name, ``text`` etcd's message."""

    id: int
    at: int
    error: str
    text: str = ""


class Info(Record, frozen=True, tag="info"):
    """Nobody knows whether it was or will be applied."""

    id: int
    at: int
    error: str
    text: str = ""


# --- watches --------------------------------------------------------------------------------------------------


class WatchStart(Record, frozen=True, tag="watch-start"):
    """Watcher ``w`` asks member ``m`` for ``[k, e)`` from revision ``rev`` (0: from now)."""

    w: int
    at: int
    m: str
    k: str
    rev: int
    e: str = ""
    prev_kv: bool = False
    filters: tuple[str, ...] = ()
    """``put`` or ``delete``: kinds left out."""


class Event(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One change. A delete has ``d`` true, no value, and ``m`` is the revision of the delete."""

    k: str
    m: int
    v: str = ""
    c: int = 0
    ver: int = 0
    l: int = 0  # noqa: E741
    d: bool = False
    p: KeyValue | None = None
    """The key before the change, if asked for."""


class Watched(Record, frozen=True, tag="watched"):
    """One watch response; ``rev`` is its header revision. No events: a progress notification (bookmark)."""

    w: int
    at: int
    rev: int
    ev: tuple[Event, ...] = ()


class WatchEnd(Record, frozen=True, tag="watch-end"):
    """The stream ended; ``compacted`` is set when etcd said that what was asked for is compacted away."""

    w: int
    at: int
    reason: str
    compacted: int = 0


# --- the frame ------------------------------------------------------------------------------------------------


class Header(Record, frozen=True, tag="header"):
    """First line of a file."""

    version: int
    run: str
    round: int
    scenario: str
    seed: int
    started_realtime_ns: int
    """Unix time of run-clock zero."""
    prefix: str
    """Every key of the load starts with it; nobody else writes there."""
    members: tuple[str, ...]
    compacts_itself: bool = False
    """The members are set up to compact without being asked (``auto-compaction-retention``)."""
    versions: tuple[str, ...] = ()
    """Of etcd, each once, as the members began."""

    def __post_init__(self) -> None:
        """See that what comes is understood.

        Raises:
            ValueError: it is of a version that this release does not know.
        """
        if not 1 <= self.version <= FORMAT_VERSION:
            raise ValueError(
                f"version {self.version} of the format: this release reads 1 to {FORMAT_VERSION}"
            )


class PhaseRecord(Record, frozen=True, tag="phase"):
    """A phase starts."""

    at: int
    round: int
    phase: Literal[
        "provision",
        "bootstrap",
        "steady",
        "inject",
        "hold",
        "recover",
        "settle",
        "check",
        "compact",
        "cleanup",
    ]
    case: str = ""


class FaultRecord(Record, frozen=True, tag="fault"):
    """A fault on one member was ``injected`` (verified) or ``healed`` (verified)."""

    at: int
    id: str
    kind: str
    member: str
    state: Literal["injected", "healed"]


class LeaderRecord(Record, frozen=True, tag="leader"):
    """Leadership as observed; ``m`` empty while there is none."""

    at: int
    m: str
    term: int


class MemberRecord(Record, frozen=True, tag="member"):
    """A member process ``started`` or ``exited``, or the cluster's list of members changes.

    ``leaving`` comes before a removal is asked for, ``added`` (a voter), ``added-learner`` and ``promoted``
    after etcd has said yes. Between ``may-end`` and ``must-run`` it is tried with a version that should refuse.
    """

    at: int
    m: str
    state: Literal[
        "started", "exited", "leaving", "added", "added-learner", "promoted", "may-end", "must-run"
    ]
    expected: bool = True
    text: str = ""


ClaimState: TypeAlias = Literal["held", "released", "lost", "observed"]


class ClaimRecord(Record, frozen=True, tag="claim"):
    """What client ``c`` believes of a lock or an election: that the holder is key ``k``, created at ``rev``.

    ``state``: ``held`` (by this client, from now), ``released`` (about to give it up), ``lost`` (it has noticed that
    it no longer holds it), ``observed`` (somebody holds it, perhaps this client).
    """

    at: int
    c: int
    kind: Literal["lock", "election"]
    name: str
    """Prefix of the contenders' keys: the one created first is the holder's."""
    state: ClaimState
    k: str
    rev: int
    """The fencing token."""
    seen: int = 0
    """``held``, ``observed``: header revision of the answer that showed it."""
    v: str = ""
    """``observed``: value of the holder's key."""
    guard: str = ""
    """``held``: the key that only the holder may write."""


class CompactionRecord(Record, frozen=True, tag="compaction"):
    """The tester itself, and no client, is about to ask for a compaction at ``rev``: after a round."""

    at: int
    rev: int


class EpochRecord(Record, frozen=True, tag="epoch"):
    """The cluster is lost: another one begins, restored from a snapshot. Nothing is in flight.

    What was acknowledged before this line with a revision above ``rev`` is lost by design; revisions go on from
    ``rev`` and mean something else from here on.
    """

    at: int
    n: int
    """Number of the epoch that begins; the first cluster of a round is 1."""
    rev: int
    """Newest revision in the snapshot."""
    m: str
    """The member that it was taken from."""
    asked: int
    """When it was asked for."""
    taken: int
    """When it had come as a whole."""


class RestoredRecord(Record, frozen=True, tag="restored"):
    """What member ``m`` of the new cluster holds under the load's prefix at the snapshot's revision.

    Read through a quorum before anybody wrote; ``rev`` is the header revision of the answer.
    """

    at: int
    m: str
    rev: int
    kv: tuple[KeyValue, ...] = ()


class ClockRecord(Record, frozen=True, tag="clock"):
    """How the clock of a load host stood to the run clock: ``run = host - offset``, give or take ``error``.

    Its workers' operations are in this history with invocations moved earlier, and all else later, by what is not
    known: what ended before something else began here has done so. ``error`` is the largest since the last such
    record; nanoseconds. ``lost`` says why the times from that host are no evidence; empty: they are.
    """

    at: int
    host: str
    offset: int
    error: int
    lost: str = ""


class ClientRecord(Record, frozen=True, tag="client"):
    """Client ``c`` (-1: a watcher or another task of the load) died of a defect: the round is an error."""

    at: int
    c: int
    error: str


HistoryRecord: TypeAlias = (
    Header
    | Invoke
    | Ok
    | Fail
    | Info
    | WatchStart
    | Watched
    | WatchEnd
    | PhaseRecord
    | FaultRecord
    | LeaderRecord
    | MemberRecord
    | ClaimRecord
    | CompactionRecord
    | EpochRecord
    | RestoredRecord
    | ClockRecord
    | ClientRecord
)
