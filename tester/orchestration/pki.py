"""The private CA of the controller, and what it signs: one certificate per host, one for the tester.

::

    DIRECTORY/ca.crt                 what both ends trust: one CA, two while one replaces the other
    DIRECTORY/ca.key                 signs
    DIRECTORY/ca-next.key            will sign, once every host trusts it
    DIRECTORY/tester.{crt,key}       client certificate, CN etcd-chaos-tester
    DIRECTORY/hosts/NAME.{crt,key}   server certificates
    DIRECTORY/readers/NAME.{crt,key} client certificates of those that may only read, CN NAME

:func:`ensure_pki` makes what is missing and renews what is old. Replacing the CA takes three deployments, and
within each of them both ends trust each other whether they were reached already or not (docs/adr/pki.md):
announce (trust both), switch (sign with the new one), forget (trust the new one alone).

The role ``pki`` calls it as a command, which prints what changed as JSON; keys never leave their files::

    python -m tester.orchestration.pki --directory DIRECTORY --host NAME=ADDRESS... --reader NAME... [--rotate]
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from cryptography import x509

from tester.errors import InfrastructureError
from tester.orchestration.certificates import (
    Identity,
    Pair,
    decode_key,
    encode_certificates,
    encode_key,
    expires_soon,
    issue_ca,
    issue_leaf,
    unfit_because,
    utc_now,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

TESTER = "etcd-chaos-tester"
"""Common name of the tester: what an agent's ``allowed_clients`` lists."""

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
"""As ``agent_service.models.HostName``: it names files, and so begins and ends with neither dot nor slash."""


class PkiError(InfrastructureError):
    """The CA's directory cannot be used."""


@dataclass(frozen=True, slots=True)
class PkiPaths:
    """Where everything lies, and which files this call wrote (relative to ``directory``)."""

    directory: Path
    changed: tuple[str, ...] = ()

    @property
    def ca(self) -> Path:
        """What to trust, as PEM; may hold two CAs."""
        return self.directory / "ca.crt"

    @property
    def tester_certificate(self) -> Path:
        """The tester's client certificate."""
        return self.directory / "tester.crt"

    @property
    def tester_key(self) -> Path:
        """Its key."""
        return self.directory / "tester.key"

    def host_certificate(self, name: str) -> Path:
        """A host's server certificate."""
        return self.directory / "hosts" / f"{name}.crt"

    def host_key(self, name: str) -> Path:
        """Its key."""
        return self.directory / "hosts" / f"{name}.key"


def ensure_pki(
    directory: Path,
    hosts: Mapping[str, str],
    readers: Collection[str] = (),
    *,
    rotate: bool = False,
    now: datetime | None = None,
) -> PkiPaths:
    """Have a CA, a certificate for each host, for each reader and for the tester in ``directory``.

    Args:
        directory: made with mode 0700 where missing. Certificates of hosts not named here stay as they are.
        hosts: IP address by host name.
        readers: common names of clients that agents let read and nothing else.
        rotate: begin to replace the CA; the next two calls finish it. A CA that grows old begins by itself.
        now: instead of the time of this machine.

    Raises:
        PkiError: a name or address is unusable, or the directory holds a CA that is broken.
    """
    _check_hosts(hosts)
    _check_readers(readers)
    with _locked(directory):
        return _Authority(directory, now or utc_now()).ensure(hosts, readers, rotate=rotate)


class _Authority:
    """One call of :func:`ensure_pki`."""

    def __init__(self, directory: Path, now: datetime) -> None:
        self._directory = directory
        self._now = now
        self._changed: list[str] = []

    def ensure(self, hosts: Mapping[str, str], readers: Collection[str], *, rotate: bool) -> PkiPaths:
        leaves = {f"hosts/{name}": Identity(name, address) for name, address in hosts.items()}
        leaves |= {f"readers/{name}": Identity(name) for name in readers}
        leaves["tester"] = Identity(TESTER)
        signer, trusted = self._load_ca() or self._create_ca()
        if announced := self._announced(trusted):
            signer = self._switch(announced, signer)
        elif len(trusted) > 1 and all(self._is_fit(path, who, signer) for path, who in leaves.items()):
            self._write("ca.crt", encode_certificates(signer.certificate))
        elif len(trusted) == 1 and (rotate or expires_soon(signer.certificate, self._now)):
            self._announce(signer)
        for path, identity in leaves.items():
            if not self._is_fit(path, identity, signer):
                self._issue(path, identity, signer)
        return PkiPaths(self._directory, tuple(self._changed))

    def _load_ca(self) -> tuple[Pair, list[x509.Certificate]] | None:
        certificate, key = self._directory / "ca.crt", self._directory / "ca.key"
        if not certificate.exists():
            return None  # a key alone never signed anything
        try:
            trusted = x509.load_pem_x509_certificates(certificate.read_bytes())
            signing = decode_key(key.read_bytes())
        except (OSError, ValueError) as error:
            raise PkiError(f"{self._directory}: the CA is broken: {error}", remedy=self._remedy()) from error
        for candidate in trusted:
            if candidate.public_key() == signing.public_key():
                return Pair(candidate, signing), trusted
        raise PkiError(f"{self._directory}: ca.key belongs to no CA in ca.crt", remedy=self._remedy())

    def _remedy(self) -> str:
        return f"restore {self._directory} from a backup, or move it away and deploy to every host again"

    def _create_ca(self) -> tuple[Pair, list[x509.Certificate]]:
        made = issue_ca(self._now)
        self._write("ca.key", encode_key(made.key))
        self._write("ca.crt", encode_certificates(made.certificate))
        return made, [made.certificate]

    def _announce(self, signer: Pair) -> None:
        successor = issue_ca(self._now)
        self._write("ca-next.key", encode_key(successor.key))
        self._write("ca.crt", encode_certificates(signer.certificate, successor.certificate))

    def _announced(self, trusted: list[x509.Certificate]) -> Pair | None:
        """The CA that every host was told to trust; a key whose CA was never announced is nobody's."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            key = decode_key((self._directory / "ca-next.key").read_bytes())
            for candidate in trusted:
                if candidate.public_key() == key.public_key():
                    return Pair(candidate, key)
        return None

    def _switch(self, successor: Pair, signer: Pair) -> Pair:
        (self._directory / "ca-next.key").replace(self._directory / "ca.key")
        self._changed.append("ca.key")
        self._write("ca.crt", encode_certificates(successor.certificate, signer.certificate))
        return successor

    def _is_fit(self, path: str, identity: Identity, signer: Pair) -> bool:
        try:
            certificate = x509.load_pem_x509_certificate((self._directory / f"{path}.crt").read_bytes())
            key = decode_key((self._directory / f"{path}.key").read_bytes())
        except (FileNotFoundError, ValueError):
            return False
        return unfit_because(Pair(certificate, key), identity, signer.certificate, self._now) is None

    def _issue(self, path: str, identity: Identity, signer: Pair) -> None:
        pair = issue_leaf(identity, signer, self._now)
        self._write(f"{path}.key", encode_key(pair.key))
        self._write(f"{path}.crt", encode_certificates(pair.certificate))

    def _write(self, name: str, data: bytes) -> None:
        """All or nothing, and never readable by others: mkstemp makes a new file of mode 0600."""
        path = self._directory / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        self._changed.append(name)


def _check_hosts(hosts: Mapping[str, str]) -> None:
    for name, address in hosts.items():
        if not _HOST.fullmatch(name):
            raise PkiError(
                f"{name!r} cannot name a host in a certificate",
                remedy="use up to 63 letters, digits and inner dots, dashes and underscores in the inventory",
            )
        try:
            ip_address(address)
        except ValueError as error:
            raise PkiError(
                f"host {name}: {address!r} is no IP address", remedy="give the host an etcd_address"
            ) from error


def _check_readers(readers: Collection[str]) -> None:
    for name in readers:
        if not _HOST.fullmatch(name):
            raise PkiError(
                f"{name!r} cannot name a reader in a certificate",
                remedy="use up to 63 letters, digits and inner dots, dashes and underscores",
            )
        if name == TESTER:
            raise PkiError(
                f"{name} is the tester, which does more than read", remedy="name the reader otherwise"
            )


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise PkiError(f"{directory}: {error.strerror}", remedy="name another one with pki_dir") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def main(argv: Sequence[str] | None = None) -> int:
    """The command that the role ``pki`` runs."""
    parser = argparse.ArgumentParser(prog="python -m tester.orchestration.pki")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--host", action="append", default=[], metavar="NAME=ADDRESS")
    parser.add_argument("--reader", action="append", default=[], metavar="NAME")
    parser.add_argument("--rotate", action="store_true")
    options = parser.parse_args(argv)
    hosts = dict(host.split("=", 1) for host in options.host)
    try:
        paths = ensure_pki(options.directory, hosts, options.reader, rotate=options.rotate)
    except PkiError as error:
        sys.stderr.write("\n".join(filter(None, (error.message, error.remedy))) + "\n")
        return 1
    sys.stdout.write(msgspec.json.encode({"changed": paths.changed}).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
