"""The curve of SM2 (GB/T 32918.5-2017) on plain integers, in Jacobian coordinates.

A scalar is multiplied in the same number of additions and doublings whatever its bits: its digits
are written so that no window of it ever adds nothing. Formulas: "dbl-2001-b" for a = -3 and
"add-1998-cmo-2" of the Explicit-Formulas Database.
"""

from functools import lru_cache

P = 0xFFFFFFFE_FFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_00000000_FFFFFFFF_FFFFFFFF
A = P - 3
B = 0x28E9FA9E_9D9F5E34_4D5A9E4B_CF6509A7_F39789F5_15AB8F92_DDBCBD41_4D940E93
N = 0xFFFFFFFE_FFFFFFFF_FFFFFFFF_FFFFFFFF_7203DF6B_21C6052B_53BBF409_39D54123
GX = 0x32C4AE2C_1F198119_5F990446_6A39C994_8FE30BBF_F2660BE1_715A4589_334C74C7
GY = 0xBC3736A2_F4F6779C_59BDCEE3_6B692153_D0A9877C_C62A4740_02DF32E5_2139F0A0

Affine = tuple[int, int]
Point = tuple[int, int, int]  # Jacobian: x = X/Z², y = Y/Z³; Z = 0 is the point at infinity.

_WINDOW_COUNT = 64  # Of 4 bits each.
# Σ 16^i: digits are read one too small, so that no window ever adds nothing (see `_digits`).
_ONES = (16**_WINDOW_COUNT - 1) // 15


def _double(point: Point) -> Point:
    x, y, z = point
    delta, gamma = z * z % P, y * y % P
    beta = x * gamma % P
    alpha = 3 * (x - delta) * (x + delta) % P  # a = -3 makes it one product.
    x3 = (alpha * alpha - 8 * beta) % P
    z3 = ((y + z) ** 2 - gamma - delta) % P
    return x3, (alpha * (4 * beta - x3) - 8 * gamma * gamma) % P, z3


def add(left: Point, right: Point) -> Point:
    """Return the sum of two points; of equal and opposite ones too."""
    x1, y1, z1 = left
    x2, y2, z2 = right
    if z1 == 0:
        return right
    if z2 == 0:
        return left
    z1z1, z2z2 = z1 * z1 % P, z2 * z2 % P
    u1, s1 = x1 * z2z2 % P, y1 * z2 * z2z2 % P
    h, r = (x2 * z1z1 - u1) % P, (y2 * z1 * z1z1 - s1) % P
    if h == 0:
        return _double(left) if r == 0 else (1, 1, 0)
    hh = h * h % P
    hhh, v = h * hh % P, u1 * hh % P
    x3 = (r * r - hhh - 2 * v) % P
    return x3, (r * (v - x3) - s1 * hhh) % P, h * z1 * z2 % P


def to_affine(point: Point) -> Affine | None:
    """Return a point as (x, y), or None for infinity."""
    x, y, z = point
    if z == 0:
        return None
    inverse = pow(z, -1, P)
    square = inverse * inverse % P
    return x * square % P, y * square * inverse % P


def _digits(scalar: int) -> list[int]:
    """Sixty-four digits d, lowest first, with scalar = Σ (d+1)·16^i mod n: none adds nothing."""
    rest = (scalar - _ONES) % N
    return [(rest >> shift) & 15 for shift in range(0, 4 * _WINDOW_COUNT, 4)]


def _multiples(base: Point) -> list[Point]:
    """1 to 16 times `base`."""
    row = [base]
    for _ in range(15):
        row.append(add(row[-1], base))
    return row


@lru_cache(maxsize=1)
def _base_table() -> list[list[Point]]:
    """For each window i, 1 to 16 times 16^i·G, with Z = 1."""
    table: list[list[Point]] = []
    base: Point = (GX, GY, 1)
    for _ in range(_WINDOW_COUNT):
        row = [found for point in _multiples(base) if (found := to_affine(point))]
        table.append([(x, y, 1) for x, y in row])
        base = table[-1][15]
    return table


def times_base(scalar: int) -> Point:
    """Return scalar·G."""
    total: Point = (1, 1, 0)
    for row, digit in zip(_base_table(), _digits(scalar), strict=True):
        total = add(total, row[digit])
    return total


def times(scalar: int, base: Affine) -> Point:
    """Return scalar·base."""
    row = _multiples((*base, 1))
    total: Point = (1, 1, 0)
    for digit in reversed(_digits(scalar)):
        total = add(_double(_double(_double(_double(total)))), row[digit])
    return total
