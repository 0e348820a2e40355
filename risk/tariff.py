"""A policy made ready for the hot path: everything found by the numbers that an event holds.

A decision must be recomputed from its log row alone, so merchant, trade, currency and payment
system are read from the event, as the same hashes that it stores.
"""

from dataclasses import dataclass
from typing import Final

from risk.decision import RiskOutcome
from risk.features.event import AMOUNT, INDEX
from risk.features.identity import code_of, identify
from risk.policy import (
    ANY_PAY_TYPE,
    DEFAULT_CATEGORY,
    MILLION,
    OUTCOMES,
    SEVERITY,
    Costs,
    Override,
    Policy,
    Ratios,
    Thresholds,
    codes_of,
    expected_costs,
)

_MERCHANT: Final = INDEX["merchant"]
_MCC: Final = INDEX["mcc"]
_CURRENCY: Final = INDEX["currency"]
_PAY_TYPE: Final = INDEX["pay_type"]
_KNOWN_COUNT: Final = 10_000
ExpectedCosts = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for one merchant in one trade.

    Attributes:
        category: Name of the trade.
        ratios: Its costs (`Costs.ratios`).
        thresholds: Fixed ones in place of costs; None: the costs decide.
        of_bundle: Whether the model's own thresholds decide.
        cap: Severity of the harshest outcome that the score alone may lead to.
    """

    category: str
    ratios: Ratios
    thresholds: Thresholds | None
    of_bundle: bool
    cap: int

    def choose(
        self, probability: float, amount_minor: float, bundle: Thresholds
    ) -> tuple[RiskOutcome, ExpectedCosts | None]:
        """Return the outcome, and what each would have cost if costs decided.

        Args:
            probability: Calibrated probability of fraud.
            amount_minor: In the policy's currency.
            bundle: The thresholds that came with the model.
        """
        fixed = bundle if self.of_bundle else self.thresholds
        if fixed is not None:
            place = min(SEVERITY[fixed.outcome(probability)], self.cap)
            return OUTCOMES[place], None
        costs = expected_costs(probability, amount_minor, self.ratios)
        best = 0
        for place in range(1, self.cap + 1):
            if costs[place] < costs[best]:
                best = place
        return OUTCOMES[best], costs


class Tariff:
    """A policy, looked up by an event's integers. One thread at a time."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.version = policy.version
        self._merchants = {identify("merchant", name): name for name in policy.merchants}
        self._categories = {
            identify("mcc", code): name
            for name, category in policy.categories.items()
            for code in codes_of(category.mcc, name)
        }
        self._rates = {code_of(code): rate / MILLION for code, rate in policy.rates_ppm.items()}
        self._static = [
            (
                0 if row.pay_type == ANY_PAY_TYPE else identify("pay_type", row.pay_type),
                row.up_to_minor,
                row.outcome,
            )
            for row in policy.static
        ]
        self._known: dict[tuple[int, int], Terms] = {}

    def amount_minor(self, values: list[int]) -> float:
        """Return an event's amount in minor units of the policy's currency."""
        rate = self._rates.get(values[_CURRENCY])
        amount_minor = float(values[AMOUNT])
        return amount_minor if rate is None else amount_minor * rate

    def terms(self, values: list[int]) -> Terms:
        """Return what holds for an event's merchant and trade."""
        key = (values[_MERCHANT], values[_MCC])
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _KNOWN_COUNT:
                self._known.clear()
            found = self._known[key] = self._terms(*key)
        return found

    def static(self, values: list[int]) -> RiskOutcome:
        """Return what the table for the worst case says: the first row that fits."""
        amount_minor = self.amount_minor(values)
        for pay_type, up_to_minor, outcome in self._static:
            if pay_type in {0, values[_PAY_TYPE]} and (
                up_to_minor is None or amount_minor <= up_to_minor
            ):
                return outcome
        return RiskOutcome.REVIEW  # The last row fits all; a policy without one can't be made.

    def _terms(self, merchant: int, mcc: int) -> Terms:
        policy = self.policy
        merchant_id = self._merchants.get(merchant, "")
        own = policy.merchants.get(merchant_id, Override())
        category = own.category or self._categories.get(mcc, DEFAULT_CATEGORY)
        costs: Costs = policy.costs_of(category, merchant_id)
        listed = policy.categories.get(category)
        cap = own.cap or (listed.cap if listed else RiskOutcome.DECLINE)
        fixed = own.thresholds
        by_thresholds = policy.kind == "thresholds"
        if fixed is None and by_thresholds:
            fixed = policy.thresholds
        return Terms(
            category=category,
            ratios=costs.ratios(),
            thresholds=fixed,
            of_bundle=by_thresholds and fixed is None,
            cap=SEVERITY[cap],
        )
