"""What a replay found: detection on the part the model had not seen, speed, and a sound ledger."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, text

DECLINE_RATE_DEFAULT = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """Figures on the labelled rows after the training part; None where they mean nothing.

    Attributes:
        tested: Labelled rows measured.
        tested_frauds: Frauds among them.
        roc_auc: Area under the ROC curve of the model's score.
        average_precision: Area under the precision-recall curve.
        precision_at_decline_rate: Share of frauds among the highest `decline_rate` of scores.
        decline_rate: Share of the tested rows that was declined, or 1 % if none was.
        decline_rate_is: ``declined`` or ``default``.
    """

    tested: int
    tested_frauds: int
    roc_auc: float | None
    average_precision: float | None
    precision_at_decline_rate: float | None
    decline_rate: float
    decline_rate_is: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcome of one replay; figures of time are wall-clock, `assess` ones as stored."""

    file: str
    mapping: str
    rows: int
    accepted: int
    refused: int
    labelled: int
    zero_amounts_replaced: int
    outcomes: dict[str, int]
    train_rows: int
    train_labels: str
    not_trained: str
    model_version: str
    detection: Detection
    seconds: float
    creates_per_s: float
    assess_p50_us: float
    assess_p99_us: float
    degraded: int
    ledger_balanced: bool
    broken: tuple[str, ...]
    var: str

    def as_dict(self) -> dict[str, object]:
        """Return one flat object for `--json`."""
        values = asdict(self)
        values |= values.pop("detection")
        return values

    def lines(self) -> list[str]:
        """Return the report for a person."""
        found = self.detection
        outcomes = ", ".join(f"{count:,} {name}" for name, count in sorted(self.outcomes.items()))
        precision = _figure(found.precision_at_decline_rate)
        assessed = f"p50 {self.assess_p50_us:.0f} us, p99 {self.assess_p99_us:.0f} us"
        table = {
            "history": f"{self.rows:,} rows of {self.file} by mapping {self.mapping}",
            "answers": f"{self.accepted:,} accepted, {self.refused:,} refused",
            "labels": f"{self.labelled:,} rows labelled",
            "zero amounts": f"{self.zero_amounts_replaced:,} replaced",
            "decisions": f"{outcomes}; {self.degraded:,} degraded",
            "trained": self._training(),
            "measured": f"on {found.tested:,} labelled rows after, {found.tested_frauds:,} frauds",
            "ROC AUC": _figure(found.roc_auc),
            "average precision": _figure(found.average_precision),
            "precision": f"{precision} at rate {found.decline_rate:.4%} ({found.decline_rate_is})",
            "speed": f"{self.creates_per_s:,.0f} creates/s over {self.seconds:.1f} s",
            "risk check": assessed,
            "ledger": "balanced" if self.ledger_balanced else "NOT BALANCED",
            "state": self.var,
        }
        lines = [f"{name:20} {value}" for name, value in table.items()]
        return lines + [f"BROKEN               {finding}" for finding in self.broken]

    def _training(self) -> str:
        if self.not_trained:
            return f"not at all: {self.not_trained}"
        if not self.train_rows:
            return "not at all"
        labels = f"labels {self.train_labels}"
        if self.train_labels != "known in time":
            labels += " (too few were known by then; features never see them early)"
        return f"on the first {self.train_rows:,} rows, {labels}: {self.model_version}"


def _figure(value: float | None) -> str:
    return "not measurable" if value is None else f"{value:.4f}"


def detect(
    labels: npt.NDArray[np.int8], scores: npt.NDArray[np.float64], declined: npt.NDArray[np.bool_]
) -> Detection:
    """Measure detection on rows the model had not seen.

    Args:
        labels: 1 fraud, 0 genuine, -1 unlabelled (left out).
        scores: The model's output before calibration, which has no ties.
        declined: Whether the gateway declined the row.
    """
    from models.evaluate import average_precision, precision_at_rate, roc_auc

    known = labels >= 0
    y, score = labels[known], scores[known]
    rate = float(np.mean(declined[known])) if len(y) else 0.0
    chosen, origin = (rate, "declined") if rate > 0 else (DECLINE_RATE_DEFAULT, "default")
    frauds = int(np.count_nonzero(y == 1))
    measurable = 0 < frauds < len(y)
    return Detection(
        tested=len(y),
        tested_frauds=frauds,
        roc_auc=float(roc_auc(y, score)) if measurable else None,
        average_precision=float(average_precision(y, score)) if measurable else None,
        precision_at_decline_rate=precision_at_rate(y, score, chosen) if measurable else None,
        decline_rate=chosen,
        decline_rate_is=origin,
    )


@dataclass(frozen=True, slots=True)
class Scored:
    """What the gateway stored about each replayed row, by the row's place in the history."""

    score: npt.NDArray[np.float64]
    declined: npt.NDArray[np.bool_]
    stored: npt.NDArray[np.bool_]
    elapsed_us: npt.NDArray[np.int64]
    outcomes: dict[str, int]
    degraded: int


def read_scores(conn: Connection, merchant_ids: Sequence[str], rows: int) -> Scored:
    """Read the stored decisions of a replay; a row's place is in its ``out_trade_no``."""
    score = np.zeros(rows, dtype=np.float64)
    declined = np.zeros(rows, dtype=np.bool_)
    stored = np.zeros(rows, dtype=np.bool_)
    elapsed_us: list[int] = []
    outcomes: dict[str, int] = {}
    degraded = 0
    statement = text(
        "SELECT o.out_trade_no, d.score_raw, d.outcome, d.elapsed_us, d.degraded"
        " FROM orders o JOIN decisions d USING (merchant_id, decision_id)"
        " WHERE o.merchant_id = :merchant_id"
    )
    for merchant_id in merchant_ids:
        for number, raw, outcome, took_us, why in conn.execute(
            statement, {"merchant_id": merchant_id}
        ):
            place = int(number[1:])
            score[place] = raw
            declined[place] = outcome == "DECLINE"
            stored[place] = True
            elapsed_us.append(took_us)
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            degraded += bool(why)
    return Scored(score, declined, stored, np.array(elapsed_us, dtype=np.int64), outcomes, degraded)
