"""How UnionPay's messages (ACP 5.1.0) are signed, verified and read.

A certificate that comes inside a message proves nothing until it is traced to the account's own
root and carries UnionPay's name; which method signs is the account's setting, never the message's.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Protocol
from urllib.parse import parse_qsl

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import BasicConstraints, Certificate, ExtensionNotFound
from cryptography.x509 import load_pem_x509_certificate as load_certificate
from cryptography.x509.oid import NameOID

from gateway import sm2
from gateway.channels.base import ChannelProtocolError

_BODY_BYTES_MAX: Final = 65_536
_FEN: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_CN_PLACE: Final = 2  # 041@licence@company@number

# The authority's choice. Some of UnionPay's are old enough for SHA-1, so the library's own check
# refuses them; both authorities are the account's settings, never taken from a message.
_CERTIFICATE_HASHES: Final = frozenset({"sha1", "sha256", "sha384", "sha512"})

Digest = Callable[[bytes], str]
_DIGESTS: Final[dict[str, Digest]] = {
    "11": lambda data: hashlib.sha256(data).hexdigest(),
    "12": lambda data: sm2.sm3(data).hex(),
}


class Fields:
    """A verified message, read field by field."""

    def __init__(self, fields: Mapping[str, str], raw: bytes) -> None:
        """Keep the fields and the message they came in."""
        self._fields = fields
        self.raw = raw

    def text(self, name: str) -> str:
        """Return a field; '' if it isn't there."""
        return self._fields.get(name, "")

    def fen(self, name: str) -> int:
        """Return an amount of fen."""
        if _FEN.fullmatch(self.text(name)) is None:
            raise ChannelProtocolError(f"unionpay: {name} is no amount: {self.text(name)[:24]!r}")
        return int(self.text(name))

    def same(self, name: str, expected: str) -> None:
        """Refuse the message unless a field holds what is expected."""
        if self.text(name) != expected:
            raise ChannelProtocolError(f"unionpay: speaks of another {name} than {expected}")


class Seal(Protocol):
    """One way to sign: both sides of it."""

    def marks(self) -> Mapping[str, str]:
        """Return what a request says of its signature, signed itself."""
        ...

    def sign(self, text: bytes) -> str:
        """Sign as the merchant."""
        ...

    def fits(self, text: bytes, fields: Mapping[str, str]) -> bool:
        """Say whether UnionPay signed a message."""
        ...


class SecretSeal:
    """Methods 11 (SHA-256) and 12 (SM3): a hash with the secret's own hash behind it."""

    def __init__(self, method: str, secret: str) -> None:
        """Bind the secret; ValueError if there is none."""
        if not secret:
            raise ValueError(f"secret is needed with sign_method {method}")
        self._method, self._digest = method, _DIGESTS[method]
        self._tail = b"&" + self._digest(secret.encode()).encode()

    def marks(self) -> Mapping[str, str]:
        return {"signMethod": self._method}

    def sign(self, text: bytes) -> str:
        return self._digest(text + self._tail)

    def fits(self, text: bytes, fields: Mapping[str, str]) -> bool:
        given = fields.get("signature", "").lower().encode()
        return hmac.compare_digest(self.sign(text).encode(), given)


class CertificateSeal:
    """Method 01: RSA over the text's SHA-256 in hex, and certificates on both sides."""

    def __init__(self, told: Mapping[str, str], clock_us: Callable[[], int]) -> None:
        """Read keys and certificates; ValueError names the setting that can't be."""
        key = load_pem_private_key(told["private_key"].encode(), password=None)
        if not isinstance(key, RSAPrivateKey):
            raise ValueError("private_key must be an RSA key")  # noqa: TRY004 - a setting
        self._key = key
        self._cert_id = str(load_certificate(told["certificate"].encode()).serial_number)
        root = load_certificate(told["root_certificate"].encode())
        middle = load_certificate(told["middle_certificate"].encode())
        if not (_issued(root, root) and _issued(middle, root)):
            raise ValueError("middle_certificate must be issued by root_certificate")
        self._chain, self._signer = (middle, root), told["signer"]
        self._clock_us = clock_us
        self._trusted = lru_cache(maxsize=16)(self._trace)

    def marks(self) -> Mapping[str, str]:
        return {"signMethod": "01", "certId": self._cert_id}

    def sign(self, text: bytes) -> str:
        digest = hashlib.sha256(text).hexdigest().encode()
        return base64.b64encode(self._key.sign(digest, PKCS1v15(), SHA256())).decode()

    def fits(self, text: bytes, fields: Mapping[str, str]) -> bool:
        certificate = self._trusted(fields.get("signPubKeyCert", ""))
        now = datetime.fromtimestamp(self._clock_us() // 1_000_000, tz=UTC)
        for each in (certificate, *self._chain):
            if not each.not_valid_before_utc <= now <= each.not_valid_after_utc:
                raise ChannelProtocolError("unionpay: a certificate has expired")
        key = certificate.public_key()
        if not isinstance(key, RSAPublicKey):
            raise ChannelProtocolError("unionpay: not an RSA certificate")
        digest = hashlib.sha256(text).hexdigest().encode()
        try:
            signature = base64.b64decode(fields.get("signature", ""), validate=True)
            key.verify(signature, digest, PKCS1v15(), SHA256())
        except (ValueError, InvalidSignature):
            return False
        return True

    def _trace(self, pem: str) -> Certificate:
        try:
            certificate = load_certificate(pem.encode())
        except ValueError as error:
            raise ChannelProtocolError("unionpay: signed without a certificate") from error
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        parts = str(names[0].value).split("@") if len(names) == 1 else []
        if not _issued(certificate, self._chain[0], is_authority=False):
            raise ChannelProtocolError("unionpay: the certificate isn't issued by UnionPay's root")
        if len(parts) <= _CN_PLACE or parts[_CN_PLACE] != self._signer:
            raise ChannelProtocolError("unionpay: the certificate is somebody else's")
        return certificate


def _issued(certificate: Certificate, issuer: Certificate, *, is_authority: bool = True) -> bool:
    """Say whether a certificate is another's work; only an authority may issue on."""
    key, algorithm = issuer.public_key(), certificate.signature_hash_algorithm
    if certificate.issuer != issuer.subject or not isinstance(key, RSAPublicKey):
        return False
    if algorithm is None or algorithm.name not in _CERTIFICATE_HASHES:
        return False
    try:
        key.verify(certificate.signature, certificate.tbs_certificate_bytes, PKCS1v15(), algorithm)
    except InvalidSignature:
        return False
    try:
        constraints = certificate.extensions.get_extension_for_class(BasicConstraints).value
    except ExtensionNotFound:
        return not is_authority
    return constraints.ca is is_authority


class Wire:
    """Signs as one merchant and believes UnionPay alone."""

    def __init__(self, mer_id: str, method: str, seal: Seal) -> None:
        """Bind the merchant and how both sides sign."""
        self._mer_id, self._method, self._seal = mer_id, method, seal

    def signed(self, fields: Mapping[str, str]) -> dict[str, str]:
        """Return a whole request: the common fields, the given ones, and the signature."""
        whole = {
            "version": "5.1.0",
            "encoding": "utf-8",
            "accessType": "0",
            "merId": self._mer_id,
            **self._seal.marks(),
            **{name: value for name, value in fields.items() if value},
        }
        return whole | {"signature": self._seal.sign(_text(whole))}

    def read_answer(self, raw: bytes) -> Fields:
        """Verify and read an answer, whose values are not encoded in any way.

        Raises:
            ChannelProtocolError: if it isn't UnionPay's.
        """
        try:
            return self._checked(_split(raw.decode()), raw)
        except UnicodeDecodeError as error:
            raise ChannelProtocolError("unionpay: not UTF-8") from error

    def read_notice(self, body: bytes) -> Fields:
        """Verify and read a notification, which is a form.

        Raises:
            ChannelProtocolError: if it isn't UnionPay's.
        """
        if len(body) > _BODY_BYTES_MAX:
            raise ChannelProtocolError("unionpay: notification is too large")
        try:
            pairs = parse_qsl(
                body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict"
            )
        except ValueError as error:
            raise ChannelProtocolError("unionpay: not a form") from error
        return self._checked(pairs, body)

    def _checked(self, pairs: list[tuple[str, str]], raw: bytes) -> Fields:
        fields = dict(pairs)
        if len(fields) != len(pairs):
            raise ChannelProtocolError("unionpay: a field stands twice")
        if fields.get("signMethod") != self._method or fields.get("version") != "5.1.0":
            said = f"{fields.get('respCode', '')[:4]} {fields.get('respMsg', '')[:60]}"
            raise ChannelProtocolError(f"unionpay: signed in another way than agreed: {said}")
        if not self._seal.fits(_text(fields), fields):
            raise ChannelProtocolError("unionpay: wrong signature")
        return Fields(fields, raw)


def _text(fields: Mapping[str, str]) -> bytes:
    names = sorted(name for name in fields if fields[name] and name != "signature")
    return "&".join(f"{name}={fields[name]}" for name in names).encode()


def _split(text: str) -> list[tuple[str, str]]:
    """Split an answer at its ampersands, but for those inside of braces and brackets."""
    pieces, start, closing = [], 0, ""
    for place, letter in enumerate(text):
        if closing:
            closing = "" if letter == closing else closing
        elif letter in "{[":
            closing = "}" if letter == "{" else "]"
        elif letter == "&":
            pieces.append(text[start:place])
            start = place + 1
    pieces.append(text[start:])
    return [(name, value) for name, _, value in (piece.partition("=") for piece in pieces)]
