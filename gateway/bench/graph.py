"""What the graph finds and what it costs: planted schemes in a synthetic world full of hubs.

Precision and recall of each typology by one plain criterion (`models.schemes`), the largest ring
it reports beside the largest that was planted, and the replay's time with the whole catalogue
over the time without the features of the graph, in one run.
"""

import time
from typing import Final

import numpy as np

from models.schemes import events, scores
from models.synthetic.typologies import World, make
from models.synthetic.typology_plants import RING_USERS_COUNT
from risk.features.catalogue import FEATURES, PLACES
from risk.features.definition import Feature
from risk.features.replay import replay

ROUNDS: Final = 5
SEED: Final = 1


def _replay_s(log: np.ndarray, features: tuple[Feature, ...]) -> float:
    started_s = time.process_time()
    replay(log, features=features)
    return time.process_time() - started_s


def run() -> dict[str, object]:
    """Measure, print a table, return the figures."""
    rows = make(World(seed=SEED))
    log = events(rows)
    plain = tuple(f for f in FEATURES if "graph." not in str(f.formula))
    found = replay(log)
    pairs = [(_replay_s(log, FEATURES), _replay_s(log, plain)) for _ in range(ROUNDS)]
    whole_s = min(pair[0] for pair in pairs)
    plain_s = min(pair[1] for pair in pairs)
    figures: dict[str, object] = {
        "payments": len(rows),
        "replay_us_per_payment": round(whole_s / len(rows) * 1e6, 1),
        "without_graph_us_per_payment": round(plain_s / len(rows) * 1e6, 1),
        "graph_ratio": round(whole_s / plain_s, 2),
        "largest_ring_users": int(np.nanmax(found[:, PLACES["graph_ring_users"]])),
        "largest_planted_ring_users": RING_USERS_COUNT,
    }
    for typology, score in scores(rows, found).items():
        figures[f"{typology}_precision"] = round(score.precision_ratio, 3)
        figures[f"{typology}_recall"] = round(score.recall_ratio, 3)
        figures[f"{typology}_schemes"] = round(score.schemes_ratio, 3)
    for name, value in figures.items():
        print(f"{name:>32} {value}")
    return figures
