"""Where everything stands: rows of state, and the cells a feature may be made of.

A row of state belongs to one entity and is a run of int64 in one arena: header, tiles by hour,
tiles by day, a ring of the last events, an amount histogram, an hour-of-day profile, capped sets
of the entities it was seen with, two generations of a graph node. Rows of different kinds differ
only in their sets, so a kind that needs less costs less.

Windows. Tiles: 24 h = 25 tiles of an hour, 7 d = 8 and 30 d = 31 tiles of a day; one more than
the window, so it is never shorter than it says and up to one tile longer. Up to 1 h: exact, over
the last 64 attempts. An event that comes late (before the newest its entity has seen) counts at
that newest time. The present event is in no window.
"""

from typing import Final

from risk.features.event import FIELDS, KEYS

ROW_KINDS: Final = 10  # Kinds that own rows; inflow and outflow read rows of payee and user.
ROLES: Final = KEYS
USER, DEVICE, IP, CARD, MERCHANT, PAYEE, PLACE, MCC, NETWORK, CONFIG, INFLOW, OUTFLOW = range(
    len(ROLES)
)

MINUTE_US: Final = 60_000_000
HOUR_US: Final = 60 * MINUTE_US
DAY_US: Final = 24 * HOUR_US

HEADER: Final = (
    "seq",  # Event that last wrote the row.
    "first_at",
    "last_at",  # Of the last attempt.
    "clock",  # Newest time seen, attempts and feedback alike.
    "hour_tile",
    "day_tile",
    "ring_count",
    "last_amount",
    "max_amount",
    "lat",
    "lon",
    "place_at",  # When it was there; 0: never known.
    "count_all",
    "sum_all",
    "failed_all",
    "paid_all",
    "closed_all",
    "refunded_all",
    "fraud_all",
    "genuine_all",
    "last_label",  # 0 none, 1 genuine, 2 fraud.
    "previous_label",
    "last_fraud_at",  # When it became known; 0: none.
    "genuine_since_fraud",  # Genuine payments known after the last known fraud.
    "genuine_sum",
    "genuine_square_high",
    "genuine_square_low",
    "fraud_sum",
    "profile_epoch",  # Months of 30 days; histogram and hours halve at each.
    "frozen_amount",  # Largest amount known to be genuine.
)
H: Final = {name: place for place, name in enumerate(HEADER)}
HEADER_WIDTH: Final = 32

HOUR_COLUMNS: Final = ("count", "sum", "failed")
HOUR_TILES: Final = 25
DAY_COLUMNS: Final = (
    "count",
    "sum",
    "square_high",
    "square_low",
    "failed",
    "refunded",
    "fraud",
    "genuine",
    "night",
    "night_sum",
    "cross_border",
    "near_limit",
)
DAY_TILES: Final = 31
WEEK_TILES: Final = 8
RING: Final = 64
HISTOGRAM: Final = 32
HOURS: Final = 24
NODE_FIELDS: Final = (
    "epoch",
    "parent",
    "nodes",
    "users",
    "fraud",
    "day",
    "joined",
    "joined_before",
)
NODE_WIDTH: Final = len(NODE_FIELDS)
GENERATIONS: Final = 2
SET_SLOT: Final = 3  # Member, last seen (µs), first seen (s) × 2^24 + times seen.
SEEN_BITS: Final = 24

HOUR_AT: Final = HEADER_WIDTH
DAY_AT: Final = HOUR_AT + HOUR_TILES * len(HOUR_COLUMNS)
RING_AT: Final = DAY_AT + DAY_TILES * len(DAY_COLUMNS)
HISTOGRAM_AT: Final = RING_AT + RING * 2
HOURS_AT: Final = HISTOGRAM_AT + HISTOGRAM
NODE_AT: Final = HOURS_AT + HOURS
SETS_AT: Final = NODE_AT + GENERATIONS * NODE_WIDTH

COUNTRY: Final = -1  # Member of a set that is no entity: the country code of the event.
# (kind that owns the set, member, cap); a full set forgets the member not seen for longest.
SETS: Final = (
    (USER, DEVICE, 16),
    (USER, IP, 16),
    (USER, CARD, 16),
    (USER, PAYEE, 16),
    (USER, COUNTRY, 16),
    (DEVICE, USER, 16),
    (DEVICE, CARD, 16),
    (IP, USER, 16),
    (IP, CARD, 16),
    (CARD, USER, 16),
    (CARD, DEVICE, 16),
    (MERCHANT, USER, 64),
    (PAYEE, USER, 64),
)


def _place_sets() -> tuple[tuple[int, ...], tuple[int, ...]]:
    widths = [SETS_AT] * ROW_KINDS
    places = []
    for owner, _, cap in SETS:
        places.append(widths[owner])
        widths[owner] += cap * SET_SLOT
    return tuple(places), tuple(widths)


SET_PLACES, ROW_WIDTHS = _place_sets()
WIDEST_EVENT: Final = sum(ROW_WIDTHS)  # Most an event can add to the arena.

# What is read of each role's row, in this order.
RING_CELLS: Final = ("count_1m", "count_10m", "count_1h", "sum_1h", "same_1h", "micro_1h")
SCALAR_CELLS: Final = (
    "age_us",
    "gap_us",
    "gap_least_us",  # Among the last 8 attempts.
    "gap_most_us",
    "last_amount",
    "max_amount",
    "count_all",
    "sum_all",
    "failed_all",
    "paid_all",
    "refunded_all",
    "fraud_all",
    "genuine_all",
    "last_label",
    "previous_label",
    "since_fraud_us",
    "genuine_since_fraud",
    "genuine_sum",
    "genuine_square_high",
    "genuine_square_low",
    "genuine_max",
    "fraud_sum",
    "rank_below",  # Twice the payments in smaller amount buckets plus those in the same.
    "rank_of",
    "hour_near",  # Payments at this hour (twice) and its neighbours.
    "hour_of",
)
ROLE_CELLS: Final = (
    *SCALAR_CELLS,
    *RING_CELLS,
    *(f"{name}_24h" for name in HOUR_COLUMNS),
    *(f"{name}_7d" for name in DAY_COLUMNS),
    *(f"{name}_30d" for name in DAY_COLUMNS),
)
C: Final = {name: place for place, name in enumerate(ROLE_CELLS)}
SET_CELLS: Final = ("1h", "24h", "30d", "pair_seen", "pair_age_us", "pair_count")
TRAVEL_CELLS: Final = ("metres", "seconds", "metres_per_hour")
GRAPH_CELLS: Final = (
    "ring_users",
    "ring_fraud",
    "ring_joined",
    "ring_giant",
    "neighbours",
    "neighbours_bad",
    "hub",
    "mutual",
)


def _member_name(member: int) -> str:
    return "countries" if member == COUNTRY else f"{ROLES[member]}s"


SET_NAMES: Final = tuple(f"{ROLES[owner]}_{_member_name(member)}" for owner, member, _ in SETS)
CELLS: Final = (
    *(f"event.{name}" for name in FIELDS),
    *(f"{role}.{name}" for role in ROLES for name in ROLE_CELLS),
    *(f"{name}.{cell}" for name in SET_NAMES for cell in SET_CELLS),
    *(f"travel.{name}" for name in TRAVEL_CELLS),
    *(f"graph.{name}" for name in GRAPH_CELLS),
)
CELL: Final = {name: place for place, name in enumerate(CELLS)}
CELL_COUNT: Final = len(CELLS)
ROLES_AT: Final = len(FIELDS)
ROLE_WIDTH: Final = len(ROLE_CELLS)
SETS_CELLS_AT: Final = ROLES_AT + len(ROLES) * ROLE_WIDTH
TRAVEL_AT: Final = SETS_CELLS_AT + len(SET_NAMES) * len(SET_CELLS)
GRAPH_AT: Final = TRAVEL_AT + len(TRAVEL_CELLS)

AMOUNT_CAP: Final = 3_000_000_000  # For sums and squares: 30 million yuan; its square fits int64.
MICRO_AMOUNT: Final = 500  # Five yuan and less is what card testers use.
LIMIT_AMOUNTS: Final = (5_000_000, 1_000_000, 500_000)  # 50 000, 10 000 and 5 000 yuan.
GAPS: Final = 8
