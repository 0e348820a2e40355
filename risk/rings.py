"""Rings: users tied by strong attributes, joined as events arrive, forgotten by generations.

Two union-finds, one for the running epoch of 15 days and one for the epoch before; a reading takes
the larger, so a tie lasts 15 to 30 days without ever being deleted. A row's node is a block of its
own, given at the first tie. What a ring knows stands in the node of its root: how many nodes and
users, how many frauds became known, how many users joined on each of the last eight days, and when
its first tie was made; a ring that is tied again in the next epoch keeps that moment.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from risk.compiled import kernel
from risk.features import aggregates as agg
from risk.features import layout as at
from risk.features import memory

Ints = npt.NDArray[np.int64]
Marks = npt.NDArray[np.uint8]

EPOCH_US: Final = 15 * at.DAY_US
RECENT_US: Final = 30 * at.DAY_US
GIANT_NODES: Final = 2_000
# `JOINED` holds eight days, a byte a day, today lowest: users who joined, 255 at most.
DAYS: Final = 8
DAY_BITS: Final = 8
DAY_MOST: Final = (1 << DAY_BITS) - 1
ALL_DAYS: Final = (1 << 63) - 1

EPOCH, PARENT, NODES, USERS, FRAUD, DAY, JOINED, BORN = range(at.NODE_WIDTH)
RING_USERS: Final = at.CELL["graph.ring_users"]
RING_FRAUD: Final = at.CELL["graph.ring_fraud"]
RING_JOINED: Final = at.CELL["graph.ring_joined"]
RING_JOINED_7D: Final = at.CELL["graph.ring_joined_7d"]
RING_AGE: Final = at.CELL["graph.ring_age_us"]
RING_GIANT: Final = at.CELL["graph.ring_giant"]

USER_NODE: Final = at.slot_of(at.USER, "node")
NODES_AT: Final = np.full(at.ROW_KINDS, -1, dtype=np.int64)
for _kind in (at.USER, at.DEVICE, at.CARD, at.PAYEE):
    NODES_AT[_kind] = at.slot_of(_kind, "node")


@kernel
def node_of(arena: Ints, base: int) -> int:
    """Return the node of a row, 0 if the row is 0 or was never tied."""
    return int(arena[base + NODES_AT[arena[base - 1]]]) if base != 0 else 0


@kernel
def root_of(arena: Ints, node: int, epoch: int) -> int:
    """Return the node that stands for the ring of `node` in `epoch`, 0 if it is in none."""
    shift = epoch % at.GENERATIONS * at.NODE_WIDTH
    if node == 0 or epoch < 0 or arena[node + shift + EPOCH] != epoch + 1:
        return 0
    while arena[node + shift + PARENT] != node:
        node = arena[node + shift + PARENT]
    return int(node)


@kernel
def same(arena: Ints, node: int, other: int, now_us: int) -> bool:
    """Whether two nodes are in one ring, of the running epoch or of the one before."""
    epoch = now_us // EPOCH_US
    for generation in range(at.GENERATIONS):
        root = root_of(arena, node, epoch - generation)
        if root != 0 and root == root_of(arena, other, epoch - generation):
            return True
    return False


@kernel
def _born_us(arena: Ints, node: int, epoch: int, now_us: int) -> int:
    """Return when a ring that enters a new epoch was first tied."""
    root = root_of(arena, node, epoch - 1)
    if root == 0:
        return now_us
    return int(arena[root + (epoch - 1) % at.GENERATIONS * at.NODE_WIDTH + BORN])


@kernel
def _enter(arena: Ints, meta: Ints, base: int, epoch: int, now_us: int) -> int:
    """Return the root of row `base`, which becomes a ring of its own if it is in none."""
    kind = arena[base - 1]
    pointer = base + NODES_AT[kind]
    if arena[pointer] == 0:
        arena[pointer] = memory.take(arena, meta, memory.EPOCH_WORDS)
    node = arena[pointer]
    now = node + epoch % at.GENERATIONS * at.NODE_WIDTH
    if arena[now + EPOCH] != epoch + 1:
        since_us = now_us - arena[base + agg.LAST_FRAUD_AT]
        is_user = kind == at.USER
        bad = is_user and arena[base + agg.LAST_FRAUD_AT] != 0 and since_us < RECENT_US
        arena[now + EPOCH] = epoch + 1
        arena[now + PARENT] = node
        arena[now + NODES] = 1
        arena[now + USERS] = 1 if is_user else 0
        arena[now + FRAUD] = 1 if bad else 0
        arena[now + DAY] = now_us // at.DAY_US
        arena[now + JOINED] = 0
        arena[now + BORN] = _born_us(arena, node, epoch, now_us)
    return root_of(arena, node, epoch)


@kernel
def _days_later(joined: int, passed: int) -> int:
    """Return the eight days' word after `passed` more days."""
    if passed <= 0:
        return joined
    return (joined << passed * DAY_BITS) & ALL_DAYS if passed < DAYS else 0


@kernel
def _joined_on(joined: int, first: int, last: int) -> int:
    """Sum the users who joined between `first` and `last` days ago."""
    total = 0
    for day in range(first, last + 1):
        total += joined >> day * DAY_BITS & DAY_MOST
    return total


@kernel
def join(arena: Ints, meta: Ints, user: int, other: int, epoch: int, now_us: int) -> None:
    """Put the rows of a user and of an attribute into one ring; the larger one's root stays."""
    shift = epoch % at.GENERATIONS * at.NODE_WIDTH
    kept = _enter(arena, meta, user, epoch, now_us)
    lost = _enter(arena, meta, other, epoch, now_us)
    if kept == lost:
        return
    if arena[kept + shift + NODES] < arena[lost + shift + NODES]:
        kept, lost = lost, kept
    into, gone = kept + shift, lost + shift
    day = max(now_us // at.DAY_US, arena[into + DAY])
    joined = _days_later(arena[into + JOINED], day - arena[into + DAY])
    today = (joined & DAY_MOST) + min(arena[into + USERS], arena[gone + USERS])
    arena[into + JOINED] = (joined & ~DAY_MOST) | min(today, DAY_MOST)
    arena[into + DAY] = day
    arena[gone + PARENT] = kept
    arena[into + NODES] += arena[gone + NODES]
    arena[into + USERS] += arena[gone + USERS]
    arena[into + FRAUD] += arena[gone + FRAUD]
    arena[into + BORN] = min(arena[into + BORN], arena[gone + BORN])


@kernel
def mark_fraud(arena: Ints, user: int, now_us: int) -> None:
    """Count a known fraud of a user in the rings the user is in."""
    epoch = now_us // EPOCH_US
    for generation in range(at.GENERATIONS):
        turn = epoch - generation
        root = root_of(arena, arena[user + USER_NODE], turn)
        if root != 0:
            arena[root + turn % at.GENERATIONS * at.NODE_WIDTH + FRAUD] += 1


@kernel
def read(arena: Ints, base: int, now_us: int, cells: Ints, marks: Marks) -> None:
    """Take a row's rings into the cells, where the largest of several readings stays."""
    node = node_of(arena, base)
    if node == 0:
        return
    epoch = now_us // EPOCH_US
    for generation in range(at.GENERATIONS):
        turn = epoch - generation
        root = root_of(arena, node, turn)
        if root == 0:
            continue
        ring = root + turn % at.GENERATIONS * at.NODE_WIDTH
        joined = _days_later(arena[ring + JOINED], now_us // at.DAY_US - arena[ring + DAY])
        cells[RING_USERS] = max(cells[RING_USERS], arena[ring + USERS])
        cells[RING_FRAUD] = max(cells[RING_FRAUD], arena[ring + FRAUD])
        cells[RING_JOINED] = max(cells[RING_JOINED], _joined_on(joined, 0, 1))
        cells[RING_JOINED_7D] = max(cells[RING_JOINED_7D], _joined_on(joined, 0, DAYS - 1))
        if arena[ring + USERS] > 1:
            cells[RING_AGE] = max(cells[RING_AGE], now_us - arena[ring + BORN])
            marks[RING_AGE] = 1
        if arena[ring + NODES] > GIANT_NODES:
            cells[RING_GIANT] = 1
