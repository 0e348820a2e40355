"""How an event changes a row: what is kept of all time, and the journal of the small form.

Everything here adds and replaces integers; nothing depends on the order of floats. All amounts
are capped (`AMOUNT_CAP`) before they are summed, so 2^31 of them still fit an int64.

A countable event is first written in the row's journal. When the journal is full its entries go
into a block of windows by the very functions that write there from then on.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from risk.compiled import kernel
from risk.features import layout as at
from risk.features import memory
from risk.features.event import CLOSED, DECLINED, FAILED, FRAUD, PAID
from risk.features.windows import LOW_MASK, fill, write

Ints = npt.NDArray[np.int64]

SEQ: Final = at.H["seq"]
FIRST_AT: Final = at.H["first_at"]
LAST_AT: Final = at.H["last_at"]
CLOCK: Final = at.H["clock"]
COUNT_ALL: Final = at.H["count_all"]
SUM_ALL: Final = at.H["sum_all"]
FAILED_ALL: Final = at.H["failed_all"]
PAID_ALL: Final = at.H["paid_all"]
CLOSED_ALL: Final = at.H["closed_all"]
DECLINED_ALL: Final = at.H["declined_all"]
REFUNDED_ALL: Final = at.H["refunded_all"]
REFUNDED_SUM: Final = at.H["refunded_sum"]
FRAUD_ALL: Final = at.H["fraud_all"]
GENUINE_ALL: Final = at.H["genuine_all"]
LAST_AMOUNT: Final = at.H["last_amount"]
MIN_AMOUNT: Final = at.H["min_amount"]
MAX_AMOUNT: Final = at.H["max_amount"]
LAST_LABEL: Final = at.H["last_label"]
PREVIOUS_LABEL: Final = at.H["previous_label"]
LAST_FRAUD_AT: Final = at.H["last_fraud_at"]
GENUINE_SINCE: Final = at.H["genuine_since_fraud"]
GENUINE_SUM: Final = at.H["genuine_sum"]
GENUINE_HIGH: Final = at.H["genuine_square_high"]
GENUINE_LOW: Final = at.H["genuine_square_low"]
GENUINE_MAX: Final = at.H["genuine_max"]
FRAUD_SUM: Final = at.H["fraud_sum"]
JOURNAL: Final = at.H["journal"]
WINDOWS: Final = at.H["windows"]

GENUINE_WORD: Final = 1
FRAUD_WORD: Final = 2


@kernel
def enter(arena: Ints, base: int, at_us: int) -> int:
    """Move a row's clock to `at_us` or leave it, if that is earlier; returns the row's time."""
    if arena[base + FIRST_AT] == 0:
        arena[base + FIRST_AT] = max(at_us, 1)
    now_us = max(at_us, arena[base + CLOCK])
    arena[base + CLOCK] = now_us
    return int(now_us)


@kernel
def promote(arena: Ints, meta: Ints, base: int, delta: Ints, kept: int) -> int:
    """Turn a row's journal into a block of windows that holds the same; `delta` is scratch."""
    block = memory.take(arena, meta, at.WINDOWS_WIDTH)
    journal = arena[base + JOURNAL]
    first = journal + at.JOURNAL_HEAD
    for entry in range(first, first + arena[journal] * at.ENTRY, at.ENTRY):
        what = arena[entry + 3]
        fill(delta, arena[entry + 1], arena[entry + 2], what)
        write(arena, block, arena[entry], arena[entry + 1], what, delta, kept)
    memory.give(arena, meta, journal, at.JOURNAL_HEAD + arena[journal + 1] * at.ENTRY)
    arena[base + JOURNAL] = 0
    arena[base + WINDOWS] = block
    meta[memory.PROMOTED] += 1
    return block


@kernel
def _roomy_journal(arena: Ints, meta: Ints, base: int) -> int:
    """Return the row's journal with room for one more entry."""
    old = arena[base + JOURNAL]
    room = at.JOURNAL_FIRST
    if old != 0:
        if arena[old] < arena[old + 1]:
            return int(old)
        room = 2 * arena[old + 1]
    journal = memory.take(arena, meta, at.JOURNAL_HEAD + room * at.ENTRY)
    if old != 0:
        width = at.JOURNAL_HEAD + arena[old + 1] * at.ENTRY
        for place in range(width):
            arena[journal + place] = arena[old + place]
        memory.give(arena, meta, old, width)
    arena[journal + 1] = room
    arena[base + JOURNAL] = journal
    return journal


@kernel
def note(
    arena: Ints,
    meta: Ints,
    base: int,
    amount_minor: int,
    coupon_minor: int,
    what: int,
    delta: Ints,
    kept: int,
) -> None:
    """Note a countable event in a row, in whichever form it is.

    Args:
        arena: All rows.
        meta: The state's counters.
        base: Where the row begins; its clock stands at the event's time.
        amount_minor: Capped.
        coupon_minor: Capped; 0 for feedback.
        what: The event's word (`windows.fill`).
        delta: What the event adds to each column.
        kept: Parts the row keeps.
    """
    block = arena[base + WINDOWS]
    if block == 0:
        journal = arena[base + JOURNAL]
        if journal == 0 or arena[journal] < at.JOURNAL:
            journal = _roomy_journal(arena, meta, base)
            entry = journal + at.JOURNAL_HEAD + arena[journal] * at.ENTRY
            arena[entry] = arena[base + CLOCK]
            arena[entry + 1] = amount_minor
            arena[entry + 2] = coupon_minor
            arena[entry + 3] = what
            arena[journal] += 1
            return
        block = promote(arena, meta, base, delta, kept)
        fill(delta, amount_minor, coupon_minor, what)
    write(arena, block, arena[base + CLOCK], amount_minor, what, delta, kept)


@kernel
def count_attempt(arena: Ints, base: int, amount_minor: int) -> None:
    """Count a payment in what a row keeps of all time."""
    if arena[base + COUNT_ALL] == 0:
        arena[base + MIN_AMOUNT] = amount_minor
    arena[base + LAST_AT] = arena[base + CLOCK]
    arena[base + LAST_AMOUNT] = amount_minor
    arena[base + MIN_AMOUNT] = min(arena[base + MIN_AMOUNT], amount_minor)
    arena[base + MAX_AMOUNT] = max(arena[base + MAX_AMOUNT], amount_minor)
    arena[base + COUNT_ALL] += 1
    arena[base + SUM_ALL] += amount_minor


@kernel
def count_outcome(arena: Ints, base: int, amount_minor: int, feedback: int) -> None:
    """Count what became of a payment."""
    if feedback == PAID:
        arena[base + PAID_ALL] += 1
    elif feedback == CLOSED:
        arena[base + CLOSED_ALL] += 1
    elif feedback == FAILED:
        arena[base + FAILED_ALL] += 1
    elif feedback == DECLINED:
        arena[base + DECLINED_ALL] += 1
    else:
        arena[base + REFUNDED_ALL] += 1
        arena[base + REFUNDED_SUM] += amount_minor


@kernel
def count_label(arena: Ints, base: int, amount_minor: int, feedback: int) -> None:
    """Count a verdict at the time it became known, with the amount it is about."""
    arena[base + PREVIOUS_LABEL] = arena[base + LAST_LABEL]
    if feedback == FRAUD:
        arena[base + FRAUD_ALL] += 1
        arena[base + FRAUD_SUM] += amount_minor
        arena[base + LAST_LABEL] = FRAUD_WORD
        arena[base + LAST_FRAUD_AT] = max(arena[base + CLOCK], 1)
        arena[base + GENUINE_SINCE] = 0
        return
    square = amount_minor * amount_minor
    arena[base + GENUINE_ALL] += 1
    arena[base + GENUINE_SUM] += amount_minor
    arena[base + GENUINE_HIGH] += square >> 32
    arena[base + GENUINE_LOW] += square & LOW_MASK
    arena[base + GENUINE_MAX] = max(arena[base + GENUINE_MAX], amount_minor)
    arena[base + LAST_LABEL] = GENUINE_WORD
    arena[base + GENUINE_SINCE] += 1
