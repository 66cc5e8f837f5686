"""The wire: snapshots of etcd's data, and a member made of one."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, StringConstraints

from agent_service.models.basics import Wire
from agent_service.models.member import MemberSpec

MAX_SNAPSHOT_BYTES: Final = 8 * 1024**3
"""etcd's own advice for the largest quota."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class StoredSnapshot(Wire):
    """A snapshot that lies on a host. The agent keeps the last one."""

    sha256: Sha256
    size_bytes: int


class RestoreRequest(Wire):
    """Make the data directory of a member out of the snapshot with this sum, as one of a new cluster.

    The new cluster's members, their peer URLs and its token are those of ``spec``.
    """

    spec: MemberSpec
    sha256: Sha256


class RestoredData(Wire):
    """Data that are there and not yet kept: healing the loss of the old ones would bring those back."""

    revision: int = Field(ge=0)
    """The newest in the snapshot: the new cluster begins there."""
    total_keys: int = Field(ge=0)
    """Rows of the key space in it: every revision that is not compacted away."""
    tool: str
    """Which program of this version did it: ``etcdutl`` or ``etcdctl``."""
