"""The signature of requests, answers and notifications, to the letter of docs/SIGNING.md.

The algorithm is a property of the key on the server. Nothing in a message can choose it, which
is what makes algorithm substitution impossible: an RSA public key is never used as a shared
secret, because the code path is picked before the message is looked at.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from gateway import sm2
from gateway.domain.merchant import Algorithm, MerchantKey

SIGN_FIELD = "sign"
RSA_BITS_MIN = 2048
RSA_BITS_MAX = 4096  # A verification's cost grows with the square: 8192 bits would stall others.
RSA_EXPONENT = 65_537


class UnusableKey(Exception):
    """A stored key can't sign: the installation is damaged, no request can cause this."""


class BadPublicKey(ValueError):
    """What a merchant sent is not a public key that its algorithm accepts; the text says why."""


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
        key: Its shared secret signs; or, with RSA2 and SM2, the platform's private key of this
            pair, and the merchant verifies with the platform's public key. A signature by a
            private key costs 0.3 ms of CPU and more: make it off the event loop.
        params: Name to literal text.

    Returns:
        Lower-case hex (shared secret) or base64 (RSA2, SM2).

    Raises:
        UnusableKey: if the stored key is empty or not a key of its algorithm.
    """
    message = canonical(params).encode()
    if key.algorithm.is_shared:
        if not key.secret:
            raise UnusableKey(f"{key!r} has no secret")
        return _digest_hex(key.algorithm, key.secret, message)
    if key.algorithm is Algorithm.SM2:
        sm2_key = _sm2_private_key(key.platform_private_key_pem)
        signature = sm2.sign(sm2_key, message) if sm2_key else None
    else:
        rsa_key = _rsa_private_key(key.platform_private_key_pem)
        signature = rsa_key.sign(message, padding.PKCS1v15(), SHA256()) if rsa_key else None
    if signature is None:
        raise UnusableKey(f"{key!r} has no platform private key")
    return base64.b64encode(signature).decode()


def verify(key: MerchantKey, params: Mapping[str, str | None], signature: str) -> bool:
    """Say whether `signature` is the owner's over `params`; in constant time, never raising.

    Args:
        key: Its algorithm is the only one tried.
        params: Name to literal text as received, ``sign`` included or not.
        signature: As received; hex in either case (shared secret) or strict base64 (RSA2, SM2).
    """
    try:
        message = canonical(params).encode()
    except UnicodeEncodeError:  # A lone surrogate is no text that anybody can have signed.
        return False
    if key.algorithm.is_shared:
        return _verify_digest(key.algorithm, key.secret, message, signature)
    raw = _strict_base64(signature)
    if key.algorithm is Algorithm.SM2:
        return _verify_sm2(key.public_key_pem, message, raw)
    return _verify_rsa2(key.public_key_pem, message, raw)


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


def read_public_key(algorithm: Algorithm, text: str) -> bytes:
    """Read the public key a merchant sent, and write it in the one form that is stored.

    Args:
        algorithm: What the key is to be used for.
        text: PEM (SubjectPublicKeyInfo), or for SM2 also the point in hex.

    Returns:
        The key in PEM.

    Raises:
        BadPublicKey: if it is no such key, too weak, or the algorithm has no public keys.
    """
    if algorithm is Algorithm.RSA2:
        return _read_rsa(text)
    if algorithm is Algorithm.SM2:
        try:
            is_pem = text.lstrip().startswith("-----")
            read = sm2.PublicKey.from_pem(text.encode()) if is_pem else sm2.PublicKey.from_hex(text)
        except ValueError as error:
            raise BadPublicKey(str(error)) from None
        return read.to_pem()
    raise BadPublicKey(f"{algorithm} has a shared secret, no public key")


def _read_rsa(text: str) -> bytes:
    try:
        key = load_pem_public_key(text.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadPublicKey("not a PEM public key") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise BadPublicKey("not an RSA key")
    if not RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
        raise BadPublicKey(f"an RSA key needs {RSA_BITS_MIN} to {RSA_BITS_MAX} bits")
    if key.public_numbers().e != RSA_EXPONENT:
        raise BadPublicKey(f"an RSA key needs the public exponent {RSA_EXPONENT}")
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _digest_hex(algorithm: Algorithm, secret: bytes, message: bytes) -> str:
    text = message + secret
    match algorithm:
        case Algorithm.HMAC_SHA256:
            return hmac.digest(secret, text, "sha256").hex()
        case Algorithm.SHA256:
            return hashlib.sha256(text).hexdigest()
        case Algorithm.SM3:
            return sm2.sm3(text).hex()
        case Algorithm.MD5:
            return hashlib.md5(text, usedforsecurity=False).hexdigest()
        case _:
            raise UnusableKey(f"{algorithm} has no shared secret")


def _verify_digest(algorithm: Algorithm, secret: bytes, message: bytes, signature: str) -> bool:
    if not secret or not signature.isascii():  # compare_digest wants ASCII.
        return False
    return hmac.compare_digest(_digest_hex(algorithm, secret, message), signature.lower())


def _strict_base64(signature: str) -> bytes:
    """Read base64, or return nothing: one signature has one spelling.

    Spare bits in the last letter must not make a second one.
    """
    try:
        raw = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return raw if base64.b64encode(raw).decode() == signature else b""


def _verify_rsa2(public_key_pem: bytes, message: bytes, signature: bytes) -> bool:
    public_key = _rsa_public_key(public_key_pem)
    if public_key is None:
        return False
    try:
        public_key.verify(signature, message, padding.PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True


def _verify_sm2(public_key_pem: bytes, message: bytes, signature: bytes) -> bool:
    public_key = _sm2_public_key(public_key_pem)
    return public_key is not None and sm2.verify(public_key, message, signature)


@lru_cache(maxsize=4096)
def _rsa_public_key(pem: bytes) -> rsa.RSAPublicKey | None:
    try:
        key = load_pem_public_key(_read_rsa(pem.decode()))
    except (BadPublicKey, UnicodeDecodeError):
        return None
    return key if isinstance(key, rsa.RSAPublicKey) else None


@lru_cache(maxsize=4096)
def _rsa_private_key(pem: bytes) -> rsa.RSAPrivateKey | None:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, rsa.RSAPrivateKey) else None


@lru_cache(maxsize=4096)
def _sm2_public_key(pem: bytes) -> sm2.PublicKey | None:
    try:
        return sm2.PublicKey.from_pem(pem)
    except sm2.BadKey:
        return None


@lru_cache(maxsize=4096)
def _sm2_private_key(pem: bytes) -> sm2.PrivateKey | None:
    try:
        return sm2.PrivateKey.from_pem(pem)
    except sm2.BadKey:
        return None
