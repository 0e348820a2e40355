"""How an event changes a row: integer sums in tiles, rings, histograms and capped sets.

Everything here adds and replaces integers; nothing depends on the order of floats. All amounts
are capped (`AMOUNT_CAP`) before they are summed, so 2^31 of them still fit an int64.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from risk.compiled import kernel
from risk.features import layout as at
from risk.features.event import CLOSED, FAILED, PAID, REFUNDED
from risk.features.fields import NIGHT_ENDS_HOUR

Ints = npt.NDArray[np.int64]

SEQ: Final = at.H["seq"]
FIRST_AT: Final = at.H["first_at"]
LAST_AT: Final = at.H["last_at"]
CLOCK: Final = at.H["clock"]
HOUR_TILE: Final = at.H["hour_tile"]
DAY_TILE: Final = at.H["day_tile"]
RING_COUNT: Final = at.H["ring_count"]
LAST_AMOUNT: Final = at.H["last_amount"]
MAX_AMOUNT: Final = at.H["max_amount"]
COUNT_ALL: Final = at.H["count_all"]
SUM_ALL: Final = at.H["sum_all"]
FAILED_ALL: Final = at.H["failed_all"]
PAID_ALL: Final = at.H["paid_all"]
CLOSED_ALL: Final = at.H["closed_all"]
REFUNDED_ALL: Final = at.H["refunded_all"]
FRAUD_ALL: Final = at.H["fraud_all"]
GENUINE_ALL: Final = at.H["genuine_all"]
LAST_LABEL: Final = at.H["last_label"]
PREVIOUS_LABEL: Final = at.H["previous_label"]
LAST_FRAUD_AT: Final = at.H["last_fraud_at"]
GENUINE_SINCE: Final = at.H["genuine_since_fraud"]
GENUINE_SUM: Final = at.H["genuine_sum"]
GENUINE_HIGH: Final = at.H["genuine_square_high"]
GENUINE_LOW: Final = at.H["genuine_square_low"]
FRAUD_SUM: Final = at.H["fraud_sum"]
GENUINE_MAX: Final = at.H["frozen_amount"]
PROFILE_EPOCH: Final = at.H["profile_epoch"]

HOUR_WIDTH: Final = len(at.HOUR_COLUMNS)
DAY_WIDTH: Final = len(at.DAY_COLUMNS)
HOUR_FAILED: Final = at.HOUR_COLUMNS.index("failed")
DAY_FAILED: Final = at.DAY_COLUMNS.index("failed")
DAY_REFUNDED: Final = at.DAY_COLUMNS.index("refunded")
DAY_FRAUD: Final = at.DAY_COLUMNS.index("fraud")
DAY_GENUINE: Final = at.DAY_COLUMNS.index("genuine")
DAY_NIGHT: Final = at.DAY_COLUMNS.index("night")
DAY_NIGHT_SUM: Final = at.DAY_COLUMNS.index("night_sum")
DAY_CROSS: Final = at.DAY_COLUMNS.index("cross_border")
DAY_NEAR: Final = at.DAY_COLUMNS.index("near_limit")
MONTH_US: Final = 30 * at.DAY_US
SEEN_MASK: Final = (1 << at.SEEN_BITS) - 1
LOW_MASK: Final = (1 << 32) - 1
GENUINE_WORD: Final = 1
FRAUD_WORD: Final = 2

# Places in `meta`, the state's own counters.
USED: Final = 0  # Next free int64 of the arena; 0 itself means "no row".
KEYS_HELD: Final = 1
GLOBAL_CLOCK: Final = 2  # Newest time of any event: the epoch of the graph follows it.
META_WIDTH: Final = 8


@kernel
def first_place(key: int, mask: int) -> int:
    """Return where in the table the search for `key` begins."""
    return (key ^ (key >> 29)) & mask


@kernel
def find(keys: Ints, bases: Ints, key: int) -> int:
    """Return where the row of `key` begins in the arena, 0 if there is none."""
    mask = keys.size - 1
    place = first_place(key, mask)
    while bases[place] != 0:
        if keys[place] == key:
            return int(bases[place])
        place = (place + 1) & mask
    return 0


@kernel
def insert(keys: Ints, bases: Ints, meta: Ints, key: int, width: int) -> int:
    """Give `key` a row of `width` zeros; the caller has made room in table and arena."""
    mask = keys.size - 1
    place = first_place(key, mask)
    while bases[place] != 0:
        place = (place + 1) & mask
    base = int(meta[USED])
    keys[place] = key
    bases[place] = base
    meta[USED] = base + width
    meta[KEYS_HELD] += 1
    return base


@kernel
def _expire(arena: Ints, start: int, tiles: int, width: int, newest: int, now: int) -> None:
    """Empty the tiles between the newest one written and `now`, `now` included."""
    if now - newest >= tiles:
        for place in range(start, start + tiles * width):
            arena[place] = 0
        return
    for tile in range(newest + 1, now + 1):
        first = start + (tile % tiles) * width
        for place in range(first, first + width):
            arena[place] = 0


@kernel
def advance(arena: Ints, base: int, at_us: int) -> int:
    """Move a row's clock to `at_us` or leave it, if that is earlier; returns the row's time."""
    if arena[base + FIRST_AT] == 0:
        arena[base + FIRST_AT] = max(at_us, 1)
    now_us = max(at_us, arena[base + CLOCK])
    arena[base + CLOCK] = now_us
    hour, day = now_us // at.HOUR_US, now_us // at.DAY_US
    if hour > arena[base + HOUR_TILE]:
        _expire(arena, base + at.HOUR_AT, at.HOUR_TILES, HOUR_WIDTH, arena[base + HOUR_TILE], hour)
        arena[base + HOUR_TILE] = hour
    if day > arena[base + DAY_TILE]:
        _expire(arena, base + at.DAY_AT, at.DAY_TILES, DAY_WIDTH, arena[base + DAY_TILE], day)
        arena[base + DAY_TILE] = day
        _fade(arena, base, now_us // MONTH_US)
    return int(now_us)


@kernel
def _fade(arena: Ints, base: int, epoch: int) -> None:
    """Halve the amount histogram and the hour profile once for each month that passed."""
    months = min(epoch - arena[base + PROFILE_EPOCH], 62)
    if months > 0:
        for place in range(base + at.HISTOGRAM_AT, base + at.NODE_AT):
            arena[place] >>= months
        arena[base + PROFILE_EPOCH] = epoch


@kernel
def bucket_of(amount_minor: int) -> int:
    """Return the histogram bucket of an amount: the number of its binary digits."""
    bucket = 0
    while amount_minor > 0 and bucket < at.HISTOGRAM - 1:
        amount_minor >>= 1
        bucket += 1
    return bucket


@kernel
def add_attempt(
    arena: Ints, base: int, now_us: int, amount_minor: int, hour: int, cross: int, near: int
) -> None:
    """Add a payment to a row whose clock stands at `now_us`.

    Args:
        arena: All rows.
        base: Where the row begins.
        now_us: The row's time.
        amount_minor: Capped.
        hour: Local hour of the payment, 0 to 23.
        cross: 1 if it crosses a border.
        near: 1 if it is just under a reporting limit.
    """
    night = 1 if hour < NIGHT_ENDS_HOUR else 0
    tile = base + at.HOUR_AT + arena[base + HOUR_TILE] % at.HOUR_TILES * HOUR_WIDTH
    arena[tile] += 1
    arena[tile + 1] += amount_minor
    tile = base + at.DAY_AT + arena[base + DAY_TILE] % at.DAY_TILES * DAY_WIDTH
    square = amount_minor * amount_minor
    arena[tile] += 1
    arena[tile + 1] += amount_minor
    arena[tile + 2] += square >> 32
    arena[tile + 3] += square & LOW_MASK
    arena[tile + DAY_NIGHT] += night
    arena[tile + DAY_NIGHT_SUM] += night * amount_minor
    arena[tile + DAY_CROSS] += cross
    arena[tile + DAY_NEAR] += near
    slot = base + at.RING_AT + arena[base + RING_COUNT] % at.RING * 2
    arena[slot] = now_us
    arena[slot + 1] = amount_minor
    arena[base + RING_COUNT] += 1
    arena[base + at.HISTOGRAM_AT + bucket_of(amount_minor)] += 1
    arena[base + at.HOURS_AT + hour] += 1
    arena[base + LAST_AT] = now_us
    arena[base + LAST_AMOUNT] = amount_minor
    arena[base + MAX_AMOUNT] = max(arena[base + MAX_AMOUNT], amount_minor)
    arena[base + COUNT_ALL] += 1
    arena[base + SUM_ALL] += amount_minor


@kernel
def add_outcome(arena: Ints, base: int, feedback: int) -> None:
    """Count what became of a payment (1 paid, 2 failed, 3 closed, 4 refunded)."""
    hour = base + at.HOUR_AT + arena[base + HOUR_TILE] % at.HOUR_TILES * HOUR_WIDTH
    day = base + at.DAY_AT + arena[base + DAY_TILE] % at.DAY_TILES * DAY_WIDTH
    if feedback == PAID:
        arena[base + PAID_ALL] += 1
    elif feedback == FAILED:
        arena[hour + HOUR_FAILED] += 1
        arena[day + DAY_FAILED] += 1
        arena[base + FAILED_ALL] += 1
    elif feedback == CLOSED:
        arena[base + CLOSED_ALL] += 1
    elif feedback == REFUNDED:
        arena[day + DAY_REFUNDED] += 1
        arena[base + REFUNDED_ALL] += 1


@kernel
def add_label(arena: Ints, base: int, now_us: int, fraud: bool, amount_minor: int) -> None:
    """Count a verdict at the time it became known, with the amount it is about."""
    day = base + at.DAY_AT + arena[base + DAY_TILE] % at.DAY_TILES * DAY_WIDTH
    arena[base + PREVIOUS_LABEL] = arena[base + LAST_LABEL]
    if fraud:
        arena[day + DAY_FRAUD] += 1
        arena[base + FRAUD_ALL] += 1
        arena[base + FRAUD_SUM] += amount_minor
        arena[base + LAST_LABEL] = FRAUD_WORD
        arena[base + LAST_FRAUD_AT] = max(now_us, 1)
        arena[base + GENUINE_SINCE] = 0
        return
    square = amount_minor * amount_minor
    arena[day + DAY_GENUINE] += 1
    arena[base + GENUINE_ALL] += 1
    arena[base + GENUINE_SUM] += amount_minor
    arena[base + GENUINE_HIGH] += square >> 32
    arena[base + GENUINE_LOW] += square & LOW_MASK
    arena[base + GENUINE_MAX] = max(arena[base + GENUINE_MAX], amount_minor)
    arena[base + LAST_LABEL] = GENUINE_WORD
    arena[base + GENUINE_SINCE] += 1


@kernel
def add_member(arena: Ints, start: int, cap: int, member: int, now_us: int) -> None:
    """Note in a capped set that `member` was seen; the one not seen for longest gives way."""
    victim = start
    for slot in range(start, start + cap * at.SET_SLOT, at.SET_SLOT):
        if arena[slot] == member:
            arena[slot + 1] = now_us
            if arena[slot + 2] & SEEN_MASK < SEEN_MASK:
                arena[slot + 2] += 1
            return
        if arena[slot] == 0:
            victim = slot
            break
        if arena[slot + 1] < arena[victim + 1]:
            victim = slot
    arena[victim] = member
    arena[victim + 1] = now_us
    arena[victim + 2] = (now_us // 1_000_000 << at.SEEN_BITS) + 1
