"""What a payment's outcome costs, and which outcome is therefore chosen.

An approved fraud costs its amount and a chargeback, a refused honest payment its margin and the
payer's patience, a challenge some honest payers, a review an analyst's minutes. With a calibrated
probability each outcome has an expected cost; the cheapest is chosen, and of equals the mildest.
What a chargeback or a lost customer costs differs by trade, so costs are stated per category of
merchants, and a merchant may have its own.

A policy is data: JSON in and out, named by the hash of what it says. All of its numbers are
integers (minor units of its currency, parts per million); costs are computed with ``+ - * /`` on
floats in one order, so that a stored decision is recomputed to the last bit.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Final, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from risk.decision import RiskOutcome

MILLION: Final = 1_000_000.0
PPM_WHOLE: Final = 1_000_000
MINOR_MAX: Final = 10**12
RATE_PPM_MAX: Final = 10**12
SEVERITY: Final = {outcome: place for place, outcome in enumerate(RiskOutcome)}
OUTCOMES: Final = tuple(RiskOutcome)
DEFAULT_CATEGORY: Final = "default"
ANY_PAY_TYPE: Final = "*"
Kind = Literal["costs", "thresholds"]
Number = TypeVar("Number", float, npt.NDArray[np.float64])
Ratios = tuple[float, float, float, float, float, float, float, float, float, float]


class PolicyError(ValueError):
    """A policy makes no sense; says where and why."""

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"policy, {place}: {problem}")
        self.place = place
        self.problem = problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What each outcome costs: shares in parts per million, sums in minor units.

    Attributes:
        loss_ppm: Of an approved fraud's amount, what is lost.
        chargeback_minor: Fee and handling of one chargeback.
        margin_ppm: Of an honest amount, what a refusal loses.
        insult_minor: What a refused honest payer's annoyance costs beyond that.
        challenge_minor: One challenge, e.g. a message.
        challenge_quit_ppm: Honest payers who give up at a challenge.
        challenge_stop_ppm: Fraud that a challenge stops.
        review_minor: An analyst's work on one payment.
        review_quit_ppm: Honest payers who don't wait for a review.
        review_stop_ppm: Fraud that a review stops.
    """

    loss_ppm: int = 1_000_000
    chargeback_minor: int = 8_000
    margin_ppm: int = 120_000
    insult_minor: int = 6_000
    challenge_minor: int = 5
    challenge_quit_ppm: int = 60_000
    challenge_stop_ppm: int = 700_000
    review_minor: int = 1_500
    review_quit_ppm: int = 250_000
    review_stop_ppm: int = 950_000

    def __post_init__(self) -> None:
        for name in COST_NAMES:
            check_cost(name, getattr(self, name), "costs")

    def ratios(self) -> Ratios:
        """Return the costs as floats, shares as parts of one, in the order of the fields."""
        return tuple(  # type: ignore[return-value]  # ten fields, ten floats
            getattr(self, name) / MILLION if name.endswith("_ppm") else float(getattr(self, name))
            for name in COST_NAMES
        )


COST_NAMES: Final = tuple(item.name for item in fields(Costs))


def check_cost(name: str, value: object, place: str) -> None:
    """Refuse a cost that is none.

    Raises:
        PolicyError: the name is unknown, the value no integer, or out of range.
    """
    if name not in COST_NAMES:
        raise PolicyError(place, f"no cost is called {name!r}; there are {', '.join(COST_NAMES)}")
    if not isinstance(value, int) or isinstance(value, bool):
        raise PolicyError(f"{place}.{name}", f"must be a whole number, was {value!r}")
    # More than the amount may be lost, but of payers and fraud there is no more than the whole.
    top = MINOR_MAX if name.endswith("_minor") else PPM_WHOLE * (10 if name == "loss_ppm" else 1)
    if not 0 <= value <= top:
        raise PolicyError(f"{place}.{name}", f"must be between 0 and {top}, was {value}")


def expected_costs(
    probability: Number, amount_minor: Number, ratios: Ratios
) -> tuple[Number, Number, Number, Number]:
    """Return the expected cost of approve, challenge, review and decline, in minor units.

    Args:
        probability: Calibrated probability of fraud; one, or an array of them.
        amount_minor: The amount in the policy's currency; likewise.
        ratios: `Costs.ratios`.

    Examples:
        >>> [round(cost) for cost in expected_costs(0.05, 10_000.0, Costs().ratios())]
        [900, 685, 3255, 6840]
    """
    loss, fee, margin, insult, message, quit_at, stop_at, work, leave_at, catch_at = ratios
    fraud = probability * (amount_minor * loss + fee)
    refusal = (1.0 - probability) * (amount_minor * margin + insult)
    return (
        fraud,
        fraud * (1.0 - stop_at) + refusal * quit_at + message,
        fraud * (1.0 - catch_at) + refusal * leave_at + work,
        refusal,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Calibrated probabilities from which a payment is challenged, reviewed, declined.

    Two equal ones mean that the milder outcome is never chosen.
    """

    challenge_at: float
    review_at: float
    decline_at: float

    def __post_init__(self) -> None:
        levels = (0.0, self.challenge_at, self.review_at, self.decline_at)
        if not all(low <= high for low, high in pairwise(levels)):
            raise PolicyError("thresholds", f"must rise: challenge, review, decline; were {self}")

    def outcome(self, probability: float) -> RiskOutcome:
        """Return what these thresholds say to a probability."""
        if probability >= self.decline_at:
            return RiskOutcome.DECLINE
        if probability >= self.review_at:
            return RiskOutcome.REVIEW
        if probability >= self.challenge_at:
            return RiskOutcome.CHALLENGE
        return RiskOutcome.APPROVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """A trade: which merchant category codes it holds and how its costs differ.

    Attributes:
        mcc: Codes of ISO 18245, each one code (``5944``) or a range (``3000-3999``).
        costs: Only what differs from the default costs, by name.
        cap: The harshest outcome that the score alone may lead to.
    """

    mcc: tuple[str, ...] = ()
    costs: Mapping[str, int] = field(default_factory=dict)
    cap: RiskOutcome = RiskOutcome.DECLINE


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What one merchant has of its own.

    Attributes:
        category: Its trade, whatever code a payment names; empty: by the payment's code.
        costs: Only what differs from its category, by name.
        thresholds: Fixed ones in place of costs.
        cap: The harshest outcome that the score alone may lead to; None: its category's.
    """

    category: str = ""
    costs: Mapping[str, int] = field(default_factory=dict)
    thresholds: Thresholds | None = None
    cap: RiskOutcome | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticRow:
    """One row of the table that decides when rules can't: the first that fits.

    Attributes:
        pay_type: Payment system, or ``*`` for any.
        up_to_minor: Amounts up to this, in the policy's currency; None: any.
        outcome: What to do.
    """

    pay_type: str = ANY_PAY_TYPE
    up_to_minor: int | None = None
    outcome: RiskOutcome = RiskOutcome.REVIEW

    @property
    def fits_all(self) -> bool:
        """Whether no payment passes this row by."""
        return self.pay_type == ANY_PAY_TYPE and self.up_to_minor is None


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Everything that turns a probability into an outcome.

    Attributes:
        kind: ``costs``: the cheapest outcome; ``thresholds``: fixed probabilities.
        currency: The one its sums are stated in.
        rates_ppm: What one minor unit of another currency is worth, in minor units of this one,
            parts per million; a currency that is not named counts one to one.
        costs: Where neither category nor merchant say otherwise.
        thresholds: For the kind ``thresholds``; None: those of the model's bundle.
        categories: By name.
        merchants: By merchant_id.
        static: When rules can't run.
    """

    kind: Kind = "costs"
    currency: str = "CNY"
    rates_ppm: Mapping[str, int] = field(default_factory=dict)
    costs: Costs = field(default_factory=Costs)
    thresholds: Thresholds | None = None
    categories: Mapping[str, Category] = field(default_factory=dict)
    merchants: Mapping[str, Override] = field(default_factory=dict)
    static: tuple[StaticRow, ...] = (StaticRow(),)

    def __post_init__(self) -> None:
        if not self.static or not self.static[-1].fits_all:
            raise PolicyError("static", 'the last row must fit every payment: pay_type "*", no sum')
        for code, rate in self.rates_ppm.items():
            if not 0 < rate <= RATE_PPM_MAX:
                raise PolicyError(f"rates_ppm.{code}", f"must be 1 to {RATE_PPM_MAX}, was {rate}")
        owners: dict[str, str] = {}
        for name, category in self.categories.items():
            if not name or name == DEFAULT_CATEGORY:
                raise PolicyError("categories", f"{name!r} is no name for a category")
            self.costs_of(name, "")
            for code in codes_of(category.mcc, f"categories.{name}.mcc"):
                if owners.setdefault(code, name) != name:
                    raise PolicyError(f"categories.{name}", f"{code} is in {owners[code]} too")
        for merchant_id, own in self.merchants.items():
            if own.category and own.category not in {*self.categories, DEFAULT_CATEGORY}:
                raise PolicyError(f"merchants.{merchant_id}", f"no category {own.category!r}")
            self.costs_of(own.category, merchant_id)

    @cached_property
    def version(self) -> str:
        """The policy's name: the hash of all it says."""
        digest = hashlib.blake2b(self.canonical().encode(), digest_size=6)
        return f"policy-{digest.hexdigest()}"

    def canonical(self) -> str:
        """Return the policy as JSON, one text for one meaning."""
        return json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"))

    def as_json(self) -> dict[str, Any]:
        """Return the policy as JSON values."""
        return {**asdict(self)}

    def costs_of(self, category: str, merchant_id: str) -> Costs:
        """Return the costs of a merchant in a category, each layer over the one before.

        Raises:
            PolicyError: a layer names an unknown cost or one out of range.
        """
        layers = []
        if category in self.categories:
            layers.append((f"categories.{category}", self.categories[category].costs))
        if merchant_id in self.merchants:
            layers.append((f"merchants.{merchant_id}", self.merchants[merchant_id].costs))
        merged: dict[str, Any] = {}
        for place, costs in layers:
            for name, value in costs.items():
                check_cost(name, value, f"{place}.costs")
            merged |= costs
        return replace(self.costs, **merged)


def codes_of(ranges: tuple[str, ...], place: str) -> list[str]:
    """Return every merchant category code that a list of codes and ranges names.

    Raises:
        PolicyError: one of them is neither.

    Examples:
        >>> codes_of(("5944", "3000-3002"), "here")
        ['5944', '3000', '3001', '3002']
    """
    found = []
    for text in ranges:
        first, _, last = text.partition("-")
        last = last or first
        plain = all(len(code) == 4 and code.isascii() and code.isdigit() for code in (first, last))  # noqa: PLR2004 - ISO 18245
        if not plain or last < first:
            raise PolicyError(place, f"{text!r} is neither a code of four digits nor a range")
        found += [f"{code:04d}" for code in range(int(first), int(last) + 1)]
    return found
