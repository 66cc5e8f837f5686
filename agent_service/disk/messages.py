"""What the agent says to a layer, and what that answers: one line of JSON each, over a Unix socket."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Scope: TypeAlias = Literal["wal", "db", "all"]
Operation: TypeAlias = Literal["read", "write", "fsync"]
Distribution: TypeAlias = Literal["uniform", "normal", "exponential"]


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="say"):
    """Base of everything on the socket."""


class Rule(Message, frozen=True):
    """Base of what a layer does beside passing on. ``scope``: the files that are meant."""


class Delay(Rule, frozen=True, tag="delay"):
    """Operations take longer. ``jitter``: half a width, a standard deviation or a mean; see ``seconds_of``."""

    scope: Scope
    operations: tuple[Operation, ...]
    seconds: float
    jitter_seconds: float = 0.0
    distribution: Distribution = "uniform"

    @property
    def least_seconds(self) -> float:
        """No operation is faster."""
        spread = {"uniform": 1.0, "normal": 3.0, "exponential": 0.0}[self.distribution]
        return max(0.0, self.seconds - spread * self.jitter_seconds)

    def __str__(self) -> str:
        around = f" ± {self.jitter_seconds:g} s ({self.distribution})" if self.jitter_seconds else ""
        return f"{', '.join(self.operations)} of {self.scope} files take {self.seconds:g} s{around} longer"


class Fail(Rule, frozen=True, tag="fail"):
    """Operations fail with EIO."""

    scope: Scope
    operations: tuple[Operation, ...]

    def __str__(self) -> str:
        return f"{', '.join(self.operations)} of {self.scope} files fail with EIO"


class Full(Rule, frozen=True, tag="full"):
    """There is room for so many bytes more, in blocks of 4 KiB; then ENOSPC."""

    room_bytes: int

    def __str__(self) -> str:
        return f"ENOSPC after {self.room_bytes} bytes more"


class Throttle(Rule, frozen=True, tag="throttle"):
    """At most so many bytes read and written, and so many operations, a second; 0: as many as there are."""

    bytes_per_second: int
    operations_per_second: int

    def __str__(self) -> str:
        limits = ((self.bytes_per_second, "bytes/s"), (self.operations_per_second, "operations/s"))
        return f"at most {' and '.join(f'{limit} {unit}' for limit, unit in limits if limit)}"


AnyRule: TypeAlias = Delay | Fail | Full | Throttle


class SetRule(Message, frozen=True, tag="set"):
    """From now on do this, in the name of a fault; the same again changes nothing."""

    fault: str
    rule: AnyRule


class DropRule(Message, frozen=True, tag="drop"):
    """Do it no more. What waits because of it goes on at once."""

    fault: str


class LosePower(Message, frozen=True, tag="lose-power"):
    """Put back what was never synced, and change nothing more."""


class Revive(Message, frozen=True, tag="revive"):
    """The power is back."""


class Ask(Message, frozen=True, tag="ask"):
    """How are you?"""


Request: TypeAlias = SetRule | DropRule | LosePower | Revive | Ask


class State(Message, frozen=True, tag="state"):
    """How it is. Counts are since it was mounted."""

    rules: dict[str, AnyRule]
    """By fault."""
    powerless: bool
    delayed: int
    """Operations that were made to wait."""
    failed: int
    """Operations that were made to fail, for want of room too."""
    lost_blocks: int = 0
    """By the last loss of power: blocks of 4 KiB put back."""
    lost_names: int = 0
    """By the last loss of power: changes of names undone."""


class Refusal(Message, frozen=True, tag="refusal"):
    """It could not be done."""

    detail: str


Answer: TypeAlias = State | Refusal

LONGEST_LINE = 64 * 1024
"""Bytes."""

SOURCE = "etcd-chaos-disk"
"""What a layer calls itself in the table of mounts."""
