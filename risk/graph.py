"""Rings of users that share strong attributes, kept as events arrive.

Linking everything that two payers share makes one ring of half the customers (measured: 390,564
of 500,000), so an edge must earn its place:

* only a device, a card or a payee account may link, never an address, a network or a merchant;
* a user is linked to a device or card after sightings on two different days, or at once where
  two users share two different strong attributes; a payee links by the second way only;
* an attribute seen with more users than its cap in 30 days (device 5, card 3, payee 50) is a hub:
  it links no more and says so, which is itself the sign of a farm.

Edges age without being deleted: there are two union-finds, one for the running epoch of 15 days
and one for the epoch before; a reading takes the larger. A ring of more than 2,000 nodes is called
giant and its counts are withheld, because they mean nothing. Nodes live in the rows of state; a
ring's epoch follows the newest event of the whole log, so the graph needs the log's total order.
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
CAPS: Final = {at.DEVICE: 5, at.CARD: 3, at.PAYEE: 50}
DEVICE_CAP: Final = CAPS[at.DEVICE]
CARD_CAP: Final = CAPS[at.CARD]
PAYEE_CAP: Final = CAPS[at.PAYEE]

EPOCH, PARENT, NODES, USERS, FRAUD, DAY, JOINED, JOINED_BEFORE = range(at.NODE_WIDTH)
RING_USERS, RING_FRAUD, RING_JOINED, RING_GIANT, NEIGHBOURS, BAD, HUB, MUTUAL = range(
    at.GRAPH_AT, at.GRAPH_AT + len(at.GRAPH_CELLS)
)


def _set(owner: int, member: int) -> int:
    return at.SET_PLACES[[pair[:2] for pair in at.SETS].index((owner, member))]


USER_DEVICES: Final = _set(at.USER, at.DEVICE)
USER_CARDS: Final = _set(at.USER, at.CARD)
USER_PAYEES: Final = _set(at.USER, at.PAYEE)
DEVICE_USERS: Final = _set(at.DEVICE, at.USER)
CARD_USERS: Final = _set(at.CARD, at.USER)
PAYEE_USERS: Final = _set(at.PAYEE, at.USER)


USER_NODE: Final = at.slot_of(at.USER, "node")
NODES_AT: Final = np.full(at.ROW_KINDS, -1, dtype=np.int64)
for _kind in (at.USER, at.DEVICE, at.CARD, at.PAYEE):
    NODES_AT[_kind] = at.slot_of(_kind, "node")


@kernel
def root_of(arena: Ints, node: int, epoch: int) -> int:
    """Return the node that stands for the ring of `node` in `epoch`, 0 if it is in none."""
    shift = epoch % at.GENERATIONS * at.NODE_WIDTH
    if node == 0 or arena[node + shift + EPOCH] != epoch + 1:
        return 0
    while arena[node + shift + PARENT] != node:
        node = arena[node + shift + PARENT]
    return int(node)


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
        arena[now + JOINED_BEFORE] = 0
    return root_of(arena, node, epoch)


@kernel
def _turn_day(arena: Ints, node: int, day: int) -> None:
    passed = day - arena[node + DAY]
    if passed > 0:
        arena[node + JOINED_BEFORE] = arena[node + JOINED] if passed == 1 else 0
        arena[node + JOINED] = 0
        arena[node + DAY] = day


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
    _turn_day(arena, into, now_us // at.DAY_US)
    arena[gone + PARENT] = kept
    arena[into + NODES] += arena[gone + NODES]
    arena[into + JOINED] += min(arena[into + USERS], arena[gone + USERS])
    arena[into + USERS] += arena[gone + USERS]
    arena[into + FRAUD] += arena[gone + FRAUD]


@kernel
def ended(arena: Ints, block: int) -> int:
    """Return the place after the last member of a set; members begin at ``block + SET_SLOT``."""
    return int(block + (arena[block] + 1) * at.SET_SLOT) if block != 0 else 0


@kernel
def recent_members(arena: Ints, block: int, now_us: int) -> int:
    """Count the members of a set seen in the last 30 days."""
    count = 0
    for slot in range(block + at.SET_SLOT, ended(arena, block), at.SET_SLOT):
        count += now_us - arena[slot + 1] < RECENT_US
    return count


@kernel
def _seen_on_two_days(arena: Ints, block: int, member: int, now_us: int) -> bool:
    for slot in range(block + at.SET_SLOT, ended(arena, block), at.SET_SLOT):
        if arena[slot] == member:
            first_s = arena[slot + 2] >> at.SEEN_BITS
            return bool(first_s // 86_400 < now_us // at.DAY_US)
    return False


@kernel
def _shared_member(arena: Ints, left: int, right: int, own: int) -> int:
    """Return a user other than `own` that stands in both sets, or 0."""
    for slot in range(left + at.SET_SLOT, ended(arena, left), at.SET_SLOT):
        member = arena[slot]
        if member == own:
            continue
        for other in range(right + at.SET_SLOT, ended(arena, right), at.SET_SLOT):
            if arena[other] == member:
                return int(member)
    return 0


@kernel
def _join_sharers(
    arena: Ints,
    table: Ints,
    meta: Ints,
    user: int,
    key: int,
    left: int,
    left_users: int,
    right: int,
    right_users: int,
    epoch: int,
    now_us: int,
) -> None:
    """Link two users who share both attributes, at once."""
    sharer = _shared_member(arena, arena[left + left_users], arena[right + right_users], key)
    if sharer == 0:
        return
    other = memory.find(table, sharer)
    if other == 0:
        return
    join(arena, meta, user, left, epoch, now_us)
    join(arena, meta, user, right, epoch, now_us)
    join(arena, meta, other, left, epoch, now_us)
    join(arena, meta, other, right, epoch, now_us)


@kernel
def _may_link(arena: Ints, base: int, users: int, cap: int, now_us: int) -> bool:
    """Whether an attribute is there and not a hub."""
    return base != 0 and recent_members(arena, arena[base + users], now_us) <= cap


@kernel
def link(
    arena: Ints, table: Ints, meta: Ints, event: Ints, first_key: int, places: Ints, now_us: int
) -> None:
    """Let an event's edges into the rings, once the sets of its entities hold it.

    Args:
        arena: All rows.
        table: Table of entities.
        meta: The state's counters.
        event: The event's vector.
        first_key: Place of the user's key in it.
        places: Where the rows of the event's entities begin, by role; 0 where absent.
        now_us: Newest time of the log.
    """
    user = places[at.USER]
    if user == 0:
        return
    device, card, payee = places[at.DEVICE], places[at.CARD], places[at.PAYEE]
    epoch = now_us // EPOCH_US
    key = event[first_key + at.USER]
    device_links = _may_link(arena, device, DEVICE_USERS, DEVICE_CAP, now_us)
    card_links = _may_link(arena, card, CARD_USERS, CARD_CAP, now_us)
    payee_links = _may_link(arena, payee, PAYEE_USERS, PAYEE_CAP, now_us)
    own_devices, own_cards = arena[user + USER_DEVICES], arena[user + USER_CARDS]
    if device_links and _seen_on_two_days(arena, own_devices, event[first_key + at.DEVICE], now_us):
        join(arena, meta, user, device, epoch, now_us)
    if card_links and _seen_on_two_days(arena, own_cards, event[first_key + at.CARD], now_us):
        join(arena, meta, user, card, epoch, now_us)
    if device_links and card_links:
        _join_sharers(
            arena, table, meta, user, key, device, DEVICE_USERS, card, CARD_USERS, epoch, now_us
        )
    if device_links and payee_links:
        _join_sharers(
            arena, table, meta, user, key, device, DEVICE_USERS, payee, PAYEE_USERS, epoch, now_us
        )
    if card_links and payee_links:
        _join_sharers(
            arena, table, meta, user, key, card, CARD_USERS, payee, PAYEE_USERS, epoch, now_us
        )


@kernel
def mark_fraud(arena: Ints, user: int, now_us: int) -> None:
    """Count a known fraud of a user in the rings the user is in."""
    epoch = now_us // EPOCH_US
    for generation in range(at.GENERATIONS):
        turn = epoch - generation
        root = root_of(arena, arena[user + USER_NODE], turn) if turn >= 0 else 0
        if root != 0:
            arena[root + turn % at.GENERATIONS * at.NODE_WIDTH + FRAUD] += 1


@kernel
def _read_ring(arena: Ints, base: int, now_us: int, cells: Ints) -> None:
    if base == 0:
        return
    node = arena[base + NODES_AT[arena[base - 1]]]
    epoch = now_us // EPOCH_US
    day = now_us // at.DAY_US
    for generation in range(at.GENERATIONS):
        turn = epoch - generation
        root = root_of(arena, node, turn) if turn >= 0 else 0
        if root != 0:
            ring = root + turn % at.GENERATIONS * at.NODE_WIDTH
            passed = day - arena[ring + DAY]
            joined = arena[ring + JOINED] if passed <= 1 else 0
            joined += arena[ring + JOINED_BEFORE] if passed <= 0 else 0
            cells[RING_USERS] = max(cells[RING_USERS], arena[ring + USERS])
            cells[RING_FRAUD] = max(cells[RING_FRAUD], arena[ring + FRAUD])
            cells[RING_JOINED] = max(cells[RING_JOINED], joined)
            if arena[ring + NODES] > GIANT_NODES:
                cells[RING_GIANT] = 1


@kernel
def _count_neighbours(
    arena: Ints, table: Ints, block: int, own: int, now_us: int, cells: Ints
) -> None:
    for slot in range(block + at.SET_SLOT, ended(arena, block), at.SET_SLOT):
        member = arena[slot]
        if member == own or now_us - arena[slot + 1] >= RECENT_US:
            continue
        cells[NEIGHBOURS] += 1
        row = memory.find(table, member)
        if row != 0 and arena[row + agg.LAST_FRAUD_AT] != 0:
            cells[BAD] += now_us - arena[row + agg.LAST_FRAUD_AT] < RECENT_US


@kernel
def read(
    arena: Ints,
    table: Ints,
    event: Ints,
    first_key: int,
    places: Ints,
    now_us: int,
    cells: Ints,
    marks: Marks,
) -> None:
    """Read the graph cells of an event; arguments as in `link`, `cells` and `marks` as elsewhere.

    Neighbours are other users of the same device or card in 30 days; a user who shares both
    counts twice, because the tie is twice as strong.
    """
    own = event[first_key + at.USER]
    device, card = places[at.DEVICE], places[at.CARD]
    if own != 0:
        _read_ring(arena, places[at.USER], now_us, cells)
        _read_ring(arena, device, now_us, cells)
        _read_ring(arena, card, now_us, cells)
        cells[RING_USERS] = max(cells[RING_USERS], 1)
        shown = 1 - cells[RING_GIANT]
        marks[RING_USERS] = shown
        marks[RING_FRAUD] = shown
        marks[RING_JOINED] = shown
        marks[RING_GIANT] = 1
    if event[first_key + at.DEVICE] != 0 or event[first_key + at.CARD] != 0:
        _read_neighbours(arena, table, own, device, card, now_us, cells)
        marks[NEIGHBOURS] = 1
        marks[BAD] = 1
        marks[HUB] = 1
    outflow, inflow_key = places[at.OUTFLOW], event[first_key + at.INFLOW]
    if event[first_key + at.OUTFLOW] != 0 and inflow_key != 0:
        marks[MUTUAL] = 1
        block = arena[outflow + USER_PAYEES] if outflow != 0 else 0
        for slot in range(block + at.SET_SLOT, ended(arena, block), at.SET_SLOT):
            if arena[slot] == inflow_key and now_us - arena[slot + 1] < RECENT_US:
                cells[MUTUAL] = 1


@kernel
def _read_neighbours(
    arena: Ints, table: Ints, own: int, device: int, card: int, now_us: int, cells: Ints
) -> None:
    if device != 0:
        block = arena[device + DEVICE_USERS]
        _count_neighbours(arena, table, block, own, now_us, cells)
        if recent_members(arena, block, now_us) > DEVICE_CAP:
            cells[HUB] = 1
    if card != 0:
        block = arena[card + CARD_USERS]
        _count_neighbours(arena, table, block, own, now_us, cells)
        if recent_members(arena, block, now_us) > CARD_CAP:
            cells[HUB] = 1
