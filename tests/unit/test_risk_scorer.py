"""A bundle is what it says or it is refused; its score and shares are LightGBM's own."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest

from risk.engine import Engine
from risk.features.catalogue import FEATURE_COUNT, FEATURE_HASH, FEATURE_NAMES
from risk.scorer import (
    Bundle,
    BundleMeta,
    BundleRefused,
    calibrate,
    champion_version,
    load_champion,
    publish,
    write_bundle,
)
from risk.shapley import Explainer
from risk.trees import Trees, TreesRefused
from tests.fakes import still_ns


def _train(columns: int = FEATURE_COUNT, rounds: int = 40) -> tuple[lgb.Booster, np.ndarray]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(3_000, columns))
    x[rng.random(x.shape) < 0.3] = np.nan
    x[:, 3] = rng.integers(0, 3, 3_000)
    signal = np.nan_to_num(x[:, 0]) * np.nan_to_num(x[:, 1]) + x[:, 3]
    y = signal + rng.normal(size=3_000) > 2
    parameters = {"objective": "binary", "num_leaves": 31, "verbose": -1, "num_threads": 1}
    return lgb.train({**parameters, "min_data_in_leaf": 3}, lgb.Dataset(x, y), rounds), x


@pytest.fixture(scope="module")
def trained() -> tuple[lgb.Booster, np.ndarray]:
    return _train()


def meta_of(text: str, version: str = "v1") -> BundleMeta:
    return BundleMeta(
        version=version,
        feature_hash=FEATURE_HASH,
        feature_names=FEATURE_NAMES,
        calibration_x=(0.0, 0.5, 1.0),
        calibration_y=(0.0, 0.2, 1.0),
        challenge_at=0.1,
        review_at=0.3,
        decline_at=0.6,
        trained_at_us=1,
        model_sha256=hashlib.sha256(text.encode()).hexdigest(),
        metrics={"roc_auc": 0.9},
    )


def test_a_score_equals_lightgbms_bit_for_bit(trained: tuple[lgb.Booster, np.ndarray]) -> None:
    booster, x = trained
    trees = Trees(booster.model_to_string())
    expected = booster.predict(x[:500], num_threads=1)

    assert [trees.predict(row) for row in x[:500]] == expected.tolist()


def test_contributions_equal_lightgbms(trained: tuple[lgb.Booster, np.ndarray]) -> None:
    booster, x = trained
    explainer = Explainer(booster.model_to_string())
    expected = booster.predict(x[:100], pred_contrib=True)[:, :-1]

    found = np.array([explainer.contributions(row) for row in x[:100]])
    assert np.abs(found - expected).max() < 1e-6
    assert np.abs(expected).max() > 0.1


def test_contributions_add_up_to_the_score_however_deep_the_trees() -> None:
    """LightGBM's own lose digits here (2e-3 off), so the sum is the witness, not their values."""
    rng = np.random.default_rng(5)
    x = rng.random((4_000, FEATURE_COUNT))
    y = x[:, :40].max(axis=1)
    parameters = {"num_leaves": 200, "verbose": -1, "num_threads": 1, "min_data_in_leaf": 1}
    booster = lgb.train(parameters, lgb.Dataset(x, y), 5)
    explainer = Explainer(booster.model_to_string())
    expected_value = booster.predict(x[:1], pred_contrib=True)[0, -1]
    scores = booster.predict(x[:50], raw_score=True)

    sums = [explainer.contributions(row).sum() + expected_value for row in x[:50]]
    assert np.abs(sums - scores).max() < 1e-12


def test_zero_as_missing_goes_where_lightgbm_sends_it() -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=(2_000, 5))
    x[rng.random(x.shape) < 0.3] = 0.0
    y = np.where(x[:, 0] == 0, 1.0, x[:, 0])
    parameters = {"verbose": -1, "num_threads": 1, "zero_as_missing": True}
    booster = lgb.train(parameters, lgb.Dataset(x, y), 10)
    expected = booster.predict(x[:100], pred_contrib=True)[:, :-1]

    explainer = Explainer(booster.model_to_string())
    found = np.array([explainer.contributions(row) for row in x[:100]])
    assert np.abs(found - expected).max() < 1e-6


def test_a_feature_whose_zeros_are_read_in_two_ways_is_not_explained() -> None:
    x = np.random.default_rng(7).normal(size=(2_000, 1))
    booster = lgb.train(
        {"verbose": -1, "num_threads": 1, "zero_as_missing": True}, lgb.Dataset(x, x[:, 0]), 2
    )
    text = booster.model_to_string()
    kinds = text.partition("decision_type=")[2].partition("\n")[0]
    Explainer(text)

    with pytest.raises(ValueError, match="zeros"):
        Explainer(text.replace(kinds, " ".join(["2", *kinds.split()[1:]]), 1))


def test_a_tree_that_never_splits_explains_nothing() -> None:
    booster = lgb.train(
        {"verbose": -1, "num_threads": 1}, lgb.Dataset(np.zeros((100, 3)), np.ones(100)), 3
    )
    assert Explainer(booster.model_to_string()).contributions(np.zeros(3)).tolist() == [0.0] * 3


def test_a_bundle_written_and_published_is_the_champion(
    trained: tuple[lgb.Booster, np.ndarray], tmp_path: Path
) -> None:
    text = trained[0].model_to_string()
    assert load_champion(tmp_path) is None
    write_bundle(tmp_path, meta_of(text), text)
    assert champion_version(tmp_path) is None
    publish(tmp_path, "v1")

    bundle = load_champion(tmp_path)
    assert bundle is not None
    assert bundle.meta == meta_of(text)
    probability, raw = bundle.score(trained[1][0])
    assert raw == trained[0].predict(trained[1][:1], num_threads=1)[0]
    assert probability == bundle.calibrate(raw)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("feature_hash", "0" * 16, "trained for features 0000000000000000"),
        ("feature_names", ["other", *FEATURE_NAMES[1:]], "it lacks device_emulated"),
        ("model_sha256", "0" * 64, "SHA-256"),
        ("calibration_x", [0.5, 0.4, 0.3], "rising"),
        ("calibration_y", [0.0, 0.5, 1.5], "leaves 0 to 1"),
        ("review_at", 0.9, "thresholds must rise"),
        ("version", "v2", "it says it is 'v2'"),
        ("feature_names", 3, "can't be read"),
    ],
)
def test_a_bundle_that_is_not_what_it_says_is_refused_by_name(
    trained: tuple[lgb.Booster, np.ndarray], tmp_path: Path, name: str, value: object, problem: str
) -> None:
    text = trained[0].model_to_string()
    path = write_bundle(tmp_path, meta_of(text), text) / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))

    with pytest.raises(BundleRefused, match="bundle 'v1' refused") as refusal:
        publish(tmp_path, "v1")
    assert problem in str(refusal.value)
    assert champion_version(tmp_path) is None


def test_a_model_of_the_wrong_width_is_refused() -> None:
    text = _train(columns=7, rounds=2)[0].model_to_string()

    with pytest.raises(BundleRefused, match="7 model columns"):
        Bundle(meta_of(text), text)


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(TreesRefused):
        Trees("not a model")


@pytest.mark.parametrize("version", ["../x", "", "a/b", ".hidden"])
def test_a_version_that_is_no_plain_name_is_refused(tmp_path: Path, version: str) -> None:
    with pytest.raises(BundleRefused, match="version"):
        write_bundle(tmp_path, replace(meta_of("x"), version=version), "x")


def test_the_engine_picks_up_a_promotion_and_keeps_the_old_one_when_the_new_is_bad(
    trained: tuple[lgb.Booster, np.ndarray], tmp_path: Path
) -> None:
    text = trained[0].model_to_string()
    engine = Engine(bundle_dir=tmp_path, clock_ns=still_ns)
    assert engine.model_version == "none"
    assert not engine.refresh_model()

    write_bundle(tmp_path, meta_of(text), text)
    publish(tmp_path, "v1")
    assert engine.refresh_model()
    assert engine.model_version == "v1"
    assert not engine.refresh_model()

    (tmp_path / "champion.json").write_text('{"version": "v9"}')
    with pytest.raises(BundleRefused, match="v9"):
        engine.refresh_model()
    assert engine.model_version == "v1"


@pytest.mark.parametrize("raw", [-1.0, 0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 2.0])
def test_calibration_interpolates_as_numpy_does(raw: float) -> None:
    x, y = (0.1, 0.2, 0.5, 0.9), (0.0, 0.05, 0.05, 0.8)

    assert calibrate(x, y, raw) == pytest.approx(float(np.interp(raw, x, y)), abs=1e-15)
