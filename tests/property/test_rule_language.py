"""Whatever an author writes: it is refused with a place and a hint, or it is a total function."""

import math
from fractions import Fraction
from types import CodeType, FunctionType

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from risk.features.catalogue import FEATURE_COUNT, FEATURE_NAMES, PLACES
from risk.features.event import AT_US, EVENT_WIDTH, INDEX
from risk.rules.emit import Timed, compile_trees, needs_features
from risk.rules.language import DEPTH_MAX, parse
from risk.rules.lists import Lists, NamedList, Purpose
from risk.rules.names import NAMES, NUMBERS, WORDS, kind_of, number_of
from risk.rules.problems import PROBLEMS, RuleError
from risk.rules.source import Action, Rule, RuleSet, RuleState
from risk.rules.tree import Compare, Number, Truth, WordRef, features_of, walk
from risk.rules.units import CONSTRUCTORS, FEATURE_MEASURES, measure_of_field
from tests.property.rule_trees import (
    LIST_NAMES,
    holds,
    payments,
    some_lists,
    times_us,
    truths,
)

SAFE_NAMES = {"nan", "divide", *(f"list{number}" for number in range(64))}
TOKENS = st.one_of(
    st.sampled_from(NAMES),
    st.sampled_from([*CONSTRUCTORS, "missing", "list", "and", "or", "not", "in", "if", "lambda"]),
    st.sampled_from([*"()[]{}<>=!+-*/%,.:'\"@^&|~", "==", "<=", "not in", "**", ":=", "is"]),
    st.sampled_from(["1", "2.5", "1e9", "9" * 30, "1e999", "0x1F", "1j", "'CN'", '"abc"', "True"]),
    st.text(max_size=3),
)


@settings(max_examples=300, deadline=None)
@given(node=truths, lists=some_lists(), payment=payments())
def test_the_compiled_function_says_what_the_tree_means(
    node: Truth, lists: Lists, payment: tuple[list[float], list[int]]
) -> None:
    features, event = payment

    assert compile_trees([Timed(node)], lists)(features, event) == holds(
        node, features, event, lists
    )


@settings(max_examples=60, deadline=None)
@given(nodes=st.lists(truths, min_size=1, max_size=4), lists=some_lists(), payment=payments())
def test_rules_side_by_side_each_keep_their_bit(
    nodes: list[Truth], lists: Lists, payment: tuple[list[float], list[int]]
) -> None:
    features, event = payment

    together = compile_trees([Timed(node) for node in nodes], lists)(features, event)

    alone = [compile_trees([Timed(node)], lists)(features, event) for node in nodes]
    assert together == sum(bit << place for place, bit in enumerate(alone))


@settings(max_examples=60, deadline=None)
@given(node=truths, lists=some_lists())
def test_the_compiled_function_can_reach_nothing_but_numbers(node: Truth, lists: Lists) -> None:
    evaluate = compile_trees([Timed(node)], lists)

    assert isinstance(evaluate, FunctionType)
    assert evaluate.__globals__["__builtins__"] == {}
    assert set(evaluate.__code__.co_names) <= SAFE_NAMES
    assert not any(isinstance(one, str | CodeType) for one in evaluate.__code__.co_consts)


@settings(max_examples=300, deadline=None)
@given(source=st.lists(TOKENS, max_size=14).map(" ".join), payment=payments())
@example(source="((((((((((", payment=([math.nan] * FEATURE_COUNT, [0] * EVENT_WIDTH))
@example(source="amount > 1) or (amount < 5", payment=([0.0] * FEATURE_COUNT, [0] * EVENT_WIDTH))
@example(source="amount\\\n> 1", payment=([0.0] * FEATURE_COUNT, [0] * EVENT_WIDTH))
def test_any_text_is_refused_in_both_languages_or_runs(
    source: str, payment: tuple[list[float], list[int]]
) -> None:
    lists = Lists("lists-1", {name: NamedList(name, Purpose.NAMED) for name in LIST_NAMES})
    refusal: RuleError | None = None
    try:
        node = parse("r", source, list_names=LIST_NAMES)
    except RuleError as error:
        refusal = error
    else:
        assert compile_trees([Timed(node)], lists)(*payment) in {0, 1}
    if refusal:
        assert refusal.code in PROBLEMS
        assert any("\u4e00" <= letter <= "\u9fff" for letter in refusal.problem_zh)
        assert refusal.column >= 0


@pytest.mark.parametrize(
    "source",
    [
        "().__class__.__bases__[0].__subclasses__() == 1",
        "amount.__class__ == 1",
        "__import__('os').system('true') == 0",
        "eval('1') == 1",
        "missing(missing)",
        "missing(amount, amount)",
        "missing(*amount)",
        "yuan(amount) < 1",
        "yuan(yuan(1)) < amount",
        "yuan() < amount",
        "yuan(1, 2) < amount",
        "yuan(n=1) < amount",
        "[amount for amount in {1}] == 1",
        "{x: 1 for x in {1}} == 1",
        "any(amount > 1 for _ in {1})",
        "9 ** 9 ** 9 > amount",
        "1 << 99 > amount",
        "'x' * 999999999 == 'x'",
        "amount > 1 if amount else amount < 1",
        "(lambda: amount)() > 1",
        "amount > (yield)",
        "await amount > 1",
        "amount[0:1] > 1",
        "f'{amount}' == '1'",
        "amount > 1; amount < 2",
        "amount = 1",
        "(amount := 1) > 0",
        "ａｍｏｕｎｔ > 1",
        "amo\u00adunt > 1",
        "pay_type == 'wechat\u202e'",
        "amount > １",
        "amount ＞ 1",
        "𝐚𝐦𝐨𝐮𝐧𝐭 > 1",
        "not " * (DEPTH_MAX + 1) + "(amount > 1)",
        "-" * 199 + "amount > 1",
        "(" * 150 + "amount > 1" + ")" * 150 + " and amount > (" + "1+" * 60 + "1)",
        "list('one') == 1",
        "amount in list('one')",
        "card in list(amount)",
        "card in list('o' 'ne', 'x')",
        "card in card",
        "card == list('one')",
        "card in {}",
        "amount in {amount}",
        "user == 'alice'",
        "payee in {'bob'}",
        "country == 'China'",
        "card == user",
        "card == ''",
        "amount > -'1'",
        "",
        "#",
    ],
)
def test_a_hostile_source_is_refused(source: str) -> None:
    with pytest.raises(RuleError):
        parse("r", source, list_names=LIST_NAMES)


def test_a_comment_hides_no_condition() -> None:
    one = parse("r", "amount > 1 # and more\nand hour < 5")

    assert len(features_of(one)) == 1
    assert one == parse("r", "amount > 1 and hour < 5")


@pytest.mark.parametrize("name", [*FEATURE_NAMES, *NUMBERS])
def test_a_quantity_is_taken_exactly_where_it_measures_the_same(name: str) -> None:
    measure = FEATURE_MEASURES[PLACES[name]] if name in PLACES else measure_of_field(name)
    for constructor, (dimension, size) in CONSTRUCTORS.items():
        source = f"{name} >= {constructor}(0.3)"
        if dimension == measure.dimension:
            node = parse("r", source)
            assert isinstance(node, Compare)
            assert node.right == Number(float(Fraction(3, 10) * size / measure.size))
        else:
            with pytest.raises(RuleError, match="measure different things") as refusal:
                parse("r", source)
            assert measure.name in refusal.value.problem


@pytest.mark.parametrize(
    ("source", "same"),
    [
        ("amount > yuan(500)", "amount > 50_000"),
        ("amount > yuan(0.29)", "amount > 29"),
        ("device_age_s < minutes(5)", "device_age_s < 300"),
        ("behaviour_form_ms < seconds(2)", "behaviour_form_ms < 2_000"),
        ("time_account_age_days < hours(36)", "time_account_age_days < 1.5"),
        ("geo_moved_km > km(2) + km(1)", "geo_moved_km > 3"),
        ("accuracy_m > km(1)", "accuracy_m > 1_000"),
        ("frame_jitter_us < seconds(0.002)", "frame_jitter_us < 2_000"),
        ("tz_gap_min >= hours(3)", "tz_gap_min >= 180"),
        ("gps_ip_km > km(50)", "gps_ip_km > 50"),
        ('language == "zh-CN"', 'language == "ZH"'),
        ('asn in {"AS64500"}', 'asn in {"64500"}'),
        ("amount > 2 * yuan(5)", "amount > 1_000"),
        ("amount in {yuan(1), 5}", "amount in {100, 5}"),
        ("-amount < -yuan(1)", "-amount < -100"),
        ("amount > 0.1 + 0.2", "amount > 0.3"),
        ("minutes(5) > device_age_s", "300 > device_age_s"),
        ("amount / yuan(1) > 3", "amount / 100 > 3"),
    ],
)
def test_units_are_converted_and_constants_folded_exactly(source: str, same: str) -> None:
    assert parse("r", source) == parse("r", same)


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("device_age_s > behaviour_form_ms", ("in s ", "in ms", "divide both by seconds(1)")),
        ("device_age_s + behaviour_form_ms > 1", ("in s ", "in ms")),
        ("amount > device_age_s", ("minor", "in s:", "different things")),
        ("amount > minutes(5)", ("minor", "time")),
        ("geo_moved_km < geo_speed_kmh", ("in km ", "km/h")),
        ("device_users_24h > amount_user_rank", ("count", "ratio")),
        ("amount * amount_user_mean_7d > 1", ("minor * minor", "no unit")),
        ("amount / device_age_s > 1", ("minor / s", "no unit")),
        ("1 / amount > 1", ("no unit / minor",)),
        ("yuan(1) + 5 < amount", ("money", "no unit")),
        ("minutes(1) / 0 < device_age_s", ("divides by zero",)),
        ("amount in {minutes(1)}", ("minor", "time")),
    ],
)
def test_units_that_disagree_are_both_named(source: str, named: tuple[str, ...]) -> None:
    with pytest.raises(RuleError) as refusal:
        parse("r", source)

    for part in named:
        assert part in refusal.value.problem


@pytest.mark.parametrize(
    "source",
    [
        "device_age_s / seconds(1) > behaviour_form_ms / seconds(1)",
        "amount / amount_user_mean_7d > 3",
        "amount_user_mean_7d * time_user_count_7d > yuan(5_000)",
        "amount * 0.01 > yuan(3)",
        "amount - amount_user_mean_7d > 2 * amount_user_std_30d",
        "device_emulated + device_tampered + device_automated >= 2",
        "time_user_failed_24h / time_user_count_24h > device_failed_share_24h",
        "ip_country != card_country",
        "0 < hour <= 5",
        "yuan(100) / amount < 0.5",
    ],
)
def test_what_measures_the_same_goes_together(source: str) -> None:
    assert list(walk(parse("r", source)))


@settings(max_examples=200, deadline=None)
@given(at_us=times_us, until_us=times_us, word=st.sampled_from(WORDS))
@example(at_us=5, until_us=5, word="card")
@example(at_us=4, until_us=5, word="card")
def test_an_entry_counts_before_its_microsecond_and_not_at_it(
    at_us: int, until_us: int, word: str
) -> None:
    lists = Lists(
        "lists-1", {"one": NamedList("one", Purpose.NAMED, {kind_of(word): {7: until_us}})}
    )
    event = [0] * EVENT_WIDTH
    event[INDEX[word]], event[AT_US] = 7, at_us

    on_it = compile_trees([Timed(parse("r", f'{word} in list("one")'))], lists)
    off_it = compile_trees([Timed(parse("r", f'{word} not in list("one")'))], lists)

    assert on_it((), event) == (at_us < until_us)
    assert off_it((), event) == (at_us >= until_us)


@given(at_us=times_us, from_us=times_us, length_us=st.integers(1, 10))
def test_a_rule_counts_from_and_until_its_microseconds(
    at_us: int, from_us: int, length_us: int
) -> None:
    rule = Rule(
        name="r",
        expression="missing(card)",
        action=Action.DECLINE,
        reason="BURST",
        overridable=False,
        valid_from_us=from_us,
        valid_to_us=from_us + length_us,
    )
    event = [0] * EVENT_WIDTH
    rules = RuleSet((rule,))
    until_us = from_us + length_us
    for event[AT_US] in (at_us, max(from_us - 1, 0), from_us, until_us - 1, until_us):
        counts = from_us <= event[AT_US] < from_us + length_us
        assert bool(rules.hits((), event)) == bool(rules.must_hold(event)) == counts


sources = st.sampled_from(
    [
        "amount > yuan(3)",
        "hour < 5 and not missing(form_ms)",
        'mcc in {"7995", "5812"} or pay_type == "wechat"',
        "geo_speed_kmh > 900",
        "card_country != ip_country",
    ]
)
some_rules = st.lists(
    st.builds(
        Rule,
        name=st.sampled_from(["a", "b", "c", "d"]),
        expression=sources,
        action=st.sampled_from(Action),
        reason=st.just("BURST"),
        overridable=st.booleans(),
        version=st.integers(1, 9),
        state=st.sampled_from(RuleState),
        valid_to_us=st.sampled_from([0, 1, 10**15]),
    ),
    unique_by=lambda rule: (rule.name, rule.state),
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(rules=some_rules, payment=payments())
def test_a_kept_set_is_the_same_set_again(
    rules: list[Rule], payment: tuple[list[float], list[int]]
) -> None:
    features, event = payment
    ran = RuleSet(rules)

    def changed(kind: str, text: str) -> int:
        return number_of(kind, text) + 1  # As if every word had got another number since.

    again = RuleSet.from_json(ran.as_json())

    assert (again.version, again.rules, again.trees) == (ran.version, ran.rules, ran.trees)
    assert again.hits(features, event) == ran.hits(features, event)
    assert again.shadow_hits(features, event) == ran.shadow_hits(features, event)
    assert again.must_hold(event) == ran.must_hold(event)
    assert RuleSet(reversed(ran.rules), numbers=changed).version == ran.version


@settings(max_examples=60, deadline=None)
@given(rules=some_rules, payment=payments())
def test_what_must_hold_is_among_what_fires(
    rules: list[Rule], payment: tuple[list[float], list[int]]
) -> None:
    features, event = payment
    features[PLACES["amount"]] = float(event[INDEX["amount"]])
    ran = RuleSet(rules)

    fired = ran.hits(features, event)

    fixed = [rule for rule in fired if rule.must_hold and not _needs(ran, rule)]
    assert ran.must_hold(event) == tuple(fixed)
    assert {rule.state for rule in fired} <= {RuleState.LIVE}


def _needs(rules: RuleSet, rule: Rule) -> bool:
    return needs_features(rules.trees[rules.rules.index(rule)])


def test_every_word_can_be_asked_for() -> None:
    for word in WORDS:
        node = parse("r", f"missing({word})")
        assert [one.name for one in walk(node) if isinstance(one, WordRef)] == [word]
