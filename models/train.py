"""Fits the served model: LightGBM, split by time, calibrated, with thresholds of least cost.

The newest payments are split off in two parts. The first stops the boosting early, calibrates and
sets the thresholds; the second is looked at once, for the reported figures. The same data, seed
and number of threads give the same trees, bit for bit.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.dataset import Dataset
from models.evaluate import Unmeasurable, summary
from models.policy import Costs, Thresholds, choose

if TYPE_CHECKING:
    import lightgbm

Floats = NDArray[np.float64]
Progress = Callable[[float, str], None]

KNOTS_MAX = 128
PROBABILITY_MIN = 1e-6  # Calibration never says never: an isotonic fit alone would.


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to boost; the defaults suit some 100,000 payments with about 1 % fraud.

    One thread is meant: the trees are the same with two, and where something else wants the
    second core LightGBM's threads wait for each other by spinning (measured on a busy two-core
    machine: 24 s with one, 142 s with two; 4 against 50 s of CPU).
    """

    trees_max: int = 300
    patience_trees: int = 40
    learning_rate: float = 0.06
    leaves: int = 31
    leaf_rows_min: int = 40
    feature_ratio: float = 0.6
    row_ratio: float = 0.8
    l2: float = 5.0
    threads: int = 1

    def parameters(self, seed: int) -> dict[str, Any]:
        """These settings in LightGBM's words, deterministic."""
        return {
            "objective": "binary",
            "metric": "binary_logloss",
            "learning_rate": self.learning_rate,
            "num_leaves": self.leaves,
            "min_data_in_leaf": self.leaf_rows_min,
            "feature_fraction": self.feature_ratio,
            "bagging_fraction": self.row_ratio,
            "bagging_freq": 1,
            "lambda_l2": self.l2,
            "max_bin": 127,
            "num_threads": self.threads,
            "seed": seed,
            "deterministic": True,
            "force_col_wise": True,
            "verbosity": -1,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Piecewise linear map from the model's output to a probability, through its knots."""

    x: tuple[float, ...]
    y: tuple[float, ...]

    def __call__(self, score: Floats) -> Floats:
        return np.interp(score, self.x, self.y)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """All that is needed to record, judge and publish a model.

    Attributes:
        model_text: LightGBM's own text form.
        feature_names: Columns, in order.
        feature_hash: Catalogue they come from.
        calibration: From the model's output to a probability.
        thresholds: On that probability.
        metrics: Of the newest part, which nothing was fitted to.
        trained_at_us: Time of the newest payment it has seen, Unix microseconds: a model's age
            is that of its data, and no clock enters.
        seed: Of the training.
        settings: Of the training.
    """

    model_text: str
    feature_names: tuple[str, ...]
    feature_hash: str
    calibration: Calibration
    thresholds: Thresholds
    metrics: dict[str, float]
    trained_at_us: int
    seed: int
    settings: Settings = field(default_factory=Settings)

    def parameters(self) -> dict[str, Any]:
        """Seed and settings as flat values, for the record."""
        return {"seed": self.seed, **asdict(self.settings)}


def train(
    dataset: Dataset,
    *,
    seed: int = 1,
    valid_fraction: float = 0.3,
    settings: Settings | None = None,
    costs: Costs | None = None,
    progress: Progress | None = None,
) -> TrainedModel:
    """Fit a model to a training set.

    Args:
        dataset: Labelled payments in order of time.
        seed: Of all chance in it.
        valid_fraction: Newest part that no tree is fitted to: half of it stops the boosting and
            calibrates, the newest half is measured.
        settings: How to boost.
        costs: What outcomes cost; sets the thresholds.
        progress: Told a fraction (0 to 1) and what is going on.

    Raises:
        Unmeasurable: if one of the three parts has no fraud or nothing but fraud.
    """
    settings = settings or Settings()
    fitted, rest = dataset.split_at(1.0 - valid_fraction)
    tuning, newest = rest.split_at(0.5)
    for name, part in (("training", fitted), ("calibration", tuning), ("newest", newest)):
        if not 0 < int(part.y.sum()) < len(part):
            raise Unmeasurable(f"the {name} part has {int(part.y.sum())} frauds in {len(part)}")
    booster = boost(fitted, tuning, seed=seed, settings=settings, progress=progress)
    calibration = calibrate(tuning.y, predict(booster, tuning.x))
    thresholds = choose(
        calibration(predict(booster, tuning.x)), tuning.amount_minor.astype(np.float64), costs
    )
    metrics = summary(newest.y, calibration(predict(booster, newest.x)))
    metrics["trees"] = float(booster.num_trees())
    metrics["rows_fitted"] = float(len(fitted))
    if progress is not None:
        progress(1.0, f"ROC AUC {metrics['roc_auc']:.3f} on the newest payments")
    return TrainedModel(
        model_text=booster.model_to_string(),
        feature_names=dataset.names,
        feature_hash=dataset.feature_hash,
        calibration=calibration,
        thresholds=thresholds,
        metrics=metrics,
        trained_at_us=int(dataset.at_us.max()),
        seed=seed,
        settings=settings,
    )


def boost(
    fitted: Dataset,
    tuning: Dataset,
    *,
    seed: int,
    settings: Settings,
    progress: Progress | None = None,
) -> "lightgbm.Booster":
    """Fit trees to one part, stopping when the log-loss of the other no longer falls."""
    import lightgbm

    def report(state: "lightgbm.callback.CallbackEnv") -> None:
        if progress is not None:
            done_count = state.iteration + 1
            progress(0.95 * done_count / settings.trees_max, f"{done_count} trees")

    columns = list(fitted.names)
    train_set = lightgbm.Dataset(fitted.x, label=fitted.y, feature_name=columns)
    tuning_set = lightgbm.Dataset(
        tuning.x, label=tuning.y, feature_name=columns, reference=train_set
    )
    return lightgbm.train(
        settings.parameters(seed),
        train_set,
        num_boost_round=settings.trees_max,
        valid_sets=[tuning_set],
        callbacks=[lightgbm.early_stopping(settings.patience_trees, verbose=False), report],
        keep_training_booster=False,
    )


def predict(booster: "lightgbm.Booster", x: Floats) -> Floats:
    """The model's own output, before calibration."""
    return np.asarray(booster.predict(x, num_threads=1), dtype=np.float64)


def calibrate(y: NDArray[np.int8], score: Floats) -> Calibration:
    """Centred isotonic regression of truth on score, as knots that rise strictly in both.

    Isotonic regression alone is a staircase: it ties payments whose scores differ, and a
    threshold then takes a whole stair or nothing. Here each stair is one knot, at the mean score
    of its payments, with straight lines between and beyond them, so the ranking stays.

    Probabilities stay within `PROBABILITY_MIN` of 0, and the top stair is shrunk as if one
    fraud and one honest payment more had been seen there.

    Args:
        y: 1 for fraud.
        score: The model's output, 0 to 1.
    """
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(out_of_bounds="clip").fit_transform(score, y.astype(np.float64))
    stairs, place, counts = np.unique(fitted, return_inverse=True, return_counts=True)
    centre = np.bincount(place, weights=score) / counts
    highest = (stairs[-1] * counts[-1] + 1.0) / (counts[-1] + 2.0)
    probability = stairs.clip(PROBABILITY_MIN, highest)
    if len(centre) > KNOTS_MAX:
        kept = np.unique(np.linspace(0, len(centre) - 1, KNOTS_MAX).round().astype(np.int64))
        centre, probability = centre[kept], probability[kept]
    x = np.concatenate([[0.0], centre, [1.0]])
    ends = probability[0] / 2.0, (1.0 + probability[-1]) / 2.0
    known = np.concatenate([[ends[0]], probability, [ends[1]]])
    rising = np.concatenate([[True], (np.diff(x) > 0.0) & (np.diff(known) > 0.0)])
    return Calibration(x=tuple(x[rising].tolist()), y=tuple(known[rising].tolist()))
