"""Traffic by the minute: how many payments, decided how, how fast, at what score, with what end.

Both queries walk one index over a bounded time. What they return per minute adds up (counts and
histograms, never averages), so that any window is the sum of its minutes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from sqlalchemy import case, func, select

from gateway.queries.reader import Reader, fetch
from gateway.store import tables
from risk.decision import RiskOutcome

MINUTE_US = 60_000_000
OUTCOMES: tuple[RiskOutcome, ...] = tuple(RiskOutcome)
SCORE_BIN_COUNT = 20
# Sixteen buckets an octave: a percentile read from them is at most 4.5 % too high.
LATENCY_BUCKETS_PER_OCTAVE = 16
LATENCY_BUCKET_COUNT = 24 * LATENCY_BUCKETS_PER_OCTAVE  # Up to 16 seconds.

# Orders that a payer never got to see: they say nothing about paying.
_NEVER_OPENED = ("DECLINED", "REJECTED", "CHANNEL_REFUSED")

Counts: TypeAlias = npt.NDArray[np.int64]


def _zeros(size: int) -> Counts:
    return np.zeros(size, dtype=np.int64)


@dataclass(slots=True, eq=False)
class DecisionMinute:
    """The decisions of one minute, or of any sum of minutes.

    Attributes:
        outcome_counts: Decisions by outcome, in the order of `OUTCOMES`.
        degraded_count: Decisions that the full path did not make.
        latency_counts: Decisions by logarithmic bucket of the assessment's time.
        score_counts: Decisions by calibrated score, `SCORE_BIN_COUNT` bins over 0 to 1.
    """

    outcome_counts: Counts = field(default_factory=lambda: _zeros(len(OUTCOMES)))
    degraded_count: int = 0
    latency_counts: Counts = field(default_factory=lambda: _zeros(LATENCY_BUCKET_COUNT))
    score_counts: Counts = field(default_factory=lambda: _zeros(SCORE_BIN_COUNT))

    @property
    def count(self) -> int:
        """All decisions."""
        return int(self.outcome_counts.sum())

    def add(self, other: "DecisionMinute") -> None:
        """Add another minute to this one."""
        self.outcome_counts += other.outcome_counts
        self.degraded_count += other.degraded_count
        self.latency_counts += other.latency_counts
        self.score_counts += other.score_counts

    def share(self, outcome: RiskOutcome) -> float | None:
        """Share of one outcome, 0 to 1; None without decisions."""
        count = self.count
        return int(self.outcome_counts[OUTCOMES.index(outcome)]) / count if count else None

    def latency_us(self, quantile: float) -> float | None:
        """Time of the assessment at a quantile, microseconds; None without decisions."""
        return latency_quantile_us(self.latency_counts, quantile)


@dataclass(slots=True)
class OrderMinute:
    """The orders created in one minute, or in any sum of minutes, and what became of them.

    Attributes:
        opened_count: Orders that a payer could pay.
        paid_count: Orders that were paid, refunded ones included.
        amount_minor: Amount of all orders by currency, minor units.
        paid_minor: Amount paid by currency, minor units.
    """

    opened_count: int = 0
    paid_count: int = 0
    amount_minor: dict[str, int] = field(default_factory=dict)
    paid_minor: dict[str, int] = field(default_factory=dict)

    def add(self, other: "OrderMinute") -> None:
        """Add another minute to this one."""
        self.opened_count += other.opened_count
        self.paid_count += other.paid_count
        for mine, theirs in (
            (self.amount_minor, other.amount_minor),
            (self.paid_minor, other.paid_minor),
        ):
            for currency, minor in theirs.items():
                mine[currency] = mine.get(currency, 0) + minor

    @property
    def success_ratio(self) -> float | None:
        """Paid among opened orders, 0 to 1; None if none was opened."""
        return self.paid_count / self.opened_count if self.opened_count else None


def latency_buckets(elapsed_us: npt.NDArray[np.int64]) -> Counts:
    """Sort assessment times into logarithmic buckets."""
    exponents = np.log2(np.maximum(elapsed_us, 1)) * LATENCY_BUCKETS_PER_OCTAVE
    buckets = np.minimum(exponents.astype(np.int64), LATENCY_BUCKET_COUNT - 1)
    return np.bincount(buckets, minlength=LATENCY_BUCKET_COUNT).astype(np.int64)


def latency_quantile_us(counts: Counts, quantile: float) -> float | None:
    """Read a quantile from bucketed times: the upper edge of the bucket it falls into.

    Args:
        counts: From `latency_buckets`, or a sum of such.
        quantile: 0 to 1.

    Returns:
        Microseconds, at most 4.5 % above the exact quantile; None if nothing was counted.

    Examples:
        >>> round(latency_quantile_us(latency_buckets(np.array([64, 64, 1000])), 0.5) or 0.0)
        67
    """
    total = int(counts.sum())
    if total == 0:
        return None
    rank = max(1, int(np.ceil(quantile * total)))
    bucket = int(np.searchsorted(np.cumsum(counts), rank))
    return float(2.0 ** ((bucket + 1) / LATENCY_BUCKETS_PER_OCTAVE))


def decision_minutes(reader: Reader, since_us: int, until_us: int) -> dict[int, DecisionMinute]:
    """Read the decisions made in `[since_us, until_us)`, by the start of their minute.

    Raises:
        ReaderError: if the database can't be read.
    """
    decisions = tables.decisions.c
    rows = fetch(
        reader,
        select(
            decisions.decided_at_us,
            decisions.outcome,
            decisions.score,
            decisions.elapsed_us,
            decisions.degraded,
        ).where(decisions.decided_at_us >= since_us, decisions.decided_at_us < until_us),
    )
    if not rows:
        return {}
    at_us, outcome, score, elapsed_us, degraded = zip(*rows, strict=True)
    minute = np.array(at_us, dtype=np.int64) // MINUTE_US * MINUTE_US
    outcome_index = np.array([OUTCOMES.index(RiskOutcome(name)) for name in outcome])
    scores = np.clip(np.array(score, dtype=np.float64), 0.0, 1.0)
    score_bin = np.minimum((scores * SCORE_BIN_COUNT).astype(np.int64), SCORE_BIN_COUNT - 1)
    times_us = np.array(elapsed_us, dtype=np.int64)
    is_degraded = np.array([bool(word) for word in degraded])
    return {
        int(start_us): DecisionMinute(
            outcome_counts=np.bincount(outcome_index[chosen], minlength=len(OUTCOMES)),
            degraded_count=int(is_degraded[chosen].sum()),
            latency_counts=latency_buckets(times_us[chosen]),
            score_counts=np.bincount(score_bin[chosen], minlength=SCORE_BIN_COUNT),
        )
        for start_us in np.unique(minute)
        for chosen in (minute == start_us,)
    }


def order_minutes(reader: Reader, since_us: int, until_us: int) -> dict[int, OrderMinute]:
    """Read the orders created in `[since_us, until_us)`, by the start of their minute.

    Raises:
        ReaderError: if the database can't be read.
    """
    orders = tables.orders.c
    minute = (orders.created_at_us // MINUTE_US).label("minute")
    opened = case(
        (orders.status == "CREATED", 0), (orders.status_reason.in_(_NEVER_OPENED), 0), else_=1
    )
    rows = fetch(
        reader,
        select(
            minute,
            orders.currency,
            func.sum(opened),
            func.sum(case((orders.paid_minor > 0, 1), else_=0)),
            func.sum(orders.amount_minor),
            func.sum(orders.paid_minor),
        )
        .where(orders.created_at_us >= since_us, orders.created_at_us < until_us)
        .group_by(minute, orders.currency),
    )
    minutes: dict[int, OrderMinute] = {}
    for index, currency, opened_count, paid_count, amount_minor, paid_minor in rows:
        of_currency = OrderMinute(
            opened_count, paid_count, {currency: amount_minor}, {currency: paid_minor}
        )
        minutes.setdefault(index * MINUTE_US, OrderMinute()).add(of_currency)
    return minutes


def last_decision_at_us(reader: Reader) -> int | None:
    """Return when the latest decision was made, or None if there is none.

    Raises:
        ReaderError: if the database can't be read.
    """
    rows = fetch(reader, select(func.max(tables.decisions.c.decided_at_us)))
    return rows[0][0] if rows else None


def total(minutes: Iterable[DecisionMinute]) -> DecisionMinute:
    """Add minutes up."""
    result = DecisionMinute()
    for minute in minutes:
        result.add(minute)
    return result
