"""Where to challenge, review and decline: the thresholds of least expected cost.

A wrong answer costs something different each time: an approved fraud its amount, a declined
honest payment the margin and some of the payer's patience, a review an analyst's minutes. The
thresholds are chosen on calibrated probabilities so that the sum over real amounts is least.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What each outcome costs, in shares of the amount and in fen.

    Attributes:
        loss_ratio: Part of an approved fraud's amount that is lost.
        dispute_minor: Handling of one dispute.
        margin_ratio: Part of an honest amount that a refusal loses.
        insult_minor: What an honest payer's annoyance at a refusal costs beyond that.
        challenge_quit_ratio: Honest payers who give up at a challenge.
        challenge_stop_ratio: Fraud that a challenge stops.
        review_minor: An analyst's work on one payment.
        review_quit_ratio: Honest payers who don't wait for a review.
        review_stop_ratio: Fraud that a review stops.
    """

    loss_ratio: float = 1.0
    dispute_minor: float = 8_000.0
    margin_ratio: float = 0.12
    insult_minor: float = 6_000.0
    challenge_quit_ratio: float = 0.06
    challenge_stop_ratio: float = 0.7
    review_minor: float = 1_500.0
    review_quit_ratio: float = 0.25
    review_stop_ratio: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Calibrated probabilities from which a payment is challenged, reviewed, declined.

    Two equal ones mean that the milder outcome is never the cheapest.
    """

    challenge_at: float
    review_at: float
    decline_at: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.challenge_at <= self.review_at <= self.decline_at <= 1.0:
            raise ValueError(f"thresholds must rise within 0..1, were {self}")


def expected_costs(probability: Floats, amount_minor: Floats, costs: Costs) -> Floats:
    """Expected cost in fen of approve, challenge, review and decline; shape (4, n)."""
    loss = probability * (amount_minor * costs.loss_ratio + costs.dispute_minor)
    refusal = (1.0 - probability) * (amount_minor * costs.margin_ratio + costs.insult_minor)
    return np.stack(
        [
            loss,
            loss * (1.0 - costs.challenge_stop_ratio) + refusal * costs.challenge_quit_ratio,
            loss * (1.0 - costs.review_stop_ratio)
            + refusal * costs.review_quit_ratio
            + costs.review_minor,
            refusal,
        ]
    )


def choose(probability: Floats, amount_minor: Floats, costs: Costs | None = None) -> Thresholds:
    """The rising thresholds of least total expected cost over these payments.

    Exact over all ways to cut the payments, sorted by probability, into four runs: a cut may
    stand anywhere where the probability changes.

    Raises:
        ValueError: if there is no payment.
    """
    if len(probability) == 0:
        raise ValueError("thresholds need payments")
    order = np.argsort(probability, kind="stable")
    sorted_probability = probability[order]
    by_outcome = expected_costs(sorted_probability, amount_minor[order], costs or Costs())
    total = np.concatenate([np.zeros((4, 1)), np.cumsum(by_outcome, axis=1)], axis=1)
    steps = np.flatnonzero(np.diff(sorted_probability)) + 1
    cuts = np.concatenate([[0], steps, [len(probability)]])
    at = total[:, cuts]
    # best[c]: least cost of all payments before cut c under the outcomes so far.
    best, choices = at[0], []
    for harsher in range(1, 4):
        gain = best - at[harsher]
        cheapest = np.minimum.accumulate(gain)
        positions = np.where(gain == cheapest, np.arange(len(cuts)), 0)
        choices.append(np.maximum.accumulate(positions))
        best = at[harsher] + cheapest
    place = len(cuts) - 1
    picked = []
    for choice in reversed(choices):
        place = int(choice[place])
        picked.append(_between(sorted_probability, int(cuts[place])))
    return Thresholds(challenge_at=picked[2], review_at=picked[1], decline_at=picked[0])


def _between(sorted_probability: Floats, cut: int) -> float:
    """A threshold that parts the payments before `cut` from the others."""
    if cut == 0:
        return 0.0
    if cut == len(sorted_probability):
        return 1.0
    return float((sorted_probability[cut - 1] + sorted_probability[cut]) / 2.0)
