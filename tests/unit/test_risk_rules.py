"""Rules say what they mean, refuse what they can't mean, and never fire on what is missing."""

import math

import numpy as np
import pytest

from risk.features.catalogue import FEATURE_COUNT, FEATURES, PLACES
from risk.features.definition import Formula
from risk.features.event import EVENT_WIDTH, encode
from risk.rules.emit import Timed, compile_trees
from risk.rules.language import parse
from risk.rules.names import NAMES
from risk.rules.problems import RuleError
from risk.rules.shipped import DEFAULT_RULES, default_rules
from risk.rules.source import Action, Rule, RuleSet
from risk.transaction import Basket, Behavior, Client, Instrument, RiskContext, Transaction


def _fires(expression: str, context: RiskContext | None = None, **features: float) -> bool:
    vector = np.full(FEATURE_COUNT, np.nan)
    for name, value in features.items():
        vector[PLACES[name]] = value
    event = encode(
        Transaction(
            event_id="T1",
            merchant_id="m1",
            amount_minor=100,
            currency="CNY",
            pay_type="wechat",
            context=context or RiskContext(),
        ),
        1_700_000_000_000_000,
        1,
    )
    return compile_trees([Timed(parse("r", expression))])(vector.data, event.tolist()) == 1


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("amount > 100", False),
        ("amount >= 100", True),
        ("amount == 100 and time_hour < 6", True),
        ("amount < 50 or time_hour < 6", True),
        ("not amount > 100", True),
        ("50 < amount <= 100", True),
        ("amount * 2 + 1 == 201", True),
        ("amount / 4 == 25", True),
        ("-amount < 0", True),
        ("amount in {1, 100}", True),
        ("amount not in {1, 100}", False),
        ("pay_type == 'wechat'", True),
        ("pay_type != 'wechat'", False),
        ("pay_type in {'alipay', 'wechat'}", True),
        ("currency == 'cny'", True),
        ("merchant == 'm1'", True),
    ],
)
def test_an_expression_means_what_it_says(expression: str, expected: bool) -> None:
    assert _fires(expression, amount=100.0, time_hour=3.0) is expected


@pytest.mark.parametrize(
    "expression",
    [
        "geo_speed_kmh > 1",
        "geo_speed_kmh <= 1",
        "geo_speed_kmh == geo_speed_kmh",
        "geo_speed_kmh != 3",
        "geo_speed_kmh in {1, 2}",
        "geo_speed_kmh not in {1, 2}",
        "amount / 0 > 1",
        "amount / 0 < 1",
        "form_ms < 100",
        "mcc == '5812'",
        "mcc != '5812'",
        "mcc not in {'5812'}",
        "card_country != ip_country",
        "card_country == ip_country",
        "ip_country != card_country",
        "payee_country == ip_country",
    ],
)
def test_missing_evidence_makes_no_comparison_true(expression: str) -> None:
    context = RiskContext(client=Client(ip_country="CN"))

    assert not _fires(expression, context, amount=1.0)


def test_two_words_of_a_kind_compare_with_each_other() -> None:
    abroad = RiskContext(client=Client(ip_country="US"), instrument=Instrument(issuer_country="CN"))
    at_home = RiskContext(
        client=Client(ip_country="CN"), instrument=Instrument(issuer_country="CN")
    )

    assert _fires("ip_country != card_country", abroad)
    assert not _fires("ip_country == card_country", abroad)
    assert _fires("ip_country == card_country", at_home)


def test_missing_can_be_asked_for() -> None:
    context = RiskContext(behavior=Behavior(form_ms=0), order=Basket(mcc="5812"))

    assert _fires("missing(form_ms) and missing(mcc) and missing(geo_speed_kmh)")
    assert not _fires("missing(form_ms) or missing(mcc)", context)
    assert _fires("form_ms == 0 and mcc == '5812'", context)


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("amont > 3", "did you mean 'amount'"),
        ("__import__('os')", "only call"),
        ("amount.real > 1", "Attribute is not part"),
        ("amount[0] > 1", "Subscript is not part"),
        ("(lambda: 1)() > 1", "only call"),
        ("[x for x in {1}] == 1", "ListComp is not part"),
        ("amount", "not a yes or no"),
        ("amount + 1", "not a yes or no"),
        ("amount ** 9 > 1", "Pow is not part"),
        ("amount > True", "neither a number nor a word"),
        ("amount > 'x'", "a number is wanted"),
        ("pay_type > 'x'", "has no order"),
        ("pay_type == amount", "word in quotes"),
        ("amount > 1e999", "too large"),
        ("amount >", "not an expression"),
        ("amount is 1", "Is is not part"),
        ("f'{amount}' == 1", "JoinedStr is not part"),
        ("(amount := 3) > 1", "NamedExpr is not part"),
        ("not amount", "not a yes or no"),
        ("1 < " * 300 + "2", "parts"),
        ("amount > 1" + " " * 3_000, "longer"),
        ("\x00", "U+0000"),
    ],
)
def test_what_is_not_a_rule_is_refused_by_name(expression: str, problem: str) -> None:
    with pytest.raises(RuleError, match="rule 'r'") as refusal:
        parse("r", expression)

    assert problem in str(refusal.value)


def test_a_refusal_points_at_the_column() -> None:
    with pytest.raises(RuleError) as refusal:
        parse("r", "amount > 1 and amont > 2")

    assert refusal.value.column == 15


def test_every_rule_has_its_own_bit() -> None:
    evaluate = compile_trees([Timed(parse("r", f"amount > {least}")) for least in (1, 100, 2)])
    vector = np.full(FEATURE_COUNT, np.nan)
    vector[PLACES["amount"]] = 50.0

    assert evaluate(vector.data, [0] * EVENT_WIDTH) == 0b101


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 33, 70])
def test_many_rules_keep_their_bits(count: int) -> None:
    evaluate = compile_trees([Timed(parse("r", f"amount == {place}")) for place in range(count)])
    vector = np.full(FEATURE_COUNT, np.nan)
    for place in range(count):
        vector[PLACES["amount"]] = place
        assert evaluate(vector.data, [0] * EVENT_WIDTH) == 1 << place
    vector[PLACES["amount"]] = count
    assert evaluate(vector.data, [0] * EVENT_WIDTH) == 0


def test_a_rule_that_needs_features_is_not_compiled_for_the_event_alone() -> None:
    with pytest.raises(ValueError, match="needs features"):
        compile_trees([Timed(parse("r", "geo_speed_kmh > 1"))], event_alone=True)


def test_the_amount_is_the_event_s_own_wherever_it_is_read() -> None:
    # The amount stands in for a feature when features fail: it must be that very number.
    assert FEATURES[PLACES["amount"]].formula == Formula("value", ("event.amount",))


def test_the_default_rules_compile_and_stay_silent_on_an_empty_context() -> None:
    rules = default_rules()
    vector = np.full(FEATURE_COUNT, math.nan)

    assert len(rules.rules) == len(DEFAULT_RULES) >= 12
    assert rules.hits(vector.data, [0] * EVENT_WIDTH) == ()


def test_the_version_of_a_set_follows_what_it_says() -> None:
    rule = Rule(name="a", expression="amount > 1", action=Action.REVIEW, reason="BURST")
    other = Rule(name="a", expression="amount > 2", action=Action.REVIEW, reason="BURST")

    assert RuleSet((rule,)).version == RuleSet((rule,)).version != RuleSet((other,)).version


@pytest.mark.parametrize("reason", ["BURST", "NO_SUCH_CODE"])
def test_a_set_with_a_doubled_name_or_an_unknown_reason_is_refused(reason: str) -> None:
    rule = Rule(name="a", expression="amount > 1", action=Action.REVIEW, reason=reason)

    with pytest.raises(RuleError, match=r"twice|unknown reason"):
        RuleSet((rule, rule))


def test_no_name_means_two_things() -> None:
    assert len(NAMES) == len(set(NAMES))
