"""Money that goes round: circles of two to four accounts, found at the payment that closes them.

Every account keeps its last 16 payments out and its last 16 payments in: whom, when, how much.
A payment from X to Y closes a circle if money went from Y back to X over one, two or three steps,

* in order of time, the first step less than 72 hours ago;
* each step in the closing payment's currency and within 10 % of its amount;
* over accounts that are all different.

A step is looked up among what Y paid out and what X received, so a circle of four costs at most 16
look-ups and 16³ comparisons of integers, and one that an account's 16 newest payments no longer
hold is not found. Pennies (`layout.MICRO_AMOUNT`) aren't kept: nobody can flush the lists with
them. A payment to a hub (see `risk.graph`) is no step of a circle, and a hub's own payment closes
none: what half the town pays is a shop, and money a shop pays back is a refund. Accounts are
numbers in the role of user; times are those of the whole log, so their order is the log's.

A list: payments ever noted, room, then its slots. It grows from 2 slots to 16.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from risk.compiled import kernel
from risk.features import layout as at
from risk.features import memory

Ints = npt.NDArray[np.int64]

CAP: Final = memory.FLOWS
FIRST_ROOM: Final = 2
HEAD: Final = memory.FLOWS_HEAD
SLOT: Final = memory.FLOWS_SLOT  # The other account, when (µs), how much: see `money_of`.
WINDOW_US: Final = 72 * at.HOUR_US
TWO, THREE, FOUR = 1, 2, 4  # Bits of what `circles` finds.
PARTS: Final = 10  # Two amounts are alike if they differ by at most a tenth.
AMOUNT_BITS: Final = 32
AMOUNT_MASK: Final = (1 << AMOUNT_BITS) - 1
CURRENCY_MASK: Final = (1 << 16) - 1  # Three letters in base 37 fit.
OUTS: Final = at.slot_of(at.USER, "flows")
INS: Final = at.slot_of(at.PAYEE, "flows")


@kernel
def money_of(amount_minor: int, currency: int) -> int:
    """Return an amount and its currency as one number; `amount_minor` is capped."""
    return (currency & CURRENCY_MASK) << AMOUNT_BITS | amount_minor


@kernel
def _too_small(money: int) -> bool:
    return money & AMOUNT_MASK <= at.MICRO_AMOUNT


@kernel
def _grown(arena: Ints, meta: Ints, old: int) -> int:
    """Return a larger block with the slots of `old`, which is given back."""
    room = FIRST_ROOM if old == 0 else 2 * arena[old + 1]
    block = memory.take(arena, meta, HEAD + room * SLOT)
    if old != 0:
        width = HEAD + arena[old + 1] * SLOT
        for place in range(width):
            arena[block + place] = arena[old + place]
        memory.give(arena, meta, old, width)
    arena[block + 1] = room
    return block


@kernel
def note(arena: Ints, meta: Ints, pointer: int, other: int, now_us: int, money: int) -> None:
    """Keep a payment in a list; the oldest of sixteen gives way.

    Args:
        arena: All rows.
        meta: The state's counters.
        pointer: Place in the row that leads to the list's block, or holds 0.
        other: The other account.
        now_us: Newest time of the log.
        money: As `money_of` gives it.
    """
    if _too_small(money):
        return
    block = arena[pointer]
    if block == 0 or (arena[block] == arena[block + 1] and arena[block + 1] < CAP):
        block = _grown(arena, meta, block)
        arena[pointer] = block
    slot = block + HEAD + arena[block] % arena[block + 1] * SLOT
    arena[slot] = other
    arena[slot + 1] = now_us
    arena[slot + 2] = money
    arena[block] += 1


@kernel
def _ended(arena: Ints, block: int) -> int:
    """Return the place after the last slot in use."""
    return int(block + HEAD + min(arena[block], arena[block + 1]) * SLOT)


@kernel
def _fits(arena: Ints, slot: int, since_us: int, now_us: int, money: int) -> bool:
    """Whether the step in a slot may be part of a circle closed now, not before `since_us`."""
    then_us = arena[slot + 1]
    if then_us < since_us or now_us - then_us >= WINDOW_US:
        return False
    # Of one currency, the packed numbers differ by their amounts; of two, by far more.
    return bool(abs(arena[slot + 2] - money) * PARTS <= money & AMOUNT_MASK)


@kernel
def _came_from(arena: Ints, ins: int, other: int, since_us: int, now_us: int, money: int) -> bool:
    """Whether a fitting payment of `other` is in the list at `ins`."""
    for slot in range(ins + HEAD, _ended(arena, ins), SLOT):
        if arena[slot] == other and _fits(arena, slot, since_us, now_us, money):
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
    money: int,
) -> bool:
    """Whether an account of the list at `outs` sent the money on to the payer."""
    for slot in range(outs + HEAD, _ended(arena, outs), SLOT):
        other = arena[slot]
        if other in (payer, payee, passed):
            continue
        if _fits(arena, slot, since_us, now_us, money) and _came_from(
            arena, ins, other, arena[slot + 1], now_us, money
        ):
            return True
    return False


@kernel
def circles(
    arena: Ints,
    table: Ints,
    outs: int,
    ins: int,
    payer: int,
    payee: int,
    now_us: int,
    money: int,
) -> int:
    """Return which circles a payment closes: bits `TWO`, `THREE`, `FOUR`.

    Args:
        arena: All rows.
        table: Table of entities.
        outs: The payee's list of payments out, 0 for none.
        ins: The payer's list of payments in, 0 for none.
        payer: Number of the payer's account, in the role of user.
        payee: The same of the payee's account.
        now_us: Newest time of the log.
        money: What is being paid, as `money_of` gives it.
    """
    if outs == 0 or ins == 0 or payer == payee or _too_small(money):
        return 0
    found = 0
    if _came_from(arena, ins, payee, 0, now_us, money):
        found |= TWO
    if _through(arena, outs, ins, payer, payee, 0, 0, now_us, money):
        found |= THREE
    for slot in range(outs + HEAD, _ended(arena, outs), SLOT):
        first = arena[slot]
        if first in (payer, payee) or not _fits(arena, slot, 0, now_us, money):
            continue
        row = memory.find(table, first)
        further = arena[row + OUTS] if row != 0 else 0
        if further != 0 and _through(
            arena, further, ins, payer, payee, first, arena[slot + 1], now_us, money
        ):
            return found | FOUR
    return found
