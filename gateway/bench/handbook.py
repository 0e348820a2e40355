"""The Fraud Detection Handbook's published protocol on the engine's features.

The whole file goes through the shipped mapping and the engine's own replay, labels a week late as
the mapping says; only the columns the protocol splits and counts by are read beside it.

Needs ``handbook.parquet``, which is not part of the repository: the path of the data folder is
`DATA_DIR`, beside the project. See `models.benchmarks` for the protocol.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from gateway.replay import log, mapping
from models.benchmarks import days, handbook, read
from risk.features.event import AT_US, KEY_COUNT
from risk.state.store import MemoryStateStore

DATA_DIR = Path(__file__).parents[3] / "shared" / "data"
PART_EVENTS = 32_768
DAY_US = 86_400_000_000
# The book's best on chapter 3 (each by another model) and over the four folds.
PUBLISHED = {"roc_auc": 0.871, "average_precision": 0.658, "card_precision_at_100": 0.291}
PUBLISHED_FOLDS = {"roc_auc": 0.879, "average_precision": 0.687, "card_precision_at_100": 0.305}


def run(path: Path | None = None, *, folds: bool = True, train_days: int = 28) -> dict[str, object]:
    """Measure, print a table beside the published figures, return the figures.

    Raises:
        FileNotFoundError: if the data is not there; the message says where it is looked for.
    """
    path = path or DATA_DIR / "handbook.parquet"
    if not path.is_file():
        raise FileNotFoundError(f"the Handbook's data is not at {path}")
    first_day, end_day = days(folds=folds, train_days=train_days)
    data = read(path, first_day, end_day)
    x = features(path, first_day, end_day)
    _tell(0.4, f"{x.shape[0]:,} payments, {x.shape[1]} features")
    figures = handbook(data, x, folds=folds, train_days=train_days)
    for name, published in PUBLISHED.items():
        print(f"chapter 3  {name:>22}  {figures[name]:.4f}  published {published}")
    for name, published in PUBLISHED_FOLDS.items() if folds else ():
        mean = figures[f"folds_{name}"]
        print(f"four folds {name:>22}  {mean:.4f}  published {published}")
    return dict(figures)


def features(path: Path, first_day: int, end_day: int) -> npt.NDArray[np.float64]:
    """Return the features of the payments of some days, with all the days before as their past.

    Args:
        path: ``handbook.parquet``.
        first_day: First day wanted, counted from the file's first.
        end_day: Day after the last.
    """
    history = log.read(path, mapping.load("handbook"))
    store = MemoryStateStore()
    vectors = np.empty((PART_EVENTS, store.features.size))
    presence = np.empty((PART_EVENTS, store.presence.size), dtype=np.uint8)
    key_seqs = np.empty((PART_EVENTS, KEY_COUNT), dtype=np.int64)
    start_day = int(history.events(0, 1)[0, AT_US]) // DAY_US
    kept = []
    for first in range(0, len(history), PART_EVENTS):
        events = history.events(first, min(first + PART_EVENTS, len(history)))
        part = vectors[: len(events)]
        store.run(events, part, presence[: len(events)], key_seqs[: len(events)])
        day = events[:, AT_US] // DAY_US - start_day
        is_payment = history.source[first : first + len(events)] >= 0
        kept.append(part[is_payment & (day >= first_day) & (day < end_day)])
        if day[0] >= end_day:
            break
    return np.vstack(kept)


def _tell(fraction: float, text: str) -> None:
    print(f"{fraction:>5.0%}  {text}", flush=True)
