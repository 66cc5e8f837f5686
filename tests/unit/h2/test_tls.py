from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tester.etcd.channel import Method
from tester.etcd.errors import RpcError
from tests.unit.h2.fakeserver import running

if TYPE_CHECKING:
    from pathlib import Path


def self_signed(directory: Path, address: str) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "member")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_path, key_path = directory / "member.crt", directory / "member.key"
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate_path, key_path


def contexts(directory: Path, address: str, protocol: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    certificate, key = self_signed(directory, address)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate, key)
    server.set_alpn_protocols([protocol])
    return server, ssl.create_default_context(cafile=str(certificate))


async def test_tls_with_alpn(tmp_path: Path) -> None:
    server, client = contexts(tmp_path, "127.0.0.1", "h2")
    async with running(server_tls=server, tls=client) as run:
        assert await run.channel.call(Method.PUT, b"secret" * 100_000, 30) == b"secret" * 100_000
        [accepted] = run.accepted
        assert accepted.requests[1].headers[":scheme"] == "https"
        assert accepted.transport.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"


@pytest.mark.parametrize(("address", "protocol"), [("127.0.0.9", "h2"), ("127.0.0.1", "http/1.1")])
async def test_the_wrong_member_or_protocol_is_refused_before_anything_is_sent(
    tmp_path: Path, address: str, protocol: str
) -> None:
    server, client = contexts(tmp_path, address, protocol)
    async with running(server_tls=server, tls=client) as run:
        with pytest.raises(RpcError, match=r"IP address mismatch|does not speak h2") as caught:
            await run.channel.call(Method.PUT, b"secret", 30)
        assert caught.value.definite
        assert not any(accepted.requests for accepted in run.accepted)
