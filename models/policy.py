"""Where to challenge, review and decline: the thresholds of least expected cost.

A wrong answer costs something different each time: an approved fraud its amount, a declined
honest payment the margin and some of the payer's patience, a review an analyst's minutes. The
thresholds are chosen on calibrated probabilities so that the sum over real amounts is least.
"""

import numpy as np
from numpy.typing import NDArray

from risk.policy import Costs, Thresholds
from risk.policy import expected_costs as costs_of_outcomes

__all__ = ["Costs", "Thresholds", "choose", "expected_costs"]

Floats = NDArray[np.float64]


def expected_costs(probability: Floats, amount_minor: Floats, costs: Costs) -> Floats:
    """Expected cost of approve, challenge, review and decline, minor units; shape (4, n).

    The engine's own formula, so that what was weighed in training is what decides.
    """
    return np.stack(costs_of_outcomes(probability, amount_minor, costs.ratios()))


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
