"""From integers to the numbers a model sees: one interpreter for all features.

A feature is a row of the plan: an operation, up to five cells, a constant. Integers become floats
first; after that only ``+ - * /`` and ``sqrt``, which IEEE 754 rounds alike everywhere. If a cell
it needs is unknown, or the result has no meaning (a mean of nothing), the feature is missing: NaN,
and its presence bit is off.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from risk.compiled import kernel

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Marks = npt.NDArray[np.uint8]

OPERATIONS: Final = (
    "value",  # a / constant
    "ratio",  # a × constant / b
    "share",  # a / (a + b)
    "bit",  # 1 if a & constant
    "bits",  # Number of bits set in a
    "equals",  # 1 if a is the constant
    "multiple",  # 1 if a is a multiple of the constant, and not 0
    "over_mean",  # a ÷ (sum b / count c)
    "flow",  # (a + b) / c
    "std",  # Standard deviation: count a, sum b, squares c × 2^32 + d
    "zscore",  # (a − mean) / deviation: count b, sum c, squares d × 2^32 + e
    "spread",  # Standard deviation ÷ mean: count a, sum b, squares c × 2^32 + d
    "relative",  # (a / b) ÷ (c / d)
    "after",  # 1 if a is at least the constant and b at least 95 % of c
    "repeated",  # 1 if a, without its zeros at the end, is one digit at least three times
)
VALUE, RATIO, SHARE, BIT, BITS, EQUALS, MULTIPLE, OVER_MEAN, FLOW, STD, ZSCORE, SPREAD = range(12)
RELATIVE, AFTER, REPEATED = range(12, len(OPERATIONS))
OPERANDS: Final = (1, 2, 2, 1, 1, 1, 1, 3, 3, 4, 5, 4, 4, 3, 1)
PLAN_WIDTH: Final = 7  # Operation, five cells, constant.
CONSTANT: Final = 6
LEAST: Final = 2  # Payments a deviation needs.
LEAST_REPEATED: Final = 3
TOP_OF: Final = 20  # The top twentieth.
LIMB: Final = 4_294_967_296.0
LOW_MASK: Final = (1 << 32) - 1


@kernel
def deviation(count: int, total: int, high: int, low: int) -> float:
    """Return the standard deviation from exact sums; at least one unit.

    The sum of squares around the mean, rounded down to m, is ``Σx² − m (Σx + r)`` with r the
    remainder of the mean; it is formed in integers (m below 2^32, two limbs of 2^32), so nothing
    cancels however close the values lie.
    """
    mean = total // count
    rest = total - mean * count
    above, below = (total + rest) >> 32, (total + rest) & LOW_MASK
    middle = (mean >> 16) * below
    high -= mean * above + (middle >> 16)
    low -= ((middle & 0xFFFF) << 16) + (mean & 0xFFFF) * below
    around = float(high + (low >> 32)) * LIMB + float(low & LOW_MASK)
    variance = (around - float(rest) * float(rest) / float(count)) / float(count)
    if variance < 1.0:
        return 1.0
    return math.sqrt(variance)


@kernel
def _test(op: int, a: int, constant: int) -> bool:
    if op == BIT:
        return a & constant != 0
    if op == EQUALS:
        return a == constant
    return a != 0 and a % constant == 0


@kernel
def _simple(op: int, a: int, b: int, constant: int) -> float:
    if op == VALUE:
        return float(a) / float(constant)
    if op == RATIO:
        return math.nan if b == 0 else float(a) * float(constant) / float(b)
    if op == SHARE:
        return math.nan if a + b == 0 else float(a) / float(a + b)
    if op != BITS:
        return 1.0 if _test(op, a, constant) else 0.0
    count = 0
    while a > 0:
        count += a & 1
        a >>= 1
    return float(count)


@kernel
def repeated(number: int) -> bool:
    """Whether a number, without its zeros at the end, is one digit at least three times."""
    while number > 0 and number % 10 == 0:
        number //= 10
    digit, times = number % 10, 0
    while number > 0 and number % 10 == digit:
        number //= 10
        times += 1
    return number == 0 and times >= LEAST_REPEATED


@kernel
def _special(op: int, a: int, b: int, c: int, d: int, constant: int) -> float:
    if op == RELATIVE:
        below = float(b) * float(c)
        return math.nan if below == 0.0 or d == 0 else float(a) * float(d) / below
    if op == AFTER:
        if c == 0:
            return math.nan
        return 1.0 if a >= constant and TOP_OF * b >= (TOP_OF - 1) * c else 0.0
    return 1.0 if repeated(a) else 0.0


@kernel
def _compound(op: int, a: int, b: int, c: int, d: int, e: int) -> float:
    if op == OVER_MEAN:
        return math.nan if b == 0 else float(a) * float(c) / float(b)
    if op == FLOW:
        return math.nan if c == 0 else (float(a) + float(b)) / float(c)
    if op == STD:
        return math.nan if a < LEAST else deviation(a, b, c, d)
    if op == SPREAD:
        return math.nan if a < LEAST or b == 0 else deviation(a, b, c, d) * float(a) / float(b)
    if b < LEAST:
        return math.nan
    mean = c // b
    distance = float(a - mean) - float(c - mean * b) / float(b)
    return distance / deviation(b, c, d, e)


@kernel
def finish(plan: Ints, cells: Ints, marks: Marks, out: Floats, bits: Marks) -> None:
    """Compute every feature of one event.

    Args:
        plan: One row a feature, shape ``(F, PLAN_WIDTH)``; unused operands repeat the first.
        cells: What was observed.
        marks: 1 where it is known.
        out: Out: the features, NaN where missing; shape ``(F,)``.
        bits: Out: presence, one bit a feature, little-endian; shape ``((F + 7) // 8,)``.
    """
    for place in range(bits.size):
        bits[place] = 0
    for row in range(plan.shape[0]):
        known = np.uint8(1)
        for operand in range(1, CONSTANT):
            known &= marks[np.uint64(plan[row, operand])]
        value = math.nan
        if known:
            a, b = cells[plan[row, 1]], cells[plan[row, 2]]
            if plan[row, 0] < OVER_MEAN:
                value = _simple(plan[row, 0], a, b, plan[row, CONSTANT])
            else:
                c, d, e = cells[plan[row, 3]], cells[plan[row, 4]], cells[plan[row, 5]]
                if plan[row, 0] < RELATIVE:
                    value = _compound(plan[row, 0], a, b, c, d, e)
                else:
                    value = _special(plan[row, 0], a, b, c, d, plan[row, CONSTANT])
        out[row] = value
        if not math.isnan(value):
            bits[row >> 3] |= np.uint8(1 << (row & 7))
