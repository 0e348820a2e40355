"""Sets of the entities an entity was seen with: exact up to a cap, then a documented sketch.

A set keeps its members with the time each was last and first seen and how often; a full set
forgets the member not seen for longest. So as long as one kept member is older than a window, all
members of the window are kept and their number is exact. Once every kept member lies inside the
window, the number comes from a sketch and is never less than the cap.

The sketch is a multiresolution bitmap (Estan, Varghese, Fisk 2003) whose bits are times: level k
takes the members whose hash ends in k zeros, a register the newest time one of them was seen. For
a window, levels that are nearly full are skipped, the others counted linearly with a table of
integers and scaled by the skipped levels' share. With 12 levels of 64 registers it reads within
about 10 % up to 100,000 members.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from risk.compiled import kernel
from risk.features import layout as at
from risk.features import memory

Ints = npt.NDArray[np.int64]
Marks = npt.NDArray[np.uint8]

SEEN_MASK: Final = (1 << at.SEEN_BITS) - 1
FIRST_ROOM: Final = 2
NEW: Final = at.SET_CELLS.index("new_24h")
TOP: Final = 5
FULL_REGISTERS: Final = 48  # A level with more registers in use says too little.
# Members of a level by registers in use, × 1024 and rounded: -64 ln(1 - k / 64).
COUNTED: Final = np.array(
    [
        round(-1024 * at.SKETCH_REGISTERS * math.log(1 - min(k, 63.5) / at.SKETCH_REGISTERS))
        for k in range(at.SKETCH_REGISTERS + 1)
    ],
    dtype=np.int64,
)
WINDOWS_US: Final = np.array([at.HOUR_US, at.DAY_US, 30 * at.DAY_US], dtype=np.int64)


@kernel
def register_of(member: int) -> int:
    """Return a member's register in a sketch: its level's row and a column."""
    mixed = (member ^ (member >> 31)) * 0x2545F4914F6CDD1D
    column = (mixed >> 40) & (at.SKETCH_REGISTERS - 1)
    level = 0
    while level < at.SKETCH_LEVELS - 1 and mixed >> (8 + level) & 1 == 0:
        level += 1
    return int(level * at.SKETCH_REGISTERS + column)


@kernel
def _grown(arena: Ints, meta: Ints, old: int, cap: int) -> int:
    """Return a larger block with the members of `old`, which is given back."""
    room = FIRST_ROOM if old == 0 else min(2 * arena[old + 1], cap)
    block = memory.take(arena, meta, (room + 1) * at.SET_SLOT)
    if old != 0:
        width = (arena[old + 1] + 1) * at.SET_SLOT
        for place in range(width):
            arena[block + place] = arena[old + place]
        memory.give(arena, meta, old, width)
    arena[block + 1] = room
    return block


@kernel
def _start_sketch(arena: Ints, meta: Ints, block: int) -> None:
    sketch = memory.take(arena, meta, at.SKETCH)
    arena[block + at.SET_FIRST] = sketch
    first = block + at.SET_SLOT
    for slot in range(first, first + arena[block] * at.SET_SLOT, at.SET_SLOT):
        register = sketch + register_of(arena[slot])
        arena[register] = max(arena[register], arena[slot + 1])


@kernel
def add_member(arena: Ints, meta: Ints, pointer: int, cap: int, member: int, now_us: int) -> None:
    """Note that `member` was seen.

    Args:
        arena: All rows.
        meta: The state's counters.
        pointer: Place in the row that leads to the set's block, or holds 0.
        cap: Members the set may keep.
        member: Who was seen.
        now_us: The row's time.
    """
    block = arena[pointer]
    held = arena[block] if block != 0 else 0
    first = block + at.SET_SLOT
    victim = first
    if block != 0 and arena[block + at.SET_FIRST] != 0:
        arena[arena[block + at.SET_FIRST] + register_of(member)] = now_us
    for slot in range(first, first + held * at.SET_SLOT, at.SET_SLOT):
        if arena[slot] == member:
            arena[slot + 1] = now_us
            if arena[slot + 2] & SEEN_MASK < SEEN_MASK:
                arena[slot + 2] += 1
            return
        if arena[slot + 1] < arena[victim + 1]:
            victim = slot
    if held < cap:
        if block == 0 or held == arena[block + 1]:
            block = _grown(arena, meta, block, cap)
            arena[pointer] = block
        victim = block + (held + 1) * at.SET_SLOT
        arena[block] = held + 1
    elif arena[block + at.SET_FIRST] == 0:
        _start_sketch(arena, meta, block)
        arena[arena[block + at.SET_FIRST] + register_of(member)] = now_us
    arena[victim] = member
    arena[victim + 1] = now_us
    arena[victim + 2] = (now_us // 1_000_000 << at.SEEN_BITS) + 1


@kernel
def _estimate(arena: Ints, sketch: int, now_us: int, window_us: int) -> int:
    """Return about how many members a sketch saw within the window before `now_us`."""
    total = 0
    skipped = 0
    since_us = max(now_us - window_us, 0)
    for level in range(at.SKETCH_LEVELS):
        used = 0
        first = np.uint64(sketch + level * at.SKETCH_REGISTERS)
        for register in range(first, first + np.uint64(at.SKETCH_REGISTERS)):
            used += arena[register] > since_us
        if used > FULL_REGISTERS and total == 0 and level < at.SKETCH_LEVELS - 1:
            skipped = level + 1
        else:
            total += COUNTED[used]
            if used == 0:
                break
    return int((total << skipped) >> 10)


@kernel
def _read_members(arena: Ints, block: int, now_us: int, cells: Ints, out: int) -> None:
    """Read which kept members are new and how far the five most frequent outweigh the others."""
    first = block + at.SET_SLOT
    ended = first + arena[block] * at.SET_SLOT
    bound, left = SEEN_MASK + 1, TOP
    while left > 0 and bound > 0:
        highest, held = 0, 0  # The next lower number of times, and how many members have it.
        for slot in range(first, ended, at.SET_SLOT):
            times = arena[slot + 2] & SEEN_MASK
            if times < bound and times > highest:
                highest, held = times, 0
            held += times == highest
        cells[out + NEW + 2] += min(held, left) * highest
        left -= held
        bound = highest
    for slot in range(first, ended, at.SET_SLOT):
        cells[out + NEW + 3] += arena[slot + 2] & SEEN_MASK
        if now_us - arena[slot + 1] < at.DAY_US:
            is_new = now_us - (arena[slot + 2] >> at.SEEN_BITS) * 1_000_000 < at.DAY_US
            cells[out + NEW] += is_new
            cells[out + NEW + 1] += not is_new


@kernel
def _count_beyond(
    arena: Ints, block: int, cap: int, now_us: int, needs: int, cells: Ints, out: int
) -> None:
    """Count by the sketch the windows in which all kept members lie."""
    for window in range(WINDOWS_US.size):
        if needs >> window & 1 and cells[out + window] == cap:
            about = _estimate(arena, arena[block + at.SET_FIRST], now_us, WINDOWS_US[window])
            cells[out + window] = max(cap, about)


@kernel
def read_set(
    arena: Ints,
    block: int,
    cap: int,
    member: int,
    now_us: int,
    needs: int,
    cells: Ints,
    marks: Marks,
    out: int,
) -> None:
    """Read a set: distinct members by window, and what is known of `member`.

    `block` 0 is an empty set; `member` 0 an event that names none; `needs` a mask of the cells
    wanted.
    """
    for place in range(out, out + 3):
        marks[place] = 1
    if member != 0:
        marks[out + 3] = 1
        marks[out + 5] = 1
    for place in range(out + NEW, out + len(at.SET_CELLS)):
        marks[place] = 1
    if block == 0:
        return
    if needs >> NEW:
        _read_members(arena, block, now_us, cells, out)
    first = block + at.SET_SLOT
    for slot in range(first, first + arena[block] * at.SET_SLOT, at.SET_SLOT):
        age_us = now_us - arena[slot + 1]
        cells[out] += age_us < at.HOUR_US
        cells[out + 1] += age_us < at.DAY_US
        cells[out + 2] += age_us < 30 * at.DAY_US
        if arena[slot] == member:
            cells[out + 3] = 1
            cells[out + 4] = now_us - (arena[slot + 2] >> at.SEEN_BITS) * 1_000_000
            cells[out + 5] = arena[slot + 2] & SEEN_MASK
            marks[out + 4] = 1
    if arena[block + at.SET_FIRST] != 0:
        _count_beyond(arena, block, cap, now_us, needs, cells, out)
