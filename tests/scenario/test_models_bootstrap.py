"""From nothing to a deciding model, and the refusals on the way."""

import json
from pathlib import Path

import lightgbm
import numpy as np
import pytest

from models.bootstrap import synthetic_dataset, world
from models.evaluate import roc_auc
from models.registry import NotPromotable, Registry, UnknownVersion
from models.synthetic import Stream, bootstrap
from models.train import Settings, TrainedModel, predict, train
from risk.engine import Engine
from risk.scorer import BundleRefused, load_bundle, load_champion

ROWS_COUNT = 12_000
SEED = 3
NOW_US = 1_790_000_000_000_000


@pytest.fixture(scope="module")
def trained() -> TrainedModel:
    return train(synthetic_dataset(ROWS_COUNT, SEED), settings=Settings(trees_max=80))


def test_bootstrap_ends_with_a_model_that_decides(tmp_path: Path) -> None:
    told: list[float] = []

    version = bootstrap(tmp_path, n=6_000, seed=SEED, progress=lambda part, _: told.append(part))

    registry = Registry(tmp_path)
    assert registry.champion() == version
    assert told == sorted(told)
    assert told[-1] == 1.0
    engine = Engine(bundle_dir=tmp_path / "bundles", deadline_us=10_000_000)
    stream = Stream(world(6_000, SEED).population(), seed=1, now_us=NOW_US)
    decision = engine.assess(stream.next_payment(NOW_US).transaction("T1"), NOW_US)
    assert decision.model_version == version
    assert 0.0 < decision.score < 1.0


def test_a_model_of_synthetic_payments_beats_the_amount_alone(trained: TrainedModel) -> None:
    dataset = synthetic_dataset(ROWS_COUNT, SEED)
    newest = dataset.where(np.arange(len(dataset)) >= round(0.85 * len(dataset)))

    by_amount = roc_auc(newest.y, newest.amount_minor)

    assert trained.metrics["rows"] == len(newest)
    assert trained.metrics["roc_auc"] > max(by_amount, 1 - by_amount) + 0.15
    assert trained.metrics["roc_auc"] < 0.995


def test_the_published_bundle_scores_as_the_trained_model_does(
    trained: TrainedModel, tmp_path: Path
) -> None:
    registry = Registry(tmp_path)
    version = registry.register(trained, run_name="scenario")
    assert registry.champion() is None

    registry.promote(version)

    bundle = load_champion(tmp_path / "bundles")
    assert bundle is not None
    rows = synthetic_dataset(1_500, SEED).x[:200]
    booster = lightgbm.Booster(model_str=trained.model_text)
    expected = trained.calibration(predict(booster, rows))
    served = [bundle.score(np.ascontiguousarray(row))[0] for row in rows]
    assert served == pytest.approx(expected.tolist(), abs=1e-12)
    assert bundle.meta.decline_at == trained.thresholds.decline_at
    assert bundle.meta.metrics["roc_auc"] == trained.metrics["roc_auc"]


def test_the_registry_keeps_every_version_and_one_champion(
    trained: TrainedModel, tmp_path: Path
) -> None:
    registry = Registry(tmp_path)
    first = registry.register(trained, run_name="first")
    second = registry.register(trained, run_name="second")

    registry.promote(first)
    registry.promote(second)

    listed = Registry(tmp_path).models()
    assert [model.version for model in listed] == [second, first]
    assert [model.is_champion for model in listed] == [True, False]
    assert listed[0].metrics == pytest.approx(trained.metrics)
    with pytest.raises(UnknownVersion, match="v9"):
        registry.promote("v9")


def test_a_model_of_other_features_is_not_promoted(trained: TrainedModel, tmp_path: Path) -> None:
    from dataclasses import replace

    registry = Registry(tmp_path)
    good = registry.register(trained, run_name="good")
    registry.promote(good)
    strange = registry.register(replace(trained, feature_hash="0" * 16), run_name="strange")
    guessing = registry.register(
        replace(trained, metrics={**trained.metrics, "roc_auc": 0.5}), run_name="guessing"
    )

    with pytest.raises(NotPromotable, match="trained on features 0000"):
        registry.promote(strange)
    with pytest.raises(NotPromotable, match=r"guessing has 0\.5"):
        registry.promote(guessing)
    assert registry.champion() == good


def test_a_bundle_that_was_tampered_with_is_refused(trained: TrainedModel, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    version = registry.register(trained, run_name="scenario")
    folder = registry.promote(version)
    meta = json.loads((folder / "bundle.json").read_text())

    (folder / "bundle.json").write_text(json.dumps({**meta, "feature_hash": "ffff"}))
    with pytest.raises(BundleRefused, match="ffff"):
        load_bundle(tmp_path / "bundles", version)

    (folder / "bundle.json").write_text(json.dumps(meta))
    (folder / "model.txt").write_text(trained.model_text.replace("leaf_value=", "leaf_value=0"))
    with pytest.raises(BundleRefused):
        load_bundle(tmp_path / "bundles", version)
