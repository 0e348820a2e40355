"""Policy and rules to outcomes for whole columns, as `risk.tariff` and `risk.verdict` do for one.

An outcome is its place in `OUTCOMES`, mildest first. Expected costs use the engine's own formula on
columns; numpy's ``+ - * /`` round as Python's do, so an outcome never differs by the last bit.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from risk.features.event import AMOUNT, EVENT_WIDTH, INDEX
from risk.features.identity import identify
from risk.policy import OUTCOMES, SEVERITY, Policy, Thresholds, expected_costs
from risk.rules.source import Action, Rule
from risk.tariff import Tariff, Terms

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
Outcomes = NDArray[np.uint8]

APPROVE, CHALLENGE, REVIEW, DECLINE = range(len(OUTCOMES))
OUTCOME_COUNT: Final = len(OUTCOMES)
_ACTIONS: Final = {
    Action.CHALLENGE: CHALLENGE,
    Action.REVIEW: REVIEW,
    Action.DECLINE: DECLINE,
}


@dataclass(frozen=True, slots=True)
class Payments:
    """What a policy reads of payments, a row each, as events hold it."""

    amount_minor: Ints
    currency: Ints
    merchant: Ints
    mcc: Ints


class BatchTariff:
    """A policy for many payments at once."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._tariff = Tariff(policy)
        names = sorted(identify("merchant", name) for name in policy.merchants)
        self._own = np.array(names, dtype=np.int64)

    def outcomes(self, probability: Floats, payments: Payments, bundle: Thresholds) -> Outcomes:
        """Return what the score alone leads to.

        Args:
            probability: Calibrated, shape ``(n,)``.
            payments: Their terms.
            bundle: Thresholds that came with the model.
        """
        outcome = np.zeros(len(probability), dtype=np.uint8)
        amount_minor = self._converted(payments)
        for terms, rows in self._groups(payments):
            outcome[rows] = _chosen(terms, probability[rows], amount_minor[rows], bundle)
        return outcome

    def costs(self, probability: Floats, payments: Payments) -> Floats:
        """Return what each outcome is expected to cost in the policy's currency; shape (4, n)."""
        costs = np.zeros((OUTCOME_COUNT, len(probability)))
        amount_minor = self._converted(payments)
        for terms, rows in self._groups(payments):
            costs[:, rows] = expected_costs(probability[rows], amount_minor[rows], terms.ratios)
        return costs

    def _converted(self, payments: Payments) -> Floats:
        """Amounts in the policy's currency; the rate is what it makes of one minor unit."""
        rates = np.ones(len(payments.currency))
        for currency in np.unique(payments.currency).tolist():
            values = [0] * EVENT_WIDTH
            values[INDEX["currency"]], values[AMOUNT] = currency, 1
            rates[payments.currency == currency] = self._tariff.amount_minor(values)
        converted: Floats = payments.amount_minor.astype(np.float64) * rates
        return converted

    def _groups(self, payments: Payments) -> Iterator[tuple[Terms, Mask | slice]]:
        """Yield each set of terms and the payments it holds for."""
        # A merchant without terms of its own stands for all such merchants.
        merchant = np.where(np.isin(payments.merchant, self._own), payments.merchant, 0)
        codes, code_place = np.unique(payments.mcc, return_inverse=True)
        shops, shop_place = np.unique(merchant, return_inverse=True)
        pair = shop_place * len(codes) + code_place
        pairs, place = np.unique(pair, return_inverse=True)
        by_terms: dict[Terms, list[int]] = {}
        for number, key in enumerate(pairs.tolist()):
            values = [0] * EVENT_WIDTH
            values[INDEX["merchant"]] = int(shops[key // len(codes)])
            values[INDEX["mcc"]] = int(codes[key % len(codes)])
            by_terms.setdefault(self._tariff.terms(values), []).append(number)
        if len(by_terms) == 1:
            yield next(iter(by_terms)), slice(None)
            return
        group_of = np.zeros(len(pairs), dtype=np.int64)
        for group, numbers in enumerate(by_terms.values()):
            group_of[numbers] = group
        row_group = group_of[place]
        for group, terms in enumerate(by_terms):
            yield terms, row_group == group


def _chosen(
    terms: Terms, probability: Floats, amount_minor: Floats, bundle: Thresholds
) -> Outcomes:
    """`risk.tariff.Terms.choose` for a column."""
    fixed = bundle if terms.of_bundle else terms.thresholds
    if fixed is not None:
        return np.minimum(by_thresholds(fixed, probability), np.uint8(terms.cap))
    costs = expected_costs(probability, amount_minor, terms.ratios)
    best = np.zeros(len(probability), dtype=np.uint8)
    least = costs[APPROVE]
    for place in range(1, terms.cap + 1):
        cheaper = costs[place] < least
        best[cheaper] = place
        least = np.where(cheaper, costs[place], least)
    return best


def by_thresholds(thresholds: Thresholds, probability: Floats) -> Outcomes:
    """`risk.policy.Thresholds.outcome` for a column."""
    outcome = np.zeros(len(probability), dtype=np.uint8)
    # They rise, so each level passed is one step more severe.
    for level in (thresholds.challenge_at, thresholds.review_at, thresholds.decline_at):
        outcome += probability >= level
    return outcome


def combined(hits: list[tuple[Rule, Mask]], scored: Outcomes) -> Outcomes:
    """`risk.verdict.decide` for a column.

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
        np.maximum(worst, np.uint8(_ACTIONS[rule.action]), out=worst, where=mask)
        if rule.action is Action.DECLINE and not rule.overridable:
            fixed |= mask
    worst[allowed] = APPROVE
    worst[fixed] = DECLINE
    return worst


__all__ = [
    "APPROVE",
    "CHALLENGE",
    "DECLINE",
    "OUTCOMES",
    "OUTCOME_COUNT",
    "REVIEW",
    "SEVERITY",
    "BatchTariff",
    "Outcomes",
    "Payments",
    "by_thresholds",
    "combined",
]
