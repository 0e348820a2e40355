"""All features, in the order of every stored vector, and the page that documents them.

The hash covers whatever changes the meaning of a vector (names, order, formulas); a model trained
under another hash is refused. ``python -m risk.features`` writes docs/FEATURES.md.
"""

import hashlib
from typing import Final

import numpy as np
import numpy.typing as npt

from risk.features.definition import Family, Feature
from risk.features.event import FIELDS
from risk.features.layout import (
    GRAPH_OF_STRANGERS,
    MEMBER_WORDS,
    ROLE_CELLS,
    ROLES,
    SET_NAMES,
    SETS,
)
from risk.signals import (
    amount,
    amount_peers,
    behaviour,
    device,
    geo,
    graph,
    merchant,
    network,
    payee,
    timing,
    timing_card,
)

FEATURES: Final[tuple[Feature, ...]] = (
    *device.FEATURES,
    *behaviour.FEATURES,
    *geo.FEATURES,
    *network.FEATURES,
    *amount.FEATURES,
    *amount_peers.FEATURES,
    *timing.FEATURES,
    *timing_card.FEATURES,
    *graph.FEATURES,
    *merchant.FEATURES,
    *payee.FEATURES,
)
FEATURE_NAMES: Final = tuple(feature.name for feature in FEATURES)
FEATURE_COUNT: Final = len(FEATURES)
PRESENCE_BYTES: Final = (FEATURE_COUNT + 7) // 8
PLACES: Final = {name: place for place, name in enumerate(FEATURE_NAMES)}


def _hash() -> str:
    digest = hashlib.blake2b(digest_size=8)
    for feature in FEATURES:
        digest.update(f"{feature.name}={feature.formula}\n".encode())
    return digest.hexdigest()


FEATURE_HASH: Final = _hash()


def plan(features: tuple[Feature, ...] = FEATURES) -> npt.NDArray[np.int64]:
    """Return the plan the kernel interprets, one row a feature.

    Raises:
        ValueError: two features share a name.
    """
    names = [feature.name for feature in features]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two features are called {', '.join(twice)}")
    return np.array([feature.formula.compiled() for feature in features], dtype=np.int64)


def family_places() -> dict[Family, tuple[int, ...]]:
    """Return which places of a vector belong to each family."""
    return {
        family: tuple(p for p, feature in enumerate(FEATURES) if feature.family is family)
        for family in Family
    }


ALWAYS_KNOWN: Final = frozenset({"hour", "hour_of_week", "month_day", "payday"})
RING_FROM: Final = ROLE_CELLS.index("count_1m")
COUNTS: Final = (ROLE_CELLS.index("count_all"), ROLE_CELLS.index("genuine_all") + 1)
_TITLES: Final = {
    Family.DEVICE: "Device / 设备",
    Family.BEHAVIOUR: "Behaviour / 行为",
    Family.GEO: "Geo / 地理",
    Family.AMOUNT: "Amount / 金额",
    Family.TIME: "Time / 时间",
    Family.GRAPH: "Graph / 图谱",
    Family.MERCHANT: "Merchant / 商户",
}
_HEAD: Final = """# Features

Made from `risk/features/catalogue.py` by `python -m risk.features`; do not edit.

{count} features, hash `{hash}`. Each describes the state *before* the payment; the payment itself
enters only through its own fields. A feature whose evidence is missing is NaN, never 0.

## What is in a window

* The payment itself is in no window: features describe the state before it.
* Windows of minutes up to an hour are exact over an entity's last 64 attempts. 24 hours are 25
  tiles of an hour, 7 and 30 days 8 and 31 tiles of a day, 90 days 14 tiles of a week: never
  shorter than they say, up to one tile longer. A tile is a fixed stretch of UTC. Failures and
  refusals of an hour are two tiles of an hour.
* Ties keep the order of the log. A late event counts at the newest time its entity has seen, so a
  clock that goes back never reopens a window.
* Outcomes and verdicts count when they became known, not when the payment was made.
* An entity that was not seen for 180 days is a new one. Its memory is taken back after 210.
* A set is exact up to its cap (16 members; 64 for merchants and payees). Beyond, a full set forgets
  the member not seen for longest, and a window in which all its members lie is counted by a sketch
  (multiresolution bitmap, within about 10 %), never less than the cap.
* An entity with no more than 16 events keeps these events alone; the values are the same.

## Formulas

`value` divides by the constant; `ratio(a, b; k)` is a × k ÷ b; `share(a, b)` is a ÷ (a + b); `bit`,
`equals` and `multiple` are 0 or 1; `over_mean(a, sum, count)` is a ÷ mean; `flow(a, b, c)` is (a +
b) ÷ c; `relative(a, b, c, d)` is (a ÷ b) ÷ (c ÷ d); `after(a, b, c; k)` is 1 if a ≥ k and b ≥ 95 %
of c; `repeated` is 1 for one digit three times or more, then zeros; `std`, `zscore` and `spread`
(deviation ÷ mean) come from exact sums of squares, and a deviation is at least one unit. `event.`
is the payment itself, other prefixes the entity whose state is read; `inflow` is the payer's
account as a payee, `outflow` the payee's as a payer.

## Without evidence

*missing* is NaN with the presence bit off, never 0. *0 for a stranger* means: an entity never seen
counts 0, because that is known; a payment that does not name it knows nothing.
"""
_WINDOWS: Final = ("1m", "5m", "10m", "1h", "24h", "7d", "30d", "90d")


def window_of(feature: Feature) -> str:
    """Return the windows a feature's cells span, or ``all`` or ``now``."""
    ends = {cell.replace(".", "_").rpartition("_")[2] for cell in feature.formula.cells}
    spans = [window for window in _WINDOWS if window in ends]
    if spans:
        return ", ".join(spans)
    return "now" if all(cell.startswith("event.") for cell in feature.formula.cells) else "all"


def yields_without(feature: Feature) -> str:
    """Return what a feature yields where its evidence is missing."""
    cells = [cell.partition(".") for cell in feature.formula.cells]
    state = [(owner, name) for owner, _, name in cells if owner != "event"]
    if not state:
        optional = [name for _, _, name in cells if is_optional(name)]
        return f"missing unless {' and '.join(optional)} is known" if optional else "never missing"
    wanted = " and ".join(dict.fromkeys(wanted_by(owner, name) for owner, name in state))
    if not all(is_counted(owner, name) for owner, name in state):
        return f"missing without {wanted}, or until there is something to compare"
    if feature.formula.operation not in {"value", "bit", "bits"}:
        return f"missing without {wanted}, or for a stranger: nothing to divide by"
    least = 1 if state == [("graph", "ring_users")] else 0  # A user is a ring of one.
    return f"{least} for a stranger; missing without {wanted}"


def is_optional(name: str) -> bool:
    """Whether a field of the event may be missing; amount, time and merchant never are."""
    return FIELDS.index(name) > FIELDS.index("presence") and name not in ALWAYS_KNOWN


def wanted_by(owner: str, name: str) -> str:
    """Return what a payment must name for a cell of some state to be read."""
    if owner == "graph":
        return GRAPH_OF_STRANGERS.get(name, "user")
    if owner in SET_NAMES:
        kind, member, _ = SETS[SET_NAMES.index(owner)]
        other = MEMBER_WORDS[member][0] if member < 0 else ROLES[member]
        return f"{ROLES[kind]} and {other}" if name.startswith("pair_") else ROLES[kind]
    return {"inflow": "user", "outflow": "payee", "travel": "user", "habits": "user"}.get(
        owner, owner
    )


def is_counted(owner: str, name: str) -> bool:
    """Whether a cell of some state is known of a stranger too."""
    if owner == "graph":
        return name in GRAPH_OF_STRANGERS
    if owner in SET_NAMES:
        return name != "pair_age_us"
    if owner not in ROLES:
        return False
    place = ROLE_CELLS.index(name)
    return place >= RING_FROM or COUNTS[0] <= place < COUNTS[1]


def documentation() -> str:
    """Return docs/FEATURES.md."""
    lines = [_HEAD.format(count=FEATURE_COUNT, hash=FEATURE_HASH)]
    for family, places in family_places().items():
        lines += [f"## {_TITLES[family]}", ""]
        lines += [
            "| feature | meaning | 含义 | unit | window | formula | without evidence | catches |"
        ]
        lines += ["|---|---|---|---|---|---|---|---|"]
        for place in places:
            f = FEATURES[place]
            lines.append(
                f"| `{f.name}` | {f.meaning_en} | {f.meaning_zh} | {f.unit} "
                f"| {window_of(f)} | `{f.formula}` | {yields_without(f)} | {f.catches} |"
            )
        lines.append("")
    return "\n".join(lines)
