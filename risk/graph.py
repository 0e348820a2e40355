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


def _set(owner: int, member: int) -> tuple[int, int]:
    place = [pair[:2] for pair in at.SETS].index((owner, member))
    return at.SET_PLACES[place], at.SETS[place][2]


USER_DEVICES, USER_DEVICES_CAP = _set(at.USER, at.DEVICE)
USER_CARDS, USER_CARDS_CAP = _set(at.USER, at.CARD)
USER_PAYEES, USER_PAYEES_CAP = _set(at.USER, at.PAYEE)
DEVICE_USERS, DEVICE_USERS_CAP = _set(at.DEVICE, at.USER)
CARD_USERS, CARD_USERS_CAP = _set(at.CARD, at.USER)
PAYEE_USERS, PAYEE_USERS_CAP = _set(at.PAYEE, at.USER)


@kernel
def root_of(arena: Ints, base: int, epoch: int) -> int:
    """Return the row that stands for the ring of row `base` in `epoch`, 0 if it is in none."""
    shift = at.NODE_AT + epoch % at.GENERATIONS * at.NODE_WIDTH
    if base == 0 or arena[base + shift + EPOCH] != epoch + 1:
        return 0
    while arena[base + shift + PARENT] != base:
        base = arena[base + shift + PARENT]
    return int(base)


@kernel
def _enter(arena: Ints, base: int, epoch: int, now_us: int, is_user: bool) -> int:
    """Return the root of row `base`, which becomes a ring of its own if it is in none."""
    shift = at.NODE_AT + epoch % at.GENERATIONS * at.NODE_WIDTH
    node = base + shift
    if arena[node + EPOCH] != epoch + 1:
        since_us = now_us - arena[base + agg.LAST_FRAUD_AT]
        bad = is_user and arena[base + agg.LAST_FRAUD_AT] != 0 and since_us < RECENT_US
        arena[node + EPOCH] = epoch + 1
        arena[node + PARENT] = base
        arena[node + NODES] = 1
        arena[node + USERS] = 1 if is_user else 0
        arena[node + FRAUD] = 1 if bad else 0
        arena[node + DAY] = now_us // at.DAY_US
        arena[node + JOINED] = 0
        arena[node + JOINED_BEFORE] = 0
    return root_of(arena, base, epoch)


@kernel
def _turn_day(arena: Ints, node: int, day: int) -> None:
    passed = day - arena[node + DAY]
    if passed > 0:
        arena[node + JOINED_BEFORE] = arena[node + JOINED] if passed == 1 else 0
        arena[node + JOINED] = 0
        arena[node + DAY] = day


@kernel
def join(arena: Ints, user: int, other: int, epoch: int, now_us: int) -> None:
    """Put the rows of a user and of an attribute into one ring; the larger one's root stays."""
    shift = at.NODE_AT + epoch % at.GENERATIONS * at.NODE_WIDTH
    kept = _enter(arena, user, epoch, now_us, True)
    lost = _enter(arena, other, epoch, now_us, False)
    if kept == lost:
        return
    if arena[kept + shift + NODES] < arena[lost + shift + NODES]:
        kept, lost = lost, kept
    into, gone = kept + shift, lost + shift
    day = now_us // at.DAY_US
    _turn_day(arena, into, day)
    arena[gone + PARENT] = kept
    arena[into + NODES] += arena[gone + NODES]
    arena[into + JOINED] += min(arena[into + USERS], arena[gone + USERS])
    arena[into + USERS] += arena[gone + USERS]
    arena[into + FRAUD] += arena[gone + FRAUD]


@kernel
def recent_members(arena: Ints, start: int, cap: int, now_us: int) -> int:
    """Count the members of a set seen in the last 30 days."""
    count = 0
    for slot in range(start, start + cap * at.SET_SLOT, at.SET_SLOT):
        if arena[slot] == 0:
            break
        count += now_us - arena[slot + 1] < RECENT_US
    return count


@kernel
def _seen_on_two_days(arena: Ints, start: int, cap: int, member: int, now_us: int) -> bool:
    for slot in range(start, start + cap * at.SET_SLOT, at.SET_SLOT):
        if arena[slot] == member:
            first_s = arena[slot + 2] >> at.SEEN_BITS
            return bool(first_s // 86_400 < now_us // at.DAY_US)
    return False


@kernel
def _shared_member(
    arena: Ints, left: int, left_cap: int, right: int, right_cap: int, own: int
) -> int:
    """Return a user other than `own` that stands in both sets, or 0."""
    for slot in range(left, left + left_cap * at.SET_SLOT, at.SET_SLOT):
        member = arena[slot]
        if member == 0:
            break
        if member == own:
            continue
        for other in range(right, right + right_cap * at.SET_SLOT, at.SET_SLOT):
            if arena[other] == member:
                return int(member)
    return 0


@kernel
def _join_sharers(  # noqa: PLR0917 - arrays go to a kernel one by one
    arena: Ints,
    keys: Ints,
    bases: Ints,
    user: int,
    key: int,
    left: int,
    left_set: int,
    left_cap: int,
    right: int,
    right_set: int,
    right_cap: int,
    epoch: int,
    now_us: int,
) -> None:
    """Link two users who share both attributes, at once."""
    sharer = _shared_member(arena, left + left_set, left_cap, right + right_set, right_cap, key)
    if sharer == 0:
        return
    other = agg.find(keys, bases, sharer)
    if other == 0:
        return
    join(arena, user, left, epoch, now_us)
    join(arena, user, right, epoch, now_us)
    join(arena, other, left, epoch, now_us)
    join(arena, other, right, epoch, now_us)


@kernel
def link(
    arena: Ints, keys: Ints, bases: Ints, event: Ints, first_key: int, places: Ints, now_us: int
) -> None:
    """Let an event's edges into the rings, once the sets of its entities hold it.

    Args:
        arena: All rows.
        keys: Table of entities.
        bases: Where their rows begin.
        event: The event's vector.
        first_key: Place of the user's key in it.
        places: Where the rows of the event's entities begin, by role; 0 where absent.
        now_us: Newest time of the log.
    """
    user, device, card, payee = (
        places[at.USER],
        places[at.DEVICE],
        places[at.CARD],
        places[at.PAYEE],
    )
    if user == 0:
        return
    epoch = now_us // EPOCH_US
    key = event[first_key + at.USER]
    device_links = device != 0 and (
        recent_members(arena, device + DEVICE_USERS, DEVICE_USERS_CAP, now_us) <= DEVICE_CAP
    )
    card_links = card != 0 and (
        recent_members(arena, card + CARD_USERS, CARD_USERS_CAP, now_us) <= CARD_CAP
    )
    payee_links = payee != 0 and (
        recent_members(arena, payee + PAYEE_USERS, PAYEE_USERS_CAP, now_us) <= PAYEE_CAP
    )
    if device_links and _seen_on_two_days(
        arena, user + USER_DEVICES, USER_DEVICES_CAP, event[first_key + at.DEVICE], now_us
    ):
        join(arena, user, device, epoch, now_us)
    if card_links and _seen_on_two_days(
        arena, user + USER_CARDS, USER_CARDS_CAP, event[first_key + at.CARD], now_us
    ):
        join(arena, user, card, epoch, now_us)
    if device_links and card_links:
        _join_sharers(
            arena,
            keys,
            bases,
            user,
            key,
            device,
            DEVICE_USERS,
            DEVICE_USERS_CAP,
            card,
            CARD_USERS,
            CARD_USERS_CAP,
            epoch,
            now_us,
        )
    if device_links and payee_links:
        _join_sharers(
            arena,
            keys,
            bases,
            user,
            key,
            device,
            DEVICE_USERS,
            DEVICE_USERS_CAP,
            payee,
            PAYEE_USERS,
            PAYEE_USERS_CAP,
            epoch,
            now_us,
        )
    if card_links and payee_links:
        _join_sharers(
            arena,
            keys,
            bases,
            user,
            key,
            card,
            CARD_USERS,
            CARD_USERS_CAP,
            payee,
            PAYEE_USERS,
            PAYEE_USERS_CAP,
            epoch,
            now_us,
        )


@kernel
def mark_fraud(arena: Ints, user: int, now_us: int) -> None:
    """Count a known fraud of a user in the rings the user is in."""
    epoch = now_us // EPOCH_US
    for generation in range(at.GENERATIONS):
        turn = epoch - generation
        root = root_of(arena, user, turn) if turn >= 0 else 0
        if root != 0:
            arena[root + at.NODE_AT + turn % at.GENERATIONS * at.NODE_WIDTH + FRAUD] += 1


@kernel
def _read_ring(arena: Ints, base: int, now_us: int, cells: Ints) -> None:
    epoch = now_us // EPOCH_US
    day = now_us // at.DAY_US
    for generation in range(at.GENERATIONS):
        turn = epoch - generation
        root = root_of(arena, base, turn) if turn >= 0 else 0
        if root != 0:
            node = root + at.NODE_AT + turn % at.GENERATIONS * at.NODE_WIDTH
            passed = day - arena[node + DAY]
            joined = arena[node + JOINED] if passed <= 1 else 0
            joined += arena[node + JOINED_BEFORE] if passed <= 0 else 0
            cells[RING_USERS] = max(cells[RING_USERS], arena[node + USERS])
            cells[RING_FRAUD] = max(cells[RING_FRAUD], arena[node + FRAUD])
            cells[RING_JOINED] = max(cells[RING_JOINED], joined)
            if arena[node + NODES] > GIANT_NODES:
                cells[RING_GIANT] = 1


@kernel
def _count_neighbours(
    arena: Ints, keys: Ints, bases: Ints, start: int, cap: int, own: int, now_us: int, cells: Ints
) -> None:
    for slot in range(start, start + cap * at.SET_SLOT, at.SET_SLOT):
        member = arena[slot]
        if member == 0:
            break
        if member == own or now_us - arena[slot + 1] >= RECENT_US:
            continue
        cells[NEIGHBOURS] += 1
        row = agg.find(keys, bases, member)
        if row != 0 and arena[row + agg.LAST_FRAUD_AT] != 0:
            cells[BAD] += now_us - arena[row + agg.LAST_FRAUD_AT] < RECENT_US


@kernel
def read(  # noqa: PLR0917 - arrays go to a kernel one by one
    arena: Ints,
    keys: Ints,
    bases: Ints,
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
        _read_neighbours(arena, keys, bases, own, device, card, now_us, cells)
        marks[NEIGHBOURS] = 1
        marks[BAD] = 1
        marks[HUB] = 1
    outflow, inflow_key = places[at.OUTFLOW], event[first_key + at.INFLOW]
    if event[first_key + at.OUTFLOW] != 0 and inflow_key != 0:
        marks[MUTUAL] = 1
        if outflow != 0:
            start = outflow + USER_PAYEES
            for slot in range(start, start + USER_PAYEES_CAP * at.SET_SLOT, at.SET_SLOT):
                if arena[slot] == inflow_key and now_us - arena[slot + 1] < RECENT_US:
                    cells[MUTUAL] = 1


@kernel
def _read_neighbours(
    arena: Ints, keys: Ints, bases: Ints, own: int, device: int, card: int, now_us: int, cells: Ints
) -> None:
    if device != 0:
        start = device + DEVICE_USERS
        _count_neighbours(arena, keys, bases, start, DEVICE_USERS_CAP, own, now_us, cells)
        if recent_members(arena, start, DEVICE_USERS_CAP, now_us) > DEVICE_CAP:
            cells[HUB] = 1
    if card != 0:
        start = card + CARD_USERS
        _count_neighbours(arena, keys, bases, start, CARD_USERS_CAP, own, now_us, cells)
        if recent_members(arena, start, CARD_USERS_CAP, now_us) > CARD_CAP:
            cells[HUB] = 1
