"""How a row is read at a moment: integers out, nothing changed.

Reading is pure, so a feature can never disturb the state it reads; tiles that ran out are skipped
here and emptied by the next write. Each function fills a run of cells (`layout.CELLS`) and marks
as known what there is something to say about.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from risk.compiled import kernel
from risk.features import aggregates as agg
from risk.features import layout as at

Ints = npt.NDArray[np.int64]
Marks = npt.NDArray[np.uint8]

LEAST_HELD: Final = 3  # Payments from which gaps can be compared.
AGE: Final = at.C["age_us"]
GAP: Final = at.C["gap_us"]
GAP_LEAST: Final = at.C["gap_least_us"]
GAP_MOST: Final = at.C["gap_most_us"]
LAST_AMOUNT: Final = at.C["last_amount"]
SINCE_FRAUD: Final = at.C["since_fraud_us"]
GENUINE_SINCE: Final = at.C["genuine_since_fraud"]
LAST_LABEL: Final = at.C["last_label"]
PREVIOUS_LABEL: Final = at.C["previous_label"]
RANK_BELOW: Final = at.C["rank_below"]
RANK_OF: Final = at.C["rank_of"]
HOUR_NEAR: Final = at.C["hour_near"]
HOUR_OF: Final = at.C["hour_of"]
COUNT_1M: Final = at.C["count_1m"]
FIRST_24H: Final = at.C["count_24h"]
FIRST_7D: Final = at.C["count_7d"]
FIRST_30D: Final = at.C["count_30d"]
PLAIN: Final = tuple(
    (at.C[cell], at.H[field])
    for cell, field in (
        ("max_amount", "max_amount"),
        ("count_all", "count_all"),
        ("sum_all", "sum_all"),
        ("failed_all", "failed_all"),
        ("paid_all", "paid_all"),
        ("refunded_all", "refunded_all"),
        ("fraud_all", "fraud_all"),
        ("genuine_all", "genuine_all"),
        ("genuine_sum", "genuine_sum"),
        ("genuine_square_high", "genuine_square_high"),
        ("genuine_square_low", "genuine_square_low"),
        ("genuine_max", "frozen_amount"),
        ("fraud_sum", "fraud_sum"),
    )
)
PLAIN_TABLE: Final = np.array(PLAIN, dtype=np.int64)
ALWAYS_FROM: Final = at.C["count_1m"]  # Windows: an entity never seen has 0 of them, and that
ALWAYS_TO: Final = at.ROLE_WIDTH  # is knowledge, not a gap.
COUNTS_FROM: Final = at.C["count_all"]
COUNTS_TO: Final = at.C["genuine_all"] + 1


@kernel
def read_role(
    arena: Ints,
    base: int,
    at_us: int,
    amount_minor: int,
    hour: int,
    cells: Ints,
    marks: Marks,
    first: int,
) -> None:
    """Read all cells of one role; `base` 0 is an entity never seen before.

    Args:
        arena: All rows.
        base: Where the entity's row begins, or 0.
        at_us: Time of the event.
        amount_minor: Its amount, capped.
        hour: Its local hour.
        cells: Out: values, all 0 before.
        marks: Out: 1 where known, all 0 before.
        first: Place of the role's first cell.
    """
    for place in range(first + COUNTS_FROM, first + COUNTS_TO):
        marks[place] = 1
    for place in range(first + ALWAYS_FROM, first + ALWAYS_TO):
        marks[place] = 1
    if base == 0:
        return
    now_us = max(at_us, arena[base + agg.CLOCK])
    for row in range(PLAIN_TABLE.shape[0]):
        place = first + PLAIN_TABLE[row, 0]
        cells[place] = arena[base + PLAIN_TABLE[row, 1]]
        marks[place] = 1
    cells[first + AGE] = now_us - arena[base + agg.FIRST_AT]
    marks[first + AGE] = 1
    _read_labels(arena, base, now_us, cells, marks, first)
    _read_tiles(arena, base, now_us, cells, first)
    if arena[base + agg.COUNT_ALL] > 0:
        cells[first + GAP] = now_us - arena[base + agg.LAST_AT]
        cells[first + LAST_AMOUNT] = arena[base + agg.LAST_AMOUNT]
        marks[first + GAP] = 1
        marks[first + LAST_AMOUNT] = 1
        _read_ring(arena, base, now_us, amount_minor, cells, marks, first)
        _read_profile(arena, base, amount_minor, hour, cells, marks, first)


@kernel
def _read_labels(
    arena: Ints, base: int, now_us: int, cells: Ints, marks: Marks, first: int
) -> None:
    if arena[base + agg.LAST_LABEL] != 0:
        cells[first + LAST_LABEL] = arena[base + agg.LAST_LABEL] - 1
        marks[first + LAST_LABEL] = 1
    if arena[base + agg.PREVIOUS_LABEL] != 0:
        cells[first + PREVIOUS_LABEL] = arena[base + agg.PREVIOUS_LABEL] - 1
        marks[first + PREVIOUS_LABEL] = 1
    if arena[base + agg.LAST_FRAUD_AT] != 0:
        cells[first + SINCE_FRAUD] = now_us - arena[base + agg.LAST_FRAUD_AT]
        cells[first + GENUINE_SINCE] = arena[base + agg.GENUINE_SINCE]
        marks[first + SINCE_FRAUD] = 1
        marks[first + GENUINE_SINCE] = 1


@kernel
def _read_tiles(arena: Ints, base: int, now_us: int, cells: Ints, first: int) -> None:
    newest = arena[base + agg.HOUR_TILE]
    oldest = now_us // at.HOUR_US - (at.HOUR_TILES - 1)
    for tile in range(max(oldest, newest - at.HOUR_TILES + 1), newest + 1):
        start = base + at.HOUR_AT + tile % at.HOUR_TILES * agg.HOUR_WIDTH
        for column in range(agg.HOUR_WIDTH):
            cells[first + FIRST_24H + column] += arena[start + column]
    newest = arena[base + agg.DAY_TILE]
    today = now_us // at.DAY_US
    oldest = today - (at.DAY_TILES - 1)
    week = today - (at.WEEK_TILES - 1)
    for tile in range(max(oldest, newest - at.DAY_TILES + 1), newest + 1):
        start = base + at.DAY_AT + tile % at.DAY_TILES * agg.DAY_WIDTH
        for column in range(agg.DAY_WIDTH):
            cells[first + FIRST_30D + column] += arena[start + column]
        if tile >= week:
            for column in range(agg.DAY_WIDTH):
                cells[first + FIRST_7D + column] += arena[start + column]


@kernel
def _read_ring(
    arena: Ints, base: int, now_us: int, amount_minor: int, cells: Ints, marks: Marks, first: int
) -> None:
    """Exact short windows: attempts after ``now - W``, the newest 64 at most."""
    held = min(arena[base + agg.RING_COUNT], at.RING)
    later_us = now_us
    out = first + COUNT_1M
    for back in range(1, held + 1):
        slot = base + at.RING_AT + (arena[base + agg.RING_COUNT] - back) % at.RING * 2
        then_us, paid = arena[slot], arena[slot + 1]
        if back <= at.GAPS:
            gap_us = later_us - then_us
            if back == 1 or gap_us < cells[first + GAP_LEAST]:
                cells[first + GAP_LEAST] = gap_us
            cells[first + GAP_MOST] = max(cells[first + GAP_MOST], gap_us)
            later_us = then_us
        age_us = now_us - then_us
        if age_us < at.HOUR_US:
            cells[out] += age_us < at.MINUTE_US
            cells[out + 1] += age_us < 10 * at.MINUTE_US
            cells[out + 2] += 1
            cells[out + 3] += paid
            cells[out + 4] += paid == amount_minor
            cells[out + 5] += paid <= at.MICRO_AMOUNT
        elif back > at.GAPS:
            break
    known = 1 if held >= LEAST_HELD else 0
    marks[first + GAP_LEAST] = known
    marks[first + GAP_MOST] = known


@kernel
def _read_profile(
    arena: Ints, base: int, amount_minor: int, hour: int, cells: Ints, marks: Marks, first: int
) -> None:
    """Place of the amount among the entity's amounts, and of the hour among its hours."""
    own = agg.bucket_of(amount_minor)
    total = 0
    below = 0
    for bucket in range(at.HISTOGRAM):
        held = arena[base + at.HISTOGRAM_AT + bucket]
        total += held
        if bucket < own:
            below += 2 * held
        elif bucket == own:
            below += held
    of_day = 0
    for place in range(at.HOURS):
        of_day += arena[base + at.HOURS_AT + place]
    near = 2 * arena[base + at.HOURS_AT + hour]
    near += arena[base + at.HOURS_AT + (hour + 1) % at.HOURS]
    near += arena[base + at.HOURS_AT + (hour + at.HOURS - 1) % at.HOURS]
    cells[first + RANK_BELOW] = below
    cells[first + RANK_OF] = 2 * total
    cells[first + HOUR_NEAR] = near
    cells[first + HOUR_OF] = 4 * of_day
    known = 1 if total > 0 else 0
    marks[first + RANK_BELOW] = known
    marks[first + RANK_OF] = known
    marks[first + HOUR_NEAR] = known
    marks[first + HOUR_OF] = known


@kernel
def read_set(
    arena: Ints, start: int, cap: int, member: int, now_us: int, cells: Ints, marks: Marks, out: int
) -> None:
    """Read a capped set: distinct members by window, and what is known of `member`.

    `start` 0 is the set of an entity never seen; `member` 0 an event that names none.
    """
    for place in range(out, out + 3):
        marks[place] = 1
    if member != 0:
        marks[out + 3] = 1
        marks[out + 5] = 1
    if start == 0:
        return
    for slot in range(start, start + cap * at.SET_SLOT, at.SET_SLOT):
        if arena[slot] == 0:
            break
        age_us = now_us - arena[slot + 1]
        cells[out] += age_us < at.HOUR_US
        cells[out + 1] += age_us < at.DAY_US
        cells[out + 2] += age_us < 30 * at.DAY_US
        if arena[slot] == member:
            cells[out + 3] = 1
            cells[out + 4] = now_us - (arena[slot + 2] >> at.SEEN_BITS) * 1_000_000
            cells[out + 5] = arena[slot + 2] & agg.SEEN_MASK
            marks[out + 4] = 1
