"""How good a score is, in the measures that payments people use, from numpy alone.

scikit-learn computes some of these too; it takes over a second to import, and the console shows
these figures. The tests hold both to the same values.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Unmeasurable(ValueError):
    """A measure needs both honest and fraudulent payments and did not get them."""


def roc_auc(y: ArrayLike, score: ArrayLike) -> float:
    """Chance that a random fraud scores higher than a random honest payment; ties count half.

    Raises:
        Unmeasurable: if only one class is there.

    Examples:
        >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.9])
        0.875
    """
    label, value = _both_classes(y, score)
    _, inverse, counts = np.unique(value, return_inverse=True, return_counts=True)
    last_rank = np.cumsum(counts)
    mean_rank = last_rank - (counts - 1) / 2.0
    frauds_count = int(label.sum())
    honest_count = len(label) - frauds_count
    ranks = float(mean_rank[inverse][label == 1].sum())
    return (ranks - frauds_count * (frauds_count + 1) / 2.0) / (frauds_count * honest_count)


def average_precision(y: ArrayLike, score: ArrayLike) -> float:
    """Mean of precision over the recall gained, from the highest score down; ties together.

    Raises:
        Unmeasurable: if only one class is there.
    """
    label, value = _both_classes(y, score)
    curve = _curve(label, value)
    recall_gain = np.diff(curve.recall, prepend=0.0)
    return float(np.sum(recall_gain * curve.precision))


def brier(y: ArrayLike, probability: ArrayLike) -> float:
    """Mean squared distance of a probability from the truth: 0 is perfect."""
    label, value = np.asarray(y, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    return float(np.mean((value - label) ** 2))


def precision_at_rate(y: ArrayLike, score: ArrayLike, rate: float) -> float:
    """Share of fraud among the `rate` (0 to 1) highest-scored payments.

    Payments tied at the border count with their group's share, so that order never matters.

    Raises:
        ValueError: if nothing is selected.
    """
    label, value = np.asarray(y, dtype=np.float64), np.asarray(score, dtype=np.float64)
    wanted = round(rate * len(label))
    if not 0 < wanted <= len(label):
        raise ValueError(f"a rate of {rate} selects {wanted} of {len(label)} payments")
    border = np.partition(value, len(value) - wanted)[len(value) - wanted]
    above, tied = value > border, value == border
    missing_count = wanted - int(above.sum())
    return float((label[above].sum() + missing_count * label[tied].mean()) / wanted)


def recall_at_rate(y: ArrayLike, score: ArrayLike, rate: float) -> float:
    """Share of all fraud that is among the `rate` (0 to 1) highest-scored payments."""
    label = np.asarray(y, dtype=np.float64)
    caught = precision_at_rate(y, score, rate) * round(rate * len(label))
    if not label.sum():
        raise Unmeasurable("there is no fraud to catch")
    return float(caught / label.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """What happens if everything scored at least `score` is stopped, highest score first.

    Attributes:
        score: Distinct thresholds, falling.
        stopped_ratio: Share of all payments at or above.
        precision: Share of fraud among those.
        recall: Share of all fraud among those.
        honest_stopped_ratio: Share of all honest payments among those.
    """

    score: Floats
    stopped_ratio: Floats
    precision: Floats
    recall: Floats
    honest_stopped_ratio: Floats


def curve(y: ArrayLike, score: ArrayLike) -> Curve:
    """The precision, recall and false-alarm curve of a score.

    Raises:
        Unmeasurable: if only one class is there.
    """
    return _curve(*_both_classes(y, score))


def summary(y: ArrayLike, probability: ArrayLike, *, rate: float = 0.01) -> dict[str, float]:
    """The figures recorded with every model.

    Args:
        y: 1 for fraud.
        probability: Calibrated probability of fraud.
        rate: Share of payments that would be declined.

    Raises:
        Unmeasurable: if only one class is there.
    """
    label = np.asarray(y)
    return {
        "roc_auc": roc_auc(y, probability),
        "average_precision": average_precision(y, probability),
        "brier": brier(y, probability),
        "precision_at_rate": precision_at_rate(y, probability, rate),
        "recall_at_rate": recall_at_rate(y, probability, rate),
        "rate": rate,
        "rows": float(len(label)),
        "frauds": float(label.sum()),
    }


def _curve(label: Ints, value: Floats) -> Curve:
    order = np.argsort(-value, kind="stable")
    ordered = value[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    caught = np.cumsum(label[order])[ends].astype(np.float64)
    stopped = (ends + 1).astype(np.float64)
    frauds_count = float(label.sum())
    return Curve(
        score=ordered[ends],
        stopped_ratio=stopped / len(label),
        precision=caught / stopped,
        recall=caught / frauds_count,
        honest_stopped_ratio=(stopped - caught) / (len(label) - frauds_count),
    )


def _both_classes(y: ArrayLike, score: ArrayLike) -> tuple[Ints, Floats]:
    label = np.asarray(y).astype(np.int64)
    value = np.asarray(score, dtype=np.float64)
    if label.shape != value.shape:
        raise ValueError(f"{label.shape} labels for {value.shape} scores")
    frauds_count = int(label.sum())
    if not 0 < frauds_count < len(label):
        raise Unmeasurable(f"{frauds_count} frauds among {len(label)} payments")
    return label, value
