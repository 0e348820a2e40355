"""What a set of features needs read, and what it needs kept.

The catalogue needs almost everything; a replay for a dozen features need not keep the rest. What
is left out changes no value: each part of a row depends on that part's own past alone.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from risk.features import layout as at
from risk.features.event import DECLINED, FAILED, FRAUD, GENUINE, REFUNDED

# Parts of a role's cells that cost a reading of their own; one that no feature uses is skipped.
NEED_RING, NEED_GAPS, NEED_PROFILE, NEED_24H, NEED_7D, NEED_30D, NEED_MAX, NEED_90D = (
    1 << place for place in range(8)
)
NEED_SHIFT: Final = 1 << 8
NEED_ROW: Final = 1 << 9  # Any cell of the role at all.
# What each kind of entity keeps of these: most need no year's habits of an address.
_ALL: Final = (1 << 8) - 1
KEPT: Final = (
    _ALL,  # user
    NEED_RING | NEED_GAPS | NEED_24H | NEED_7D | NEED_30D,  # device
    NEED_RING | NEED_24H | NEED_7D | NEED_30D,  # ip
    _ALL,  # card
    _ALL | NEED_SHIFT,  # merchant
    _ALL | NEED_SHIFT,  # payee
    NEED_24H | NEED_7D | NEED_30D,  # place
    NEED_PROFILE | NEED_24H | NEED_7D | NEED_30D,  # mcc
    NEED_24H | NEED_7D | NEED_30D,  # network
    NEED_24H | NEED_7D | NEED_30D,  # config
)
PROFILE_CELLS: Final = at.SCALAR_CELLS[
    at.SCALAR_CELLS.index("rank_below") : at.SCALAR_CELLS.index("weekday_of") + 1
]
_GAP_CELLS: Final = at.SCALAR_CELLS[
    at.SCALAR_CELLS.index("gap_least_us") : at.SCALAR_CELLS.index("gap_others") + 1
]
_PARTS: Final = (
    (NEED_RING, at.RING_CELLS),
    (NEED_GAPS, _GAP_CELLS),
    (NEED_PROFILE, PROFILE_CELLS),
    (NEED_24H, (*at.LATE_CELLS, *(f"{name}_24h" for name in at.HOUR_COLUMNS))),
    (NEED_7D, tuple(f"{name}_7d" for name in at.DAY_COLUMNS)),
    (NEED_30D, tuple(f"{name}_30d" for name in at.DAY_COLUMNS)),
    (NEED_MAX, ("max_30d",)),
    (NEED_90D, tuple(f"{name}_90d" for name in at.WEEK_COLUMNS)),
    (NEED_SHIFT, ("ticket_shift",)),
)
# Columns of windows that count feedback, and which; all others, and other parts, count attempts.
ATTEMPTED: Final = 0
_TOLD_BY: Final = {
    "failed": FAILED,
    "declined": DECLINED,
    "refunded": REFUNDED,
    "refunded_sum": REFUNDED,
    "fraud": FRAUD,
    "fraud_sum": FRAUD,
    "genuine": GENUINE,
}
_ANY: Final = 1 << ATTEMPTED | sum(1 << told for told in set(_TOLD_BY.values()))
# Kept besides: what a part is made from.
_MADE_FROM: Final = {NEED_GAPS: NEED_RING, NEED_SHIFT: NEED_RING | NEED_PROFILE}

# Where each kind of need stands in the array the kernel gets.
ROLES_AT: Final = 0  # Parts to read, by role.
SETS_AT: Final = ROLES_AT + len(at.ROLES)  # Cells to read, by set.
ROWS_AT: Final = SETS_AT + len(at.SETS)  # 1 where rows of a kind must be kept.
PARTS_AT: Final = ROWS_AT + at.ROW_KINDS  # Which of their parts.
NOTED_AT: Final = PARTS_AT + at.ROW_KINDS  # Which events change them: a bit each, see `_noted`.
MEMBERS_AT: Final = NOTED_AT + at.ROW_KINDS  # 1 where a set must be kept.
GRAPH: Final = MEMBERS_AT + len(at.SETS)
HABITS: Final = GRAPH + 1
TRAVEL: Final = HABITS + 1
WIDTH: Final = TRAVEL + 1
# Sets and kinds the graph reads: `risk.graph`.
_GRAPH_KINDS: Final = (at.USER, at.DEVICE, at.CARD, at.PAYEE, at.MERCHANT)
_GRAPH_SETS: Final = (
    (at.USER, at.DEVICE),
    (at.USER, at.CARD),
    (at.USER, at.PAYEE),
    (at.DEVICE, at.USER),
    (at.CARD, at.USER),
    (at.PAYEE, at.USER),
    (at.NETWORK, at.DEVICE),
    (at.CONFIG, at.DEVICE),
)


def is_kept(cell: str) -> bool:
    """Whether the kind of entity a cell is about keeps what the cell is read from."""
    role, _, name = cell.partition(".")
    needed = sum(bit for bit, names in _PARTS if name in names)
    return role not in at.ROLES or needed & ~KEPT[at.ROW_OF_ROLE[at.ROLES.index(role)]] == 0


def _noted(names: set[str]) -> int:
    """Return which events change these cells of a row's history: a bit each, by feedback.

    What is kept of all time changes with every event and isn't meant here. Profiles count attempts
    alone, but whatever is written fades them.
    """
    noted = 0
    for bit, part in _PARTS:
        for name in names.intersection(part):
            noted |= 1 << _TOLD_BY.get(name.rpartition("_")[0], ATTEMPTED)
            noted |= _ANY if bit & (NEED_PROFILE | NEED_SHIFT) else 0
    return noted


def needs_of(cells: set[str]) -> npt.NDArray[np.int64]:
    """Return what features made of these cells need, shape ``(WIDTH,)``."""
    needs = np.zeros(WIDTH, dtype=np.int64)
    prefixes = {cell.partition(".")[0] for cell in cells}
    for place, role in enumerate(at.ROLES):
        used = {cell.partition(".")[2] for cell in cells if cell.startswith(f"{role}.")}
        kind = at.ROW_OF_ROLE[place]
        parts = sum(bit for bit, names in _PARTS if used.intersection(names))
        needs[ROLES_AT + place] = parts | NEED_ROW if used else 0
        needs[ROWS_AT + kind] |= bool(used)
        for part, sources in _MADE_FROM.items():
            parts |= sources if parts & part else 0
        needs[PARTS_AT + kind] |= parts & KEPT[kind]
        needs[NOTED_AT + kind] |= _noted(used)
    needs[GRAPH] = "graph" in prefixes
    needs[HABITS] = "habits" in prefixes
    needs[TRAVEL] = "travel" in prefixes
    needs[ROWS_AT + at.USER] |= needs[HABITS] | needs[TRAVEL]
    for kind in _GRAPH_KINDS:
        needs[ROWS_AT + kind] |= needs[GRAPH]
    for place, (name, row) in enumerate(zip(at.SET_NAMES, at.SETS, strict=True)):
        masks = (1 << bit for bit, cell in enumerate(at.SET_CELLS) if f"{name}.{cell}" in cells)
        needs[SETS_AT + place] = sum(masks)
        of_graph = row[:2] in _GRAPH_SETS and needs[GRAPH]
        needs[MEMBERS_AT + place] = bool(needs[SETS_AT + place] or of_graph)
        needs[ROWS_AT + row[0]] |= needs[MEMBERS_AT + place]
    return needs
