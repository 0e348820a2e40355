"""Many rows walk a model together and end where LightGBM ends, to the last bit."""

from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from numpy.typing import NDArray

from models.backtest.forest import Forest, NotPlain, read_forest, trusted

WIDTH = 9
PLAIN = {"objective": "binary", "num_leaves": 31, "verbose": -1, "num_threads": 1}


def world(seed: int = 1, rows: int = 2_000) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, WIDTH))
    x[:, 0] = np.round(x[:, 0])
    x[rng.random(x.shape) < 0.2] = np.nan
    x[:, 1] = rng.integers(0, 5, rows)  # Never missing in training, but in what follows.
    y = np.nan_to_num(x[:, 2]) + x[:, 1] + rng.normal(size=rows) > 3
    return x, y


def model(*, categories: bool = False, **parameters: object) -> tuple[lgb.Booster, str]:
    x, y = world()
    chosen = [1] if categories else "auto"
    data = lgb.Dataset(x, y, categorical_feature=chosen)
    booster = lgb.train({**PLAIN, **parameters}, data, 40)
    text = booster.model_to_string()
    return lgb.Booster(model_str=text), text


@pytest.mark.parametrize("rows", [1, 255, 256, 257, 1_500])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_batch_has_lightgbms_bits(rows: int, threads: int) -> None:
    booster, text = model()
    x, _ = world(seed=2, rows=rows)
    x[: rows // 2, 1] = np.nan
    x[0, 2:5] = (np.inf, -np.inf, -1e-36)

    found = read_forest(text).predict(x, threads=threads)

    assert found.tobytes() == booster.predict(x, num_threads=1).tobytes()


def test_a_tree_of_one_leaf_adds_what_it_holds() -> None:
    booster, text = model(min_data_in_leaf=5_000)
    x, _ = world(rows=20)

    assert read_forest(text).predict(x).tobytes() == booster.predict(x).tobytes()


def test_the_probe_finds_a_single_wrong_threshold() -> None:
    booster, text = model()
    forest = read_forest(text)

    def predict(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(booster.predict(rows, num_threads=1))

    threshold = forest.threshold.copy()
    threshold[0] = np.nextafter(threshold[0], -np.inf)
    wrong = Forest(
        forest.split, threshold, forest.child, forest.value, forest.starts, forest.inner_counts
    )
    assert trusted(forest, predict, WIDTH)
    assert not trusted(wrong, predict, WIDTH)


@pytest.mark.parametrize(
    "parameters",
    [
        {"objective": "regression"},
        {"zero_as_missing": True},
        {"categories": True},
        {"linear_tree": True},
        {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
    ],
)
def test_what_only_lightgbm_reads_is_left_to_it(parameters: dict[str, Any]) -> None:
    _, text = model(**parameters)

    with pytest.raises(NotPlain):
        read_forest(text)
