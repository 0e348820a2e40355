"""What is met most often among many things, in a few numbers: the counters of Misra and Gries.

Up to four things are kept with a count each. Another one takes an empty counter; if there is none,
all counts go down by one. So whatever makes up more than a fifth of all is kept, and its count is
too low by at most a fifth of the number noted. Counts halve with every month, so a new habit
outweighs an old one.

A block: the month it was last written in, how many were noted, then four pairs of thing and count.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from risk.compiled import kernel
from risk.features import layout as at
from risk.features import memory

Ints = npt.NDArray[np.int64]

MONTH_US: Final = 30 * at.DAY_US
NOTED: Final = 1
FIRST: Final = 2
SLOT: Final = 2
ENDED: Final = at.FAVOURITES_WIDTH


@kernel
def note(arena: Ints, meta: Ints, pointer: int, thing: int, now_us: int) -> None:
    """Note that `thing` (not 0) was met.

    Args:
        arena: All rows.
        meta: The state's counters.
        pointer: Place in the row that leads to the block, or holds 0.
        thing: What was met.
        now_us: The row's time.
    """
    block = arena[pointer]
    if block == 0:
        block = memory.take(arena, meta, at.FAVOURITES_WIDTH)
        arena[pointer] = block
        arena[block] = now_us // MONTH_US
    months = min(now_us // MONTH_US - arena[block], 62)
    if months > 0:
        arena[block] = now_us // MONTH_US
        arena[block + NOTED] >>= months
        for slot in range(block + FIRST, block + ENDED, SLOT):
            arena[slot + 1] >>= months
    arena[block + NOTED] += 1
    empty = 0
    for slot in range(block + FIRST, block + ENDED, SLOT):
        if arena[slot + 1] > 0 and arena[slot] == thing:
            arena[slot + 1] += 1
            return
        if arena[slot + 1] == 0 and empty == 0:
            empty = slot
    if empty != 0:
        arena[empty] = thing
        arena[empty + 1] = 1
        return
    for slot in range(block + FIRST, block + ENDED, SLOT):
        arena[slot + 1] -= 1


@kernel
def favourite(arena: Ints, block: int) -> int:
    """Return the slot of what was met most often, the earliest of several; 0 if there is none."""
    best = 0
    if block != 0:
        for slot in range(block + FIRST, block + ENDED, SLOT):
            if arena[slot + 1] > 0 and (best == 0 or arena[slot + 1] > arena[best + 1]):
                best = slot
    return int(best)


@kernel
def times_of(arena: Ints, block: int, thing: int) -> int:
    """Return the count of `thing`, 0 if it is not kept."""
    if block != 0:
        for slot in range(block + FIRST, block + ENDED, SLOT):
            if arena[slot] == thing:
                return int(arena[slot + 1])
    return 0
