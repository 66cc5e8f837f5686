"""Mutual TLS of the agent: who may connect, and how that changes while it runs.

TLS 1.3 only. Both ends are this project's, and 1.3 without tickets has no resumption: a resumed session is
not verified again, so that a CA or certificate taken away would live on in it.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_service.settings import TlsSettings


class TlsError(Exception):
    """A certificate, key or CA file is missing, unreadable or wrong; the message names it."""


class ServerTls:
    """The agent's TLS contexts. ``context`` is what listens; ``reload`` swaps what is behind it.

    Files are read on construction and on ``reload`` only. A handshake uses the newest context as a whole, so
    that a CA that is no longer in the file is really gone. ``trusts`` tells whether an open connection was
    verified by the CAs of now.

    Raises:
        TlsError: a file cannot be used.
    """

    def __init__(self, settings: TlsSettings) -> None:
        self._ca = b""
        self._trusted: WeakSet[ssl.SSLContext] = WeakSet()
        self.context = self._install(settings)
        self.context.sni_callback = self._use_newest

    def reload(self, settings: TlsSettings) -> None:
        """Use the files as they are now; on an error everything stays as it was.

        Raises:
            TlsError: a file cannot be used.
        """
        self._install(settings)

    def trusts(self, context: ssl.SSLContext) -> bool:
        """Whether a connection verified by ``context`` was verified by the CAs of now."""
        return context in self._trusted

    def _install(self, settings: TlsSettings) -> ssl.SSLContext:
        context, ca = _load(settings)
        if ca != self._ca:
            self._trusted.clear()
        self._trusted.add(context)
        self._newest, self._ca = context, ca
        return context

    def _use_newest(
        self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _listening: ssl.SSLContext
    ) -> None:
        # OpenSSL calls this for every handshake, also when the client names no server (addresses are never
        # named), and before it picks a certificate or looks at the client's.
        connection.context = self._newest


def _load(settings: TlsSettings) -> tuple[ssl.SSLContext, bytes]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["http/1.1"])
    try:
        ca = settings.ca.read_bytes()
        context.load_verify_locations(cadata=ca.decode("ascii"))
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError, UnicodeDecodeError a ValueError
        raise TlsError(f"{settings.ca}: no usable CA certificates ({error})") from error
    try:
        context.load_cert_chain(settings.certificate, settings.key)
    except OSError as error:
        reason = f"{settings.certificate} and {settings.key}: no usable certificate with its key ({error})"
        raise TlsError(reason) from error
    return context, ca


def subject_name(certificate: Mapping[str, object]) -> str | None:
    """The common name of a certificate as ``getpeercert`` gives it; ``None`` unless there is exactly one."""
    subject = certificate.get("subject")
    if not isinstance(subject, tuple):
        return None
    names = [value for part in subject for key, value in part if key == "commonName"]
    return names[0] if len(names) == 1 else None
