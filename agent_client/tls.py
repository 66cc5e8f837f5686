"""The client's side of mutual TLS."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from agent_client.errors import AgentTlsError

if TYPE_CHECKING:
    from pathlib import Path


class ClientTls:
    """A CA to trust and a certificate to show; read once, shared by any number of clients.

    Raises:
        AgentTlsError: a file is missing or is not what it should be.
    """

    def __init__(self, *, ca: Path, certificate: Path, key: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks names and addresses
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        try:
            context.load_verify_locations(ca)
        except OSError as error:  # ssl.SSLError is one
            raise AgentTlsError(f"{ca}: no usable CA certificates ({error})", remedy=_REMEDY) from error
        try:
            context.load_cert_chain(certificate, key)
        except OSError as error:
            message = f"{certificate} and {key}: no usable certificate with its key ({error})"
            raise AgentTlsError(message, remedy=_REMEDY) from error
        self.context = context


_REMEDY = "run playbooks/deploy.yml: it makes the CA and the tester's certificate"
