"""How messages of WeChat Pay's API v3 are signed, verified, opened and read.

Two suites: RSA with SHA256 and AES-256-GCM, or the national SM2 with SM3 and SM4-GCM. Which one is
an account's setting, never a header's choice. WeChat's side is one public key with an id, or
platform certificates with serial numbers, which change and are fetched under the APIv3 key.
"""

import base64
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES, SM4
from cryptography.hazmat.primitives.ciphers.modes import GCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from cryptography.x509 import Certificate, load_pem_x509_certificate

from gateway import sm2
from gateway.channels.base import ChannelProtocolError
from gateway.channels.json_object import JsonObject

CLOCK_TOLERANCE_S: Final = 300
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}", re.ASCII)

Verify = Callable[[bytes, bytes], bool]  # Message and signature.


class Suite(Protocol):
    """One family of algorithms: its names on the wire, and what they do.

    Attributes:
        scheme: Of the Authorization header and of Wechatpay-Signature-Type.
        aead: The `algorithm` of an encrypted resource.
    """

    scheme: str
    aead: str

    def sign(self, message: bytes) -> bytes:
        """Sign as the merchant."""
        ...

    def verifier(self, pem: bytes) -> Verify:
        """Return what verifies under a public key in PEM; ValueError if it is none."""
        ...

    def block(self) -> AES | SM4:
        """Return the block cipher under the APIv3 key."""
        ...


class RsaSuite:
    """SHA256 with RSA (PKCS #1 v1.5), AES-256-GCM."""

    scheme = "WECHATPAY2-SHA256-RSA2048"
    aead = "AEAD_AES_256_GCM"

    def __init__(self, private_key: bytes, api_key: bytes) -> None:
        """Read the merchant's key in PEM; ValueError if it is none."""
        key = load_pem_private_key(private_key, password=None)
        if not isinstance(key, RSAPrivateKey):
            raise ValueError("private_key must be an RSA key")  # noqa: TRY004 - a setting
        self._key, self._api_key = key, api_key

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message, PKCS1v15(), SHA256())

    def verifier(self, pem: bytes) -> Verify:
        return self.verifier_of(load_pem_public_key(pem))

    @staticmethod
    def verifier_of(key: object) -> Verify:
        """Return what verifies under a public key."""
        if not isinstance(key, RSAPublicKey):
            raise ValueError("WeChat Pay's key must be an RSA key")  # noqa: TRY004 - a setting

        def verify(message: bytes, signature: bytes) -> bool:
            try:
                key.verify(signature, message, PKCS1v15(), SHA256())
            except InvalidSignature:
                return False
            return True

        return verify

    def block(self) -> AES | SM4:
        return AES(self._api_key)


class Sm2Suite:
    """SM2 with SM3, SM4-GCM under the first half of the APIv3 key's SM3."""

    scheme = "WECHATPAY2-SM2-WITH-SM3"
    aead = "AEAD_SM4_GCM"

    def __init__(self, private_key: bytes, api_key: bytes) -> None:
        """Read the merchant's key in PEM; ValueError if it is none."""
        self._key = sm2.PrivateKey.from_pem(private_key)
        self._block_key = sm2.sm3(api_key)[:16]

    def sign(self, message: bytes) -> bytes:
        return sm2.sign(self._key, message)

    def verifier(self, pem: bytes) -> Verify:
        key = sm2.PublicKey.from_pem(pem)
        return lambda message, signature: sm2.verify(key, message, signature)

    def block(self) -> AES | SM4:
        return SM4(self._block_key)


@dataclass(frozen=True, slots=True)
class Seal:
    """The signature of an answer or a notification, as its headers carry it."""

    serial: str
    timestamp: str
    nonce: str
    signature: str

    @classmethod
    def of(cls, headers: Mapping[str, str], scheme: str) -> "Seal":
        """Read it; lower-case names.

        Raises:
            ChannelProtocolError: if it is signed in another way than was agreed.
        """
        if headers.get("wechatpay-signature-type", scheme) != scheme:
            raise ChannelProtocolError("wechat: signed with another algorithm than agreed")
        names = ("serial", "timestamp", "nonce", "signature")
        return cls(*(headers.get(f"wechatpay-{name}", "") for name in names))

    def check(self, verify: Verify, body: bytes, now_us: int) -> None:
        """Refuse what is stale or wrongly signed, WeChat's own probes included."""
        if _TIMESTAMP.fullmatch(self.timestamp) is None:
            raise ChannelProtocolError("wechat: no timestamp")
        if abs(int(self.timestamp) - now_us // 1_000_000) > CLOCK_TOLERANCE_S:
            raise ChannelProtocolError("wechat: stale timestamp")
        message = f"{self.timestamp}\n{self.nonce}\n".encode() + body + b"\n"
        try:
            signature = base64.b64decode(self.signature, validate=True)
        except ValueError:
            signature = b""
        if not signature or not verify(message, signature):
            raise ChannelProtocolError("wechat: wrong signature")


class Wire:
    """Signs as one merchant and opens what is encrypted to him."""

    def __init__(
        self, mch_id: str, serial_no: str, api_key: bytes, suite: Suite, clock_us: Callable[[], int]
    ) -> None:
        """Bind the merchant; ValueError if the APIv3 key isn't 32 bytes."""
        if len(api_key) != _KEY_BYTES:
            raise ValueError("apiv3_key must be 32 characters")
        self.suite = suite
        self._mch_id, self._serial_no = mch_id, serial_no
        self._clock_us = clock_us

    def authorization(self, method: str, target: str, body: bytes) -> str:
        """Return the header that signs a request; `target` is the path with its query."""
        timestamp, nonce = str(self._clock_us() // 1_000_000), secrets.token_hex(16)
        message = f"{method}\n{target}\n{timestamp}\n{nonce}\n".encode() + body + b"\n"
        signature = base64.b64encode(self.suite.sign(message)).decode()
        return (
            f'{self.suite.scheme} mchid="{self._mch_id}",nonce_str="{nonce}",'
            f'signature="{signature}",timestamp="{timestamp}",serial_no="{self._serial_no}"'
        )

    def invocation(self, app_id: str, prepay_id: str) -> dict[str, str]:
        """Return the signed fields with which the payer's WeChat opens a prepaid order."""
        timestamp, nonce = str(self._clock_us() // 1_000_000), secrets.token_hex(16)
        package = f"prepay_id={prepay_id}"
        message = f"{app_id}\n{timestamp}\n{nonce}\n{package}\n".encode()
        return {
            "appId": app_id,
            "timeStamp": timestamp,
            "nonceStr": nonce,
            "package": package,
            "signType": "RSA" if isinstance(self.suite, RsaSuite) else "SM2",
            "paySign": base64.b64encode(self.suite.sign(message)).decode(),
        }

    def opened(self, resource: JsonObject) -> bytes:
        """Decrypt a resource or a certificate.

        Raises:
            ChannelProtocolError: if it isn't encrypted under the APIv3 key, or was changed.
        """
        resource.same("algorithm", self.suite.aead)
        nonce = resource.text("nonce").encode()
        try:
            sealed = base64.b64decode(resource.text("ciphertext"), validate=True)
        except ValueError:
            sealed = b""
        if len(nonce) != _NONCE_BYTES or len(sealed) < _TAG_BYTES:
            raise ChannelProtocolError("wechat: malformed cipher text")
        mode = GCM(nonce, sealed[-_TAG_BYTES:])
        decryptor = Cipher(self.suite.block(), mode).decryptor()
        decryptor.authenticate_additional_data(resource.text("associated_data").encode())
        try:
            return decryptor.update(sealed[:-_TAG_BYTES]) + decryptor.finalize()
        except InvalidTag:
            raise ChannelProtocolError("wechat: doesn't open with the APIv3 key") from None

    def certificates(self, answer: JsonObject) -> dict[str, Verify]:
        """Return the verifiers of an answer full of platform certificates, by serial number."""
        now = datetime.fromtimestamp(self._clock_us() // 1_000_000, tz=UTC)
        found: dict[str, Verify] = {}
        for each in answer.parts("data"):
            certificate = _certificate(self.opened(each.part("encrypt_certificate")))
            if certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
                key = certificate.public_key()
                found[f"{certificate.serial_number:X}"] = RsaSuite.verifier_of(key)
        return found


def _certificate(pem: bytes) -> Certificate:
    try:
        return load_pem_x509_certificate(pem)
    except ValueError as error:
        raise ChannelProtocolError("wechat: a platform certificate is none") from error


def serial(written: str) -> str:
    """Write a serial number in one way: certificates' in upper-case hex without leading zeros."""
    return written if written.startswith("PUB_KEY_ID_") else written.upper().lstrip("0")
