"""Addresses of an EVM chain, one for each order, from a public key alone.

BIP-32 lets whoever holds an extended public key (xpub) derive the addresses of a wallet, and
nobody but the holder of the private key spend from them, so the gateway keeps no key that moves
money. Sources: BIP-32 (non-hardened public derivation), SEC 2 (secp256k1), EIP-55 (checksums).

The path of an order is made of the digest of its number: four levels of 31 bits. No counter is
kept, so there is nothing that two processes could draw at once, and the same order has the same
address for ever; that two orders share one is as likely as a collision of 124 bits.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Final

from gateway.keccak import keccak256

P: Final = 2**256 - 2**32 - 977
N: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
G: Final = (
    0x79BE667E_F9DCBBAC_55A06295_CE870B07_029BFCDB_2DCE28D9_59F2815B_16F81798,
    0x483ADA77_26A3C465_5DA4FBFC_0E1108A8_FD17B448_A6855419_9C47D08F_FB10D4B8,
)
HARDENED: Final = 2**31
LEVELS: Final = 4
_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VERSIONS: Final = frozenset({bytes.fromhex("0488b21e"), bytes.fromhex("043587cf")})  # xpub, tpub.
_XPUB_BYTES: Final = 78
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)

Point = tuple[int, int]
_Jacobian = tuple[int, int, int]


class BadAddress(ValueError):
    """Text that is no address, or one whose checksum says that it was mistyped."""


@dataclass(frozen=True, slots=True)
class ExtendedKey:
    """A public key with what derives its children.

    Attributes:
        point: On secp256k1.
        chain_code: 32 bytes.
    """

    point: Point
    chain_code: bytes

    @classmethod
    def from_text(cls, text: str) -> "ExtendedKey":
        """Read an xpub (or tpub).

        Raises:
            ValueError: if it is anything else, a private key above all.
        """
        raw = _base58check(text)
        if len(raw) != _XPUB_BYTES or raw[:4] not in _VERSIONS:
            raise ValueError("not an extended public key (xpub)")
        return cls(_decompressed(raw[45:]), raw[13:45])

    def child(self, index: int) -> "ExtendedKey":
        """Derive the non-hardened child `index` (BIP-32, CKDpub).

        Raises:
            ValueError: for a hardened index, or one that BIP-32 declares void (one in 2^127).
        """
        if not 0 <= index < HARDENED:
            raise ValueError(f"only the holder of the private key derives child {index}")
        mixed = hmac.digest(
            self.chain_code, _compressed(self.point) + index.to_bytes(4), hashlib.sha512
        )
        tweak = int.from_bytes(mixed[:32])
        point = _sum(_times(tweak), (*self.point, 1))
        if tweak >= N or point[2] == 0:
            raise ValueError(f"child {index} is void; BIP-32 says to take another")
        return ExtendedKey(_affine(point), mixed[32:])

    def address(self) -> str:
        """Return the key's own address, with its checksum."""
        x, y = self.point
        return checksummed(keccak256(x.to_bytes(32) + y.to_bytes(32))[12:])


def path_of(number: str) -> tuple[int, ...]:
    """Return the path of an order's address below the account's key.

    Args:
        number: The gateway's number of the order.

    Examples:
        >>> path_of("T0000000001")
        (651203245, 571993466, 487698286, 996766441)
    """
    digest = hashlib.sha256(number.encode()).digest()
    return tuple(
        int.from_bytes(digest[4 * level : 4 * level + 4]) % HARDENED for level in range(LEVELS)
    )


def address_of(key: ExtendedKey, number: str) -> str:
    """Return the address that an order is paid to.

    Args:
        key: Of the account.
        number: The gateway's number of the order.

    Raises:
        ValueError: if BIP-32 declares its path void (one in 2^125).
    """
    for index in path_of(number):
        key = key.child(index)
    return key.address()


def checksummed(address: bytes) -> str:
    """Write 20 bytes as an address with the checksum of EIP-55.

    Examples:
        >>> checksummed(bytes.fromhex("5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"))
        '0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed'
    """
    letters = address.hex()
    digest = keccak256(letters.encode()).hex()
    return "0x" + "".join(
        letter.upper() if int(nibble, 16) >= 8 else letter  # noqa: PLR2004 - the upper half
        for letter, nibble in zip(letters, digest, strict=False)
    )


def read_address(text: str) -> str:
    """Return an address with its checksum; mixed case must be the checksum's.

    Raises:
        BadAddress: if it is none, or was mistyped.
    """
    if _ADDRESS.fullmatch(text) is None:
        raise BadAddress("an address is 0x and 40 hex digits")
    address = checksummed(bytes.fromhex(text[2:]))
    letters = text[2:]
    if letters not in (letters.lower(), letters.upper()) and text != address:
        raise BadAddress("the address's checksum (EIP-55) says that it was mistyped")
    return address


# secp256k1: y² = x³ + 7.


def _doubled(point: _Jacobian) -> _Jacobian:
    x, y, z = point
    square = y * y % P
    both = 4 * x * square % P
    slope = 3 * x * x % P
    x3 = (slope * slope - 2 * both) % P
    return x3, (slope * (both - x3) - 8 * square * square) % P, 2 * y * z % P


def _sum(left: _Jacobian, right: _Jacobian) -> _Jacobian:
    if left[2] == 0:
        return right
    if right[2] == 0:
        return left
    (x1, y1, z1), (x2, y2, z2) = left, right
    z1z1, z2z2 = z1 * z1 % P, z2 * z2 % P
    u1, s1 = x1 * z2z2 % P, y1 * z2 * z2z2 % P
    h, r = (x2 * z1z1 - u1) % P, (y2 * z1 * z1z1 - s1) % P
    if h == 0:
        return _doubled(left) if r == 0 else (1, 1, 0)
    hh = h * h % P
    hhh, v = h * hh % P, u1 * hh % P
    x3 = (r * r - hhh - 2 * v) % P
    return x3, (r * (v - x3) - s1 * hhh) % P, h * z1 * z2 % P


def _powers_of_g() -> tuple[_Jacobian, ...]:
    row: list[_Jacobian] = [(*G, 1)]
    while len(row) < 256:  # noqa: PLR2004 - the bits of a scalar
        row.append((*_affine(_doubled(row[-1])), 1))
    return tuple(row)


def _times(scalar: int) -> _Jacobian:
    """Return scalar·G. All of it is public here, so its time may tell."""
    total: _Jacobian = (1, 1, 0)
    for shift, power in enumerate(_POWERS):
        if scalar >> shift & 1:
            total = _sum(total, power)
    return total


def _affine(point: _Jacobian) -> Point:
    inverse = pow(point[2], -1, P)
    square = inverse * inverse % P
    return point[0] * square % P, point[1] * square * inverse % P


def _compressed(point: Point) -> bytes:
    return bytes((2 + point[1] % 2,)) + point[0].to_bytes(32)


def _decompressed(raw: bytes) -> Point:
    x = int.from_bytes(raw[1:])
    y = pow(x**3 + 7, (P + 1) // 4, P)
    if raw[0] not in {2, 3} or x >= P or (y * y - x**3 - 7) % P:
        raise ValueError("not a point of secp256k1")
    return x, y if y % 2 == raw[0] % 2 else P - y


def _base58check(text: str) -> bytes:
    number = 0
    for letter in text:
        digit = _ALPHABET.find(letter)
        if digit < 0:
            raise ValueError("not base58")
        number = number * 58 + digit
    raw = number.to_bytes((number.bit_length() + 7) // 8)
    body, check = raw[:-4], raw[-4:]
    if hashlib.sha256(hashlib.sha256(body).digest()).digest()[:4] != check:
        raise ValueError("the checksum doesn't fit: mistyped or cut off")
    return body


_POWERS: Final = _powers_of_g()
