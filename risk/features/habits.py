"""How a person types and moves: a running mean and deviation of a few measures, in integers.

Each new value moves the mean by an eighth of its distance and the deviation by an eighth of what
is missing (the estimator of Jacobson 1988 for round-trip times), in units of 1/256, so that a
value can be compared with the person's own habit without keeping history.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from risk.compiled import kernel
from risk.features import event as ev
from risk.features import layout as at
from risk.features import memory

Ints = npt.NDArray[np.int64]
Marks = npt.NDArray[np.uint8]

FIELDS: Final = np.array([ev.INDEX[name] for name in at.HABITS], dtype=np.int64)
BITS: Final = np.array([1 << (ev.INDEX[name] - ev.FIRST_CONTEXT) for name in at.HABITS])
POINTER: Final = at.slot_of(at.USER, "habits")
SCALE: Final = 256
PACE: Final = 8
VALUE_CAP: Final = 1 << 32
LEAST_TIMES: Final = 3  # Visits from which a habit can be spoken of.
MOST_EACH: Final = 8_000


@kernel
def _value(event: Ints, measure: int) -> int:
    """Return the event's value × `SCALE`, or -1 where it was not sent."""
    if event[ev.PRESENCE] & BITS[measure] == 0:
        return -1
    return int(min(max(event[FIELDS[measure]], 0), VALUE_CAP) * SCALE)


@kernel
def read(arena: Ints, base: int, event: Ints, cells: Ints, marks: Marks) -> None:
    """Read how far the event is from the user's habits; `base` 0 is a stranger."""
    block = arena[base + POINTER] if base != 0 else 0
    if block == 0 or arena[block] < LEAST_TIMES:
        return
    for measure in range(len(at.HABITS)):
        value = _value(event, measure)
        mean, deviation = arena[block + 1 + 2 * measure], arena[block + 2 + 2 * measure]
        if value < 0 or mean == 0:
            continue
        width = max(deviation, mean // 16, SCALE)
        cells[at.HABITS_AT] += min(abs(value - mean) * 1_000 // width, MOST_EACH)
        marks[at.HABITS_AT] = 1
    cells[at.HABITS_AT + 1] = arena[block]
    marks[at.HABITS_AT + 1] = 1


@kernel
def learn(arena: Ints, meta: Ints, base: int, event: Ints) -> None:
    """Let the event's values move the user's habits."""
    block = arena[base + POINTER]
    seen = False
    for measure in range(len(at.HABITS)):
        value = _value(event, measure)
        if value < 0:
            continue
        if block == 0:
            block = memory.take(arena, meta, at.HABITS_WIDTH)
            arena[base + POINTER] = block
        seen = True
        mean = block + 1 + 2 * measure
        if arena[mean] == 0:
            arena[mean] = value
            arena[mean + 1] = value // 2
            continue
        distance = value - arena[mean]
        arena[mean] += distance // PACE
        arena[mean + 1] += (abs(distance) - arena[mean + 1]) // PACE
    if seen:
        arena[block] += 1
