"""Packages of any Debian suite on a controller of any other, without touching the machine's own apt.

apt runs on a private state under the cache folder. It takes from the machine only the mirror its own sources
name and how to reach it (the ``Acquire`` section: proxies, timeouts, certificates); apt itself checks the
archive's signature and the packages' sums.
"""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tester.errors import InfrastructureError
from tester.orchestration.commands import run_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_APT_SOURCES = Path("/etc/apt")
_SUITES = frozenset(
    {"oldstable", "stable", "testing", "unstable", "sid", "bullseye", "bookworm", "trixie", "forky"}
)
_ONE_LINE = re.compile(
    r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.+)"
)
_APT_SECONDS = 300.0


async def download(
    suite: str,
    packages: Iterable[str],
    folder: Path,
    on_progress: Callable[[str], None],
    *,
    mirror: str | None = None,
) -> tuple[Path, ...]:
    """Fetch the newest ``packages`` of ``suite`` for this machine's architecture.

    Args:
        suite: ``bookworm``, ``trixie``, ``sid``...
        packages: their names; nothing they depend on is fetched.
        folder: an existing folder of the caller's: apt's state lies in it, and the packages do afterwards.
        on_progress: gets a line before each long step.
        mirror: archive to use; default: the one that this machine's apt uses.

    Raises:
        InfrastructureError: no apt, no mirror, no key, a wrong signature, or the suite has no such package.
    """
    if not await asyncio.to_thread(KEYRING.is_file):
        raise InfrastructureError(
            f"{KEYRING} is missing: Debian's signatures cannot be checked",
            remedy="install the package debian-archive-keyring here, or use another kind of etcd source",
        )
    uri = mirror or debian_mirror(_APT_SOURCES)
    env = await _private_state(folder, suite, uri)
    remedy = f"can this machine reach {uri}? another mirror goes into the source as `mirror: URL`"
    on_progress(f"reading the package list of Debian {suite}")
    await run_command(
        ("apt-get", "-q", "update"), timeout_seconds=_APT_SECONDS, env=env, cwd=folder, remedy=remedy
    )
    on_progress(f"downloading {', '.join(packages)} from Debian {suite}")
    argv = ("apt-get", "-q", "download", *packages)
    await run_command(argv, timeout_seconds=_APT_SECONDS, env=env, cwd=folder, remedy=remedy)
    return await asyncio.to_thread(lambda: tuple(sorted(folder.glob("*.deb"))))


async def unpack(package: Path, folder: Path) -> None:
    """Lay the package's files into ``folder``; nothing is installed and no script of it runs."""
    await run_command(("dpkg-deb", "-x", str(package), str(folder)), timeout_seconds=60)


def debian_mirror(apt: Path) -> str:
    """The Debian archive that ``sources.list`` and ``sources.list.d`` under ``apt`` name.

    Raises:
        InfrastructureError: no source is Debian's own archive.
    """
    found = [uri for uri, suites, components in _sources(apt) if suites & _SUITES and "main" in components]
    # Other archives borrow Debian's suite names; the archive itself ends in /debian nearly everywhere.
    found.sort(key=lambda uri: not urlsplit(uri).path.rstrip("/").endswith("/debian"))
    if not found:
        raise InfrastructureError(
            f"no source in {apt} is a Debian archive",
            remedy="name one in the etcd source as `mirror: URL`, or use another kind of source",
        )
    return found[0]


def _sources(apt: Path) -> Iterator[tuple[str, frozenset[str], frozenset[str]]]:
    """URI, suites and components of every binary source that is switched on."""
    for path in (apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))):
        if not path.is_file() or path.suffix not in {".list", ".sources"}:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        yield from _one_line(text) if path.suffix == ".list" else _deb822(text)


def _one_line(text: str) -> Iterator[tuple[str, frozenset[str], frozenset[str]]]:
    for line in text.splitlines():
        if match := _ONE_LINE.fullmatch(line.split("#")[0].strip()):
            yield match["uri"], frozenset({match["suite"]}), frozenset(match["components"].split())


def _deb822(text: str) -> Iterator[tuple[str, frozenset[str], frozenset[str]]]:
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for paragraph in re.split(r"\n\s*\n", kept):
        # A line that starts with white space continues the field above it.
        fields = dict(re.findall(r"^([\w-]+):[ \t]*(.*(?:\n[ \t]+.*)*)", paragraph, re.MULTILINE))
        values = {name.lower(): frozenset(value.split()) for name, value in fields.items()}
        if "deb" in values.get("types", ()) and "no" not in values.get("enabled", ()):
            for uri in sorted(values.get("uris", ())):
                yield uri, values.get("suites", frozenset()), values.get("components", frozenset())


async def _private_state(folder: Path, suite: str, uri: str) -> Mapping[str, str]:
    """Lay out apt's folders and configuration; returns the environment that makes apt use them alone."""
    reach = await run_command(
        ("apt-config", "dump", "--format", '%F "%v";%n', "Acquire"),
        timeout_seconds=30,
        remedy="this controller has no apt: use a path, pypi or release source",
    )
    config = _lay_out(folder, f"deb [signed-by={KEYRING}] {uri} {suite} main\n", reach)
    return {**os.environ, "LC_ALL": "C.UTF-8", "APT_CONFIG": str(config)}


def _lay_out(folder: Path, source: str, reach: str) -> Path:
    for name in ("etc", "state/lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "state" / "status").touch()
    (folder / "etc" / "sources.list").write_text(source, encoding="utf-8")
    config = folder / "etc" / "apt.conf"
    lines = (
        *(line for line in reach.splitlines() if line.startswith("Acquire::")),
        'Acquire::Languages "none";',
        f'Dir::Etc "{folder}/etc";',
        'Dir::Etc::parts "/dev/null";',  # the machine's hooks are none of ours
        'Dir::Etc::main "/dev/null";',
        'Dir::Etc::sourceparts "/dev/null";',
        f'Dir::State "{folder}/state";',
        f'Dir::State::status "{folder}/state/status";',
        f'Dir::Cache "{folder}/cache";',
        'APT::Sandbox::User "root";',  # the _apt user could not enter a private folder
    )
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return config
