"""Failpoints of an etcd that was built with gofail: listed and set over HTTP on the loopback of this host.

gofail listens where the variable ``GOFAIL_HTTP`` says, in plain text and for everybody who can reach it: only
an address of the loopback is allowed. An etcd without failpoints ignores the variable, and nobody answers.
"""

from __future__ import annotations

import asyncio
import http.client
import mmap
from typing import TYPE_CHECKING, Final

from agent_service.errors import RefusedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

HTTP_VARIABLE: Final = "GOFAIL_HTTP"
_TIMEOUT_SECONDS: Final = 2.0
_MAX_ANSWER_BYTES: Final = 256 * 1024


class NobodyAnswersError(UnavailableError):
    """There is no failpoint server: the member does not run, or is not built with gofail."""


async def listed(address: str) -> dict[str, str]:
    """Every failpoint of the member by its full name, with its term; an empty term: it is not set.

    Raises:
        NobodyAnswersError: there is no such server.
        UnavailableError: it does not answer as gofail does.
    """
    text = await _ask(address, "GET", "/")
    pairs = (line.partition("=") for line in text.splitlines() if line)
    return {name: term for name, _, term in pairs}


async def set_terms(address: str, terms: Mapping[str, str]) -> None:
    """Set failpoints; one that panics may end the member before the next is set.

    Raises:
        RefusedError: the member has no such failpoint, or gofail does not take the term.
        UnavailableError: as ``listed``.
    """
    known = await listed(address)
    for name, term in terms.items():
        await _ask(address, "PUT", f"/{full_name(name, known)}", term)


async def terms_of(address: str, names: Iterable[str]) -> dict[str, str]:
    """What these failpoints are set to now, by the names that were asked for; one that is not there: nothing.

    Raises:
        UnavailableError: as ``listed``.
    """
    known = await listed(address)
    return {name: known[_meant(name, known)[0]] if _meant(name, known) else "" for name in names}


async def delete(address: str, names: Iterable[str]) -> None:
    """Take failpoints away; where there is no server, or no such failpoint, nothing is set."""
    try:
        known = await listed(address)
        for full in [full for name in names for full in _meant(name, known)]:
            if known[full]:
                await _ask(address, "DELETE", f"/{full}")
    except NobodyAnswersError:
        return


def full_name(name: str, known: Iterable[str]) -> str:
    """The failpoint that a name means: in full, or the last part of it.

    Raises:
        RefusedError: there is none, or more than one.
    """
    meant = _meant(name, known)
    if len(meant) == 1:
        return meant[0]
    there = ", ".join(sorted(full.rpartition("/")[2] for full in known)) or "none"
    problem = "has no" if not meant else "has several of the name"
    raise RefusedError(f"this etcd {problem} failpoint {name}", remedy=f"there are: {there}")


def _meant(name: str, known: Iterable[str]) -> list[str]:
    return [full for full in known if full == name or full.endswith(f"/{name}")]


def has_failpoints(binary: Path) -> bool:
    """Whether an etcd was built with gofail: its runtime names its variable.

    Looked for in place: memory for tens of MiB, taken in a thread, is never given back.
    """
    try:
        with binary.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(HTTP_VARIABLE.encode()) >= 0
    except (OSError, ValueError):  # not there, or empty
        return False


async def _ask(address: str, method: str, path: str, body: str = "") -> str:
    return await asyncio.to_thread(_ask_now, address, method, path, body)


def _ask_now(address: str, method: str, path: str, body: str) -> str:
    connection = http.client.HTTPConnection(address, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request(method, path, body.encode() or None)
        response = connection.getresponse()
        text = response.read(_MAX_ANSWER_BYTES).decode("utf-8", "replace")
    except ConnectionRefusedError as error:
        raise NobodyAnswersError(
            f"nobody answers for failpoints on {address}: the member does not run, or was not built with gofail"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        if method == "PUT":
            return (
                ""  # it may have been set, and have ended the member at once: what is verified next says so
            )
        raise UnavailableError(f"the failpoint server on {address} does not answer: {error}") from error
    finally:
        connection.close()
    if response.status >= http.client.BAD_REQUEST:
        raise RefusedError(f"gofail refuses {method} {path} {body}: {text.strip()[:200]}")
    return text
