"""The signature of docs/SIGNING.md, from the merchant's side.

Written anew and not shared with the gateway: a merchant's copy must stand alone, and two
implementations that agree on every test vector are better evidence than one.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SM3, Hash
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


def _hmac_sha256(secret: bytes, text: bytes) -> str:
    return hmac.new(secret, text, hashlib.sha256).hexdigest()


def _sha256(_secret: bytes, text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def _sm3(_secret: bytes, text: bytes) -> str:
    digest = Hash(SM3())
    digest.update(text)
    return digest.finalize().hex()


# Each over the canonical text followed by the secret.
_DIGESTS = {"HMAC-SHA256": _hmac_sha256, "SHA256": _sha256, "SM3": _sm3}


class SharedSecret:
    """HMAC-SHA256, SHA256 or SM3 with a secret that both sides know.

    Args:
        secret: The present secret; it signs.
        previous: Earlier secrets that still verify while a rotation is under way.
        algorithm: That of the key, as it was given with it.

    Raises:
        ValueError: if the algorithm has no shared secret here.
    """

    def __init__(
        self, secret: str, previous: Sequence[str] = (), algorithm: str = "HMAC-SHA256"
    ) -> None:
        if algorithm not in _DIGESTS:
            raise ValueError(f"a shared secret is for {', '.join(_DIGESTS)}, not {algorithm}")
        self.algorithm = algorithm
        self._digest = _DIGESTS[algorithm]
        self._secrets = [text.encode() for text in (secret, *previous)]

    def sign(self, params: Mapping[str, str]) -> str:
        return self._signature(self._secrets[0], params)

    def verify(self, params: Mapping[str, str], signature: str) -> bool:
        given = signature.lower().encode("utf-8", "replace")
        return any(
            hmac.compare_digest(self._signature(secret, params).encode(), given)
            for secret in self._secrets
        )

    def _signature(self, secret: bytes, params: Mapping[str, str]) -> str:
        return self._digest(secret, canonical(params) + secret)


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


class ExternalKey:
    """SM2, or RSA2 with a key that never leaves its module: something else holds it and signs.

    SM2 private keys belong in a cryptographic module or token, so this client carries no SM2 of
    its own: it makes the text and writes the base64, and two functions of yours do the rest.

    Args:
        algorithm: That of the key, e.g. ``SM2``.
        sign: Given the text's bytes, returns the raw signature; SM2 in DER, with the default user
            id 1234567812345678.
        verify: Given the text's bytes and a raw signature, says whether the gateway made it.
    """

    def __init__(
        self,
        algorithm: str,
        sign: Callable[[bytes], bytes],
        verify: Callable[[bytes, bytes], bool],
    ) -> None:
        self.algorithm = algorithm
        self._sign = sign
        self._verify = verify

    def sign(self, params: Mapping[str, str]) -> str:
        return base64.b64encode(self._sign(canonical(params))).decode()

    def verify(self, params: Mapping[str, str], signature: str) -> bool:
        try:
            raw = base64.b64decode(signature, validate=True)
        except ValueError:
            return False
        return self._verify(canonical(params), raw)


def credentials(
    *, secret: str, private_key_pem: str, platform_public_key_pem: str, algorithm: str
) -> SharedSecret | KeyPair:
    """Choose by what the merchant was given.

    Raises:
        ValueError: if it doesn't make up one algorithm's keys, or not those of `algorithm`.
    """
    if bool(secret) == bool(private_key_pem):
        raise ValueError("give either secret (HMAC-SHA256, SHA256, SM3) or private_key_pem (RSA2)")
    if secret:
        return SharedSecret(secret, algorithm=algorithm or "HMAC-SHA256")
    if algorithm not in ("", KeyPair.algorithm):
        raise ValueError(f"these keys are for {KeyPair.algorithm}, not {algorithm}")
    return KeyPair(private_key_pem, platform_public_key_pem)
