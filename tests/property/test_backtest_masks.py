"""A rule decides a column of payments as it decides them one by one, whatever it says."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from models.backtest.judging import OUTCOMES, BatchTariff, Payments, by_thresholds, combined
from models.backtest.masks import fired, listed
from models.backtest.scoring import calibrated
from risk.decision import RiskOutcome
from risk.default_policy import DEFAULT_POLICY
from risk.features.catalogue import FEATURE_COUNT
from risk.features.event import AT_US, EVENT_WIDTH, INDEX, PRESENCE
from risk.features.identity import code_of, identify
from risk.policy import Category, Costs, Override, Policy, Thresholds
from risk.rules import tree
from risk.rules.emit import Timed, compile_trees
from risk.rules.lists import Lists, NamedList, Purpose
from risk.rules.source import Action, Rule
from risk.scorer import calibrate
from risk.tariff import Tariff
from risk.verdict import decide

PLACES = (0, 3, FEATURE_COUNT - 1)
FIELDS = tuple((INDEX[name], bit, name) for bit, name in ((0, "hour"), (8, "attestation")))
WORDS = tuple((INDEX[name], name) for name in ("user", "card", "merchant"))
SPECIAL = (0.0, -0.0, 1.0, 2.5, -3.0, 1e-308, 1e300, -1e300, math.inf, -math.inf, math.nan)
NUMBERS = (0, 1, -7, 2**62, -(2**63))
LISTS = Lists(
    version="lists-test",
    by_name={
        "stolen": NamedList(
            "stolen", Purpose.NAMED, {"card": {1: 50, -7: 2**62, 2**62: 10}, "user": {}}
        ),
        "empty": NamedList("empty", Purpose.NAMED),
    },
)

words = st.sampled_from([tree.WordRef(index, name, name) for index, name in WORDS])
leaves: st.SearchStrategy[tree.Numeric] = st.one_of(
    st.sampled_from([tree.FeatureRef(place, f"f{place}") for place in PLACES]),
    st.sampled_from([tree.FieldRef(*field) for field in FIELDS]),
    st.sampled_from([value for value in SPECIAL if math.isfinite(value)]).map(tree.Number),
    st.floats(allow_nan=False, allow_infinity=False).map(tree.Number),
)
numbers: st.SearchStrategy[tree.Numeric] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(tree.Negate, inner),
        st.builds(tree.Arithmetic, st.sampled_from("+-*"), inner, inner),
        st.builds(tree.Divide, inner, inner),
    ),
    max_leaves=5,
)
signs = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
word_signs = st.sampled_from(["==", "!="])
finite = st.one_of(st.sampled_from([0.0, 1.0, 2.5, -3.0]), st.floats(-5, 5))
conditions: st.SearchStrategy[tree.Truth] = st.one_of(
    st.builds(tree.Compare, signs, numbers, numbers),
    st.builds(
        tree.Membership,
        numbers,
        st.lists(finite, min_size=1, max_size=12).map(tuple),
        st.booleans(),
    ),
    st.builds(tree.NumberMissing, numbers),
    st.builds(tree.WordMissing, words),
    st.builds(tree.WordCompare, word_signs, words, st.sampled_from(NUMBERS)),
    st.builds(tree.WordPair, word_signs, words, words),
    st.builds(
        tree.WordMembership,
        words,
        st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=4).map(tuple),
        st.booleans(),
    ),
    st.builds(tree.ListMembership, words, st.sampled_from(["stolen", "empty"]), st.booleans()),
)
rules = st.recursive(
    conditions,
    lambda inner: st.one_of(
        st.builds(tree.Not, inner),
        st.lists(inner, min_size=2, max_size=3).map(tuple).map(tree.And),
        st.lists(inner, min_size=2, max_size=3).map(tuple).map(tree.Or),
    ),
    max_leaves=6,
)
times = st.sampled_from([0, 10, 49, 50, 51])


@dataclass(frozen=True)
class Matrix:
    """Payments as the tests make them up."""

    features: npt.NDArray[np.float64]
    events: npt.NDArray[np.int64]

    @property
    def rows_count(self) -> int:
        return len(self.events)

    def feature(self, place: int) -> npt.NDArray[np.float64]:
        return self.features[:, place]

    def field(self, index: int) -> npt.NDArray[np.int64]:
        return self.events[:, index]


@st.composite
def matrices(draw: st.DrawFn) -> Matrix:
    rows_count = draw(st.integers(1, 12))
    features = np.full((rows_count, FEATURE_COUNT), np.nan)
    events = np.zeros((rows_count, EVENT_WIDTH), dtype=np.int64)
    cells = st.one_of(st.sampled_from(SPECIAL), st.floats())
    for row in range(rows_count):
        for place in PLACES:
            features[row, place] = draw(cells)
        for index, _, _ in FIELDS:
            events[row, index] = draw(st.sampled_from([0, 1, 23, 2**53, -(2**53)]))
        for index, _ in WORDS:
            events[row, index] = draw(st.sampled_from(NUMBERS))
        events[row, AT_US] = draw(times)
        events[row, PRESENCE] = draw(st.sampled_from([0, 1, 1 << 8, 1 | 1 << 8]))
    return Matrix(features, events)


@given(rules, matrices(), times, st.sampled_from([0, 10, 50]))
def test_a_column_is_decided_as_its_payments_one_by_one(
    rule: tree.Truth, payments: Matrix, valid_from_us: int, valid_to_us: int
) -> None:
    timed = Timed(rule, valid_from_us, valid_to_us)
    evaluate = compile_trees([timed], LISTS)

    together = fired(timed, payments, listed(LISTS))

    single = [
        bool(evaluate(payments.features[row].data, payments.events[row].tolist()))
        for row in range(payments.rows_count)
    ]
    assert together.tolist() == single


knots = st.lists(st.floats(0, 1), min_size=1, max_size=6, unique=True).map(sorted)


@given(knots, st.data())
def test_a_column_is_calibrated_as_its_scores_one_by_one(
    x: list[float], data: st.DataObject
) -> None:
    y = sorted(data.draw(st.lists(st.floats(0, 1), min_size=len(x), max_size=len(x))))
    raw = data.draw(st.lists(st.one_of(st.sampled_from(x), st.floats(-1, 2)), min_size=1))

    together = calibrated(tuple(x), tuple(y), np.array(raw))

    single = np.array([calibrate(tuple(x), tuple(y), one) for one in raw])
    assert together.tobytes() == single.tobytes()


levels = st.lists(st.floats(0, 1), min_size=3, max_size=3).map(sorted)
drafts = st.lists(
    st.tuples(st.sampled_from(Action), st.booleans(), st.lists(st.booleans(), min_size=5)),
    max_size=5,
)


@given(drafts, levels, st.lists(st.floats(0, 1), min_size=5, max_size=5))
def test_a_column_is_judged_as_its_payments_one_by_one(
    drafted: list[tuple[Action, bool, list[bool]]], at: list[float], probability: list[float]
) -> None:
    thresholds = Thresholds(challenge_at=at[0], review_at=at[1], decline_at=at[2])
    all_rules = [
        Rule(name=f"r{n}", expression="1 < 2", action=action, reason="STRUCTURING", overridable=o)
        for n, (action, o, _) in enumerate(drafted)
    ]
    masks = [np.array(fires[:5]) for _, _, fires in drafted]

    scored = by_thresholds(thresholds, np.array(probability))
    together = combined(list(zip(all_rules, masks, strict=True)), scored)

    for row, one in enumerate(probability):
        hits = tuple(rule for rule, mask in zip(all_rules, masks, strict=True) if mask[row])
        alone = thresholds.outcome(one)
        assert OUTCOMES[scored[row]] is alone
        assert OUTCOMES[together[row]] is decide(hits, alone).outcome


SHOPS = ("m1", "m2", "m3", "m4")
FREE = Costs(
    loss_ppm=0,
    chargeback_minor=0,
    margin_ppm=0,
    insult_minor=0,
    challenge_minor=0,
    review_minor=0,
)
POLICIES = (
    DEFAULT_POLICY,
    Policy(costs=FREE),  # Of equal costs the mildest outcome is chosen.
    Policy(
        kind="thresholds", merchants={"m1": Override(cap=RiskOutcome.REVIEW)}, rates_ppm={"USD": 7}
    ),
    Policy(
        kind="thresholds",
        thresholds=Thresholds(challenge_at=0.1, review_at=0.1, decline_at=0.7),
        categories={"games": Category(mcc=("5411-5413",), cap=RiskOutcome.CHALLENGE)},
    ),
    Policy(
        costs=Costs(insult_minor=0, review_minor=0, challenge_minor=0),
        rates_ppm={"USD": 7_100_000, "EUR": 333},
        categories={"games": Category(mcc=("5411",), costs={"loss_ppm": 0, "margin_ppm": 1})},
        merchants={
            "m1": Override(category="games", cap=RiskOutcome.APPROVE),
            "m2": Override(costs={"chargeback_minor": 10**9}),
            "m3": Override(thresholds=Thresholds(challenge_at=0.2, review_at=0.5, decline_at=1)),
        },
    ),
)
sold = st.tuples(
    st.floats(0, 1),
    st.one_of(st.sampled_from([1, 500_000, 2**50]), st.integers(1, 10**7)),
    st.sampled_from(["CNY", "USD", "EUR", ""]),
    st.sampled_from(SHOPS),
    st.sampled_from(["5411", "5413", "7995", ""]),
)
BUNDLE = Thresholds(challenge_at=0.3, review_at=0.6, decline_at=0.9)


@given(st.sampled_from(POLICIES), st.lists(sold, min_size=1, max_size=12))
def test_a_policy_weighs_a_column_as_its_payments_one_by_one(
    policy: Policy, rows: list[tuple[float, int, str, str, str]]
) -> None:
    columns = [
        [amount_minor for _, amount_minor, _, _, _ in rows],
        [code_of(currency) for _, _, currency, _, _ in rows],
        [identify("merchant", shop) for _, _, _, shop, _ in rows],
        [identify("mcc", mcc) for _, _, _, _, mcc in rows],
    ]
    payments = Payments(*(np.array(column, dtype=np.int64) for column in columns))
    probability = np.array([row[0] for row in rows])
    batch, tariff = BatchTariff(policy), Tariff(policy)

    outcomes = batch.outcomes(probability, payments, BUNDLE)
    costs = batch.costs(probability, payments)

    for row, (one, *_) in enumerate(rows):
        values = [0] * EVENT_WIDTH
        for name, column in zip(("amount", "currency", "merchant", "mcc"), columns, strict=True):
            values[INDEX[name]] = column[row]
        converted_minor = tariff.amount_minor(values)
        outcome, alone = tariff.terms(values).choose(one, converted_minor, BUNDLE)
        assert OUTCOMES[outcomes[row]] is outcome
        assert alone is None or tuple(costs[:, row].tolist()) == alone
