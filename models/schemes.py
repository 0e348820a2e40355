"""How well the graph's features find planted schemes: precision and recall by typology.

Each typology has one plain criterion over the features a payment was scored with. No model is
trained, so the figures say what the features hold and nothing else. The world is synthetic
(`models.synthetic.typologies`) and made to be hard: its payroll, refunds, room-mates and tills
look like schemes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from models.synthetic.typologies import DAY_US, Planted
from risk.features.catalogue import PLACES
from risk.features.event import encode
from risk.features.replay import replay

Columns = Callable[[str], npt.NDArray[np.float64]]
Found = npt.NDArray[np.bool_]
DAY_S: Final = 86_400.0
FAN: Final = 8  # Parties from which a fan is more than a habit.
FULL: Final = (0.5, 1.1)  # Paid out over received: money that only passes through.
RING: Final = 8
WARM_DAYS: Final = 3  # At the world's beginning everybody is new.


def _fan_in(of: Columns) -> Found:
    gathers = (of("graph_payee_fan_in_24h") >= FAN) & (of("payee_age_s") < DAY_S)
    passes_on = (of("graph_own_fan_in_24h") >= FAN) & (of("graph_pass_through_24h") <= FULL[1])
    return gathers | passes_on


def _fan_out(of: Columns) -> Found:
    flow = of("graph_pass_through_24h")
    return (of("graph_user_fan_out_24h") >= FAN) & (flow >= FULL[0]) & (flow <= FULL[1])


def _farm(of: Columns) -> Found:
    age_s = of("time_user_age_s")
    fresh = np.isnan(age_s) | (age_s < 3 * DAY_S)
    return (of("device_users_24h") >= FAN) & fresh


CRITERIA: Final[dict[str, Callable[[Columns], Found]]] = {
    "fan_in": _fan_in,
    "fan_out": _fan_out,
    "cycle_2": lambda of: of("graph_circle_of_2") == 1,
    "cycle_3": lambda of: of("graph_circle_of_3") == 1,
    "cycle_4": lambda of: of("graph_circle_of_4") == 1,
    "device_farm": _farm,
    "collusion": lambda of: (
        (of("graph_payee_on_device") == 1) & (of("graph_payee_times_paid") >= 1)
    ),
    "ring": lambda of: of("graph_ring_users") >= RING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How well one typology is found.

    Attributes:
        flagged_count: Payments its criterion picks.
        precision_ratio: Share of them that belong to a scheme of the typology.
        recall_ratio: Share picked of the payments at which a scheme can be seen.
        schemes_ratio: Share of the schemes of which at least one payment is picked.
    """

    flagged_count: int
    precision_ratio: float
    recall_ratio: float
    schemes_ratio: float


def vectors(rows: list[Planted]) -> npt.NDArray[np.float64]:
    """Return the features of a world's payments, in their order; shape ``(n, F)``."""
    return replay(events(rows))


def events(rows: list[Planted]) -> npt.NDArray[np.int64]:
    """Return the log of a world's payments; shape ``(n, EVENT_WIDTH)``."""
    return np.stack(
        [
            encode(row.payment.transaction(f"T{seq}", row.payment.merchant), row.payment.at_us, seq)
            for seq, row in enumerate(rows, start=1)
        ]
    )


def scores(rows: list[Planted], features: npt.NDArray[np.float64]) -> dict[str, Score]:
    """Return, by typology, how well its criterion finds the planted schemes after `WARM_DAYS`.

    Args:
        rows: The world.
        features: From `vectors`.
    """

    def column(name: str) -> npt.NDArray[np.float64]:
        return features[:, PLACES[name]]

    warm_us = rows[0].payment.at_us + WARM_DAYS * DAY_US
    counted = np.array([row.payment.at_us >= warm_us for row in rows])
    typologies = np.array([row.truth.typology for row in rows])
    instances = np.array([row.truth.instance for row in rows])
    visible = np.array([row.truth.visible for row in rows])
    found = {}
    for typology, criterion in CRITERIA.items():
        picked = criterion(column) & counted
        own = (typologies == typology) & counted
        schemes = set(instances[own].tolist())
        found[typology] = Score(
            flagged_count=int(picked.sum()),
            precision_ratio=float((picked & own).sum() / max(picked.sum(), 1)),
            recall_ratio=float((picked & own & visible).sum() / max((own & visible).sum(), 1)),
            schemes_ratio=len(set(instances[picked & own].tolist())) / max(len(schemes), 1),
        )
    return found
