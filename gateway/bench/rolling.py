"""The twelve windows of `gateway.bench.windows` in plain pandas: the baseline.

It is what one would write from that module's description and shares nothing with the engine.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Rolled = Callable[[pd.DataFrame, "pd.Series[pd.Timestamp]", str, str, str], Floats]

LABEL_DELAY: Final = pd.Timedelta(days=7)
# Window, what its tiles are floored to, and the tiles it spans.
WINDOWS: Final = (("24h", "h", "25h"), ("7d", "D", "8D"), ("30d", "D", "31D"))


def customers(frame: pd.DataFrame, rolled: Rolled) -> dict[str, Floats]:
    """Compute the six of the customers.

    Args:
        frame: Payments in order of time: ``at``, ``customer``, ``terminal``, ``amount_minor``,
            ``fraud``.
        rolled: `entity_by_entity` or `grouped`.

    Returns:
        The columns, in the frame's order; NaN for a mean of nothing.
    """
    columns: dict[str, Floats] = {}
    for window, floor, span in WINDOWS:
        tile = frame["at"].dt.floor(floor)
        amount_minor = frame["amount_minor"].to_numpy()
        ones = frame.assign(payment=1)
        count = rolled(ones, tile, "customer", "payment", span) - 1
        total_minor = rolled(ones, tile, "customer", "amount_minor", span) - amount_minor
        columns[f"customer_count_{window}"] = count
        columns[f"customer_mean_{window}"] = _over(total_minor, count)
    return columns


def terminals(frame: pd.DataFrame, rolled: Rolled) -> dict[str, Floats]:
    """Compute the six of the terminals: see `customers`."""
    both = _with_labels(frame)
    is_payment = both["payment"].to_numpy() == 1
    columns: dict[str, Floats] = {}
    for window, floor, span in WINDOWS:
        tile = both["at"].dt.floor(floor)
        count = rolled(both, tile, "terminal", "payment", span) - 1
        known = rolled(both, tile, "terminal", "known", span)
        fraud = rolled(both, tile, "terminal", "known_fraud", span)
        columns[f"terminal_count_{window}"] = count[is_payment]
        columns[f"terminal_risk_{window}"] = _over(fraud, known)[is_payment]
    return columns


def entity_by_entity(
    frame: pd.DataFrame, tile: "pd.Series[pd.Timestamp]", entity: str, column: str, span: str
) -> Floats:
    """Rolling sums of a column, one entity after another: what one writes first."""
    sums = np.empty(len(frame))
    for places in frame.groupby(entity, sort=False).indices.values():
        own = pd.Series(frame[column].to_numpy()[places], index=tile.to_numpy()[places])
        sums[places] = own.rolling(span).sum().to_numpy()
    return sums


def grouped(
    frame: pd.DataFrame, tile: "pd.Series[pd.Timestamp]", entity: str, column: str, span: str
) -> Floats:
    """The same with pandas' own ``groupby().rolling()``: faster, and easier to misplace rows."""
    order = np.argsort(frame[entity].to_numpy(), kind="stable")
    own = frame.assign(tile=tile).iloc[order].set_index("tile")
    sums = np.empty(len(frame))
    sums[order] = own.groupby(entity)[column].rolling(span).sum().to_numpy()
    return sums


def _with_labels(frame: pd.DataFrame) -> pd.DataFrame:
    """Payments and their verdicts in order of time; of the same moment, verdicts first."""
    payments = frame.assign(payment=1, known=0, known_fraud=0)
    verdicts = frame.assign(
        at=frame["at"] + LABEL_DELAY, payment=0, known=1, known_fraud=frame["fraud"]
    )
    both = pd.concat([verdicts, payments])
    return both.sort_values(["at", "payment"], kind="stable", ignore_index=True)


def _over(above: Floats, below: Floats) -> Floats:
    quotient: Floats = np.divide(above, below, out=np.full(len(above), np.nan), where=below != 0)
    return quotient
