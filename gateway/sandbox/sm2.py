"""The sandbox's own SM2 (GB/T 32918): what the bank signs with, and the wallet's envelope.

Written apart from the gateway's, in other coordinates and by other formulas, so that the two
check each other: homogeneous coordinates, one complete addition law for every pair of points
(Renes, Costello and Batina 2016, algorithm 1). SM3 is `cryptography`'s. Its time tells its keys,
which are worth nothing.
"""

import secrets
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives.hashes import SM3, Hash

USER_ID: Final = b"1234567812345678"
PRIME: Final = 2**256 - 2**224 - 2**96 + 2**64 - 1
ORDER: Final = int("FFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123", 16)
_A: Final = PRIME - 3
_B: Final = int("28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93", 16)
_BASE: Final = (
    int("32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7", 16),
    int("BC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0", 16),
)
_INTEGER, _OCTETS, _SEQUENCE = 0x02, 0x04, 0x30
_LONG: Final = 0x80  # From here on, DER writes a length in bytes of its own.
# SubjectPublicKeyInfo up to the point: the "key title" that banks print in their guides.
KEY_TITLE: Final = bytes.fromhex("3059301306072a8648ce3d020106082a811ccf5501822d034200")

Point = tuple[int, int]
_Homogeneous = tuple[int, int, int]


def new_secret() -> int:
    """Draw a private key."""
    return secrets.randbelow(ORDER - 2) + 1


def public_of(secret: int) -> Point:
    """Return the public point of a private key."""
    return _finite(_multiple(secret, _BASE))


def spki_of(point: Point) -> bytes:
    """Write a public key as SubjectPublicKeyInfo (DER)."""
    return KEY_TITLE + b"\x04" + _wide(point[0]) + _wide(point[1])


def sign(secret: int, message: bytes) -> bytes:
    """Sign with SM3 and the default user id; returns DER."""
    digest = _digest(public_of(secret), message)
    while True:
        nonce = secrets.randbelow(ORDER - 1) + 1
        r = (digest + _finite(_multiple(nonce, _BASE))[0]) % ORDER
        s = (nonce - r * secret) * pow(secret + 1, -1, ORDER) % ORDER
        if r and s and r + nonce != ORDER:
            return _write(_SEQUENCE, _write_integer(r) + _write_integer(s))


def verify(point: Point, message: bytes, signature: bytes) -> bool:
    """Say whether the DER `signature` is the key's over `message`."""
    try:
        r, s = (int.from_bytes(value) for value in _read_all(signature, _INTEGER, _INTEGER))
    except ValueError:
        return False
    canonical = _write(_SEQUENCE, _write_integer(r) + _write_integer(s))
    if signature != canonical or not (0 < r < ORDER and 0 < s < ORDER) or (r + s) % ORDER == 0:
        return False
    sum_ = _added(_multiple(s, _BASE), _multiple((r + s) % ORDER, point))
    if sum_[2] == 0:
        return False
    return (_digest(point, message) + _finite(sum_)[0]) % ORDER == r


def seal(point: Point, message: bytes) -> bytes:
    """Encrypt to a key; returns the DER of GM/T 0009: x, y, C3, C2."""
    while True:
        nonce = secrets.randbelow(ORDER - 1) + 1
        x, y = _finite(_multiple(nonce, _BASE))
        mask, left, right = _shared(_finite(_multiple(nonce, point)), len(message))
        if any(mask):
            break
    hidden = bytes(a ^ b for a, b in zip(message, mask, strict=True))
    return _write(
        _SEQUENCE,
        _write_integer(x)
        + _write_integer(y)
        + _write(_OCTETS, _sm3(left + message + right))
        + _write(_OCTETS, hidden),
    )


def unseal(secret: int, sealed: bytes) -> bytes:
    """Open what was sealed for a key.

    Raises:
        ValueError: if it wasn't, or was changed.
    """
    x, y, tag, hidden = _read_all(sealed, _INTEGER, _INTEGER, _OCTETS, _OCTETS)
    point = (int.from_bytes(x), int.from_bytes(y))
    if (point[1] ** 2 - point[0] ** 3 - _A * point[0] - _B) % PRIME:
        raise ValueError("not a point of the curve")
    mask, left, right = _shared(_finite(_multiple(secret, point)), len(hidden))
    message = bytes(a ^ b for a, b in zip(hidden, mask, strict=True))
    if _sm3(left + message + right) != tag:
        raise ValueError("sealed for another key, or changed")
    return message


def _digest(point: Point, message: bytes) -> int:
    bits = (8 * len(USER_ID)).to_bytes(2)
    numbers = b"".join(map(_wide, (_A, _B, *_BASE, *point)))
    return int.from_bytes(_sm3(_sm3(bits + USER_ID + numbers) + message))


def _shared(point: Point, length: int) -> tuple[bytes, bytes, bytes]:
    left, right = _wide(point[0]), _wide(point[1])
    stream = b""
    while len(stream) < length:
        stream += _sm3(left + right + (len(stream) // 32 + 1).to_bytes(4))
    return stream[:length], left, right


def _sm3(data: bytes) -> bytes:
    digest = Hash(SM3())
    digest.update(data)
    return digest.finalize()


def _wide(number: int) -> bytes:
    return number.to_bytes(32)


# The curve.


def _added(p: _Homogeneous, q: _Homogeneous) -> _Homogeneous:
    """Add any two points, equal, opposite or infinite ones too: y²z = x³ + axz² + bz³."""
    xx, yy, zz = p[0] * q[0] % PRIME, p[1] * q[1] % PRIME, p[2] * q[2] % PRIME
    xy = (p[0] * q[1] + p[1] * q[0]) % PRIME
    xz = (p[0] * q[2] + p[2] * q[0]) % PRIME
    yz = (p[1] * q[2] + p[2] * q[1]) % PRIME
    tail = (_A * xz + 3 * _B * zz) % PRIME
    low, high = yy - tail, yy + tail
    side = (_A * xx + 3 * _B * xz - _A * _A * zz) % PRIME
    slope = 3 * xx + _A * zz
    return (
        (xy * low - yz * side) % PRIME,
        (high * low + slope * side) % PRIME,
        (yz * high + xy * slope) % PRIME,
    )


@lru_cache(maxsize=64)
def _doublings(point: Point) -> tuple[_Homogeneous, ...]:
    """Return 2^0 to 2^255 times a point; a sandbox sees few keys, and often."""
    row: list[_Homogeneous] = [(*point, 1)]
    while len(row) < 256:  # noqa: PLR2004 - the bits of a scalar
        row.append(_added(row[-1], row[-1]))
    return tuple(row)


def _multiple(scalar: int, point: Point) -> _Homogeneous:
    total: _Homogeneous = (0, 1, 0)
    for shift, doubled in enumerate(_doublings(point)):
        if scalar >> shift & 1:
            total = _added(total, doubled)
    return total


def _finite(point: _Homogeneous) -> Point:
    scale = pow(point[2], -1, PRIME)
    return point[0] * scale % PRIME, point[1] * scale % PRIME


# DER.


def _write(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < _LONG:
        return bytes((tag, size)) + content
    written = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, _LONG | len(written))) + written + content


def _write_integer(number: int) -> bytes:
    return _write(_INTEGER, number.to_bytes(number.bit_length() // 8 + 1))


def _read_all(der: bytes, *tags: int) -> list[bytes]:
    """Read a SEQUENCE of exactly these kinds.

    Raises:
        ValueError: if it is anything else.
    """
    ((tag, inside),) = _read_each(der)
    parts = list(_read_each(inside))
    if tag != _SEQUENCE or [kind for kind, _ in parts] != list(tags):
        raise ValueError("another structure was expected")
    return [content for _, content in parts]


def _read_each(der: bytes) -> Iterator[tuple[int, bytes]]:
    while der:
        head, size = 2, der[1] if len(der) > 1 else -1
        if size >= _LONG:
            head += size - _LONG
            size = int.from_bytes(der[2:head])
        if size < 0 or head + size > len(der):
            raise ValueError("cut off")
        yield der[0], der[head : head + size]
        der = der[head + size :]
