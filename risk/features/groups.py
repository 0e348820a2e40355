"""The events of a log by groups of the entities they name, in the log's order within each group.

A log follows time, so an entity's events lie far apart and its row has left the processor's cache
before the next one comes. Of a few dozen entities at a time the rows stay there, while their
events are still met in the order of memory, which an order by single entities would give up.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from risk.compiled import kernel
from risk.features import memory
from risk.features.event import ATTEMPT

Ints = npt.NDArray[np.int64]
Ints32 = npt.NDArray[np.int32]

GROUP: Final = 64  # Entities at a time.
NO_COLUMN: Final = -1
FIRST_SLOTS: Final = 1 << 10


def sort_by_group(
    events: Ints, kind: int, key: int, *, alias: int = NO_COLUMN
) -> tuple[Ints32, Ints]:
    """Sort the events of a log by groups of an entity they name, keeping their order in each.

    Args:
        events: Shape ``(n, k)``.
        kind: Column of the events' kind.
        key: Column of the entity whose row they write; 0 names none.
        alias: Column of an entity whose row attempts only read, or `NO_COLUMN`.

    Returns:
        Visits, shape ``(v, 3)``: the event's place, or ``~place`` where it only reads; which
        attempt it is or comes after; the entity, by its place in its group. And where each group's
        visits begin, one more than there are groups. An event that does both to one entity reads
        first.
    """
    slots, count = FIRST_SLOTS, FIRST_SLOTS
    numbers = np.zeros((len(events), 2), dtype=np.int32)
    while 2 * count >= slots:
        slots *= 4
        table = np.zeros(2 * slots, dtype=np.int64)
        count = _number_all(events, kind, key, alias, table, numbers)
    starts = np.zeros(count // GROUP + 2, dtype=np.int64)
    _count_all(numbers, starts)
    starts = np.cumsum(starts)
    visits = np.empty((starts[-1], 3), dtype=np.int32)
    _place_all(events, kind, numbers, starts.copy(), visits)
    return visits, starts


@kernel
def _number(table: Ints, key: int, count: int) -> int:
    """Return the number of a key, from 1; the next after `count` if it is new."""
    mask = table.size // 2 - 1
    place = memory.first_place(key, mask)
    while table[2 * place + 1] != 0:
        if table[2 * place] == key:
            return int(table[2 * place + 1])
        place = (place + 1) & mask
    table[2 * place] = key
    table[2 * place + 1] = count + 1
    return count + 1


@kernel
def _number_all(events: Ints, kind: int, key: int, alias: int, table: Ints, numbers: Ints32) -> int:
    """Number the entities of all events, 0 for none: the one read only and the one written.

    Returns:
        How many there are, or half the table's size at least where that is too small.
    """
    count = 0
    for row in range(events.shape[0]):
        if 4 * count >= table.size:
            return count
        if alias != NO_COLUMN and events[row, alias] != 0 and events[row, kind] == ATTEMPT:
            numbers[row, 0] = _number(table, events[row, alias], count)
            count = max(count, numbers[row, 0])
        if events[row, key] != 0:
            numbers[row, 1] = _number(table, events[row, key], count)
            count = max(count, numbers[row, 1])
    return count


@kernel
def _count_all(numbers: Ints32, counts: Ints) -> None:
    """Count the visits of each group, one place further on."""
    for row in range(numbers.shape[0]):
        for place in range(2):
            if numbers[row, place] != 0:
                counts[numbers[row, place] // GROUP + 1] += 1


@kernel
def _place_all(events: Ints, kind: int, numbers: Ints32, following: Ints, visits: Ints32) -> None:
    """Put every event in its group's stretch of the visits, which begins at `following`."""
    attempt = -1
    for row in range(numbers.shape[0]):
        attempt += events[row, kind] == ATTEMPT
        for place in range(2):
            number = numbers[row, place]
            if number != 0:
                visit = following[number // GROUP]
                visits[visit, 0] = row if place else ~row
                visits[visit, 1] = attempt
                visits[visit, 2] = number % GROUP
                following[number // GROUP] += 1
