"""The chosen outcome is the cheapest, the answer stays its own, and one formula serves all."""

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from risk import Engine, RiskOutcome, Transaction
from risk.decision import Decision
from risk.features.event import values_of
from risk.policy import (
    COST_NAMES,
    SEVERITY,
    Category,
    Costs,
    Override,
    Policy,
    StaticRow,
    Thresholds,
    expected_costs,
)
from risk.policy_text import read_policy
from risk.rules.source import Action, Rule
from risk.tariff import Tariff
from tests.risk_doubles import FixedModel, Time, Trouble, TroubledRules

AT_US = 1_700_000_000_000_000
OF_BUNDLE = Thresholds(challenge_at=0.2, review_at=0.5, decline_at=0.8)


def cost(name: str) -> st.SearchStrategy[int]:
    return st.integers(0, 10**6 if name.endswith("_ppm") else 10**9)


costs = st.fixed_dictionaries({name: cost(name) for name in COST_NAMES}).map(
    lambda given: Costs(**given)
)
part_of_costs = st.fixed_dictionaries({}, optional={name: cost(name) for name in COST_NAMES})
levels = st.tuples(*[st.floats(0, 1)] * 3).map(sorted)
thresholds = levels.map(
    lambda at: Thresholds(challenge_at=at[0], review_at=at[1], decline_at=at[2])
)
outcomes = st.sampled_from(RiskOutcome)
probabilities = st.floats(0.0, 1.0)
amounts_minor = st.integers(1, 10**12)
policies = st.builds(
    Policy,
    kind=st.sampled_from(["costs", "thresholds"]),
    rates_ppm=st.dictionaries(st.sampled_from(["USD", "JPY", "EUR"]), st.integers(1, 10**9)),
    costs=costs,
    thresholds=st.none() | thresholds,
    categories=st.fixed_dictionaries(
        {},
        optional={
            "a": st.builds(
                Category, mcc=st.just(("3000-3009",)), costs=part_of_costs, cap=outcomes
            ),
            "b": st.builds(Category, mcc=st.just(("5999",)), costs=part_of_costs, cap=outcomes),
        },
    ),
    merchants=st.dictionaries(
        st.sampled_from(["m", "n"]),
        st.builds(
            Override,
            category=st.sampled_from(["", "default"]),
            costs=part_of_costs,
            thresholds=st.none() | thresholds,
            cap=st.none() | outcomes,
        ),
    ),
    static=st.lists(
        st.builds(
            StaticRow,
            pay_type=st.sampled_from(["*", "alipay", "crypto"]),
            up_to_minor=st.none() | st.integers(0, 10**9),
            outcome=outcomes,
        ),
        max_size=3,
    ).map(lambda rows: (*rows, StaticRow())),
)


def payment(amount_minor: int, currency: str = "CNY") -> Transaction:
    return Transaction(
        event_id="T",
        merchant_id="m",
        amount_minor=amount_minor,
        currency=currency,
        pay_type="alipay",
    )


@given(policy=policies)
def test_a_policy_survives_its_own_text(policy: Policy) -> None:
    again = read_policy(policy.canonical())

    assert (again, again.version) == (policy, policy.version)


@given(policy=policies, probability=probabilities, amount_minor=amounts_minor)
def test_nothing_allowed_is_cheaper_and_nothing_milder_is_as_cheap(
    policy: Policy, probability: float, amount_minor: int
) -> None:
    tariff = Tariff(policy)
    values, _ = values_of(payment(amount_minor), AT_US, 1)
    terms = tariff.terms(values)
    outcome, found = terms.choose(probability, tariff.amount_minor(values), OF_BUNDLE)

    assert SEVERITY[outcome] <= terms.cap
    if found is None:
        fixed = OF_BUNDLE if terms.of_bundle else terms.thresholds
        assert fixed is not None
        assert SEVERITY[outcome] == min(SEVERITY[fixed.outcome(probability)], terms.cap)
        return
    place = SEVERITY[outcome]
    assert all(found[place] <= other for other in found[: terms.cap + 1])
    assert all(found[place] < milder for milder in found[:place])


@given(
    costs=costs,
    rows=st.lists(st.tuples(probabilities, amounts_minor), min_size=1, max_size=40),
)
def test_training_weighs_with_the_engines_formula_to_the_last_bit(
    costs: Costs, rows: list[tuple[float, int]]
) -> None:
    probability = np.array([one for one, _ in rows])
    amount_minor = np.array([float(one) for _, one in rows])
    together = np.stack(expected_costs(probability, amount_minor, costs.ratios())).T

    alone = [expected_costs(p, float(a), costs.ratios()) for p, a in rows]
    assert np.array(alone).tobytes() == np.ascontiguousarray(together).tobytes()


@given(policy=policies, amount_minor=amounts_minor, currency=st.sampled_from(["CNY", "USD", "X"]))
def test_the_static_table_always_has_an_answer(
    policy: Policy, amount_minor: int, currency: str
) -> None:
    tariff = Tariff(policy)
    values, _ = values_of(payment(amount_minor, currency), AT_US, 1)
    worth = tariff.amount_minor(values)
    fits = [
        row.outcome
        for row in policy.static
        if row.pay_type in {"*", "alipay"} and (row.up_to_minor is None or worth <= row.up_to_minor)
    ]

    assert tariff.static(values) is fits[0]


ENGINE = Engine(clock_ns=lambda: 0)
FRESH_KIT = ENGINE._kit
ASK = Rule(name="ask", expression="amount > 7", action=Action.CHALLENGE, reason="BURST")


def answer(
    probability: float, amount_minor: int, challenger: Any, names: tuple[str, ...], breaks: bool
) -> Decision:
    time = Time()
    champion: Any = FixedModel(probability, Trouble(time), Trouble(time), shares={3: 0.5})
    rules = TroubledRules(
        (ASK,), Trouble(time), shadow=Trouble(time, breaks=breaks), shadow_names=names
    )
    ENGINE._kit = replace(FRESH_KIT, bundle=champion, challenger=challenger, rules=rules)
    ENGINE._store.clear()
    ENGINE._next_seq = 1
    return ENGINE.assess(payment(amount_minor), AT_US)


@given(
    probability=probabilities,
    amount_minor=amounts_minor,
    rival=st.floats(allow_nan=True, allow_infinity=True) | st.none(),
    names=st.lists(st.text(min_size=1, max_size=5), max_size=3).map(tuple),
    breaks=st.tuples(st.booleans(), st.booleans()),
)
@example(probability=0.01, amount_minor=100, rival=0.99, names=("x",), breaks=(False, False))
def test_the_answer_is_the_same_byte_by_byte_with_and_without_shadows(
    probability: float,
    amount_minor: int,
    rival: float | None,
    names: tuple[str, ...],
    breaks: tuple[bool, bool],
) -> None:
    challenger = None
    if rival is not None:
        challenger = FixedModel(rival, Trouble(Time(), breaks=breaks[0]), Trouble(Time()), "rival")
    alone = answer(probability, amount_minor, None, (), breaks=False)
    watched = answer(probability, amount_minor, challenger, names, breaks[1])

    assert alone.shadow is None
    assert replace(watched, shadow=None) == alone
    assert repr(replace(watched, shadow=None)) == repr(alone)
    if rival is not None and 0.0 <= rival <= 1.0 and not breaks[0]:
        assert watched.shadow is not None
        assert watched.shadow.model_version == "rival"
