"""A seeded, entirely synthetic world of payers, merchants and fraud, for the demo and the tests.

No row of it comes from real people or from a real data set, and every identifier in it starts
with ``synthetic-`` or is an address reserved for private use and benchmarks, so that it can't be
taken for real traffic. `population` says who lives there, `habits` how they pay, `fraud` how they
are robbed, `table` writes it down, `stream` makes a history, a file or an endless stream of it.
"""

from collections.abc import Callable
from pathlib import Path

from models.synthetic.payment import SyntheticPayment, payments
from models.synthetic.stream import (
    History,
    Stream,
    generate,
    risk_contexts_json,
    write_parquet,
)

__all__ = [
    "BOOTSTRAP_ROWS_COUNT",
    "BOOTSTRAP_SEED",
    "History",
    "Stream",
    "SyntheticPayment",
    "bootstrap",
    "generate",
    "payments",
    "risk_contexts_json",
    "write_parquet",
]

BOOTSTRAP_ROWS_COUNT = 120_000
BOOTSTRAP_SEED = 20_260_101


def bootstrap(
    var: Path,
    *,
    n: int = BOOTSTRAP_ROWS_COUNT,
    seed: int = BOOTSTRAP_SEED,
    progress: Callable[[float, str], None] | None = None,
) -> str:
    """Train a first model on `n` synthetic payments, promote it, return its version.

    See `models.bootstrap`, which is imported here and not above: training pulls in what takes
    seconds to load.

    Args:
        var: Folder of the embedded state.
        n: Number of synthetic payments; 120,000 take about a minute on two cores.
        seed: Of the synthetic world and the training.
        progress: Told a fraction (0 to 1) and what is going on.
    """
    from models.bootstrap import first_model

    return first_model(var, rows_count=n, seed=seed, progress=progress)
