"""Who acts alike: payers of one payee in one minute, devices of one make-up, merchants of one card.

* *Alike payers* are others among the payee's last 16 payers who paid within a minute, in the same
  currency and an amount of as many binary digits: a farm, or top-ups on command.
* *Look-alikes* are devices of one make-up seen on one network within 24 hours (of the last 16 of
  each): identifiers that are reset, hardware that stays.
* A merchant's *companion* is the merchant its cards come from most often. The two overlap as far as
  each is the other's companion: the smaller of both shares, so that a shop half the town goes to
  overlaps with nobody.
* A *bad attribute* is the device, the card or the payee of this payment with a fraud known in 30
  days.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from risk import flows, rings
from risk.compiled import kernel
from risk.features import aggregates as agg
from risk.features import event as ev
from risk.features import favourites, memory, windows
from risk.features import layout as at

Ints = npt.NDArray[np.int64]
Marks = npt.NDArray[np.uint8]

ALIKE: Final = at.CELL["graph.alike_payers_1m"]
LOOK_ALIKES: Final = at.CELL["graph.look_alikes_24h"]
BAD_ATTRIBUTES: Final = at.CELL["graph.bad_attributes"]
COMPANION: Final = at.CELL["graph.companion_ppm"]
CURRENCY: Final = ev.INDEX["currency"]
LAST_MERCHANT: Final = at.slot_of(at.CARD, "last_merchant")
COMPANIONS: Final = at.slot_of(at.MERCHANT, "companions")
LEAST_NOTED: Final = 16  # Cards from elsewhere that a merchant's companion is spoken of from.
PPM: Final = 1_000_000


def _set(owner: int, member: int) -> int:
    return at.SET_PLACES[[pair[:2] for pair in at.SETS].index((owner, member))]


NETWORK_DEVICES: Final = _set(at.NETWORK, at.DEVICE)
CONFIG_DEVICES: Final = _set(at.CONFIG, at.DEVICE)


@kernel
def _is_alike(arena: Ints, slot: int, now_us: int, money: int, bucket: int) -> bool:
    paid = arena[slot + 2]
    if now_us - arena[slot + 1] >= at.MINUTE_US:
        return False
    if paid >> flows.AMOUNT_BITS != money >> flows.AMOUNT_BITS:
        return False
    return bool(windows.bucket_of(paid & flows.AMOUNT_MASK) == bucket)


@kernel
def _alike_payers(arena: Ints, block: int, own: int, now_us: int, money: int) -> int:
    """Count the other payers in a list of payments in who paid about as much just now."""
    first = block + flows.HEAD
    ended = first + min(arena[block], arena[block + 1]) * flows.SLOT
    bucket = windows.bucket_of(money & flows.AMOUNT_MASK)
    count = 0
    for slot in range(first, ended, flows.SLOT):
        if arena[slot] == own or not _is_alike(arena, slot, now_us, money, bucket):
            continue
        is_new = True
        for earlier in range(first, slot, flows.SLOT):
            if arena[earlier] == arena[slot] and _is_alike(arena, earlier, now_us, money, bucket):
                is_new = False
        count += is_new
    return count


@kernel
def _look_alikes(arena: Ints, left: int, right: int, now_us: int) -> int:
    """Count the members of both sets seen in either within 24 hours."""
    count = 0
    if left == 0 or right == 0:
        return 0
    for slot in range(left + at.SET_SLOT, left + (arena[left] + 1) * at.SET_SLOT, at.SET_SLOT):
        if now_us - arena[slot + 1] >= at.DAY_US:
            continue
        for other in range(
            right + at.SET_SLOT, right + (arena[right] + 1) * at.SET_SLOT, at.SET_SLOT
        ):
            is_recent = now_us - arena[other + 1] < at.DAY_US
            count += is_recent and arena[other] == arena[slot]
    return count


@kernel
def _companion(arena: Ints, table: Ints, merchant: int, own: int, now_us: int) -> int:
    """Return how far a merchant and its companion share their cards, in millionths, or -1."""
    block = arena[merchant + COMPANIONS]
    if block == 0 or arena[block + favourites.NOTED] < LEAST_NOTED:
        return -1
    best = favourites.favourite(arena, block)
    row = memory.find(table, arena[best]) if best != 0 else 0
    row = memory.known(arena, row, now_us)
    theirs = arena[row + COMPANIONS] if row != 0 else 0
    if theirs == 0 or arena[theirs + favourites.NOTED] == 0:
        return 0
    there = arena[best + 1] * PPM // arena[block + favourites.NOTED]
    back = favourites.times_of(arena, theirs, own) * PPM // arena[theirs + favourites.NOTED]
    return int(min(there, back))


@kernel
def _is_bad(arena: Ints, base: int, now_us: int) -> int:
    if base == 0 or arena[base + agg.LAST_FRAUD_AT] == 0:
        return 0
    return 1 if now_us - arena[base + agg.LAST_FRAUD_AT] < rings.RECENT_US else 0


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
    """Read who acts alike; arguments as in `risk.graph.read`."""
    payee, merchant = event[first_key + at.PAYEE], event[first_key + at.MERCHANT]
    device, card = event[first_key + at.DEVICE], event[first_key + at.CARD]
    if device != 0 or card != 0 or payee != 0:
        marks[BAD_ATTRIBUTES] = 1
        cells[BAD_ATTRIBUTES] = (
            _is_bad(arena, places[at.DEVICE], now_us)
            | _is_bad(arena, places[at.CARD], now_us) << 1
            | _is_bad(arena, places[at.PAYEE], now_us) << 2
        )
    if payee != 0 and event[first_key + at.USER] != 0:
        marks[ALIKE] = 1
        block = arena[places[at.PAYEE] + flows.INS] if places[at.PAYEE] != 0 else 0
        if block != 0:
            money = flows.money_of(min(event[ev.AMOUNT], at.AMOUNT_CAP), event[CURRENCY])
            own = event[first_key + at.USER]
            cells[ALIKE] = _alike_payers(arena, block, own, now_us, money)
    if event[first_key + at.NETWORK] != 0 and event[first_key + at.CONFIG] != 0:
        marks[LOOK_ALIKES] = 1
        network, config = places[at.NETWORK], places[at.CONFIG]
        if network != 0 and config != 0:
            left, right = arena[network + NETWORK_DEVICES], arena[config + CONFIG_DEVICES]
            cells[LOOK_ALIKES] = _look_alikes(arena, left, right, now_us)
    if places[at.MERCHANT] != 0:
        shared_ppm = _companion(arena, table, places[at.MERCHANT], merchant, now_us)
        if shared_ppm >= 0:
            cells[COMPANION] = shared_ppm
            marks[COMPANION] = 1


@kernel
def link(arena: Ints, meta: Ints, event: Ints, first_key: int, places: Ints, now_us: int) -> None:
    """Note which merchant a card came from; arguments as in `risk.graph.link`."""
    card, merchant = places[at.CARD], places[at.MERCHANT]
    if card == 0 or merchant == 0:
        return
    key = event[first_key + at.MERCHANT]
    before = arena[card + LAST_MERCHANT]
    if before not in (0, key):
        favourites.note(arena, meta, merchant + COMPANIONS, before, now_us)
    arena[card + LAST_MERCHANT] = key
