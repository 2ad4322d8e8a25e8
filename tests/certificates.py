"""Certificates for servers of the tests, good ones and bad ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_DAY = timedelta(days=1)
#: What an authority does with its key, and what it does not.
_DOES = ("digital_signature", "key_cert_sign", "crl_sign")
_DOES_NOT = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only")
_USAGE = x509.KeyUsage(**dict.fromkeys(_DOES, True), **dict.fromkeys((*_DOES_NOT, "decipher_only"), False))


def certify(folder: Path, *, host: str = "127.0.0.1", ended: bool = False) -> Path:
    """Put two authorities there, ``ca`` and ``stranger``, and a certificate by the first, ``server``; each has a key.

    Args:
        host: an address, or a name, that the certificate is of.
        ended: it was good until yesterday.

    Returns:
        The folder.
    """
    ca, _ = (_authority(folder, name) for name in ("ca", "stranger"))
    try:
        called: x509.GeneralName = x509.IPAddress(ip_address(host))
    except ValueError:
        called = x509.DNSName(host)
    key, now = generate_private_key(SECP256R1()), datetime.now(UTC)
    made = (
        _of("server", "ca", key, ca)
        .not_valid_before(now - 3 * _DAY)
        .not_valid_after(now - _DAY if ended else now + _DAY)
        .add_extension(x509.SubjectAlternativeName([called]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    _put(folder, "server", made.sign(ca, SHA256()), key)
    return folder


def _authority(folder: Path, name: str) -> EllipticCurvePrivateKey:
    key, now = generate_private_key(SECP256R1()), datetime.now(UTC)
    made = (
        _of(name, name, key, key)
        .not_valid_before(now - 9 * _DAY)
        .not_valid_after(now + 9 * _DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_USAGE, critical=True)
    )
    _put(folder, name, made.sign(key, SHA256()), key)
    return key


def _of(
    name: str, issuer: str, key: EllipticCurvePrivateKey, issuers: EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    """What each says of itself; from 3.13 on Python wants to be told whose key it was signed with, too."""
    subject, by = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in (name, issuer))
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuers.public_key()), critical=False)
    )


def _put(folder: Path, name: str, made: x509.Certificate, key: EllipticCurvePrivateKey) -> None:
    (folder / f"{name}.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / f"{name}.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
