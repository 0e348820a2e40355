"""The temporal graph: who is tied to whom, near whom, and where the money came from.

Users, devices, cards, payees and merchants are nodes; a payment makes or renews the edges between
its own. Linking everything that two payers share makes one ring of half the customers (measured:
390,564 of 500,000), so an edge into a ring (`risk.rings`) must earn its place:

* only a device, a card or a payee account may link, never an address, a network or a merchant;
* a user is linked to a device or card after sightings on two different days, or at once where
  two users share two different strong attributes; a payee links by the second way only;
* an attribute seen with more users than its cap in 30 days (device 5, card 3, payee 50) is a hub:
  it links no more and says so, which is itself the sign of a farm.

Neighbours are other users of the same device or card in 30 days. Whom they were near in turn, and
how many of those were known for fraud, each user's row keeps from the user's last payment and is
told of frauds that become known later: so two steps away costs no more than one. All counts are
capped by the sets they come from, and a label counts from the event that made it known.

A ring's epoch and the circles of `risk.flows` follow the newest event of the whole log, so the
graph needs the log's total order.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from risk import flows, rings
from risk.compiled import kernel
from risk.features import aggregates as agg
from risk.features import event as ev
from risk.features import layout as at
from risk.features import memory

Ints = npt.NDArray[np.int64]
Marks = npt.NDArray[np.uint8]

RECENT_US: Final = rings.RECENT_US
CAPS: Final = {at.DEVICE: 5, at.CARD: 3, at.PAYEE: 50}
DEVICE_CAP: Final = CAPS[at.DEVICE]
CARD_CAP: Final = CAPS[at.CARD]
PAYEE_CAP: Final = CAPS[at.PAYEE]
NEAR: Final = at.slot_of(at.USER, "near")  # Neighbours at the last payment × 2^16 + bad ones.
NEAR_BITS: Final = 16
NEAR_MOST: Final = (1 << NEAR_BITS) - 1
ATTRIBUTES: Final = at.slot_of(at.USER, "attributes")
CURRENCY: Final = ev.INDEX["currency"]
SHARES_DEVICE, SHARES_CARD, SHARES_RING = 1, 2, 4  # Bits of `payee_ties`.

NEIGHBOURS: Final = at.CELL["graph.neighbours"]
BAD: Final = at.CELL["graph.neighbours_bad"]
TWO_HOP: Final = at.CELL["graph.two_hop"]
TWO_HOP_BAD: Final = at.CELL["graph.two_hop_bad"]
HUB: Final = at.CELL["graph.hub"]
HUB_DEVICE: Final = at.CELL["graph.hub_device"]
HUB_CARD: Final = at.CELL["graph.hub_card"]
HUB_PAYEE: Final = at.CELL["graph.hub_payee"]
MUTUAL: Final = at.CELL["graph.mutual"]
CIRCLE: Final = at.CELL["graph.circle"]
INFLOW_1H: Final = at.CELL["graph.inflow_users_1h"]
INFLOW_24H: Final = at.CELL["graph.inflow_users_24h"]
INFLOW_30D: Final = at.CELL["graph.inflow_users_30d"]
SELF_PAY: Final = at.CELL["graph.self_pay"]
PAYEE_TIES: Final = at.CELL["graph.payee_ties"]
COMMUNITY: Final = at.CELL["graph.community"]
PAYEE_COMMUNITY: Final = at.CELL["graph.payee_community"]
SAME_COMMUNITY: Final = at.CELL["graph.same_community"]
ATTRIBUTE_COUNT: Final = len(ev.ATTRIBUTES)


def _set(owner: int, member: int) -> int:
    return at.SET_PLACES[[pair[:2] for pair in at.SETS].index((owner, member))]


USER_DEVICES: Final = _set(at.USER, at.DEVICE)
USER_CARDS: Final = _set(at.USER, at.CARD)
USER_PAYEES: Final = _set(at.USER, at.PAYEE)
DEVICE_USERS: Final = _set(at.DEVICE, at.USER)
CARD_USERS: Final = _set(at.CARD, at.USER)
PAYEE_USERS: Final = _set(at.PAYEE, at.USER)


@kernel
def ended(arena: Ints, block: int) -> int:
    """Return the place after the last member of a set; members begin at ``block + SET_SLOT``."""
    return int(block + (arena[block] + 1) * at.SET_SLOT) if block != 0 else 0


@kernel
def members_within(arena: Ints, block: int, now_us: int, window_us: int) -> int:
    """Count the members of a set seen within a window."""
    count = 0
    for slot in range(block + at.SET_SLOT, ended(arena, block), at.SET_SLOT):
        count += now_us - arena[slot + 1] < window_us
    return count


@kernel
def _holds(arena: Ints, block: int, member: int, now_us: int) -> bool:
    """Whether a set saw `member` in the last 30 days."""
    for slot in range(block + at.SET_SLOT, ended(arena, block), at.SET_SLOT):
        if arena[slot] == member and member != 0:
            return bool(now_us - arena[slot + 1] < RECENT_US)
    return False


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
    rings.join(arena, meta, user, left, epoch, now_us)
    rings.join(arena, meta, user, right, epoch, now_us)
    rings.join(arena, meta, other, left, epoch, now_us)
    rings.join(arena, meta, other, right, epoch, now_us)


@kernel
def _is_hub(arena: Ints, base: int, users: int, cap: int, now_us: int) -> bool:
    return members_within(arena, arena[base + users], now_us, RECENT_US) > cap


@kernel
def _may_link(arena: Ints, base: int, users: int, cap: int, now_us: int) -> bool:
    """Whether an attribute is there and not a hub."""
    return base != 0 and not _is_hub(arena, base, users, cap, now_us)


@kernel
def link(
    arena: Ints,
    table: Ints,
    meta: Ints,
    event: Ints,
    first_key: int,
    places: Ints,
    now_us: int,
    cells: Ints,
) -> None:
    """Let an event's edges in, once the sets of its entities hold it.

    Args:
        arena: All rows.
        table: Table of entities.
        meta: The state's counters.
        event: The event's vector.
        first_key: Place of the user's key in it.
        places: Where the rows of the event's entities begin, by role; 0 where absent.
        now_us: Newest time of the log.
        cells: What `read` found for this event.
    """
    user = places[at.USER]
    if user == 0:
        return
    arena[user + NEAR] = cells[NEIGHBOURS] << NEAR_BITS | cells[BAD]
    device, card, payee = places[at.DEVICE], places[at.CARD], places[at.PAYEE]
    epoch = now_us // rings.EPOCH_US
    key = event[first_key + at.USER]
    device_links = _may_link(arena, device, DEVICE_USERS, DEVICE_CAP, now_us)
    card_links = _may_link(arena, card, CARD_USERS, CARD_CAP, now_us)
    payee_links = _may_link(arena, payee, PAYEE_USERS, PAYEE_CAP, now_us)
    own_devices, own_cards = arena[user + USER_DEVICES], arena[user + USER_CARDS]
    if device_links and _seen_on_two_days(arena, own_devices, event[first_key + at.DEVICE], now_us):
        rings.join(arena, meta, user, device, epoch, now_us)
    if card_links and _seen_on_two_days(arena, own_cards, event[first_key + at.CARD], now_us):
        rings.join(arena, meta, user, card, epoch, now_us)
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
    if payee != 0:
        money = flows.money_of(min(event[ev.AMOUNT], at.AMOUNT_CAP), event[CURRENCY])
        flows.note(arena, meta, payee + flows.INS, key, now_us, money)
        if payee_links:
            other = event[first_key + at.OUTFLOW]
            flows.note(arena, meta, user + flows.OUTS, other, now_us, money)


@kernel
def mark_fraud(
    arena: Ints, table: Ints, event: Ints, first_key: int, places: Ints, now_us: int
) -> None:
    """Count a fraud that becomes known in the user's rings, and tell the user's neighbours.

    Arguments as in `link`; to be called before the label counts in the user's own row, because
    only a user who was not known for fraud yet is news to the neighbours.
    """
    user = places[at.USER]
    if user == 0:
        return
    rings.mark_fraud(arena, user, now_us)
    if _is_bad(arena, user, now_us):
        return
    own = event[first_key + at.USER]
    if places[at.DEVICE] != 0:
        _tell(arena, table, arena[places[at.DEVICE] + DEVICE_USERS], own, now_us)
    if places[at.CARD] != 0:
        _tell(arena, table, arena[places[at.CARD] + CARD_USERS], own, now_us)


@kernel
def _is_bad(arena: Ints, user: int, now_us: int) -> bool:
    known_us = arena[user + agg.LAST_FRAUD_AT]
    return bool(known_us != 0 and now_us - known_us < RECENT_US)


@kernel
def _tell(arena: Ints, table: Ints, block: int, own: int, now_us: int) -> None:
    for slot in range(block + at.SET_SLOT, ended(arena, block), at.SET_SLOT):
        member = arena[slot]
        if member == own or now_us - arena[slot + 1] >= RECENT_US:
            continue
        row = memory.find(table, member)
        if row != 0:
            near = arena[row + NEAR]
            bad = min((near & NEAR_MOST) + 1, NEAR_MOST)
            arena[row + NEAR] = max(near >> NEAR_BITS, bad) << NEAR_BITS | bad


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
        if row == 0:
            continue
        cells[BAD] += _is_bad(arena, row, now_us)
        if now_us - arena[row + agg.LAST_AT] < RECENT_US:
            cells[TWO_HOP] += arena[row + NEAR] >> NEAR_BITS
            cells[TWO_HOP_BAD] += arena[row + NEAR] & NEAR_MOST


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

    A user who shares both device and card counts twice, because the tie is twice as strong.
    """
    user, device, card = places[at.USER], places[at.DEVICE], places[at.CARD]
    own = event[first_key + at.USER]
    if own != 0:
        rings.read(arena, user, now_us, cells, marks)
        rings.read(arena, device, now_us, cells, marks)
        rings.read(arena, card, now_us, cells, marks)
        cells[rings.RING_USERS] = max(cells[rings.RING_USERS], 1)
        shown = 1 - cells[rings.RING_GIANT]
        for place in range(rings.RING_USERS, rings.RING_JOINED_7D + 1):
            marks[place] = shown
        marks[rings.RING_AGE] &= shown
        marks[rings.RING_GIANT] = 1
    if event[first_key + at.DEVICE] != 0 or event[first_key + at.CARD] != 0:
        for place in range(NEIGHBOURS, HUB + 1):
            marks[place] = 1
        marks[HUB_DEVICE] = event[first_key + at.DEVICE] != 0
        marks[HUB_CARD] = event[first_key + at.CARD] != 0
        if device != 0:
            _count_neighbours(arena, table, arena[device + DEVICE_USERS], own, now_us, cells)
            cells[HUB_DEVICE] = _is_hub(arena, device, DEVICE_USERS, DEVICE_CAP, now_us)
        if card != 0:
            _count_neighbours(arena, table, arena[card + CARD_USERS], own, now_us, cells)
            cells[HUB_CARD] = _is_hub(arena, card, CARD_USERS, CARD_CAP, now_us)
        cells[HUB] = cells[HUB_DEVICE] | cells[HUB_CARD]
    _read_community(arena, user, now_us, cells, marks, COMMUNITY)
    if event[first_key + at.PAYEE] != 0:
        _read_payee(arena, table, event, first_key, places, now_us, cells, marks)


@kernel
def _read_payee(
    arena: Ints,
    table: Ints,
    event: Ints,
    first_key: int,
    places: Ints,
    now_us: int,
    cells: Ints,
    marks: Marks,
) -> None:
    """Read what leads from the payee back to the payer."""
    user, payee, theirs = places[at.USER], places[at.PAYEE], places[at.OUTFLOW]
    inflow, own = places[at.INFLOW], event[first_key + at.USER]
    marks[HUB_PAYEE] = 1
    if payee != 0:
        cells[HUB_PAYEE] = _is_hub(arena, payee, PAYEE_USERS, PAYEE_CAP, now_us)
    if own == 0:
        return
    other = event[first_key + at.OUTFLOW]
    for place in range(MUTUAL, PAYEE_TIES + 1):
        marks[place] = 1
    cells[SELF_PAY] = own == other
    if inflow != 0:
        block = arena[inflow + PAYEE_USERS]
        cells[INFLOW_1H] = members_within(arena, block, now_us, at.HOUR_US)
        cells[INFLOW_24H] = members_within(arena, block, now_us, at.DAY_US)
        cells[INFLOW_30D] = members_within(arena, block, now_us, RECENT_US)
    if theirs in (0, user):
        return
    back = event[first_key + at.INFLOW]
    cells[MUTUAL] = _holds(arena, arena[theirs + USER_PAYEES], back, now_us)
    if inflow != 0 and not _is_hub(arena, inflow, PAYEE_USERS, PAYEE_CAP, now_us):
        money = flows.money_of(min(event[ev.AMOUNT], at.AMOUNT_CAP), event[CURRENCY])
        outs, ins = arena[theirs + flows.OUTS], arena[inflow + flows.INS]
        cells[CIRCLE] = flows.circles(arena, table, outs, ins, own, other, now_us, money)
    cells[PAYEE_TIES] = _ties(arena, event, first_key, places, now_us)
    _read_community(arena, theirs, now_us, cells, marks, PAYEE_COMMUNITY)
    both = marks[COMMUNITY] & marks[PAYEE_COMMUNITY]
    marks[SAME_COMMUNITY] = both
    cells[SAME_COMMUNITY] = both & (cells[COMMUNITY] == cells[PAYEE_COMMUNITY])


@kernel
def _ties(arena: Ints, event: Ints, first_key: int, places: Ints, now_us: int) -> int:
    """Return what the payee's account, as a payer, shares with this payment."""
    theirs = places[at.OUTFLOW]
    ties = 0
    if _holds(arena, arena[theirs + USER_DEVICES], event[first_key + at.DEVICE], now_us):
        ties |= SHARES_DEVICE
    if _holds(arena, arena[theirs + USER_CARDS], event[first_key + at.CARD], now_us):
        ties |= SHARES_CARD
    node = rings.node_of(arena, theirs)
    for role in (at.USER, at.DEVICE, at.CARD):
        if rings.same(arena, rings.node_of(arena, places[role]), node, now_us):
            ties |= SHARES_RING
    return ties


@kernel
def _read_community(
    arena: Ints, user: int, now_us: int, cells: Ints, marks: Marks, first: int
) -> None:
    """Read what the background knows of a user, unless that is more than 30 days old."""
    block = arena[user + ATTRIBUTES] if user != 0 else 0
    if block == 0 or now_us - arena[block] >= RECENT_US or arena[block + 2] == 0:
        return
    for place in range(ATTRIBUTE_COUNT):
        cells[first + place] = arena[block + 2 + place]
        marks[first + place] = 1
    cells[first + ATTRIBUTE_COUNT] = now_us - arena[block]
    marks[first + ATTRIBUTE_COUNT] = 1
