"""Where everything stands: rows of state, and the cells a feature may be made of.

State is one arena of int64. An entity has a row there: a header of running totals and, behind it,
pointers to what only some entities need. An entity with at most `JOURNAL` countable events keeps
just these events; with the next it gets a block of windows (tiles by hour, day and week with
running totals, a ring of the last attempts, a histogram of amounts, profiles of hours and
weekdays), filled by replaying the journal, so both forms hold the same knowledge. Sets grow from
two members to their cap, and past it keep a sketch. Most entities stay small this way.
"""

from typing import Final

from risk.features.event import FIELDS, KEYS

ROLES: Final = KEYS
ROW_KINDS: Final = len(KEYS) - 2  # inflow and outflow are read, never written.
USER, DEVICE, IP, CARD, MERCHANT, PAYEE, PLACE, MCC = range(8)
NETWORK, CONFIG = 8, 9
INFLOW, OUTFLOW = ROW_KINDS, ROW_KINDS + 1
ROW_OF_ROLE: Final = (*range(ROW_KINDS), PAYEE, USER)  # Whose rows a role reads.

MINUTE_US: Final = 60_000_000
HOUR_US: Final = 60 * MINUTE_US
DAY_US: Final = 24 * HOUR_US
WEEK_US: Final = 7 * DAY_US
RETAIN_US: Final = 180 * DAY_US  # An entity not seen for so long is a new one.
SWEEP_US: Final = RETAIN_US + 30 * DAY_US  # Its memory is taken back after so long.

HEADER: Final = (
    "seq",  # Event that last wrote the row.
    "first_at",
    "last_at",  # Of the last attempt.
    "clock",  # Newest time seen, attempts and feedback alike.
    "count_all",
    "sum_all",
    "failed_all",
    "paid_all",
    "closed_all",
    "declined_all",
    "refunded_all",
    "refunded_sum",
    "fraud_all",
    "genuine_all",
    "last_amount",
    "min_amount",
    "max_amount",
    "last_label",  # 0 none, 1 genuine, 2 fraud.
    "previous_label",
    "last_fraud_at",  # When it became known; 0: none.
    "genuine_since_fraud",  # Genuine payments known after the last known fraud.
    "genuine_sum",
    "genuine_square_high",
    "genuine_square_low",
    "genuine_max",
    "fraud_sum",
    "journal",  # Block of the small form; 0 before the first event and in the large form.
    "windows",  # Block of the large form, or 0.
)
H: Final = {name: place for place, name in enumerate(HEADER)}
HEADER_WIDTH: Final = len(HEADER)

HOUR_COLUMNS: Final = ("count", "sum", "failed", "declined", "fraud", "genuine", "near_limit")
HOUR_TILES: Final = 25
DAY_COLUMNS: Final = (
    "count",
    "sum",
    "square_high",
    "square_low",
    "failed",
    "declined",
    "refunded",
    "refunded_sum",
    "fraud",
    "fraud_sum",
    "genuine",
    "night",
    "night_sum",
    "cross_border",
    "near_limit",
    "coupon_sum",
    "cross_border_sum",
)
DAY_TILES: Final = 31
SEVEN_TILES: Final = 8
WEEK_COLUMNS: Final = (
    "count",
    "sum",
    "declined",
    "refunded",
    "refunded_sum",
    "fraud",
    "genuine",
)
WEEK_TILES: Final = 14  # 90 days are 13 weeks and the running one.
RING: Final = 64
HISTOGRAM: Final = 32
HOURS: Final = 24
WEEKDAYS: Final = 7
GAPS: Final = 16

# The block of windows.
HOUR_TILE, DAY_TILE, WEEK_TILE, RING_COUNT, PROFILE_EPOCH = range(5)
HOURS_HELD, DAYS_HELD, WEEKS_HELD = range(5, 8)  # A bit each for tiles that hold anything.
TOTALS_24H: Final = 8
TOTALS_7D: Final = TOTALS_24H + len(HOUR_COLUMNS)
TOTALS_30D: Final = TOTALS_7D + len(DAY_COLUMNS)
TOTALS_90D: Final = TOTALS_30D + len(DAY_COLUMNS)
HOUR_AT: Final = TOTALS_90D + len(WEEK_COLUMNS)
DAY_AT: Final = HOUR_AT + HOUR_TILES * len(HOUR_COLUMNS)
MAX_AT: Final = DAY_AT + DAY_TILES * len(
    DAY_COLUMNS
)  # Largest attempt of each day, plus 1; 0: none.
WEEK_AT: Final = MAX_AT + DAY_TILES
RING_AT: Final = WEEK_AT + WEEK_TILES * len(WEEK_COLUMNS)
RECENT_AT: Final = RING_AT + RING * 2  # The ring's amounts by bucket.
HISTOGRAM_AT: Final = RECENT_AT + HISTOGRAM
HOURS_AT: Final = HISTOGRAM_AT + HISTOGRAM
WEEKDAYS_AT: Final = HOURS_AT + HOURS
WINDOWS_WIDTH: Final = WEEKDAYS_AT + WEEKDAYS

# The journal: a word of entries held, a word of room, then entries of time, amount and coupon,
# and what happened.
JOURNAL: Final = 16
JOURNAL_FIRST: Final = 2
JOURNAL_HEAD: Final = 2
ENTRY: Final = 4
WHAT_HOUR: Final = 8  # Shifts in the entry's last word.
WHAT_CROSS: Final = 16
WHAT_NEAR: Final = 17
WHAT_WEEKDAY: Final = 20
WHAT_BUCKET: Final = 24

# A set: members held, room, sketch; then members.
SET_SLOT: Final = 3  # Member, last seen (µs), first seen (s) × 2^24 + times seen.
SEEN_BITS: Final = 24
SET_FIRST: Final = 2
# Members of a set that are no entity but a word of the event.
COUNTRY, OPERATOR, PAY_TYPE, CURRENCY = -1, -2, -3, -4
MEMBER_WORDS: Final = {
    COUNTRY: ("country", "countries"),
    OPERATOR: ("asn", "operators"),
    PAY_TYPE: ("pay_type", "pay_types"),
    CURRENCY: ("currency", "currencies"),
}
# (kind that owns the set, member, cap); a full set forgets the member not seen for longest.
SETS: Final = (
    (USER, DEVICE, 16),
    (USER, IP, 16),
    (USER, CARD, 16),
    (USER, PAYEE, 16),
    (USER, COUNTRY, 16),
    (USER, OPERATOR, 16),
    (USER, PAY_TYPE, 16),
    (USER, CURRENCY, 16),
    (DEVICE, USER, 16),
    (DEVICE, CARD, 16),
    (IP, USER, 16),
    (IP, CARD, 16),
    (CARD, USER, 16),
    (CARD, DEVICE, 16),
    (MERCHANT, USER, 64),
    (MERCHANT, CARD, 64),
    (PAYEE, USER, 64),
    (PLACE, USER, 16),
    (NETWORK, CARD, 16),
    (NETWORK, DEVICE, 16),
    (CONFIG, DEVICE, 16),
)
SKETCH_LEVELS: Final = 12
SKETCH_REGISTERS: Final = 64
SKETCH: Final = SKETCH_LEVELS * SKETCH_REGISTERS

# How a person types, moves, touches and visits: a running mean and deviation of each.
HABITS: Final = (
    *("key_dwell_ms", "key_flight_ms", "key_flight_iqr_ms", "form_ms", "straightness"),
    *("touch_var", "motion", "pages"),
)
HABITS_WIDTH: Final = 1 + 2 * len(HABITS)  # Times seen; then mean and deviation × 256.

# What is met most often, of at most so many: home of a user, companion of a merchant.
FAVOURITES: Final = 4
FAVOURITES_WIDTH: Final = 2 + 2 * FAVOURITES  # Month, times noted; then what and how often.

NODE_FIELDS: Final = (
    "epoch",
    "parent",
    "nodes",
    "users",
    "fraud",
    "day",
    "joined",
    "born",
)
NODE_WIDTH: Final = len(NODE_FIELDS)
GENERATIONS: Final = 2

# What stands behind the header, by kind; after these the pointers of the kind's sets.
EXTRAS: Final = {
    USER: ("node", "flows", "attributes", "habits", "home", "lat", "lon", "place_at", "near"),
    DEVICE: ("node",),
    CARD: ("node", "last_merchant"),
    MERCHANT: ("companions",),
    PAYEE: ("node", "flows"),
}


def slot_of(kind: int, name: str) -> int:
    """Return where in a row of `kind` the pointer or number `name` stands."""
    return HEADER_WIDTH + EXTRAS[kind].index(name)


def _place_sets() -> tuple[tuple[int, ...], tuple[int, ...]]:
    widths = [HEADER_WIDTH + len(EXTRAS.get(kind, ())) for kind in range(ROW_KINDS)]
    places = []
    for owner, _, _ in SETS:
        places.append(widths[owner])
        widths[owner] += 1
    return tuple(places), tuple(widths)


SET_PLACES, ROW_WIDTHS = _place_sets()
WIDEST_BLOCK: Final = max(WINDOWS_WIDTH, SKETCH) + 1


def _widest_event() -> int:
    """Most an event can add to the arena."""
    rows = sum(ROW_WIDTHS) + ROW_KINDS * (WINDOWS_WIDTH + JOURNAL_HEAD + JOURNAL * ENTRY)
    sets = sum(SKETCH + (cap + 1) * SET_SLOT for _, _, cap in SETS)
    return rows + sets + 4_096  # Nodes, habits, attributes and flows.


WIDEST_EVENT: Final = _widest_event()

# What is read of each role's row, in this order.
SCALAR_CELLS: Final = (
    "age_us",
    "gap_us",
    "gap_least_us",  # Among the last 16 gaps, the one that ends now included.
    "gap_most_us",
    "gap_count",
    "gap_sum_ms",
    "gap_square_high",
    "gap_square_low",
    "gap_below",  # Twice the earlier gaps that were shorter than this one plus those alike.
    "gap_others",  # Twice the earlier gaps.
    "last_amount",
    "min_amount",
    "max_amount",
    "count_all",
    "sum_all",
    "failed_all",
    "paid_all",
    "closed_all",
    "declined_all",
    "refunded_all",
    "refunded_sum",
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
    "weekday_same",
    "weekday_of",
    "max_30d",
    "ticket_shift",  # Thousandths of a doubling.
)
RING_CELLS: Final = (
    "count_1m",
    "count_5m",
    "count_10m",
    "count_1h",
    "sum_1h",
    "same_1h",
    "micro_1h",
)
LATE_CELLS: Final = ("failed_1h", "declined_1h")  # Of this hour and the one before.
ROLE_CELLS: Final = (
    *SCALAR_CELLS,
    *RING_CELLS,
    *LATE_CELLS,
    *(f"{name}_24h" for name in HOUR_COLUMNS),
    *(f"{name}_7d" for name in DAY_COLUMNS),
    *(f"{name}_30d" for name in DAY_COLUMNS),
    *(f"{name}_90d" for name in WEEK_COLUMNS),
)
C: Final = {name: place for place, name in enumerate(ROLE_CELLS)}
SET_CELLS: Final = (
    "1h",
    "24h",
    "30d",
    "pair_seen",
    "pair_age_us",
    "pair_count",
    "new_24h",  # Kept members of 24 hours first seen in them.
    "old_24h",  # Kept members of 24 hours first seen before.
    "top_times",  # How often the five most frequent of the kept members were seen.
    "times",  # How often all kept members were.
)
TRAVEL_CELLS: Final = ("metres", "seconds", "metres_per_hour", "home_metres")
HABIT_CELLS: Final = ("distance", "times")  # Sum of deviations × 1000, each at most 8000.
GRAPH_CELLS: Final = (
    "ring_users",
    "ring_fraud",
    "ring_joined",
    "ring_joined_7d",
    "ring_age_us",
    "ring_giant",
    "neighbours",
    "neighbours_bad",
    "two_hop",
    "two_hop_bad",
    "hub",
    "hub_device",
    "hub_card",
    "hub_payee",
    "mutual",
    "circle",  # Bits: of two, three, four accounts.
    "inflow_users_1h",  # Payers of the payer's own account.
    "inflow_users_24h",
    "inflow_users_30d",
    "self_pay",
    "payee_ties",  # Bits: the payee's account shares the device, the card, the ring.
    "community",
    "community_fraud_ppm",
    "pagerank_ppm",
    "core",
    "community_age_us",
    "payee_community",
    "payee_community_fraud_ppm",
    "payee_pagerank_ppm",
    "payee_core",
    "payee_community_age_us",
    "same_community",
    "alike_payers_1m",  # Others who paid the payee about as much within a minute.
    "look_alikes_24h",  # Devices of this make-up on this network.
    "bad_attributes",  # Bits: device, card, payee with a fraud known in 30 days.
    "companion_ppm",  # How far merchant and its companion share their cards.
)

# What an event must name for a cell of the graph to be known, of strangers too; no other cell is.
_RINGS: Final = ("ring_users", "ring_fraud", "ring_joined", "ring_joined_7d", "ring_giant")
_FLOWS: Final = (
    *("mutual", "circle", "inflow_users_1h", "inflow_users_24h", "inflow_users_30d"),
    *("self_pay", "payee_ties", "alike_payers_1m"),
)
GRAPH_OF_STRANGERS: Final = {
    **dict.fromkeys(_RINGS, "user"),
    **dict.fromkeys(("neighbours", "neighbours_bad", "two_hop", "hub"), "device or card"),
    "hub_payee": "payee",
    **dict.fromkeys(_FLOWS, "user and payee"),
    "look_alikes_24h": "network and config",
    "bad_attributes": "device, card or payee",
}


def _member_name(member: int) -> str:
    return MEMBER_WORDS[member][1] if member < 0 else f"{ROLES[member]}s"


SET_NAMES: Final = tuple(f"{ROLES[owner]}_{_member_name(member)}" for owner, member, _ in SETS)
CELLS: Final = (
    *(f"event.{name}" for name in FIELDS),
    *(f"{role}.{name}" for role in ROLES for name in ROLE_CELLS),
    *(f"{name}.{cell}" for name in SET_NAMES for cell in SET_CELLS),
    *(f"travel.{name}" for name in TRAVEL_CELLS),
    *(f"habits.{name}" for name in HABIT_CELLS),
    *(f"graph.{name}" for name in GRAPH_CELLS),
)
CELL: Final = {name: place for place, name in enumerate(CELLS)}
CELL_COUNT: Final = len(CELLS)
ROLES_AT: Final = len(FIELDS)
ROLE_WIDTH: Final = len(ROLE_CELLS)
SETS_CELLS_AT: Final = ROLES_AT + len(ROLES) * ROLE_WIDTH
TRAVEL_AT: Final = SETS_CELLS_AT + len(SET_NAMES) * len(SET_CELLS)
HABITS_AT: Final = TRAVEL_AT + len(TRAVEL_CELLS)
GRAPH_AT: Final = HABITS_AT + len(HABIT_CELLS)

AMOUNT_CAP: Final = 3_000_000_000  # For sums and squares: 30 million yuan; its square fits int64.
MICRO_AMOUNT: Final = 500  # Five yuan and less is what card testers use.
LIMIT_AMOUNTS: Final = (5_000_000, 1_000_000, 500_000)  # 50 000, 10 000 and 5 000 yuan.
