"""Keys of the sandbox's wallet and digests of its chain, written apart from the gateway's.

The gateway derives addresses from the public key by its own arithmetic; here they come from the
private key and `cryptography`'s curve. Keccak is written from its bits: constants from the
shift register, offsets from the walk, as the reference defines them.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.sandbox.keys import Keys

_ORDER: Final = int("FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141", 16)
_ACCOUNT: Final = (44 + 2**31, 60 + 2**31, 2**31)  # m/44'/60'/0' (BIP-44, coin 60 is Ether).
_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_WORD: Final = 2**64 - 1


def keccak(data: bytes) -> bytes:
    """Return the Keccak-256 digest of `data`."""
    block = 136
    text = data + b"\x01" + bytes(-(len(data) + 1) % block)
    text = text[:-1] + bytes((text[-1] | 0x80,))
    lanes = {(x, y): 0 for x in range(5) for y in range(5)}
    for start in range(0, len(text), block):
        for number in range(block // 8):
            at = (number % 5, number // 5)
            word = text[start + 8 * number : start + 8 * number + 8]
            lanes[at] ^= int.from_bytes(word, "little")
        _permute(lanes)
    return b"".join(lanes[x, 0].to_bytes(8, "little") for x in range(4))


def _permute(lanes: dict[tuple[int, int], int]) -> None:
    register = 1
    for _ in range(24):
        sums = [0] * 5
        for (x, _y), lane in lanes.items():
            sums[x] ^= lane
        for x, y in lanes:
            lanes[x, y] ^= sums[(x + 4) % 5] ^ _rolled(sums[(x + 1) % 5], 1)
        lanes.update(list(_walked(lanes)))
        for y in range(5):
            row = [lanes[x, y] for x in range(5)]
            for x in range(5):
                lanes[x, y] = row[x] ^ (row[(x + 1) % 5] ^ _WORD) & row[(x + 2) % 5]
        for power in range(7):
            if register & 1:
                lanes[0, 0] ^= 1 << (2**power - 1)
            register = register << 1 ^ (0x171 if register & 0x80 else 0)


def _walked(lanes: dict[tuple[int, int], int]) -> Iterator[tuple[tuple[int, int], int]]:
    x, y = 1, 0
    carried = lanes[x, y]
    for step in range(1, 25):
        x, y = y, (2 * x + 3 * y) % 5
        yield (x, y), _rolled(carried, step * (step + 1) // 2 % 64)
        carried = lanes[x, y]


def _rolled(lane: int, bits: int) -> int:
    return (lane << bits | lane >> (64 - bits)) & _WORD


@dataclass(frozen=True, slots=True, repr=False)
class Node:
    """A private key of the wallet's tree (BIP-32)."""

    secret: int
    chain_code: bytes

    def below(self, path: Sequence[int]) -> "Node":
        """Derive the key at a path below this one; indexes from 2^31 on are hardened."""
        node = self
        for index in path:
            hardened = index >= 2**31
            head = b"\0" + node.secret.to_bytes(32) if hardened else node.public()
            mixed = hmac.digest(node.chain_code, head + index.to_bytes(4), hashlib.sha512)
            node = Node((int.from_bytes(mixed[:32]) + node.secret) % _ORDER, mixed[32:])
        return node

    def public(self) -> bytes:
        """Return the public key, compressed."""
        return self._public().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)

    def address(self) -> str:
        """Return the key's address, with its checksum."""
        point = self._public().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return shown(keccak(point[1:])[12:])

    def _public(self) -> ec.EllipticCurvePublicKey:
        return ec.derive_private_key(self.secret, ec.SECP256K1()).public_key()

    def xpub(self) -> str:
        """Write the extended public key; parent and depth are those of an account's."""
        head = bytes.fromhex("0488b21e") + b"\3" + bytes(4) + _ACCOUNT[-1].to_bytes(4)
        body = head + self.chain_code + self.public()
        body += hashlib.sha256(hashlib.sha256(body).digest()).digest()[:4]
        number, text = int.from_bytes(body), ""
        while number:
            number, digit = divmod(number, 58)
            text = _BASE58[digit] + text
        return text


def account_of(keys: Keys) -> Node:
    """Return the wallet's account, made from a seed that is drawn on first use."""
    seed = bytes.fromhex(keys.kept("evm.seed", _new_seed_hex).decode())
    mixed = hmac.digest(b"Bitcoin seed", seed, hashlib.sha512)
    return Node(int.from_bytes(mixed[:32]), mixed[32:]).below(_ACCOUNT)


def shown(address: bytes) -> str:
    """Write an address with its checksum (EIP-55)."""
    digest = keccak(address.hex().encode()).hex()
    pairs = zip(address.hex(), digest, strict=False)
    return "0x" + "".join(a.upper() if d in "89abcdef" else a for a, d in pairs)


def _new_seed_hex() -> bytes:
    return secrets.token_hex(64).encode()
