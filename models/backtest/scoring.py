"""Model scores for whole columns, bit for bit as the engine gives them one by one.

The trees of a row are added in their order whatever the number of threads, so a batch has the bits
of the single-row call; calibration repeats the engine's operations in the engine's order.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.backtest.forest import Columns, Forest, NotPlain, read_forest, trusted
from risk.policy import Thresholds
from risk.scorer import MODEL_FILE, BundleMeta, BundleRefused, load_bundle

if TYPE_CHECKING:
    import lightgbm

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BatchModel:
    """A published model, for many payments at once.

    Attributes:
        meta: All of the bundle but its trees.
        model_text: The trees, as LightGBM writes them.
    """

    meta: BundleMeta
    model_text: str

    @cached_property
    def _booster(self) -> "lightgbm.Booster":
        import lightgbm  # Takes seconds, and rules alone don't need it.

        return lightgbm.Booster(model_str=self.model_text)

    @cached_property
    def _forest(self) -> Forest | None:
        """The trees for many rows together; None if LightGBM has to do it itself."""
        try:
            forest = read_forest(self.model_text)
        except NotPlain:
            return None
        width = len(self.meta.feature_names)
        return forest if trusted(forest, self._by_lightgbm, width) else None

    def prepare(self) -> None:
        """Load the trees, before several threads ask for them at once."""
        if self._forest is None:
            self._by_lightgbm(np.zeros((1, len(self.meta.feature_names))))

    def raw(self, columns: Columns, rows_count: int) -> Floats:
        """Return the model's own output for columns of features, shape ``(rows_count,)``."""
        if not rows_count:
            return np.zeros(0)
        forest = self._forest
        if forest is not None:
            return forest.predict(columns, rows_count)
        width = len(self.meta.feature_names)
        return self._by_lightgbm(np.stack([columns(place) for place in range(width)], axis=1))

    def _by_lightgbm(self, rows: Floats) -> Floats:
        return np.asarray(self._booster.predict(rows, num_threads=1), dtype=np.float64)

    def probability(self, raw: Floats) -> Floats:
        """Return the calibrated probability of fraud."""
        return calibrated(self.meta.calibration_x, self.meta.calibration_y, raw)

    @property
    def thresholds(self) -> Thresholds:
        """Those it was published with."""
        meta = self.meta
        return Thresholds(
            challenge_at=meta.challenge_at, review_at=meta.review_at, decline_at=meta.decline_at
        )


def load_model(bundle_dir: Path, version: str) -> BatchModel:
    """Load a published bundle, verified as the engine verifies it.

    Raises:
        BundleRefused: it is missing, damaged or not for this engine.
        TreesUnavailable: LightGBM can't be loaded.
    """
    meta = load_bundle(bundle_dir, version).meta
    try:
        text = (bundle_dir / version / MODEL_FILE).read_text("utf-8")
    except OSError as error:
        raise BundleRefused(version, f"can't be read: {error}") from error
    return BatchModel(meta, text)


def calibrated(x: tuple[float, ...], y: tuple[float, ...], raw: Floats) -> Floats:
    """`risk.scorer.calibrate` for a column."""
    xs, ys = np.array(x), np.array(y)
    if len(xs) == 1:
        return np.full(len(raw), ys[0])
    low = np.clip(np.searchsorted(xs, raw, side="right") - 1, 0, len(xs) - 2)
    # Beyond the ends the outer steps below answer; here it would only overflow.
    inner = np.clip(raw, xs[0], xs[-1])
    part = (inner - xs[low]) / (xs[low + 1] - xs[low])
    between: Floats = ys[low] + part * (ys[low + 1] - ys[low])
    return np.where(raw <= xs[0], ys[0], np.where(raw >= xs[-1], ys[-1], between))
