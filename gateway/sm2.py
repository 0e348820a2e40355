"""SM2, the elliptic-curve scheme of GB/T 32918: signatures, encryption, keys.

Sources: GB/T 32918.1 to 32918.4 (2016), 32918.5-2017 (the curve), GM/T 0009 (how a signature is
written in DER). SM3 comes from `cryptography`, which has no SM2 of its own; nonces come from
`secrets`.

A secret scalar is multiplied in the same number of additions whatever its bits. Python's integers
still take time by their size, so this is not constant time to somebody who measures inside the
machine: the threat model is a network, where a signature is made among milliseconds of other work.

A signature costs about half a millisecond of CPU, a verification two or three: keep both off the
event loop.
"""

import base64
import binascii
import hmac
import re
import secrets
from dataclasses import dataclass
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SM3, Hash

from gateway.sm2_curve import GX, GY, A, Affine, B, N, P, add, times, times_base, to_affine

DEFAULT_USER_ID = (
    b"1234567812345678"  # GM/T 0009 section 10: used unless the parties agreed otherwise.
)
PUBLIC_BYTES = 65  # 04 ‖ x ‖ y
_UNCOMPRESSED = b"\x04"
CIPHER_OVERHEAD_BYTES = 97  # C1 and C3 around a message of any length.


class BadKey(ValueError):
    """Bytes or text that is no SM2 key."""


class DecryptionFailed(ValueError):
    """The cipher text was not made for this key, or was changed."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A point of the curve other than infinity; building one checks that.

    Attributes:
        x: Its first coordinate.
        y: Its second coordinate.

    Raises:
        BadKey: if it isn't on the curve.
    """

    x: int
    y: int

    def __post_init__(self) -> None:
        on_field = 0 <= self.x < P and 0 <= self.y < P
        if not on_field or (self.y * self.y - (self.x**3 + A * self.x + B)) % P:
            raise BadKey("not a point of the SM2 curve")

    @classmethod
    def from_bytes(cls, raw: bytes) -> "PublicKey":
        """Read ``04 ‖ x ‖ y``, 65 bytes.

        Raises:
            BadKey: if it is anything else.
        """
        if len(raw) != PUBLIC_BYTES or raw[:1] != _UNCOMPRESSED:
            raise BadKey("an SM2 public key is 04 and two coordinates, 65 bytes")
        return cls(int.from_bytes(raw[1:33]), int.from_bytes(raw[33:]))

    @classmethod
    def from_hex(cls, text: str) -> "PublicKey":
        """Read ``04 ‖ x ‖ y`` in hex; the leading 04 may be left out, as some tools do.

        Raises:
            BadKey: if it is anything else.
        """
        raw = _from_hex(text)
        return cls.from_bytes(_UNCOMPRESSED + raw if len(raw) == PUBLIC_BYTES - 1 else raw)

    @classmethod
    def from_pem(cls, pem: bytes) -> "PublicKey":
        """Read a SubjectPublicKeyInfo (``PUBLIC KEY``) in PEM.

        Raises:
            BadKey: if it is anything else, or a key of another curve.
        """
        der = _from_pem(pem, "PUBLIC KEY")
        if not der.startswith(_SPKI):
            raise BadKey("not an SM2 public key")
        return cls.from_bytes(der[len(_SPKI) :])

    def to_bytes(self) -> bytes:
        """Write ``04 ‖ x ‖ y``."""
        return _UNCOMPRESSED + self.x.to_bytes(32) + self.y.to_bytes(32)

    def to_pem(self) -> bytes:
        """Write a SubjectPublicKeyInfo in PEM."""
        return _to_pem(_SPKI + self.to_bytes(), "PUBLIC KEY")


@dataclass(frozen=True, slots=True, repr=False)
class PrivateKey:
    """A secret scalar from 1 to the group's order less 2.

    Attributes:
        scalar: The secret.

    Raises:
        BadKey: if it is out of range.
    """

    scalar: int

    def __post_init__(self) -> None:
        if not 1 <= self.scalar <= N - 2:
            raise BadKey("an SM2 private key is from 1 to n-2")

    @classmethod
    def generate(cls) -> "PrivateKey":
        """Draw a new key."""
        return cls(1 + secrets.randbelow(N - 2))

    @classmethod
    def from_hex(cls, text: str) -> "PrivateKey":
        """Read 32 bytes in hex.

        Raises:
            BadKey: if it is anything else.
        """
        raw = _from_hex(text)
        if len(raw) != 32:  # noqa: PLR2004 - the scalar's size
            raise BadKey("an SM2 private key is 32 bytes")
        return cls(int.from_bytes(raw))

    @classmethod
    def from_pem(cls, pem: bytes) -> "PrivateKey":
        """Read an unencrypted PKCS #8 (``PRIVATE KEY``) or SEC 1 (``EC PRIVATE KEY``) key in PEM.

        Raises:
            BadKey: if it is anything else, or a public key inside is not this key's.
        """
        der = _from_pem(pem, "PRIVATE KEY", "EC PRIVATE KEY")
        for head in _PRIVATE_HEADS:
            if der.startswith(head):
                key = cls(int.from_bytes(der[len(head) : len(head) + 32]))
                if der in key.encodings():
                    return key
        raise BadKey("not an SM2 private key")

    def encodings(self) -> tuple[bytes, ...]:
        """Write the key in every DER form in use; the first is the one we write ourselves."""
        secret = self.scalar.to_bytes(32)
        point = self.public_key().to_bytes()
        tails = (
            _POINT_TAG + point,
            b"",
            _CURVE_TAG + _POINT_TAG + point,
            _CURVE_TAG + _POINT_TAG + point,
        )
        return tuple(head + secret + tail for head, tail in zip(_PRIVATE_HEADS, tails, strict=True))

    def to_pem(self) -> bytes:
        """Write an unencrypted PKCS #8 key in PEM, with its public key."""
        return _to_pem(self.encodings()[0], "PRIVATE KEY")

    def public_key(self) -> PublicKey:
        """Return the public half."""
        return _public_of(self.scalar)

    def __repr__(self) -> str:  # The secret never reaches a log through a repr.
        return "PrivateKey(SM2)"


def sign(private_key: PrivateKey, message: bytes, user_id: bytes = DEFAULT_USER_ID) -> bytes:
    """Sign `message` (GB/T 32918.2 section 6).

    Args:
        private_key: Who signs.
        message: Any length.
        user_id: The signer's name that both sides agreed on, at most 8191 bytes.

    Returns:
        The signature in DER: SEQUENCE of r and s.
    """
    digest = message_digest(private_key.public_key(), message, user_id)
    while True:
        made = _signature(private_key.scalar, digest, 1 + secrets.randbelow(N - 1))
        if made is not None:
            return encode_dss_signature(*made)


def verify(
    public_key: PublicKey, message: bytes, signature: bytes, user_id: bytes = DEFAULT_USER_ID
) -> bool:
    """Say whether `signature` is the key's over `message`; never raises for what it is given.

    Args:
        public_key: Who should have signed.
        message: Any length.
        signature: DER, and only the one spelling DER has.
        user_id: As at signing.
    """
    try:
        r, s = decode_dss_signature(signature)
    except ValueError:
        return False
    if not (0 < r < N and 0 < s < N) or encode_dss_signature(r, s) != signature:
        return False
    t = (r + s) % N
    if t == 0:
        return False
    point = to_affine(add(times_base(s), times(t, (public_key.x, public_key.y))))
    digest = message_digest(public_key, message, user_id)
    return point is not None and (digest + point[0]) % N == r


def encrypt(public_key: PublicKey, message: bytes) -> bytes:
    """Encrypt to the key's owner (GB/T 32918.4 section 6).

    Args:
        public_key: Whose.
        message: At least one byte.

    Returns:
        C1 ‖ C3 ‖ C2 with C1 as ``04 ‖ x ‖ y``: 97 bytes more than `message`.

    Raises:
        ValueError: if `message` is empty.
    """
    if not message:
        raise ValueError("SM2 encrypts at least one byte")
    while True:
        made = _encryption(public_key, message, 1 + secrets.randbelow(N - 1))
        if made is not None:
            return made


def decrypt(private_key: PrivateKey, cipher_text: bytes) -> bytes:
    """Open what `encrypt` made for this key.

    Raises:
        DecryptionFailed: if it was made for another key or changed, or is no cipher text at all.
    """
    if len(cipher_text) <= CIPHER_OVERHEAD_BYTES:
        raise DecryptionFailed("too short for an SM2 cipher text")
    try:
        c1 = PublicKey.from_bytes(cipher_text[:PUBLIC_BYTES])
    except BadKey:
        raise DecryptionFailed("does not begin with a point of the curve") from None
    c3 = cipher_text[PUBLIC_BYTES:CIPHER_OVERHEAD_BYTES]
    shared = to_affine(times(private_key.scalar, (c1.x, c1.y)))
    if shared is None:
        raise DecryptionFailed("does not open with this key")
    message, tag = _masked(shared, cipher_text[CIPHER_OVERHEAD_BYTES:], sealing=False)
    if not hmac.compare_digest(tag, c3):
        raise DecryptionFailed("does not open with this key")
    return message


def message_digest(public_key: PublicKey, message: bytes, user_id: bytes) -> int:
    """Return e, the number that is signed: SM3 of the signer's identity and the message."""
    return int.from_bytes(sm3(_identity(public_key, user_id) + message))


def sm3(data: bytes) -> bytes:
    """Return the SM3 digest of `data` (GB/T 32905), 32 bytes."""
    digest = Hash(SM3())
    digest.update(data)
    return digest.finalize()


@lru_cache(maxsize=1024)
def _identity(public_key: PublicKey, user_id: bytes) -> bytes:
    """Z of GB/T 32918.2 section 5.5: user, curve and key in one digest."""
    if len(user_id) * 8 > 0xFFFF:  # noqa: PLR2004 - the length is written in two bytes
        raise ValueError("an SM2 user id has at most 8191 bytes")
    curve = b"".join(number.to_bytes(32) for number in (A, B, GX, GY))
    return sm3((len(user_id) * 8).to_bytes(2) + user_id + curve + public_key.to_bytes()[1:])


def _signature(scalar: int, digest: int, nonce: int) -> tuple[int, int] | None:
    point = to_affine(times_base(nonce))
    if point is None:
        return None
    r = (digest + point[0]) % N
    if r == 0 or r + nonce == N:
        return None
    s = pow(1 + scalar, -1, N) * (nonce - r * scalar) % N
    return (r, s) if s else None


def _encryption(public_key: PublicKey, message: bytes, nonce: int) -> bytes | None:
    c1 = to_affine(times_base(nonce))
    shared = to_affine(times(nonce, (public_key.x, public_key.y)))
    if c1 is None or shared is None:
        return None
    c2, c3 = _masked(shared, message, sealing=True)
    if c2 == message:  # The mask was all zeros; possible for a message of a byte or two.
        return None
    return PublicKey(*c1).to_bytes() + c3 + c2


def _masked(shared: Affine, text: bytes, *, sealing: bool) -> tuple[bytes, bytes]:
    """Put the mask on or take it off; also return the digest C3 over the plain message."""
    x, y = (coordinate.to_bytes(32) for coordinate in shared)
    blocks = range(1, len(text) // 32 + 2)
    mask = b"".join(sm3(x + y + block.to_bytes(4)) for block in blocks)[: len(text)]
    other = (int.from_bytes(text) ^ int.from_bytes(mask)).to_bytes(len(text))
    return other, sm3(x + (text if sealing else other) + y)


@lru_cache(maxsize=1024)
def _public_of(scalar: int) -> PublicKey:
    point = to_affine(times_base(scalar))
    if point is None:
        raise BadKey("an SM2 private key is from 1 to n-2")
    return PublicKey(*point)


# DER of the key's wrapping up to the key itself: each is one fixed text, so comparing it whole is
# the strictest parser there is. Object ids: 1.2.840.10045.2.1 (EC key), 1.2.156.10197.1.301 (SM2).
_ALGORITHM = bytes.fromhex("301306072a8648ce3d020106082a811ccf5501822d")
_SPKI = bytes.fromhex("3059") + _ALGORITHM + bytes.fromhex("034200")
_POINT_TAG = bytes.fromhex("a144034200")
_CURVE_TAG = bytes.fromhex("a00a06082a811ccf5501822d")
_PRIVATE_HEADS = (
    # PKCS #8 with the public key (OpenSSL), without it, with curve and public key (Java);
    # SEC 1 with curve and public key.
    bytes.fromhex("308187020100") + _ALGORITHM + bytes.fromhex("046d306b0201010420"),
    bytes.fromhex("3041020100") + _ALGORITHM + bytes.fromhex("042730250201010420"),
    bytes.fromhex("308193020100") + _ALGORITHM + bytes.fromhex("047930770201010420"),
    bytes.fromhex("30770201010420"),
)


def _from_hex(text: str) -> bytes:
    if re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", text) is None:
        raise BadKey("not hex")
    return bytes.fromhex(text)


def _from_pem(pem: bytes, *labels: str) -> bytes:
    for label in labels:
        form = rf"\s*-----BEGIN {label}-----\s+([A-Za-z0-9+/=\s]+?)-----END {label}-----\s*"
        found = re.fullmatch(form.encode(), pem)
        if found is not None:
            try:
                return base64.b64decode(b"".join(found.group(1).split()), validate=True)
            except binascii.Error:
                raise BadKey("not base64 inside the PEM") from None
    raise BadKey(f"not a PEM of {' or '.join(labels)}")


def _to_pem(der: bytes, label: str) -> bytes:
    text = base64.b64encode(der).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()
