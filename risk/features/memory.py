"""Rows and blocks in one arena of integers, and the table that leads to an entity's row.

Blocks are given back to a list of their own width, so memory follows the entities that are
active; which block is given next depends on the log alone, so a replay lays out the same arena.

The table is open-addressed with linear probing and holds (key, place of the row) side by side. A
few of its slots are looked at with every event, more for every row made, and a row whose entity
has not been seen for `layout.SWEEP_US` is given back. Whether an entity is *known* never depends
on that: a row older than `layout.RETAIN_US` reads as a stranger's wherever it still stands.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from risk.compiled import kernel
from risk.features import layout as at

Ints = npt.NDArray[np.int64]

CLOCK: Final = at.H["clock"]
JOURNAL: Final = at.H["journal"]
WINDOWS: Final = at.H["windows"]

# Places in `meta`, the state's own counters.
USED: Final = 0  # Next int64 of the arena never given out; place 0 itself means "nothing".
KEYS_HELD: Final = 1
GLOBAL_CLOCK: Final = 2  # Newest time of any event: the epoch of the graph follows it.
HAND: Final = 3  # Slot of the table the sweep comes to next.
SWEPT: Final = 4  # Rows taken back so far.
PROMOTED: Final = 5  # Rows that went from the small form to the large one.
FREE_AT: Final = 8  # First free block of each width, then their number is not kept.
META_WIDTH: Final = FREE_AT + at.WIDEST_BLOCK + 1
SWEPT_SLOTS: Final = 1  # Slots of the table looked at with each event, and for each new row:
SWEPT_FOR_ROW: Final = 8  # at most half and at least a quarter of them hold one.

# Where a kind's pointers stand, for giving its blocks back: (kind, place, width of the block).
EPOCH_WORDS: Final = at.GENERATIONS * at.NODE_WIDTH
FLOWS: Final = 16
FLOWS_HEAD: Final = 2  # Payments ever noted, room.
FLOWS_SLOT: Final = 3  # The other account, when (µs), how much.
ATTRIBUTES_WIDTH: Final = 6
_BLOCK_WIDTHS: Final = {
    "node": EPOCH_WORDS,
    "attributes": ATTRIBUTES_WIDTH,
    "habits": at.HABITS_WIDTH,
    "home": at.FAVOURITES_WIDTH,
    "companions": at.FAVOURITES_WIDTH,
}
POINTERS: Final = np.array(
    [
        (kind, at.slot_of(kind, name), width)
        for kind in (at.USER, at.DEVICE, at.CARD, at.PAYEE, at.MERCHANT)
        for name, width in _BLOCK_WIDTHS.items()
        if name in at.EXTRAS[kind]
    ],
    dtype=np.int64,
)
FLOW_OWNERS: Final = np.array(
    [(kind, at.slot_of(kind, "flows")) for kind in (at.USER, at.PAYEE)], dtype=np.int64
)
SET_OWNERS: Final = np.array(
    [(row[0], place) for row, place in zip(at.SETS, at.SET_PLACES, strict=True)], dtype=np.int64
)
ROW_WIDTHS: Final = np.array(at.ROW_WIDTHS, dtype=np.int64)
KIND: Final = 0  # A row is preceded by one word: what kind of entity it is.


@kernel
def take(arena: Ints, meta: Ints, width: int) -> int:
    """Return a block of `width` zeros; the caller's caller has made room."""
    block = int(meta[FREE_AT + width])
    if block != 0:
        meta[FREE_AT + width] = arena[block]
        for place in range(block, block + width):
            arena[place] = 0
        return block
    block = int(meta[USED])
    meta[USED] = block + width
    return block


@kernel
def give(arena: Ints, meta: Ints, block: int, width: int) -> None:
    """Give a block back."""
    arena[block] = meta[FREE_AT + width]
    meta[FREE_AT + width] = block


@kernel
def first_place(key: int, mask: int) -> int:
    """Return where in the table the search for `key` begins."""
    return int((key ^ (key >> 29)) & mask)


@kernel
def find(table: Ints, key: int) -> int:
    """Return where the row of `key` begins in the arena, 0 if there is none."""
    mask = table.size // 2 - 1
    place = first_place(key, mask)
    while table[2 * place + 1] != 0:
        if table[2 * place] == key:
            return int(table[2 * place + 1])
        place = (place + 1) & mask
    return 0


@kernel
def known(arena: Ints, base: int, at_us: int) -> int:
    """Return `base`, or 0 if its entity has not been seen for so long that it is a stranger."""
    if base != 0 and at_us - arena[base + CLOCK] >= at.RETAIN_US:
        return 0
    return base


@kernel
def insert(arena: Ints, table: Ints, meta: Ints, key: int, kind: int) -> int:
    """Give `key` an empty row; the caller has made room in table and arena."""
    mask = table.size // 2 - 1
    place = first_place(key, mask)
    while table[2 * place + 1] != 0:
        place = (place + 1) & mask
    block = take(arena, meta, ROW_WIDTHS[kind] + 1)
    arena[block + KIND] = kind
    table[2 * place] = key
    table[2 * place + 1] = block + 1
    meta[KEYS_HELD] += 1
    return block + 1


@kernel
def _give_set(arena: Ints, meta: Ints, block: int) -> None:
    if block == 0:
        return
    if arena[block + at.SET_FIRST] != 0:
        give(arena, meta, arena[block + at.SET_FIRST], at.SKETCH)
    give(arena, meta, block, (arena[block + 1] + 1) * at.SET_SLOT)


@kernel
def ring_node(arena: Ints, base: int, epoch: int) -> int:
    """Return the place of the row's pointer to its node, if a ring may still lead through it."""
    kind = arena[base - 1]
    for row in range(POINTERS.shape[0]):
        place = base + POINTERS[row, 1]
        if POINTERS[row, 0] != kind or POINTERS[row, 2] != EPOCH_WORDS or arena[place] == 0:
            continue
        for generation in range(at.GENERATIONS):
            if arena[arena[place] + generation * at.NODE_WIDTH] + at.GENERATIONS > epoch:
                return int(place)
    return 0


@kernel
def _give_history(arena: Ints, meta: Ints, base: int, kind: int) -> None:
    journal, windows = arena[base + JOURNAL], arena[base + WINDOWS]
    if journal != 0:
        give(arena, meta, journal, at.JOURNAL_HEAD + arena[journal + 1] * at.ENTRY)
    if windows != 0:
        give(arena, meta, windows, at.WINDOWS_WIDTH)
    for row in range(FLOW_OWNERS.shape[0]):
        flows = arena[base + FLOW_OWNERS[row, 1]] if FLOW_OWNERS[row, 0] == kind else 0
        if flows != 0:
            give(arena, meta, flows, FLOWS_HEAD + arena[flows + 1] * FLOWS_SLOT)


@kernel
def empty_row(arena: Ints, meta: Ints, base: int, epoch: int) -> None:
    """Forget all a row holds and give back its blocks; the row and a node in use stay."""
    kind = arena[base - 1]
    _give_history(arena, meta, base, kind)
    for row in range(SET_OWNERS.shape[0]):
        if SET_OWNERS[row, 0] == kind:
            _give_set(arena, meta, arena[base + SET_OWNERS[row, 1]])
    kept = ring_node(arena, base, epoch)
    node = arena[kept] if kept != 0 else 0
    for row in range(POINTERS.shape[0]):
        place = base + POINTERS[row, 1]
        if POINTERS[row, 0] == kind and arena[place] != 0 and place != kept:
            give(arena, meta, arena[place], POINTERS[row, 2])
    for place in range(base, base + ROW_WIDTHS[kind]):
        arena[place] = 0
    if kept != 0:
        arena[kept] = node


@kernel
def _remove(table: Ints, place: int) -> None:
    """Take a slot out and close the gap, so that every search still ends where it should."""
    mask = table.size // 2 - 1
    gap, place = place, (place + 1) & mask
    while table[2 * place + 1] != 0:
        home = first_place(table[2 * place], mask)
        if (place - home) & mask >= (place - gap) & mask:
            table[2 * gap] = table[2 * place]
            table[2 * gap + 1] = table[2 * place + 1]
            gap = place
        place = (place + 1) & mask
    table[2 * gap] = 0
    table[2 * gap + 1] = 0


@kernel
def sweep(arena: Ints, table: Ints, meta: Ints, now_us: int, epoch: int, slots: int) -> None:
    """Look at the next slots of the table and take back what nobody has seen for long."""
    for _ in range(slots):
        place = meta[HAND]
        meta[HAND] = (place + 1) % (table.size // 2)
        base = table[2 * place + 1]
        if base == 0 or now_us - arena[base + CLOCK] < at.SWEEP_US:
            continue
        if ring_node(arena, base, epoch) == 0:
            empty_row(arena, meta, base, epoch)
            give(arena, meta, base - 1, ROW_WIDTHS[arena[base - 1]] + 1)
            _remove(table, place)
            meta[HAND] = place
            meta[KEYS_HELD] -= 1
            meta[SWEPT] += 1


@kernel
def refill(held: Ints, table: Ints) -> None:
    """Enter (key, base) pairs, shape ``(n, 2)``, into a larger, empty table."""
    mask = table.size // 2 - 1
    for row in range(held.shape[0]):
        place = first_place(held[row, 0], mask)
        while table[2 * place + 1] != 0:
            place = (place + 1) & mask
        table[2 * place] = held[row, 0]
        table[2 * place + 1] = held[row, 1]
