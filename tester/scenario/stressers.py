"""The load of a scenario: one section per kind of stresser."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from agent_service.models import HostName
from tester.load.kinds import Arrivals, KeyDistribution, OperationKind, Preset
from tester.scenario.section import Section
from tester.scenario.units import PerSecond, Seconds, SizeBytes

LeaseSeconds = Annotated[Seconds, Field(ge=1, le=86_400)]
"""etcd counts whole seconds, and grants no less than one and a half election timeouts."""


Weight = Annotated[float, Field(gt=0, le=1_000_000)]
"""Of an operation in a mix: what counts is its share of all weights."""


MOST_WATCHERS: Final = 500
"""Of all prefixes together: each has a connection of its own, and a process often may have 1,024 of them."""


class KvStresser(Section):
    """Clients that put, get, list and delete keys."""

    kind: Literal["kv"] = Field(description="Which stresser.")
    preset: Preset = Field(default=Preset.FUNCTIONAL, description="Mix of operations, keys and sizes.")
    clients: int = Field(default=16, ge=1, le=1000, description="Each has one operation under way.")
    rate: PerSecond | None = Field(default=None, description="All clients together; default: unlimited.")
    arrivals: Arrivals = Field(default=Arrivals.CLOSED, description="open: `rate` alone starts operations.")
    member: HostName | None = Field(default=None, description="Whom all clients ask; default: spread.")
    keys: int | None = Field(
        default=None, ge=1, le=10_000_000, description="Key space; default: the preset's."
    )
    value_size: SizeBytes | None = Field(default=None, description="Of small puts; default: the preset's.")
    large_value_size: SizeBytes | None = Field(
        default=None, description="Of put-large; default: the preset's."
    )
    weights: dict[OperationKind, Weight] | None = Field(
        default=None, min_length=1, description="Operations and their shares; default: the preset's."
    )
    distribution: KeyDistribution | None = Field(
        default=None, description="How keys are drawn; default: the preset's."
    )
    range_keys: int | None = Field(
        default=None, ge=1, le=100_000, description="Width of ranges; default: the preset's."
    )
    compare_keys: int | None = Field(
        default=None, ge=1, le=100_000, description="Width of ranges that txn-range compares."
    )
    txn_keys: int | None = Field(
        default=None, ge=1, le=1_000_000, description="How many txn-toggle has, apart from the others."
    )
    txn_operations: int | None = Field(
        default=None, ge=1, le=8, description="Keys of one txn-toggle, nested: each doubles its size."
    )
    page_keys: int | None = Field(default=None, ge=1, le=10_000, description="Limit of a page of list.")
    keep_revisions: int | None = Field(default=None, ge=1, description="What compact leaves, at least.")
    list_watchers: int | None = Field(
        default=None, ge=0, le=100, description="How many list, then watch, beside the clients."
    )
    timeout: Seconds = Field(default=5.0, description="Deadline of one operation.")

    @model_validator(mode="after")
    def _open_needs_a_rate(self) -> Self:
        if self.arrivals is Arrivals.OPEN and self.rate is None:
            raise ValueError("arrivals are open and there is no rate: add rate, such as 500/s")
        return self

    @model_validator(mode="after")
    def _as_many_keys_as_a_transaction_has(self) -> Self:
        if self.txn_keys is not None and self.txn_keys < (self.txn_operations or 1):
            raise ValueError("txn_operations are more than txn_keys: give it as many keys at least")
        return self


class LeaseStresser(Section):
    """Clients that grant leases, attach keys, keep some alive, revoke half and let the others end."""

    kind: Literal["lease"] = Field(description="Which stresser.")
    clients: int = Field(default=3, ge=1, le=1000, description="Each has leases of its own.")
    leases: int = Field(default=10, ge=1, le=10_000, description="Long and short ones of a client, each.")
    keys: int = Field(default=10, ge=1, le=1000, description="Attached to each lease.")
    ttl: LeaseSeconds = Field(default=120.0, description="Of leases that are kept alive.")
    short_ttl: LeaseSeconds = Field(default=2.0, description="Of leases that nobody renews.")
    keepalive: Seconds = Field(default=0.5, ge=0.01, description="Between two renewals of a lease.")
    rate: PerSecond = Field(default=200.0, description="All clients together.")
    timeout: Seconds = Field(default=5.0, description="Deadline of one operation.")


class LockStresser(Section):
    """Clients that race for a lock, and write what only its holder may write."""

    kind: Literal["lock"] = Field(description="Which stresser.")
    clients: int = Field(default=10, ge=1, le=200, description="Racers.")
    ttl: LeaseSeconds = Field(default=10.0, description="Of the lease that a racer's claim hangs on.")
    rate: PerSecond = Field(default=30.0, description="All clients together.")
    timeout: Seconds = Field(default=5.0, description="Deadline of one operation.")


class ElectionStresser(Section):
    """Clients that campaign, proclaim, observe the leader and resign."""

    kind: Literal["election"] = Field(description="Which stresser.")
    clients: int = Field(default=10, ge=1, le=200, description="Candidates, each an observer, too.")
    ttl: LeaseSeconds = Field(default=10.0, description="Of the lease that a candidacy hangs on.")
    rate: PerSecond = Field(default=30.0, description="All clients together.")
    timeout: Seconds = Field(default=5.0, description="Deadline of one operation.")


class WatcherStresser(Section):
    """Watchers of several prefixes, each of which must be told every change of its prefix in order."""

    kind: Literal["watcher"] = Field(description="Which stresser.")
    prefixes: int = Field(default=10, ge=1, le=MOST_WATCHERS, description="Prefixes that are written to.")
    watchers: int = Field(
        default=10,
        ge=1,
        le=MOST_WATCHERS,
        description=f"Watchers of each prefix; {MOST_WATCHERS} in all at most.",
    )
    keys: int = Field(default=1000, ge=1, le=1_000_000, description="Written before watchers are cancelled.")
    rate: PerSecond = Field(default=30.0, description="Writes.")
    timeout: Seconds = Field(default=5.0, description="Deadline of one operation.")

    @model_validator(mode="after")
    def _as_many_watchers_as_there_can_be_connections(self) -> Self:
        if (asked := self.prefixes * self.watchers) > MOST_WATCHERS:
            raise ValueError(
                f"{self.prefixes} prefixes with {self.watchers} watchers each are {asked} connections: "
                f"ask for {MOST_WATCHERS} at most, prefixes times watchers"
            )
        return self


class RenewerStresser(Section):
    """Clients that grant a lease and keep it alive as long as they can."""

    kind: Literal["lease-renewer"] = Field(description="Which stresser.")
    clients: int = Field(default=10, ge=1, le=1000, description="Each has one lease.")
    ttl: LeaseSeconds = Field(default=5.0, description="Renewed three times as often.")
    timeout: Seconds = Field(default=5.0, description="Deadline of one operation.")


STRESSERS: dict[str, type[Section]] = {
    "kv": KvStresser,
    "lease": LeaseStresser,
    "lock": LockStresser,
    "election": ElectionStresser,
    "watcher": WatcherStresser,
    "lease-renewer": RenewerStresser,
}

RecipeStresser = LeaseStresser | LockStresser | ElectionStresser | WatcherStresser | RenewerStresser
"""All that do more than one thing after the other."""

Stresser = Annotated[KvStresser | RecipeStresser, Field(discriminator="kind")]
