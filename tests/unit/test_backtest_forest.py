"""Many rows walk a model together and end where LightGBM ends, to the last bit."""

from dataclasses import replace
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


def answer(forest: Forest, x: NDArray[np.float64]) -> NDArray[np.float64]:
    return forest.predict(lambda feature: x[:, feature], len(x))


@pytest.mark.parametrize("rows", [0, 1, 255, 256, 257, 1_500])
@pytest.mark.parametrize("leaves", [2, 31, 300])
def test_a_batch_has_lightgbms_bits(rows: int, leaves: int) -> None:
    booster, text = model(num_leaves=leaves, min_data_in_leaf=2)
    x, _ = world(seed=2, rows=max(rows, 1))
    x[: rows // 2, 1] = np.nan
    x[0, 2:5] = (np.inf, -np.inf, -1e-36)
    expected = booster.predict(x, num_threads=1)

    found = answer(read_forest(text), x[:rows])

    assert found.tobytes() == expected[:rows].tobytes()


@pytest.mark.parametrize(("bins", "kind"), [(255, np.uint8), (1_000, np.uint16)])
def test_values_at_and_beside_every_threshold_have_lightgbms_bits(
    bins: int, kind: type[np.generic]
) -> None:
    """A feature alone with as many thresholds as a byte counts, and with more."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(30_000, 1))
    y = np.sin(40 * x[:, 0]) > 0
    data = lgb.Dataset(x, y, params={"max_bin": bins, "min_data_in_bin": 1})
    parameters = {**PLAIN, "max_bin": bins, "min_data_in_leaf": 1, "num_leaves": 200}
    text = lgb.train(parameters, data, 60).model_to_string()
    forest = read_forest(text)
    levels = forest.levels[0][np.isfinite(forest.levels[0])]
    assert forest.rank.dtype == kind
    assert len(levels) > 200
    beside = [np.nextafter(levels, -np.inf), levels, np.nextafter(levels, np.inf)]
    rows = np.concatenate([*beside, [np.nan, np.inf, -np.inf, 0.0, 1e-36]])[:, np.newaxis]

    expected = lgb.Booster(model_str=text).predict(rows, num_threads=1)

    assert answer(forest, rows).tobytes() == expected.tobytes()


def test_a_tree_of_one_leaf_adds_what_it_holds() -> None:
    booster, text = model(min_data_in_leaf=5_000)
    x, _ = world(rows=20)

    assert answer(read_forest(text), x).tobytes() == booster.predict(x).tobytes()


def test_the_probe_finds_a_single_wrong_threshold() -> None:
    booster, text = model()
    forest = read_forest(text)

    def predict(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(booster.predict(rows, num_threads=1))

    moved = forest.levels[0].copy()
    moved[0] = np.nextafter(moved[0], -np.inf)
    wrong = replace(forest, levels=(moved, *forest.levels[1:]))
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
