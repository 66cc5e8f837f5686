"""How to speak to a cluster with TLS and authentication: plain values, and what they mean to ``ssl``."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ClientTls:
    """TLS towards members; everything is PEM.

    Without a ``ca`` whoever answers is believed: certificates of etcd's auto-TLS prove nothing.
    """

    ca: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = field(default=None, repr=False)
    server_name: str = ""
    """Whom the member's certificate must name; empty: its address."""

    def context(self) -> ssl.SSLContext:
        """For a connection to a member by its address.

        Raises:
            ssl.SSLError: certificate or key are broken, or do not belong together.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.ca is None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            context.load_verify_locations(cadata=self.ca.decode())
        if self.certificate is not None and self.key is not None:
            _load_pair(context, self.certificate + self.key)
        return context


@dataclass(frozen=True, slots=True)
class Login:
    """A user of etcd."""

    user: str
    password: str = field(repr=False)


def _load_pair(context: ssl.SSLContext, pem: bytes) -> None:
    """OpenSSL takes certificate and key from files alone; this one never touches a disk."""
    descriptor = os.memfd_create("etcd-chaos-client", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
