"""Certificates of both sides, issued by the sandbox itself and kept beside its keys."""

from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from gateway.sandbox.keys import Keys

# Wide enough for every test clock; expiry is tested with certificates made for it.
FIRST: Final = datetime(2020, 1, 1, tzinfo=UTC)
LAST: Final = datetime(2049, 12, 31, tzinfo=UTC)


def certificate(
    keys: Keys,
    name: str,
    common_name: str,
    *,
    issuer: str = "",
    is_authority: bool = False,
    last: datetime = LAST,
) -> x509.Certificate:
    """Return the certificate of the RSA key `name`, issued when it is first asked for.

    Args:
        keys: Where keys and certificates are kept.
        name: Of the key whose certificate it is.
        common_name: Of its subject.
        issuer: Name of the authority that issues it, which has a certificate already; itself if ''.
        is_authority: Whether it may issue others.
        last: When it expires.
    """

    def issued() -> bytes:
        subject = _name(common_name)
        authority = (
            x509.load_pem_x509_certificate(keys.kept(f"{issuer}.crt", bytes)) if issuer else None
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority.subject if authority else subject)
            .public_key(keys.rsa(name).public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(FIRST)
            .not_valid_after(last)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        return builder.sign(keys.rsa(issuer or name), SHA256()).public_bytes(Encoding.PEM)

    return x509.load_pem_x509_certificate(keys.kept(f"{name}.crt", issued))


def pem_of(issued: x509.Certificate) -> str:
    """Write a certificate as PEM."""
    return issued.public_bytes(Encoding.PEM).decode()


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CN"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Sandbox"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
