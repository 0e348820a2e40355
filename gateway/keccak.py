"""Keccak-256 as Ethereum uses it: the padding of the competition's entry, not of SHA-3.

`cryptography` has SHA3-256 alone, which ends its input otherwise. Source: "The Keccak reference",
version 3.0 (2011). Some two hundred microseconds a block: for addresses, not for bulk.
"""

from typing import Final

_RATE_BYTES: Final = 136
_MASK: Final = 2**64 - 1
_ROUND_CONSTANTS: Final = (
    *(0x0000000000000001, 0x0000000000008082, 0x800000000000808A, 0x8000000080008000),
    *(0x000000000000808B, 0x0000000080000001, 0x8000000080008081, 0x8000000000008009),
    *(0x000000000000008A, 0x0000000000000088, 0x0000000080008009, 0x000000008000000A),
    *(0x000000008000808B, 0x800000000000008B, 0x8000000000008089, 0x8000000000008003),
    *(0x8000000000008002, 0x8000000000000080, 0x000000000000800A, 0x800000008000000A),
    *(0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008),
)
# For each lane x + 5y: where pi puts it, and by how many bits rho turns it.
_PI: Final = tuple(y + 5 * ((2 * x + 3 * y) % 5) for y in range(5) for x in range(5))
_RHO: Final = (
    *(0, 1, 62, 28, 27),
    *(36, 44, 6, 55, 20),
    *(3, 10, 43, 25, 39),
    *(41, 45, 15, 21, 8),
    *(18, 2, 61, 56, 14),
)


def keccak256(data: bytes) -> bytes:
    """Return the 32-byte digest of `data`.

    Examples:
        >>> keccak256(b"").hex()[:16]
        'c5d2460186f7233c'
    """
    padded = bytearray(data + bytes(_RATE_BYTES - len(data) % _RATE_BYTES))
    padded[len(data)] |= 0x01
    padded[-1] |= 0x80
    state = [0] * 25
    for start in range(0, len(padded), _RATE_BYTES):
        for lane in range(_RATE_BYTES // 8):
            at = start + 8 * lane
            state[lane] ^= int.from_bytes(padded[at : at + 8], "little")
        for constant in _ROUND_CONSTANTS:
            state = _round(state, constant)
    return b"".join(lane.to_bytes(8, "little") for lane in state[:4])


def _turned(lane: int, bits: int) -> int:
    return (lane << bits | lane >> (64 - bits)) & _MASK


def _round(state: list[int], constant: int) -> list[int]:
    columns = [
        state[x] ^ state[x + 5] ^ state[x + 10] ^ state[x + 15] ^ state[x + 20] for x in range(5)
    ]
    parity = [columns[x - 1] ^ _turned(columns[(x + 1) % 5], 1) for x in range(5)]
    moved = [0] * 25
    for lane in range(25):
        moved[_PI[lane]] = _turned(state[lane] ^ parity[lane % 5], _RHO[lane])
    after = [
        moved[row + x] ^ (~moved[row + (x + 1) % 5] & moved[row + (x + 2) % 5])
        for row in range(0, 25, 5)
        for x in range(5)
    ]
    after[0] ^= constant
    return [lane & _MASK for lane in after]
