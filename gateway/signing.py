"""The signature of requests, answers and notifications, to the letter of docs/SIGNING.md.

The algorithm is a property of the key on the server. Nothing in a message can choose it, which
is what makes algorithm substitution impossible: an RSA public key is never used as a shared
secret, because the code path is picked before the message is looked at.
"""

import base64
import binascii
import hmac
from collections.abc import Iterable, Mapping
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_pem_public_key,
)

from gateway.domain.merchant import Algorithm, MerchantKey

SIGN_FIELD = "sign"
_HMAC_HEX_LENGTH = 64


class UnusableKey(Exception):
    """A stored key can't sign: the installation is damaged, no request can cause this."""


def canonical(params: Mapping[str, str | None]) -> str:
    """Write parameters as the one text that is signed.

    Args:
        params: Name to literal text as received or as sent; ``sign`` is left out, and so are None
            and empty values, so that an absent parameter and an empty one sign alike.

    Returns:
        ``name=value`` joined by ``&``, sorted by name. Sorting by code point, as Python does, is
        sorting by UTF-8 bytes: the encoding keeps that order.

    Examples:
        >>> canonical({"b": "2", "a": "1", "sign": "x", "c": "", "d": None})
        'a=1&b=2'
        >>> canonical({"total_amount": "10.00", "Z": "大写在前"})
        'Z=大写在前&total_amount=10.00'
    """
    return "&".join(
        [
            f"{name}={value}"
            for name in sorted(params)
            if (value := params[name]) and name != SIGN_FIELD
        ]
    )


def sign(key: MerchantKey, params: Mapping[str, str | None]) -> str:
    """Sign an answer or a notification to the merchant who owns `key`.

    Args:
        key: HMAC-SHA256: the shared secret signs. RSA2: the platform's private key of this key
            pair signs, and the merchant verifies with the platform's public key. An RSA2
            signature costs about 0.3 ms of CPU: make it off the event loop.
        params: Name to literal text.

    Returns:
        Lower-case hex (HMAC-SHA256) or base64 (RSA2).

    Raises:
        UnusableKey: if the stored key is empty or not a key of its algorithm.
    """
    message = canonical(params).encode()
    if key.algorithm is Algorithm.HMAC_SHA256:
        if not key.secret:
            raise UnusableKey(f"{key!r} has no secret")
        return hmac.digest(key.secret, message + key.secret, "sha256").hex()
    private_key = _private_key(key.platform_private_key_pem)
    if private_key is None:
        raise UnusableKey(f"{key!r} has no platform private key")
    return base64.b64encode(private_key.sign(message, padding.PKCS1v15(), SHA256())).decode()


def verify(key: MerchantKey, params: Mapping[str, str | None], signature: str) -> bool:
    """Say whether `signature` is the owner's over `params`; in constant time, never raising.

    Args:
        key: Its algorithm is the only one tried.
        params: Name to literal text as received, ``sign`` included or not.
        signature: As received; hex in either case (HMAC-SHA256) or strict base64 (RSA2).
    """
    try:
        message = canonical(params).encode()
    except UnicodeEncodeError:  # A lone surrogate is no text that anybody can have signed.
        return False
    if key.algorithm is Algorithm.HMAC_SHA256:
        return _verify_hmac(key.secret, message, signature)
    return _verify_rsa2(key.public_key_pem, message, signature)


def verify_any(
    keys: Iterable[MerchantKey], params: Mapping[str, str | None], signature: str
) -> MerchantKey | None:
    """Return the first of a merchant's unexpired keys that verifies, each by its own algorithm.

    Args:
        keys: The live keys, newest first: during a rotation there are two.
        params: Name to literal text as received. A ``sign_type`` among them must name the
            algorithm of the key that verifies; it can narrow the choice, never widen it.
        signature: As received.

    Returns:
        The key, or None if none verifies.
    """
    claimed = params.get("sign_type")
    for key in keys:
        if claimed and claimed != key.algorithm.value:
            continue
        if verify(key, params, signature):
            return key
    return None


def unusable_public_key(pem: bytes) -> str:
    """Return why a public key can't be a merchant's RSA2 key, or an empty string if it can.

    Args:
        pem: As the merchant sent it: PEM, SubjectPublicKeyInfo.
    """
    try:
        key = load_pem_public_key(pem)
    except (ValueError, TypeError):
        return "not a PEM public key"
    if not isinstance(key, rsa.RSAPublicKey):
        return "not an RSA key"
    return "" if key.key_size >= RSA_BITS_MIN else f"an RSA key needs {RSA_BITS_MIN} bits"


RSA_BITS_MIN = 2048


def _verify_hmac(secret: bytes, message: bytes, signature: str) -> bool:
    # Length and alphabet are no secret; compare_digest wants ASCII.
    if not secret or len(signature) != _HMAC_HEX_LENGTH or not signature.isascii():
        return False
    expected = hmac.digest(secret, message + secret, "sha256").hex()
    return hmac.compare_digest(expected, signature.lower())


def _verify_rsa2(public_key_pem: bytes, message: bytes, signature: str) -> bool:
    public_key = _public_key(public_key_pem)
    if public_key is None:
        return False
    try:
        raw = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    # One signature has one spelling: spare bits in the last letter must not make a second one.
    if base64.b64encode(raw).decode() != signature:
        return False
    try:
        public_key.verify(raw, message, padding.PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=4096)
def _public_key(pem: bytes) -> rsa.RSAPublicKey | None:
    if unusable_public_key(pem):
        return None
    key = load_pem_public_key(pem)
    return key if isinstance(key, rsa.RSAPublicKey) else None


@lru_cache(maxsize=4096)
def _private_key(pem: bytes) -> rsa.RSAPrivateKey | None:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        return None
    return key if isinstance(key, rsa.RSAPrivateKey) else None
