"""All features, in the order of every stored vector, and the page that documents them.

The hash covers whatever changes the meaning of a vector (names, order, formulas); a model trained
under another hash is refused. ``python -m risk.features`` writes docs/FEATURES.md.
"""

import hashlib
from typing import Final

import numpy as np
import numpy.typing as npt

from risk.features.definition import Family, Feature
from risk.signals import amount, behaviour, device, geo, graph, merchant, timing

FEATURES: Final[tuple[Feature, ...]] = (
    *device.FEATURES,
    *behaviour.FEATURES,
    *geo.FEATURES,
    *amount.FEATURES,
    *timing.FEATURES,
    *graph.FEATURES,
    *merchant.FEATURES,
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

Windows up to an hour are exact over an entity's last 64 payments. 24 hours are 25 tiles of an
hour, 7 and 30 days 8 and 31 tiles of a day: never shorter than they say, up to one tile longer. A
late event counts at the newest time its entity has seen. Verdicts count when they became known.
A pair that fell out of a capped set (16 members, 64 for merchants and payees) counts as new.

Formulas: `value` divides by the constant; `ratio(a, b; k)` is a × k ÷ b; `share(a, b)` is
a ÷ (a + b); `over_mean(a, sum, count)` is a ÷ mean; `flow(a, b, c)` is (a + b) ÷ c; `zscore` and
`std` use exact sums of squares in two limbs, and a deviation of at least one minor unit.
"""


def documentation() -> str:
    """Return docs/FEATURES.md."""
    lines = [_HEAD.format(count=FEATURE_COUNT, hash=FEATURE_HASH)]
    for family, places in family_places().items():
        lines += [f"## {_TITLES[family]}", ""]
        lines += ["| feature | meaning | 含义 | unit | formula | catches |"]
        lines += ["|---|---|---|---|---|---|"]
        for place in places:
            f = FEATURES[place]
            lines.append(
                f"| `{f.name}` | {f.meaning_en} | {f.meaning_zh} | {f.unit} | `{f.formula}` "
                f"| {f.catches} |"
            )
        lines.append("")
    return "\n".join(lines)
