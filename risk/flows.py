"""Money that goes round: circles of two to four accounts, found at the payment that closes them.

Every account keeps its last 16 payments out and its last 16 payments in: whom, when, how much.
A payment from X to Y closes a circle if money went from Y back to X over one, two or three steps,

* in order of time, the first step less than 72 hours ago;
* each step within 10 % of the closing payment's amount;
* over accounts that are all different.

A step is looked up among what Y paid out and what X received, so a circle of four costs at most
16 look-ups and 16³ comparisons of integers, and one that an account's 16 newest payments no longer
hold is not found. Pennies (`layout.MICRO_AMOUNT`) aren't kept: nobody can flush the lists with
them. Accounts are numbers in the role of user; times are those of the whole log, so their order is
the log's.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from risk.compiled import kernel
from risk.features import aggregates as agg
from risk.features import layout as at

Ints = npt.NDArray[np.int64]

CAP: Final = 16
SLOT: Final = 3  # The other account, when (µs), how much (minor units).
WIDTH: Final = 1 + CAP * SLOT  # How many were ever noted, then the slots.
WINDOW_US: Final = 72 * at.HOUR_US
TWO, THREE, FOUR = 1, 2, 4  # Bits of what `circles` finds.
PARTS: Final = 10  # Two amounts are alike if they differ by at most a tenth.


@kernel
def note(arena: Ints, start: int, other: int, now_us: int, amount_minor: int) -> None:
    """Keep a payment in the list at `start`; the oldest gives way."""
    if amount_minor <= at.MICRO_AMOUNT:
        return
    slot = start + 1 + arena[start] % CAP * SLOT
    arena[slot] = other
    arena[slot + 1] = now_us
    arena[slot + 2] = amount_minor
    arena[start] += 1


@kernel
def _fits(arena: Ints, slot: int, since_us: int, now_us: int, amount_minor: int) -> bool:
    """Whether the step in a slot may be part of a circle closed now, not before `since_us`."""
    then_us = arena[slot + 1]
    if arena[slot] == 0 or then_us < since_us or now_us - then_us >= WINDOW_US:
        return False
    return bool(abs(arena[slot + 2] - amount_minor) * PARTS <= amount_minor)


@kernel
def _came_from(
    arena: Ints, ins: int, other: int, since_us: int, now_us: int, amount_minor: int
) -> bool:
    """Whether a fitting payment of `other` is in the list at `ins`."""
    for slot in range(ins + 1, ins + WIDTH, SLOT):
        if arena[slot] == other and _fits(arena, slot, since_us, now_us, amount_minor):
            return True
    return False


@kernel
def _through(  # noqa: PLR0917 - arrays go to a kernel one by one
    arena: Ints,
    outs: int,
    ins: int,
    payer: int,
    payee: int,
    passed: int,
    since_us: int,
    now_us: int,
    amount_minor: int,
) -> bool:
    """Whether an account of the list at `outs` sent the money on to the payer."""
    for slot in range(outs + 1, outs + WIDTH, SLOT):
        other = arena[slot]
        if other in (payer, payee, passed):
            continue
        if _fits(arena, slot, since_us, now_us, amount_minor) and _came_from(
            arena, ins, other, arena[slot + 1], now_us, amount_minor
        ):
            return True
    return False


@kernel
def circles(  # noqa: PLR0917 - arrays go to a kernel one by one
    arena: Ints,
    keys: Ints,
    bases: Ints,
    outs_at: int,
    outs: int,
    ins: int,
    payer: int,
    payee: int,
    now_us: int,
    amount_minor: int,
) -> int:
    """Return which circles a payment closes: bits `TWO`, `THREE`, `FOUR`.

    Args:
        arena: All rows.
        keys: Table of entities.
        bases: Where their rows begin.
        outs_at: Where in the row of a user the place of its list of payments out stands.
        outs: The payee's list of payments out, 0 for none.
        ins: The payer's list of payments in, 0 for none.
        payer: Number of the payer's account, in the role of user.
        payee: The same of the payee's account.
        now_us: Newest time of the log.
        amount_minor: What is being paid.
    """
    if outs == 0 or ins == 0 or payer == payee or amount_minor <= at.MICRO_AMOUNT:
        return 0
    found = 0
    if _came_from(arena, ins, payee, 0, now_us, amount_minor):
        found |= TWO
    if _through(arena, outs, ins, payer, payee, 0, 0, now_us, amount_minor):
        found |= THREE
    for slot in range(outs + 1, outs + WIDTH, SLOT):
        first = arena[slot]
        if first in (payer, payee) or not _fits(arena, slot, 0, now_us, amount_minor):
            continue
        row = agg.find(keys, bases, first)
        further = arena[row + outs_at] if row != 0 else 0
        if further != 0 and _through(
            arena, further, ins, payer, payee, first, arena[slot + 1], now_us, amount_minor
        ):
            return found | FOUR
    return found
