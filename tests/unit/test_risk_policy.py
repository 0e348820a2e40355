"""A policy is read strictly, layered as promised, and chooses the cheapest outcome."""

import json
from typing import Any

import pytest

from risk import RiskOutcome, Transaction
from risk.default_policy import DEFAULT_POLICY
from risk.features.event import values_of
from risk.policy import Category, Costs, Override, Policy, PolicyError, StaticRow, Thresholds
from risk.policy_text import policy_of, read_policy
from risk.tariff import Tariff, Terms
from risk.transaction import Basket, RiskContext

APPROVE, CHALLENGE, REVIEW, DECLINE = RiskOutcome
OF_BUNDLE = Thresholds(challenge_at=0.2, review_at=0.5, decline_at=0.8)
POLICY = Policy(
    rates_ppm={"USD": 7_000_000},
    costs=Costs(insult_minor=1_000),
    categories={
        "travel": Category(mcc=("3000-3999",), costs={"margin_ppm": 50_000, "review_minor": 9}),
        "cash": Category(mcc=("6011",), cap=RiskOutcome.REVIEW),
    },
    merchants={
        "own": Override(category="travel", costs={"review_minor": 7}),
        "fixed": Override(
            thresholds=Thresholds(challenge_at=0.1, review_at=0.2, decline_at=0.3),
            cap=RiskOutcome.CHALLENGE,
        ),
    },
    static=(
        StaticRow(pay_type="crypto", outcome=RiskOutcome.DECLINE),
        StaticRow(up_to_minor=1_000, outcome=RiskOutcome.APPROVE),
        StaticRow(outcome=RiskOutcome.REVIEW),
    ),
)


def values(**given: Any) -> list[int]:
    mcc = given.pop("mcc", None)
    payment: dict[str, Any] = {
        "event_id": "T",
        "merchant_id": "m",
        "amount_minor": 10_000,
        "currency": "CNY",
        "pay_type": "alipay",
    } | given
    context = RiskContext(order=Basket(mcc=mcc))
    return values_of(Transaction(context=context, **payment), 0, 1)[0]


def terms(policy: Policy = POLICY, **given: Any) -> Terms:
    return Tariff(policy).terms(values(**given))


def test_a_layer_changes_only_what_it_names() -> None:
    own = POLICY.costs_of("travel", "own")

    assert (own.insult_minor, own.margin_ppm, own.review_minor) == (1_000, 50_000, 7)
    assert POLICY.costs_of("travel", "m").review_minor == 9
    assert POLICY.costs_of("default", "m") == POLICY.costs


@pytest.mark.parametrize(
    ("given", "category"),
    [
        ({}, "default"),
        ({"mcc": "3999"}, "travel"),
        ({"mcc": "4000"}, "default"),
        ({"mcc": "6011"}, "cash"),
        ({"mcc": "6011", "merchant_id": "own"}, "travel"),
    ],
)
def test_a_trade_follows_from_merchant_or_code(given: dict[str, Any], category: str) -> None:
    assert terms(**given).category == category


def test_the_cheapest_outcome_is_chosen_and_its_rivals_are_kept() -> None:
    outcome, costs = terms().choose(0.05, 10_000.0, OF_BUNDLE)

    assert outcome is CHALLENGE
    assert costs == pytest.approx((900.0, 270.0 + 0.06 * 2_090.0 + 5.0, 2_067.5, 2_090.0))


@pytest.mark.parametrize(
    ("probability", "outcome"), [(0.0, APPROVE), (0.001, APPROVE), (1.0, DECLINE)]
)
def test_what_is_surely_good_or_bad_is_plain(probability: float, outcome: RiskOutcome) -> None:
    assert terms().choose(probability, 10_000.0, OF_BUNDLE)[0] is outcome


def test_of_equally_cheap_outcomes_the_mildest_is_chosen() -> None:
    free = Costs(**dict.fromkeys(Costs.__slots__, 0))
    outcome, costs = terms(Policy(costs=free)).choose(0.5, 10_000.0, OF_BUNDLE)

    assert (outcome, costs) == (APPROVE, (0.0, 0.0, 0.0, 0.0))


def test_a_cap_holds_the_score_back() -> None:
    assert terms(mcc="6011").choose(1.0, 10_000.0, OF_BUNDLE)[0] is REVIEW
    assert terms(merchant_id="fixed").choose(1.0, 10_000.0, OF_BUNDLE) == (CHALLENGE, None)


def test_thresholds_decide_where_the_policy_says_so() -> None:
    of_bundle = terms(Policy(kind="thresholds"))
    own = terms(Policy(kind="thresholds", thresholds=POLICY.merchants["fixed"].thresholds))

    assert [of_bundle.choose(p, 1.0, OF_BUNDLE)[0] for p in (0.19, 0.2, 0.5, 0.8)] == [
        APPROVE,
        CHALLENGE,
        REVIEW,
        DECLINE,
    ]
    assert own.choose(0.25, 1.0, OF_BUNDLE) == (REVIEW, None)


def test_an_amount_counts_in_the_policys_currency() -> None:
    tariff = Tariff(POLICY)

    assert tariff.amount_minor(values(currency="USD")) == 70_000.0
    assert tariff.amount_minor(values(currency="CNY")) == 10_000.0
    assert tariff.amount_minor(values(currency="XAU")) == 10_000.0


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        ({"pay_type": "crypto", "amount_minor": 1}, DECLINE),
        ({"amount_minor": 1_000}, APPROVE),
        ({"amount_minor": 1_001}, REVIEW),
        ({"amount_minor": 143, "currency": "USD"}, REVIEW),
    ],
)
def test_the_first_static_row_that_fits_decides(
    given: dict[str, Any], outcome: RiskOutcome
) -> None:
    assert Tariff(POLICY).static(values(**given)) is outcome


def test_a_policy_is_named_by_what_it_says() -> None:
    assert read_policy(POLICY.canonical()) == POLICY
    assert read_policy(POLICY.canonical()).version == POLICY.version
    assert Policy().version != Policy(costs=Costs(review_minor=1_501)).version
    assert read_policy(DEFAULT_POLICY.canonical()).version == DEFAULT_POLICY.version


def test_no_code_is_in_two_trades_of_the_policy_that_ships() -> None:
    assert set(DEFAULT_POLICY.categories) > {"travel", "digital", "quasi_cash"}
    assert DEFAULT_POLICY.static[-1].fits_all


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 1}, r"document: 'colour' is unknown; there are kind"),
        ({"kind": "magic"}, r"kind: must be costs or thresholds, was 'magic'"),
        ({"currency": 1}, r"currency: must be a word"),
        ({"costs": {"los_ppm": 1}}, r"costs: no cost is called 'los_ppm'"),
        ({"costs": {"loss_ppm": 1.5}}, r"costs.loss_ppm: must be a whole number"),
        ({"costs": {"margin_ppm": 1_000_001}}, r"costs.margin_ppm: must be between 0 and 1000000"),
        ({"costs": {"review_minor": -1}}, r"costs.review_minor: must be between 0"),
        ({"rates_ppm": {"USD": 0}}, r"rates_ppm.USD: must be 1 to"),
        ({"rates_ppm": [1]}, r"rates_ppm: must be an object"),
        ({"categories": {"a": {"mcc": ["12"]}}}, r"categories.a.mcc: '12' is neither"),
        ({"categories": {"a": {"mcc": ["4000-3000"]}}}, r"'4000-3000' is neither"),
        ({"categories": {"default": {}}}, r"'default' is no name for a category"),
        (
            {"categories": {"a": {"mcc": ["3000"]}, "b": {"mcc": ["2999-3001"]}}},
            r"categories.b: 3000 is in a too",
        ),
        ({"categories": {"a": {"costs": {"x": 1}}}}, r"categories.a.costs: no cost is called"),
        ({"categories": {"a": {"cap": "NEVER"}}}, r"categories.a.cap: must be one of APPROVE"),
        ({"merchants": {"m": {"category": "b"}}}, r"merchants.m: no category 'b'"),
        ({"merchants": {"m": {"thresholds": {"review_at": 1}}}}, r"must give challenge_at"),
        (
            {"thresholds": {"challenge_at": 0.5, "review_at": 0.2, "decline_at": 0.9}},
            r"thresholds: must rise",
        ),
        (
            {"thresholds": {"challenge_at": 0.5, "review_at": 0.6, "decline_at": float("inf")}},
            r"thresholds.decline_at: must be a probability",
        ),
        ({"static": []}, r"static: the last row must fit every payment"),
        ({"static": [{"up_to_minor": 5, "outcome": "REVIEW"}]}, r"static: the last row"),
        ({"static": [{}]}, r"static\[0\]: must give an outcome"),
        ({"static": {"outcome": "REVIEW"}}, r"static: must be a list"),
    ],
)
def test_what_makes_no_sense_is_refused_by_place_and_reason(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(PolicyError, match=message):
        policy_of(change)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "document: must be an object"),
        ('{"kind": "costs", "kind": "costs"}', "'kind' stands twice"),
        ('{"costs": {"loss_ppm": 1, "loss_ppm": 2}}', "'loss_ppm' stands twice"),
        ("[" * 100_000, "not JSON"),
        (" " * 1_000_001, "longer than"),
    ],
)
def test_what_is_no_policy_is_refused(text: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        read_policy(text)


def test_a_policy_as_json_is_plain_values() -> None:
    assert policy_of(json.loads(json.dumps(POLICY.as_json()))) == POLICY
