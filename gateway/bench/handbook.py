"""The Fraud Detection Handbook's published protocol on the engine's features.

Needs ``handbook.parquet``, which is not part of the repository: the path of the data folder is
`DATA_DIR`, beside the project. See `models.benchmarks` for the protocol.
"""

from pathlib import Path

from models.benchmarks import handbook

DATA_DIR = Path(__file__).parents[3] / "shared" / "data"
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
    figures = handbook(path, folds=folds, train_days=train_days, progress=_tell)
    for name, published in PUBLISHED.items():
        print(f"chapter 3  {name:>22}  {figures[name]:.4f}  published {published}")
    for name, published in PUBLISHED_FOLDS.items() if folds else ():
        mean = figures[f"folds_{name}"]
        print(f"four folds {name:>22}  {mean:.4f}  published {published}")
    return dict(figures)


def _tell(fraction: float, text: str) -> None:
    print(f"{fraction:>5.0%}  {text}", flush=True)
