"""The large form of a row: tiles by hour, day and week with running totals, and profiles.

A window is a number of whole tiles and the running one. Its total is kept, so reading costs no
scan: a tile that runs out leaves the total, and because both are integers nothing of it stays.

What an event adds is the same for all its entities, so it is worked out once, as a run of columns
(`fill`), and added to each row's tiles and totals. The small form of a row is read by the same
columns.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from risk.compiled import kernel
from risk.features import layout as at
from risk.features import needs as want
from risk.features.event import DECLINED, FAILED, FRAUD, GENUINE, REFUNDED
from risk.features.fields import NIGHT_ENDS_HOUR

Ints = npt.NDArray[np.int64]

HOUR_WIDTH: Final = len(at.HOUR_COLUMNS)
DAY_WIDTH: Final = len(at.DAY_COLUMNS)
WEEK_WIDTH: Final = len(at.WEEK_COLUMNS)
MONTH_US: Final = 30 * at.DAY_US
LOW_MASK: Final = (1 << 32) - 1
LIMITS: Final = np.array(at.LIMIT_AMOUNTS, dtype=np.int64)
ATTEMPTED: Final = want.ATTEMPTED  # The low byte of an event's word: this, or the feedback.

# The columns of one event: those of the tiles by hour, by day, by week.
DAYS_FROM: Final = HOUR_WIDTH
WEEKS_FROM: Final = DAYS_FROM + DAY_WIDTH
DELTA_WIDTH: Final = WEEKS_FROM + WEEK_WIDTH


def _places(name: str) -> tuple[int, ...]:
    """Where a column stands among those of one event."""
    runs = ((0, at.HOUR_COLUMNS), (DAYS_FROM, at.DAY_COLUMNS), (WEEKS_FROM, at.WEEK_COLUMNS))
    return tuple(start + names.index(name) for start, names in runs if name in names)


COUNT_H, COUNT_D, COUNT_W = _places("count")
FAILED_H, FAILED_D = _places("failed")
DECLINED_H, DECLINED_D, DECLINED_W = _places("declined")
REFUNDED_D, REFUNDED_W = _places("refunded")
REFUNDED_SUM_D, REFUNDED_SUM_W = _places("refunded_sum")
FRAUD_H, FRAUD_D, FRAUD_W = _places("fraud")
GENUINE_H, GENUINE_D, GENUINE_W = _places("genuine")
(FRAUD_SUM_D,) = _places("fraud_sum")
(NIGHT_D,) = _places("night")
(NIGHT_SUM_D,) = _places("night_sum")
(CROSS_D,) = _places("cross_border")
(CROSS_SUM_D,) = _places("cross_border_sum")
NEAR_H, NEAR_D = _places("near_limit")
(COUPON_D,) = _places("coupon_sum")
(SQUARE_D,) = _places("square_high")


@kernel
def bucket_of(amount_minor: int) -> int:
    """Return the histogram bucket of an amount: the number of its binary digits."""
    bucket = 0
    while amount_minor > 0 and bucket < at.HISTOGRAM - 1:
        amount_minor >>= 1
        bucket += 1
    return bucket


@kernel
def near_limit(amount_minor: int) -> int:
    """1 if the amount is at most 5 % under a limit above which somebody would have to ask."""
    for row in range(LIMITS.size):
        if LIMITS[row] - LIMITS[row] // 20 <= amount_minor < LIMITS[row]:
            return 1
    return 0


@kernel
def word_of(amount_minor: int, hour: int, weekday: int, cross: int, near: int) -> int:
    """Return what is kept of an attempt besides time, amount and coupon, in one word."""
    marks = cross << at.WHAT_CROSS | near << at.WHAT_NEAR
    profile = bucket_of(amount_minor) << at.WHAT_BUCKET | weekday << at.WHAT_WEEKDAY
    return int(hour << at.WHAT_HOUR | marks | profile)


@kernel
def _fill_attempt(delta: Ints, amount_minor: int, coupon_minor: int, what: int) -> None:
    night = 1 if (what >> at.WHAT_HOUR & 255) < NIGHT_ENDS_HOUR else 0
    square = amount_minor * amount_minor
    delta[COUNT_H] = 1
    delta[COUNT_H + 1] = amount_minor
    delta[COUNT_D] = 1
    delta[COUNT_D + 1] = amount_minor
    delta[COUNT_W] = 1
    delta[COUNT_W + 1] = amount_minor
    delta[SQUARE_D] = square >> 32
    delta[SQUARE_D + 1] = square & LOW_MASK
    delta[NIGHT_D] = night
    delta[NIGHT_SUM_D] = night * amount_minor
    delta[CROSS_D] = what >> at.WHAT_CROSS & 1
    delta[CROSS_SUM_D] = delta[CROSS_D] * amount_minor
    delta[NEAR_H] = what >> at.WHAT_NEAR & 1
    delta[NEAR_D] = delta[NEAR_H]
    delta[COUPON_D] = coupon_minor


@kernel
def fill(delta: Ints, amount_minor: int, coupon_minor: int, what: int) -> None:
    """Work out what an event adds to each column.

    Args:
        delta: Out: shape ``(DELTA_WIDTH,)``.
        amount_minor: Capped.
        coupon_minor: Capped; 0 for feedback.
        what: The event's word: feedback's number, or `word_of` an attempt.
    """
    delta[:] = 0
    feedback = what & 255
    if feedback == ATTEMPTED:
        _fill_attempt(delta, amount_minor, coupon_minor, what)
    elif feedback == FAILED:
        delta[FAILED_H] = 1
        delta[FAILED_D] = 1
    elif feedback == DECLINED:
        delta[DECLINED_H] = 1
        delta[DECLINED_D] = 1
        delta[DECLINED_W] = 1
    elif feedback == REFUNDED:
        delta[REFUNDED_D] = 1
        delta[REFUNDED_W] = 1
        delta[REFUNDED_SUM_D] = amount_minor
        delta[REFUNDED_SUM_W] = amount_minor
    elif feedback == FRAUD:
        delta[FRAUD_H] = 1
        delta[FRAUD_D] = 1
        delta[FRAUD_W] = 1
        delta[FRAUD_SUM_D] = amount_minor
    elif feedback == GENUINE:
        delta[GENUINE_H] = 1
        delta[GENUINE_D] = 1
        delta[GENUINE_W] = 1


# Indices without a sign below: a run of columns is then added by vector instructions.
@kernel
def add_run(into: Ints, start: int, delta: Ints, first: int, width: int) -> None:
    """Add `width` columns of `delta` from `first` on to those of `into` from `start` on."""
    left, right = np.uint64(start), np.uint64(first)
    for column in range(np.uint64(width)):
        into[left + column] += delta[right + column]


@kernel
def copy_run(into: Ints, start: int, source: Ints, first: int, width: int) -> None:
    """Copy a run of columns."""
    left, right = np.uint64(start), np.uint64(first)
    for column in range(np.uint64(width)):
        into[left + column] = source[right + column]


@kernel
def take_run(into: Ints, start: int, source: Ints, first: int, width: int) -> None:
    """Take a run of columns away."""
    left, right = np.uint64(start), np.uint64(first)
    for column in range(np.uint64(width)):
        into[left + column] -= source[right + column]


@kernel
def clear_run(into: Ints, start: int, count: int) -> None:
    """Make a run of columns 0."""
    left = np.uint64(start)
    for column in range(np.uint64(count)):
        into[left + column] = 0


@kernel
def after(turn: int, tiles: int) -> int:
    """Return the place that follows `turn` in a ring of tiles."""
    return 0 if turn + 1 == tiles else turn + 1


@kernel
def _advance_hours(arena: Ints, block: int, hour: int) -> None:
    newest = arena[block + at.HOUR_TILE]
    held = arena[block + at.HOURS_HELD]
    if hour - newest >= at.HOUR_TILES:
        clear_run(arena, block + at.HOUR_AT, at.HOUR_TILES * HOUR_WIDTH)
        clear_run(arena, block + at.TOTALS_24H, HOUR_WIDTH)
        held = 0
    else:
        turn = newest % at.HOUR_TILES
        for _ in range(hour - newest):
            turn = after(turn, at.HOUR_TILES)
            if held >> turn & 1:
                start = block + at.HOUR_AT + turn * HOUR_WIDTH
                take_run(arena, block + at.TOTALS_24H, arena, start, HOUR_WIDTH)
                clear_run(arena, start, HOUR_WIDTH)
                held ^= 1 << turn
    arena[block + at.HOURS_HELD] = held
    arena[block + at.HOUR_TILE] = hour


@kernel
def _advance_days(arena: Ints, block: int, day: int) -> None:
    newest = arena[block + at.DAY_TILE]
    held = arena[block + at.DAYS_HELD]
    if day - newest >= at.DAY_TILES:
        clear_run(arena, block + at.DAY_AT, at.DAY_TILES * DAY_WIDTH + at.DAY_TILES)
        clear_run(arena, block + at.TOTALS_7D, 2 * DAY_WIDTH)
        held = 0
    else:
        turn = newest % at.DAY_TILES
        ended = (newest - at.SEVEN_TILES) % at.DAY_TILES
        for _ in range(day - newest):
            turn, ended = after(turn, at.DAY_TILES), after(ended, at.DAY_TILES)
            if held >> ended & 1:
                start = block + at.DAY_AT + ended * DAY_WIDTH
                take_run(arena, block + at.TOTALS_7D, arena, start, DAY_WIDTH)
            if held >> turn & 1:
                start = block + at.DAY_AT + turn * DAY_WIDTH
                take_run(arena, block + at.TOTALS_30D, arena, start, DAY_WIDTH)
                clear_run(arena, start, DAY_WIDTH)
                held ^= 1 << turn
            arena[block + at.MAX_AT + turn] = 0
    arena[block + at.DAYS_HELD] = held
    arena[block + at.DAY_TILE] = day


@kernel
def _advance_weeks(arena: Ints, block: int, week: int) -> None:
    newest = arena[block + at.WEEK_TILE]
    held = arena[block + at.WEEKS_HELD]
    if week - newest >= at.WEEK_TILES:
        clear_run(arena, block + at.WEEK_AT, at.WEEK_TILES * WEEK_WIDTH)
        clear_run(arena, block + at.TOTALS_90D, WEEK_WIDTH)
        held = 0
    else:
        turn = newest % at.WEEK_TILES
        for _ in range(week - newest):
            turn = after(turn, at.WEEK_TILES)
            if held >> turn & 1:
                start = block + at.WEEK_AT + turn * WEEK_WIDTH
                take_run(arena, block + at.TOTALS_90D, arena, start, WEEK_WIDTH)
                clear_run(arena, start, WEEK_WIDTH)
                held ^= 1 << turn
    arena[block + at.WEEKS_HELD] = held
    arena[block + at.WEEK_TILE] = week


@kernel
def advance(arena: Ints, block: int, now_us: int) -> None:
    """Move a block of windows to the row's time: what ran out leaves tiles and totals."""
    hour, day = now_us // at.HOUR_US, now_us // at.DAY_US
    if hour > arena[block + at.HOUR_TILE]:
        _advance_hours(arena, block, hour)
    if day > arena[block + at.DAY_TILE]:
        _advance_days(arena, block, day)
        week = now_us // at.WEEK_US
        if week > arena[block + at.WEEK_TILE]:
            _advance_weeks(arena, block, week)
        _fade(arena, block, now_us // MONTH_US)


@kernel
def _fade(arena: Ints, block: int, epoch: int) -> None:
    """Halve histogram and profiles once for each month that passed."""
    months = min(epoch - arena[block + at.PROFILE_EPOCH], 62)
    if months > 0:
        for place in range(block + at.HISTOGRAM_AT, block + at.WINDOWS_WIDTH):
            arena[place] >>= months
        arena[block + at.PROFILE_EPOCH] = epoch


@kernel
def _add_profile(
    arena: Ints, block: int, now_us: int, amount_minor: int, what: int, kept: int
) -> None:
    if kept & want.NEED_MAX:
        largest = block + at.MAX_AT + arena[block + at.DAY_TILE] % at.DAY_TILES
        arena[largest] = max(arena[largest], amount_minor + 1)
    if kept & want.NEED_RING:
        slot = block + at.RING_AT + arena[block + at.RING_COUNT] % at.RING * 2
        if kept & want.NEED_SHIFT:
            if arena[block + at.RING_COUNT] >= at.RING:
                arena[block + at.RECENT_AT + bucket_of(arena[slot + 1])] -= 1
            arena[block + at.RECENT_AT + (what >> at.WHAT_BUCKET)] += 1
        arena[slot] = now_us
        arena[slot + 1] = amount_minor
        arena[block + at.RING_COUNT] += 1
    if kept & want.NEED_PROFILE:
        arena[block + at.HISTOGRAM_AT + (what >> at.WHAT_BUCKET)] += 1
        arena[block + at.HOURS_AT + (what >> at.WHAT_HOUR & 255)] += 1
        arena[block + at.WEEKDAYS_AT + (what >> at.WHAT_WEEKDAY & 15)] += 1


@kernel
def write(
    arena: Ints, block: int, now_us: int, amount_minor: int, what: int, delta: Ints, kept: int
) -> None:
    """Write an event into a block of windows, at the row's time; `kept` says into what."""
    advance(arena, block, now_us)
    if kept & want.NEED_24H:
        turn = arena[block + at.HOUR_TILE] % at.HOUR_TILES
        arena[block + at.HOURS_HELD] |= 1 << turn
        tile = block + at.HOUR_AT + turn * HOUR_WIDTH
        add_run(arena, tile, delta, 0, HOUR_WIDTH)
        add_run(arena, block + at.TOTALS_24H, delta, 0, HOUR_WIDTH)
    if kept & (want.NEED_7D | want.NEED_30D):
        turn = arena[block + at.DAY_TILE] % at.DAY_TILES
        arena[block + at.DAYS_HELD] |= 1 << turn
        tile = block + at.DAY_AT + turn * DAY_WIDTH
        add_run(arena, tile, delta, DAYS_FROM, DAY_WIDTH)
        add_run(arena, block + at.TOTALS_7D, delta, DAYS_FROM, DAY_WIDTH)
        add_run(arena, block + at.TOTALS_30D, delta, DAYS_FROM, DAY_WIDTH)
    if kept & want.NEED_90D:
        turn = arena[block + at.WEEK_TILE] % at.WEEK_TILES
        arena[block + at.WEEKS_HELD] |= 1 << turn
        tile = block + at.WEEK_AT + turn * WEEK_WIDTH
        add_run(arena, tile, delta, WEEKS_FROM, WEEK_WIDTH)
        add_run(arena, block + at.TOTALS_90D, delta, WEEKS_FROM, WEEK_WIDTH)
    if what & 255 == ATTEMPTED:
        _add_profile(arena, block, now_us, amount_minor, what, kept)
