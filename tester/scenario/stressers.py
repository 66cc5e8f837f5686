"""The load of a scenario: one section per kind of stresser."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tester.scenario.section import Section, Slug
from tester.scenario.units import PerSecond, Seconds, SizeBytes

LeaseSeconds = Annotated[Seconds, Field(ge=1, le=86_400)]
"""etcd counts whole seconds, and grants no less than one and a half election timeouts."""


class KvStresser(Section):
    """Clients that put, get, list and delete keys."""

    kind: Literal["kv"] = Field(description="Which stresser.")
    preset: Slug = Field(default="functional", description="Mix of operations, keys and sizes.")
    clients: int = Field(default=16, ge=1, le=1000, description="Each has one operation under way.")
    rate: PerSecond | None = Field(default=None, description="All clients together; default: unlimited.")
    keys: int | None = Field(
        default=None, ge=1, le=10_000_000, description="Key space; default: the preset's."
    )
    value_size: SizeBytes | None = Field(default=None, description="Of small puts; default: the preset's.")
    timeout: Seconds = Field(default=5.0, description="Deadline of one operation.")


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


STRESSERS: dict[str, type[Section]] = {
    "kv": KvStresser,
    "lease": LeaseStresser,
}

Stresser = Annotated[KvStresser | LeaseStresser, Field(discriminator="kind")]
