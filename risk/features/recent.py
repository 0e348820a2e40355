"""What an entity did of late and is used to: exact short windows, gaps, profiles.

Windows up to an hour are exact over the newest 64 attempts. Profiles (histogram of amounts, hours,
weekdays) halve with every month, so a new habit outweighs an old one.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from risk.compiled import kernel
from risk.features import aggregates as agg
from risk.features import layout as at
from risk.features import windows as win

Ints = npt.NDArray[np.int64]
Marks = npt.NDArray[np.uint8]

LEAST_GAPS: Final = 3  # Gaps from which they can be compared.
GAP_CAP_MS: Final = 1 << 28  # About three days, so that 16 squares fit.
SCRATCH_WIDTH: Final = 2 * (at.HISTOGRAM + at.HOURS + at.WEEKDAYS)
GAP_LEAST: Final = at.C["gap_least_us"]
GAP_MOST: Final = at.C["gap_most_us"]
GAP_COUNT: Final = at.C["gap_count"]
GAP: Final = at.C["gap_us"]
GAP_BELOW: Final = at.C["gap_below"]
RANK_BELOW: Final = at.C["rank_below"]
TICKET_SHIFT: Final = at.C["ticket_shift"]
COUNT_1M: Final = at.C["count_1m"]


@kernel
def _add_gap(cells: Ints, first: int, gap_us: int) -> None:
    gap_ms = min(gap_us // 1_000, GAP_CAP_MS)
    least, most = first + GAP_LEAST, first + GAP_MOST
    if cells[first + GAP_COUNT] == 0 or gap_us < cells[least]:
        cells[least] = gap_us
    if cells[first + GAP_COUNT] > 0:  # The first is the one that ends now.
        own_us = cells[first + GAP]
        cells[first + GAP_BELOW] += 2 * (gap_us < own_us) + (gap_us == own_us)
        cells[first + GAP_BELOW + 1] += 2
    cells[most] = max(cells[most], gap_us)
    cells[first + GAP_COUNT] += 1
    cells[first + GAP_COUNT + 1] += gap_ms
    cells[first + GAP_COUNT + 2] += gap_ms * gap_ms >> 32
    cells[first + GAP_COUNT + 3] += gap_ms * gap_ms & win.LOW_MASK


@kernel
def _add_recent(cells: Ints, out: int, age_us: int, paid_minor: int, amount_minor: int) -> None:
    cells[out] += age_us < at.MINUTE_US
    cells[out + 1] += age_us < 5 * at.MINUTE_US
    cells[out + 2] += age_us < 10 * at.MINUTE_US
    cells[out + 3] += 1
    cells[out + 4] += paid_minor
    cells[out + 5] += paid_minor == amount_minor
    cells[out + 6] += paid_minor <= at.MICRO_AMOUNT


@kernel
def read_ring(
    arena: Ints,
    base: int,
    block: int,
    now_us: int,
    amount_minor: int,
    cells: Ints,
    marks: Marks,
    first: int,
    wanted: int,
) -> None:
    """Exact short windows, attempts after ``now - W``, the newest 64 at most; and `wanted` gaps."""
    later_us = now_us
    back = 0
    journal = arena[base + agg.JOURNAL]
    held = arena[block + at.RING_COUNT] if block != 0 else arena[journal]
    left = held
    while left > 0 and back < at.RING:
        left -= 1
        if block != 0:
            slot = block + at.RING_AT + left % at.RING * 2
        else:
            slot = journal + at.JOURNAL_HEAD + left * at.ENTRY
            if arena[slot + 3] & 255 != win.ATTEMPTED:
                continue
        then_us, paid_minor = arena[slot], arena[slot + 1]
        back += 1
        age_us = now_us - then_us
        if back <= wanted:
            _add_gap(cells, first, later_us - then_us)
            later_us = then_us
        if age_us < at.HOUR_US:
            _add_recent(cells, first + COUNT_1M, age_us, paid_minor, amount_minor)
        elif back >= wanted:
            break
    if cells[first + GAP_COUNT] >= LEAST_GAPS:
        for place in range(first + GAP_LEAST, first + GAP_BELOW + 2):
            marks[place] = 1


@kernel
def read_shift(arena: Ints, block: int, cells: Ints, marks: Marks, first: int) -> None:
    """How far the newest 64 amounts have moved from the long run.

    The earth mover's distance of the two histograms by powers of two, in thousandths of a
    doubling; known from more attempts than a row in its small form can hold.
    """
    newest = min(arena[block + at.RING_COUNT], at.RING)
    long_run = 0
    for bucket in range(at.HISTOGRAM):
        long_run += arena[block + at.HISTOGRAM_AT + bucket]
    if newest <= at.JOURNAL or long_run == 0:
        return
    apart, moved = 0, 0
    for bucket in range(at.HISTOGRAM):
        apart += arena[block + at.RECENT_AT + bucket] * long_run
        apart -= arena[block + at.HISTOGRAM_AT + bucket] * newest
        moved += abs(apart)
    cells[first + TICKET_SHIFT] = moved * 1_000 // (newest * long_run)
    marks[first + TICKET_SHIFT] = 1


@kernel
def read_profile(
    counts: Ints,
    start: int,
    own: int,
    hour: int,
    weekday: int,
    cells: Ints,
    marks: Marks,
    first: int,
) -> None:
    """Place of the amount among the entity's amounts, of the hour and weekday among its own."""
    total = 0
    below = 0
    for bucket in range(at.HISTOGRAM):
        held = counts[start + bucket]
        total += held
        if bucket < own:
            below += 2 * held
        elif bucket == own:
            below += held
    hours = start + at.HISTOGRAM
    of_day = 0
    for place in range(at.HOURS):
        of_day += counts[hours + place]
    near = 2 * counts[hours + hour]
    near += counts[hours + (hour + 1) % at.HOURS]
    near += counts[hours + (hour + at.HOURS - 1) % at.HOURS]
    weekdays = hours + at.HOURS
    of_week = 0
    for place in range(at.WEEKDAYS):
        of_week += counts[weekdays + place]
    out = first + RANK_BELOW
    cells[out] = below
    cells[out + 1] = 2 * total
    cells[out + 2] = near
    cells[out + 3] = 4 * of_day
    cells[out + 4] = counts[weekdays + weekday]
    cells[out + 5] = of_week
    known = 1 if total > 0 else 0
    for place in range(out, out + 6):
        marks[place] = known


@kernel
def _fade_to(scratch: Ints, place: int, epoch: int) -> None:
    """Bring one count of a profile to an epoch; its own epoch stands in the upper half."""
    shown = SCRATCH_WIDTH // 2 + place
    scratch[place] >>= min(epoch - scratch[shown], 62)
    scratch[shown] = epoch


@kernel
def profile_of_journal(
    arena: Ints,
    base: int,
    own: int,
    hour: int,
    weekday: int,
    cells: Ints,
    marks: Marks,
    first: int,
    scratch: Ints,
) -> None:
    """Make the profile a journal's entries would have left, faded as they would have been."""
    scratch[:] = 0
    journal = arena[base + agg.JOURNAL]
    if journal == 0:
        return
    start = journal + at.JOURNAL_HEAD
    for entry in range(start, start + arena[journal] * at.ENTRY, at.ENTRY):
        what = arena[entry + 3]
        epoch = arena[entry] // win.MONTH_US
        if what & 255 != win.ATTEMPTED:
            continue
        place = what >> at.WHAT_BUCKET
        _fade_to(scratch, place, epoch)
        scratch[place] += 1
        place = at.HISTOGRAM + (what >> at.WHAT_HOUR & 255)
        _fade_to(scratch, place, epoch)
        scratch[place] += 1
        place = at.HISTOGRAM + at.HOURS + (what >> at.WHAT_WEEKDAY & 15)
        _fade_to(scratch, place, epoch)
        scratch[place] += 1
    last = start + (arena[journal] - 1) * at.ENTRY
    epoch = arena[last] // win.MONTH_US
    for place in range(SCRATCH_WIDTH // 2):
        if scratch[place] != 0:
            _fade_to(scratch, place, epoch)
    read_profile(scratch, 0, own, hour, weekday, cells, marks, first)
