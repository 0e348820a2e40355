"""Our measures are the textbook's: held to scikit-learn, and to cases worked by hand."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from models.evaluate import (
    Unmeasurable,
    average_precision,
    brier,
    curve,
    precision_at_rate,
    recall_at_rate,
    roc_auc,
)


def test_ranking_measures_equal_scikit_learn_with_ties() -> None:
    rng = np.random.default_rng(1)
    y = (rng.random(3_000) < 0.05).astype(np.int64)
    score = np.round(rng.random(3_000) * 0.7 + 0.3 * y, 2)

    assert roc_auc(y, score) == pytest.approx(roc_auc_score(y, score), abs=1e-12)
    assert average_precision(y, score) == pytest.approx(
        average_precision_score(y, score), abs=1e-12
    )


def test_a_score_that_says_nothing_has_half_the_area() -> None:
    assert roc_auc([0, 1, 0, 1], [0.3, 0.3, 0.3, 0.3]) == 0.5


def test_the_top_share_counts_ties_at_its_border_evenly() -> None:
    y = [1, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    score = [0.9, 0.5, 0.5, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]

    assert precision_at_rate(y, score, 0.2) == pytest.approx((1 + 0.5) / 2)
    assert recall_at_rate(y, score, 0.2) == pytest.approx(1.5 / 2)


def test_brier_is_the_mean_squared_distance() -> None:
    assert brier([1, 0], [0.8, 0.4]) == pytest.approx((0.04 + 0.16) / 2)


def test_the_curve_ends_with_everything_stopped() -> None:
    found = curve([0, 1, 0, 1], [0.1, 0.8, 0.7, 0.7])

    assert found.score.tolist() == [0.8, 0.7, 0.1]
    assert found.stopped_ratio.tolist() == [0.25, 0.75, 1.0]
    assert found.recall.tolist() == [0.5, 1.0, 1.0]
    assert found.honest_stopped_ratio.tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("y", [[0, 0, 0], [1, 1, 1]])
def test_one_class_alone_can_not_be_measured(y: list[int]) -> None:
    with pytest.raises(Unmeasurable, match="frauds among 3"):
        roc_auc(y, [0.1, 0.2, 0.3])


def test_a_rate_that_selects_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="selects 0 of 3"):
        precision_at_rate([0, 1, 0], [0.1, 0.2, 0.3], 0.01)
