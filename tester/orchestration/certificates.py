"""X.509 as this tool uses it: a private CA, certificates for agents (servers) and for the tester (client).

Keys are EC P-256. Times are aware datetimes. Nothing here touches a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=397)
_BACKDATED = timedelta(days=1)  # a host whose clock is late still accepts what was issued a moment ago
_RENEWAL = 3  # renewed when less than one third of the lifetime is left


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a certificate names. With an ``address`` it is a host's, for its server; without, a client's."""

    name: str
    address: str | None = None
    calls: bool = False
    """A server that calls others of its kind: a member among its peers."""

    def alternative_names(self) -> x509.SubjectAlternativeName | None:
        """What a client may call a server: its address or its name."""
        if self.address is None:
            return None
        return x509.SubjectAlternativeName(
            [x509.IPAddress(ip_address(self.address)), x509.DNSName(self.name)],
        )

    def usage(self) -> x509.ExtendedKeyUsage:
        """Server or client; both for a member alone: an agent's key cannot order other agents about."""
        usages = [ExtendedKeyUsageOID.SERVER_AUTH] if self.address is not None else []
        if self.address is None or self.calls:
            usages.append(ExtendedKeyUsageOID.CLIENT_AUTH)
        return x509.ExtendedKeyUsage(usages)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def issue_ca(now: datetime) -> Pair:
    """A new self-signed CA with a name of its own, so that two of them are never mixed up."""
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    name = _name(f"etcd-chaos CA {serial:x}"[:40])
    builder = (
        _builder(name, key, now, CA_LIFETIME)
        .issuer_name(name)
        .serial_number(serial)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
    )
    return Pair(builder.sign(key, hashes.SHA256()), key)


def issue_leaf(identity: Identity, signer: Pair, now: datetime) -> Pair:
    """A certificate with a new key, signed by ``signer``."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
    builder = (
        _builder(_name(identity.name), key, now, LEAF_LIFETIME)
        .issuer_name(signer.certificate.subject)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(identity.usage(), critical=False)
        .add_extension(issuer, critical=False)
    )
    names = identity.alternative_names()
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    return Pair(builder.sign(signer.key, hashes.SHA256()), key)


def unfit_because(leaf: Pair, identity: Identity, signer: x509.Certificate, now: datetime) -> str | None:
    """Why a certificate must be issued again; ``None`` when it is as good as a new one."""
    certificate = leaf.certificate
    if certificate.public_key() != leaf.key.public_key():
        return "the key is another one's"
    if certificate.subject != _name(identity.name):
        return "it names somebody else"
    if _extension(certificate, x509.SubjectAlternativeName) != identity.alternative_names():
        return "the address changed"
    if _extension(certificate, x509.ExtendedKeyUsage) != identity.usage():
        return "it is for another use"
    try:
        certificate.verify_directly_issued_by(signer)
    except (ValueError, TypeError, InvalidSignature):
        return "another CA signed it"
    return "it is about to expire" if expires_soon(certificate, now) else None


def expires_soon(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether less than a third of its lifetime is left."""
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return (end - now) * _RENEWAL < end - start


def utc_now() -> datetime:
    """To the second, as certificates count."""
    return datetime.now(UTC).replace(microsecond=0)


def encode_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PKCS#8 PEM, not encrypted: the file's mode guards it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def decode_key(data: bytes) -> ec.EllipticCurvePrivateKey:
    """The reverse of :func:`encode_key`.

    Raises:
        ValueError: it is no such key.
    """
    key = serialization.load_pem_private_key(data, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not an EC key")  # noqa: TRY004 - callers treat every unusable key alike
    return key


def encode_certificates(*certificates: x509.Certificate) -> bytes:
    """PEM, one after the other."""
    return b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates)


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + lifetime)
        .add_extension(identifier, critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _extension(
    certificate: x509.Certificate, kind: type[x509.SubjectAlternativeName | x509.ExtendedKeyUsage]
) -> x509.ExtensionType | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
