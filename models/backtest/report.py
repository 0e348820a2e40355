"""What a change would have done: both sides counted alike, payment by payment.

A payment is *flagged* unless it is approved. Fraud that is flagged is caught, genuine payments
that are flagged are false positives; payments without a label are counted apart, because nobody
knows. Money is in minor units and never added across currencies.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.backtest.judging import (
    APPROVE,
    CHALLENGE,
    DECLINE,
    OUTCOMES,
    REVIEW,
    BatchTariff,
    Outcomes,
    Payments,
)

Ints = NDArray[np.int64]
Bytes = NDArray[np.int8]
Mask = NDArray[np.bool_]

PPM_WHOLE: Final = 1_000_000
DAY_US: Final = 86_400_000_000
MOVERS_COUNT: Final = 10
_ALPHABET: Final = " ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """What one side did to the money of one currency, in its minor units.

    Attributes:
        caught_minor: Fraud that was flagged.
        missed_minor: Fraud that was approved.
        false_positive_minor: Genuine payments that were flagged.
        saved_minor: Fraud that is expected to be stopped: all that was declined, and the shares
            of reviewed and challenged fraud that the policy in use says those stop.
    """

    caught_minor: int
    missed_minor: int
    false_positive_minor: int
    saved_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one set-up decides over the history.

    Attributes:
        outcomes: Payments by outcome.
        caught_count: Fraud flagged.
        missed_count: Fraud approved.
        false_positive_count: Genuine payments flagged.
        flagged_unlabelled_count: Payments flagged of which nobody knows the truth.
        reviews_per_day: Mean over the days of the history.
        reviews_day_max_count: On the busiest day.
        cost_minor: Loss, friction and work of the labelled payments, in minor units of the
            currency of the policy in use and by its costs, whichever side decides.
        money: By currency.
    """

    outcomes: dict[str, int]
    caught_count: int
    missed_count: int
    false_positive_count: int
    flagged_unlabelled_count: int
    reviews_per_day: float
    reviews_day_max_count: int
    cost_minor: int
    money: dict[str, Money]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleEffect:
    """What one rule of the change fires for, whatever else decides."""

    name: str
    hits_count: int
    fraud_count: int
    genuine_count: int
    unlabelled_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mover:
    """What the change does in one month, or to one merchant: changed minus present.

    Attributes:
        key: ``YYYY-MM``, or the merchant.
        payments_count: All of its payments.
        moved_count: Payments with another outcome.
        caught_count: Fraud flagged, more or fewer.
        false_positive_count: Genuine payments flagged, more or fewer.
        flagged_count: Payments flagged, more or fewer.
    """

    key: str
    payments_count: int
    moved_count: int
    caught_count: int
    false_positive_count: int
    flagged_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Trade numbers to look at, the largest amounts first.

    Attributes:
        caught: Fraud that only the change flags.
        lost: Fraud that only the present set-up flags.
        freed: Genuine payments that only the change approves.
        bothered: Genuine payments that only the change flags.
        unknown: Payments without a label whose outcome moves.
    """

    caught: tuple[str, ...]
    lost: tuple[str, ...]
    freed: tuple[str, ...]
    bothered: tuple[str, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcome of a back-test.

    Attributes:
        payments_count: Payments looked at.
        fraud_count: Of them known to be fraud.
        genuine_count: Known to be genuine.
        unlabelled_count: Not known, and counted apart everywhere.
        undecided_count: Attempts of the log without a decision; left out.
        stopped_unlabelled_count: Unlabelled because they were declined or held at the time: what
            they would have become is unknown, so a milder set-up looks better or worse than it is.
        known_by_us: Labels known by then were used.
        since_us: Time of the first payment.
        until_us: Time of the last one.
        days_count: Days the history spans, begun ones included.
        present: The set-up in use, recomputed.
        changed: The same with the change.
        moved: Payments by outcome now and then, ``moved[present][changed]``, without the equal.
        rules: Each rule of the change.
        months: By month.
        merchants: Those with most moved payments.
        cost_currency: Of both sides' `cost_minor`.
        examples: Trade numbers.
        versions: What was compared.
    """

    payments_count: int
    fraud_count: int
    genuine_count: int
    unlabelled_count: int
    undecided_count: int
    stopped_unlabelled_count: int
    known_by_us: int
    since_us: int
    until_us: int
    days_count: int
    present: Side
    changed: Side
    moved: dict[str, dict[str, int]]
    rules: tuple[RuleEffect, ...]
    months: tuple[Mover, ...]
    merchants: tuple[Mover, ...]
    cost_currency: str
    examples: Examples
    versions: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON takes it."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of the payments of a report, a row each.

    Attributes:
        truth: 1 fraud, 0 genuine, -1 unknown.
        at_us: When each was assessed.
        payments: Amounts, currencies, merchants.
        utc_offset_s: Of the days and months that people mean.
        tariff: What outcomes cost.
    """

    truth: Bytes
    at_us: Ints
    payments: Payments
    utc_offset_s: int
    tariff: BatchTariff

    @property
    def day(self) -> Ints:
        """Day of each payment, counted from the epoch in local time."""
        return (self.at_us + self.utc_offset_s * 1_000_000) // DAY_US


def side_of(facts: Facts, outcome: Outcomes) -> Side:
    """Count one side."""
    flagged = outcome != APPROVE
    fraud, genuine = facts.truth == 1, facts.truth == 0
    counts = np.bincount(outcome, minlength=len(OUTCOMES)).tolist()
    reviews = np.bincount(facts.day[outcome == REVIEW] - facts.day.min(), minlength=1)
    return Side(
        outcomes={name.value: count for name, count in zip(OUTCOMES, counts, strict=True)},
        caught_count=int((flagged & fraud).sum()),
        missed_count=int((~flagged & fraud).sum()),
        false_positive_count=int((flagged & genuine).sum()),
        flagged_unlabelled_count=int((flagged & (facts.truth < 0)).sum()),
        reviews_per_day=counts[REVIEW] / days_count(facts),
        reviews_day_max_count=int(reviews.max()),
        cost_minor=_cost_minor(facts, outcome),
        money={
            currency_of(code): _money(facts, outcome, facts.payments.currency == code)
            for code in np.unique(facts.payments.currency).tolist()
        },
    )


def days_count(facts: Facts) -> int:
    """Return how many days the payments span, at least one."""
    return int(facts.day.max() - facts.day.min()) + 1 if len(facts.day) else 1


def _money(facts: Facts, outcome: Outcomes, picked: Mask) -> Money:
    fraud, genuine = picked & (facts.truth == 1), picked & (facts.truth == 0)
    flagged = outcome != APPROVE
    costs = facts.tariff.policy.costs

    def total(mask: Mask) -> int:
        return int(facts.payments.amount_minor[mask].sum())

    return Money(
        caught_minor=total(fraud & flagged),
        missed_minor=total(fraud & ~flagged),
        false_positive_minor=total(genuine & flagged),
        saved_minor=total(fraud & (outcome == DECLINE))
        + total(fraud & (outcome == REVIEW)) * costs.review_stop_ppm // PPM_WHOLE
        + total(fraud & (outcome == CHALLENGE)) * costs.challenge_stop_ppm // PPM_WHOLE,
    )


def _cost_minor(facts: Facts, outcome: Outcomes) -> int:
    """The costs of the outcomes once the truth is known: of fraud or not, without a doubt."""
    rows = np.flatnonzero(facts.truth >= 0)
    all_payments = facts.payments
    labelled = Payments(
        amount_minor=all_payments.amount_minor[rows],
        currency=all_payments.currency[rows],
        merchant=all_payments.merchant[rows],
        mcc=all_payments.mcc[rows],
    )
    by_outcome = facts.tariff.costs(facts.truth[rows].astype(np.float64), labelled)
    return round(float(by_outcome[outcome[rows], np.arange(len(rows))].sum()))


def moved_between(present: Outcomes, changed: Outcomes) -> dict[str, dict[str, int]]:
    """Count the payments whose outcome differs, by outcome before and after."""
    width = len(OUTCOMES)
    pairs = np.bincount(present.astype(np.int64) * width + changed, minlength=width * width)
    return {
        before.value: {
            after.value: int(pairs[row * width + column])
            for column, after in enumerate(OUTCOMES)
            if row != column and pairs[row * width + column]
        }
        for row, before in enumerate(OUTCOMES)
    }


def months_of(facts: Facts, present: Outcomes, changed: Outcomes) -> tuple[Mover, ...]:
    """Return what the change does month by month."""
    days, place = np.unique(facts.day, return_inverse=True)
    names = [
        (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).strftime("%Y-%m")
        for day in days.tolist()
    ]
    months = sorted(set(names))
    of_day = np.array([months.index(name) for name in names], dtype=np.int64)
    return _movers(facts, present, changed, of_day[place], months)


def merchants_of(facts: Facts, present: Outcomes, changed: Outcomes) -> tuple[Mover, ...]:
    """Return the merchants with most moved payments; their keys are a row of each."""
    _, first, place = np.unique(facts.payments.merchant, return_index=True, return_inverse=True)
    movers = _movers(facts, present, changed, place, [str(row) for row in first.tolist()])
    moved = [mover for mover in movers if mover.moved_count]
    moved.sort(key=lambda mover: (-mover.moved_count, int(mover.key)))
    return tuple(moved[:MOVERS_COUNT])


def _movers(
    facts: Facts, present: Outcomes, changed: Outcomes, place: Ints, keys: list[str]
) -> tuple[Mover, ...]:
    flag = (changed != APPROVE).astype(np.int64) - (present != APPROVE)

    def total(values: NDArray[Any]) -> list[int]:
        # Counts are far below 2^53, so floats hold them exactly.
        return [round(s) for s in np.bincount(place, weights=values, minlength=len(keys)).tolist()]

    columns = zip(
        keys,
        total(np.ones(len(place))),
        total(present != changed),
        total(flag * (facts.truth == 1)),
        total(flag * (facts.truth == 0)),
        total(flag),
        strict=True,
    )
    return tuple(
        Mover(
            key=key,
            payments_count=payments,
            moved_count=moved,
            caught_count=caught,
            false_positive_count=false_positives,
            flagged_count=flagged,
        )
        for key, payments, moved, caught, false_positives, flagged in columns
    )


def currency_of(code: int) -> str:
    """Return the letters behind `risk.features.identity.code_of`.

    Examples:
        >>> from risk.features.identity import code_of
        >>> currency_of(code_of("CNY"))
        'CNY'
    """
    letters = ""
    while code > 0:
        code, digit = divmod(code, 37)
        letters = _ALPHABET[digit] + letters
    return letters
