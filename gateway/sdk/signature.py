"""The signature of docs/SIGNING.md, from the merchant's side.

Written anew and not shared with the gateway: a merchant's copy must stand alone, and two
implementations that agree on every test vector are better evidence than one.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_pem_public_key,
)


def canonical(params: Mapping[str, str]) -> bytes:
    """Return the text that is signed, in UTF-8.

    Examples:
        >>> canonical({"b": "2", "a": "1", "sign": "x", "c": ""})
        b'a=1&b=2'
    """
    signed = {name.encode(): value.encode() for name, value in params.items() if value}
    signed.pop(b"sign", None)
    return b"&".join(name + b"=" + signed[name] for name in sorted(signed))


class Credentials(Protocol):
    """One merchant's way to sign and to verify."""

    algorithm: str

    def sign(self, params: Mapping[str, str]) -> str:
        """Return the signature over `params`."""
        ...

    def verify(self, params: Mapping[str, str], signature: str) -> bool:
        """Say whether the gateway made `signature` over `params`; never raises."""
        ...


class SharedSecret:
    """HMAC-SHA256 with a secret that both sides know.

    Args:
        secret: The present secret; it signs.
        previous: Earlier secrets that still verify while a rotation is under way.
    """

    algorithm = "HMAC-SHA256"

    def __init__(self, secret: str, previous: Sequence[str] = ()) -> None:
        self._secrets = [text.encode() for text in (secret, *previous)]

    def sign(self, params: Mapping[str, str]) -> str:
        return _hmac_hex(self._secrets[0], params)

    def verify(self, params: Mapping[str, str], signature: str) -> bool:
        given = signature.lower().encode("utf-8", "replace")
        return any(
            hmac.compare_digest(_hmac_hex(secret, params).encode(), given)
            for secret in self._secrets
        )


def _hmac_hex(secret: bytes, params: Mapping[str, str]) -> str:
    return hmac.new(secret, canonical(params) + secret, hashlib.sha256).hexdigest()


class KeyPair:
    """RSA2: the merchant's private key signs, the gateway's public key verifies.

    Args:
        private_key_pem: The merchant's own, unencrypted PEM.
        platform_public_key_pem: The gateway's, as it was given with the key.

    Raises:
        ValueError: if either is not an RSA key in PEM.
    """

    algorithm = "RSA2"

    def __init__(self, private_key_pem: str, platform_public_key_pem: str) -> None:
        private_key = load_pem_private_key(private_key_pem.encode(), password=None)
        public_key = load_pem_public_key(platform_public_key_pem.encode())
        if not isinstance(private_key, rsa.RSAPrivateKey) or not isinstance(
            public_key, rsa.RSAPublicKey
        ):
            raise ValueError("RSA2 needs RSA keys")  # noqa: TRY004 - the value is wrong
        self._private_key = private_key
        self._public_key = public_key

    def sign(self, params: Mapping[str, str]) -> str:
        raw = self._private_key.sign(canonical(params), padding.PKCS1v15(), SHA256())
        return base64.b64encode(raw).decode()

    def verify(self, params: Mapping[str, str], signature: str) -> bool:
        try:
            raw = base64.b64decode(signature, validate=True)
            self._public_key.verify(raw, canonical(params), padding.PKCS1v15(), SHA256())
        except (InvalidSignature, ValueError):
            return False
        return True


def credentials(
    *, secret: str, private_key_pem: str, platform_public_key_pem: str, algorithm: str
) -> SharedSecret | KeyPair:
    """Choose by what the merchant was given.

    Raises:
        ValueError: if it doesn't make up one algorithm's keys, or not those of `algorithm`.
    """
    if bool(secret) == bool(private_key_pem):
        raise ValueError("give either secret (HMAC-SHA256) or private_key_pem (RSA2)")
    chosen: SharedSecret | KeyPair = (
        SharedSecret(secret) if secret else KeyPair(private_key_pem, platform_public_key_pem)
    )
    if algorithm and algorithm != chosen.algorithm:
        raise ValueError(f"these keys are for {chosen.algorithm}, not {algorithm}")
    return chosen
