"""Model scores and outcomes for whole columns, bit for bit as the engine gives them one by one.

LightGBM adds the trees of a row in their order whatever the number of threads, so a batch has the
bits of the single-row call; calibration repeats the engine's operations in the engine's order.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from models.policy import Thresholds
from risk.decision import RiskOutcome
from risk.rules.source import Action, Rule
from risk.scorer import MODEL_FILE, BundleMeta, BundleRefused, load_bundle

if TYPE_CHECKING:
    import lightgbm

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Outcomes = NDArray[np.uint8]

OUTCOMES: Final = tuple(RiskOutcome)
APPROVE, CHALLENGE, REVIEW, DECLINE = range(len(OUTCOMES))
SEVERITY: Final = {
    Action.CHALLENGE: CHALLENGE,
    Action.REVIEW: REVIEW,
    Action.DECLINE: DECLINE,
}


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

    def raw(self, rows: Floats, *, threads: int = 1) -> Floats:
        """Return the model's own output for rows of features, shape ``(n, F)``."""
        if not len(rows):
            return np.zeros(0)
        return np.asarray(self._booster.predict(rows, num_threads=threads), dtype=np.float64)

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
    part = (raw - xs[low]) / (xs[low + 1] - xs[low])
    between: Floats = ys[low] + part * (ys[low + 1] - ys[low])
    return np.where(raw <= xs[0], ys[0], np.where(raw >= xs[-1], ys[-1], between))


def by_score(thresholds: Thresholds, probability: Floats) -> Outcomes:
    """`risk.policy.by_score` for a column: the places of the outcomes in `OUTCOMES`."""
    levels = (thresholds.challenge_at, thresholds.review_at, thresholds.decline_at)
    outcome = np.zeros(len(probability), dtype=np.uint8)
    for level in levels:  # They rise, so each level passed is one step more severe.
        outcome += probability >= level
    return outcome


def combined(hits: list[tuple[Rule, Mask]], scored: Outcomes) -> Outcomes:
    """`risk.policy.decide` for a column.

    Args:
        hits: Each rule and the payments it fired for.
        scored: What the score alone says.

    Returns:
        A decline that may not be overridden stands first, then an override that allows, then the
        most severe of the rules and the score.
    """
    worst = scored.copy()
    allowed = np.zeros(len(scored), dtype=np.bool_)
    fixed = np.zeros(len(scored), dtype=np.bool_)
    for rule, mask in hits:
        if rule.action is Action.APPROVE_OVERRIDE:
            allowed |= mask
            continue
        severity = SEVERITY[rule.action]
        np.maximum(worst, severity, out=worst, where=mask)
        if rule.action is Action.DECLINE and not rule.overridable:
            fixed |= mask
    worst[allowed] = APPROVE
    worst[fixed] = DECLINE
    return worst
