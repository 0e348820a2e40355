"""How a row is read at a moment: integers out, nothing changed.

Reading is pure, so a feature can never disturb the state it reads; what ran out since the row was
last written is left out here and emptied by the next write. Each function fills a run of cells
(`layout.CELLS`) and marks as known what there is something to say about. A row in its small form
is read from its journal by the same definitions.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from risk.compiled import kernel
from risk.features import aggregates as agg
from risk.features import layout as at
from risk.features import needs as want
from risk.features import recent
from risk.features import windows as win

Ints = npt.NDArray[np.int64]
Marks = npt.NDArray[np.uint8]

AGE: Final = at.C["age_us"]
GAP: Final = at.C["gap_us"]
LAST_AMOUNT: Final = at.C["last_amount"]
MIN_AMOUNT: Final = at.C["min_amount"]
SINCE_FRAUD: Final = at.C["since_fraud_us"]
GENUINE_SINCE: Final = at.C["genuine_since_fraud"]
LAST_LABEL: Final = at.C["last_label"]
PREVIOUS_LABEL: Final = at.C["previous_label"]
MAX_30D: Final = at.C["max_30d"]
FAILED_1H: Final = at.C["failed_1h"]
LATE_TILES: Final = 2  # An hour is this one and the one before.
FIRST_24H: Final = at.C["count_24h"]
FIRST_7D: Final = at.C["count_7d"]
FIRST_30D: Final = at.C["count_30d"]
FIRST_90D: Final = at.C["count_90d"]
# What is kept of all time stands in the row and among the cells in the same order.
COUNTS: Final = at.HEADER[at.H["count_all"] : at.H["genuine_all"] + 1]
SUMS: Final = at.HEADER[at.H["genuine_sum"] : at.H["fraud_sum"] + 1]
COUNTS_FROM: Final = at.C["count_all"]
SUMS_FROM: Final = at.C["genuine_sum"]
MAX_AMOUNT: Final = at.C["max_amount"]
# Windows and counts: an entity never seen has 0 of them, and that is knowledge, not a gap.
ALWAYS_FROM: Final = at.C["count_1m"]
ALWAYS_COUNT: Final = at.ROLE_WIDTH - ALWAYS_FROM


@kernel
def _mark_run(marks: Marks, start: int, count: int, mark: int) -> None:
    left = np.uint64(start)
    for place in range(np.uint64(count)):
        marks[left + place] = mark


@kernel
def mark_known(marks: Marks, first: int) -> None:
    """Mark the cells that are known of any entity, seen or not, and no others."""
    _mark_run(marks, first, ALWAYS_FROM, 0)
    _mark_run(marks, first + COUNTS_FROM, len(COUNTS), 1)
    _mark_run(marks, first + ALWAYS_FROM, ALWAYS_COUNT, 1)


@kernel
def read_role(
    arena: Ints,
    base: int,
    at_us: int,
    amount_minor: int,
    hour: int,
    weekday: int,
    needs: int,
    cells: Ints,
    marks: Marks,
    first: int,
    scratch: Ints,
    delta: Ints,
) -> None:
    """Read the cells of one role.

    Args:
        arena: All rows.
        base: Where the entity's row begins, or 0 for a stranger.
        at_us: Time of the event.
        amount_minor: Its amount, capped.
        hour: Its local hour.
        weekday: Its local weekday.
        needs: Parts to read (`needs.NEED_…`).
        cells: Out: values.
        marks: Out: 1 where known.
        first: Place of the role's first cell.
        scratch: Room for `recent.SCRATCH_WIDTH` integers.
        delta: Room for `windows.DELTA_WIDTH` integers.
    """
    win.clear_run(cells, first, at.ROLE_WIDTH)
    mark_known(marks, first)
    if base == 0:
        return
    now_us = max(at_us, arena[base + agg.CLOCK])
    win.copy_run(cells, first + COUNTS_FROM, arena, base + agg.COUNT_ALL, len(COUNTS))
    win.copy_run(cells, first + SUMS_FROM, arena, base + agg.GENUINE_SUM, len(SUMS))
    _mark_run(marks, first + SUMS_FROM, len(SUMS), 1)
    cells[first + MAX_AMOUNT] = arena[base + agg.MAX_AMOUNT]
    marks[first + MAX_AMOUNT] = 1
    cells[first + AGE] = now_us - arena[base + agg.FIRST_AT]
    marks[first + AGE] = 1
    _read_labels(arena, base, now_us, cells, marks, first)
    block = arena[base + agg.WINDOWS]
    if block != 0:
        _read_windows(arena, block, now_us, needs, cells, marks, first)
    elif arena[base + agg.JOURNAL] != 0:
        _read_journal(arena, arena[base + agg.JOURNAL], now_us, cells, marks, first, delta)
    if arena[base + agg.COUNT_ALL] == 0:
        return
    cells[first + GAP] = now_us - arena[base + agg.LAST_AT]
    cells[first + LAST_AMOUNT] = arena[base + agg.LAST_AMOUNT]
    cells[first + MIN_AMOUNT] = arena[base + agg.MIN_AMOUNT]
    marks[first + GAP] = 1
    marks[first + LAST_AMOUNT] = 1
    marks[first + MIN_AMOUNT] = 1
    if needs & (want.NEED_RING | want.NEED_GAPS):
        gaps = at.GAPS if needs & want.NEED_GAPS else 0
        recent.read_ring(arena, base, block, now_us, amount_minor, cells, marks, first, gaps)
    if needs & want.NEED_SHIFT and block != 0:
        recent.read_shift(arena, block, cells, marks, first)
    if needs & want.NEED_PROFILE:
        own = win.bucket_of(amount_minor)
        if block != 0:
            start = block + at.HISTOGRAM_AT
            recent.read_profile(arena, start, own, hour, weekday, cells, marks, first)
        else:
            recent.profile_of_journal(arena, base, own, hour, weekday, cells, marks, first, scratch)


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
def _read_totals(
    arena: Ints,
    totals: int,
    tiles: int,
    held: int,
    kept: int,
    spanned: int,
    passed: int,
    oldest: int,
    width: int,
    cells: Ints,
    out: int,
) -> None:
    """Read one window: its total less the tiles that ran out since the row was written.

    Args:
        arena: All rows.
        totals: Place of the window's total.
        tiles: Place of the first of the tiles.
        held: A bit for each tile that holds anything.
        kept: Tiles there are.
        spanned: Tiles the window spans.
        passed: Tiles that ran out since the row was written.
        oldest: The oldest tile the total counts.
        width: Columns of a tile.
        cells: Out.
        out: First cell.
    """
    if passed >= spanned:
        return
    win.copy_run(cells, out, arena, totals, width)
    if passed <= 0:
        return
    turn = oldest % kept
    for _ in range(passed):
        if held >> turn & 1:
            win.take_run(cells, out, arena, tiles + turn * width, width)
        turn = win.after(turn, kept)


@kernel
def _read_windows(
    arena: Ints, block: int, now_us: int, needs: int, cells: Ints, marks: Marks, first: int
) -> None:
    if needs & want.NEED_24H:
        newest = arena[block + at.HOUR_TILE]
        _read_totals(
            arena, block + at.TOTALS_24H, block + at.HOUR_AT, arena[block + at.HOURS_HELD],
            at.HOUR_TILES, at.HOUR_TILES,
            now_us // at.HOUR_US - newest, newest - at.HOUR_TILES + 1, win.HOUR_WIDTH,
            cells, first + FIRST_24H,
        )  # fmt: skip
        for tile in range(now_us // at.HOUR_US - LATE_TILES + 1, newest + 1):
            column = block + at.HOUR_AT + tile % at.HOUR_TILES * win.HOUR_WIDTH
            cells[first + FAILED_1H] += arena[column + win.FAILED_H]
            cells[first + FAILED_1H + 1] += arena[column + win.DECLINED_H]
    newest = arena[block + at.DAY_TILE]
    passed = now_us // at.DAY_US - newest
    if needs & want.NEED_7D:
        _read_totals(
            arena, block + at.TOTALS_7D, block + at.DAY_AT, arena[block + at.DAYS_HELD],
            at.DAY_TILES, at.SEVEN_TILES,
            passed, newest - at.SEVEN_TILES + 1, win.DAY_WIDTH, cells, first + FIRST_7D,
        )  # fmt: skip
    if needs & want.NEED_30D:
        _read_totals(
            arena, block + at.TOTALS_30D, block + at.DAY_AT, arena[block + at.DAYS_HELD],
            at.DAY_TILES, at.DAY_TILES,
            passed, newest - at.DAY_TILES + 1, win.DAY_WIDTH, cells, first + FIRST_30D,
        )  # fmt: skip
    if needs & want.NEED_MAX:
        largest = -1
        for tile in range(newest - at.DAY_TILES + 1 + passed, newest + 1):
            largest = max(largest, arena[block + at.MAX_AT + tile % at.DAY_TILES] - 1)
        cells[first + MAX_30D] = largest
        marks[first + MAX_30D] = largest >= 0
    if needs & want.NEED_90D:
        newest = arena[block + at.WEEK_TILE]
        _read_totals(
            arena, block + at.TOTALS_90D, block + at.WEEK_AT, arena[block + at.WEEKS_HELD],
            at.WEEK_TILES, at.WEEK_TILES,
            now_us // at.WEEK_US - newest, newest - at.WEEK_TILES + 1, win.WEEK_WIDTH,
            cells, first + FIRST_90D,
        )  # fmt: skip


@kernel
def _read_journal(
    arena: Ints, journal: int, now_us: int, cells: Ints, marks: Marks, first: int, delta: Ints
) -> None:
    """Read all windows of a row in its small form, by the tiles its entries would stand in."""
    hour, day, week = now_us // at.HOUR_US, now_us // at.DAY_US, now_us // at.WEEK_US
    start = journal + at.JOURNAL_HEAD
    for entry in range(start, start + arena[journal] * at.ENTRY, at.ENTRY):
        then_us, what = arena[entry], arena[entry + 3]
        if week - then_us // at.WEEK_US >= at.WEEK_TILES:
            continue
        win.fill(delta, arena[entry + 1], arena[entry + 2], what)
        win.add_run(cells, first + FIRST_90D, delta, win.WEEKS_FROM, win.WEEK_WIDTH)
        days = day - then_us // at.DAY_US
        if days < at.DAY_TILES:
            win.add_run(cells, first + FIRST_30D, delta, win.DAYS_FROM, win.DAY_WIDTH)
            if what & 255 == win.ATTEMPTED:
                cells[first + MAX_30D] = max(cells[first + MAX_30D], arena[entry + 1])
                marks[first + MAX_30D] = 1
        if days < at.SEVEN_TILES:
            win.add_run(cells, first + FIRST_7D, delta, win.DAYS_FROM, win.DAY_WIDTH)
        if hour - then_us // at.HOUR_US < at.HOUR_TILES:
            win.add_run(cells, first + FIRST_24H, delta, 0, win.HOUR_WIDTH)
        if hour - then_us // at.HOUR_US < LATE_TILES:
            cells[first + FAILED_1H] += delta[win.FAILED_H]
            cells[first + FAILED_1H + 1] += delta[win.DECLINED_H]
