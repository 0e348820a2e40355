"""What the engine promises its callers: an answer, always, that says how it was made."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk import (
    EMPTY_CONTEXT,
    Engine,
    Feedback,
    LogGap,
    RiskContext,
    RiskOutcome,
    Transaction,
)
from risk.decision import Decision, EventKind
from risk.features.catalogue import FEATURE_COUNT, PLACES
from risk.features.event import INDEX, decode
from risk.geo import shipped
from risk.rules.source import Action, Rule, RuleSet
from risk.transaction import Behavior, Client, Device, Geo, Instrument, Payee, Payer
from risk.verdict import Fallback
from tests.fakes import still_ns

AT_US = 1_700_000_000_000_000
FULL = RiskContext(
    payer=Payer(account_id="u", created_at_ms=1_600_000_000_000),
    device=Device(device_id="d", risk_labels=("emulator",)),
    client=Client(ip="1.2.3.4", ip_country="CN", tz_offset_min=480),
    instrument=Instrument(token="tok_1"),  # noqa: S106 - a card's stand-in
    payee=Payee(account_id="p"),
    behavior=Behavior(form_ms=3_000),
    geo=Geo(lat=31.2, lon=121.5),
)
HOLD = Rule(name="hold", expression="amount >= 1", action=Action.REVIEW, reason="BURST")
BLOCK = Rule(
    name="block",
    expression="amount >= 1",
    action=Action.DECLINE,
    reason="LIVENESS_INJECTION",
    overridable=False,
)
LATE_NS = 10**9


class SlowClock:
    """A clock that passes a second at every look."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        self.now_ns += LATE_NS
        return self.now_ns


def payment(number: int = 1, context: RiskContext = FULL, amount_minor: int = 100) -> Transaction:
    return Transaction(
        event_id=f"T{number}",
        merchant_id="m",
        amount_minor=amount_minor,
        currency="CNY",
        pay_type="alipay",
        context=context,
    )


def feature(decision: Decision, name: str) -> float:
    return float(np.frombuffer(decision.features)[PLACES[name]])


def test_numbers_are_dense_across_attempts_and_feedback() -> None:
    engine = Engine(clock_ns=still_ns)
    first = engine.assess(payment(1), AT_US)
    label = engine.record(
        Feedback.FRAUD, attempt=first.event.payload, trade_no="T1", known_at_us=AT_US + 1
    )
    second = engine.assess(payment(2), AT_US + 2)

    assert [first.event.seq, label.seq, second.event.seq, engine.next_seq] == [1, 2, 3, 4]
    assert [first.event.kind, label.kind] == [EventKind.ATTEMPT, EventKind.LABEL]
    assert decode(label.payload)[INDEX["ref_seq"]] == 1


def test_a_payment_is_not_in_its_own_history_but_in_the_next_ones() -> None:
    engine = Engine(clock_ns=still_ns)
    decisions = [engine.assess(payment(n), AT_US + n) for n in range(3)]

    assert [feature(d, "time_user_count_1h") for d in decisions] == [0, 1, 2]
    assert [feature(d, "device_known_to_user") for d in decisions] == [0, 1, 1]


def test_a_label_counts_from_when_it_became_known() -> None:
    engine = Engine(clock_ns=still_ns)
    first = engine.assess(payment(1), AT_US)
    before = engine.assess(payment(2), AT_US + 1)
    engine.record(Feedback.FRAUD, attempt=first.event.payload, trade_no="T1", known_at_us=AT_US + 2)
    after = engine.assess(payment(3), AT_US + 3)

    assert feature(before, "device_fraud_30d") == 0
    assert feature(after, "device_fraud_30d") == 1
    assert feature(after, "payee_last_label") == 1


def test_without_a_model_the_rules_decide_and_nothing_is_degraded() -> None:
    decision = Engine(rules=RuleSet((HOLD,)), clock_ns=still_ns).assess(payment(), AT_US)

    assert decision.outcome is RiskOutcome.REVIEW
    assert (decision.model_version, decision.degraded, decision.fallback) == ("none", "", "")
    assert decision.rule_hits == ("hold",)
    assert [reason.code for reason in decision.reasons] == ["BURST"]


@pytest.mark.parametrize(
    ("fallback", "outcome"),
    [("open", RiskOutcome.APPROVE), ("closed", RiskOutcome.REVIEW), ("rules", RiskOutcome.REVIEW)],
)
def test_an_overrun_lets_the_fallback_decide_and_says_so(
    fallback: Fallback, outcome: RiskOutcome
) -> None:
    engine = Engine(fallback=fallback, clock_ns=SlowClock(), rules=RuleSet((HOLD,)))
    decision = engine.assess(payment(), AT_US)

    assert (decision.outcome, decision.degraded, decision.fallback) == (
        outcome,
        "deadline",
        fallback,
    )
    assert decision.reasons[0].code == "SYSTEM_DEGRADED"
    assert engine.assess(payment(2), AT_US + 1).event.seq == 2


@pytest.mark.parametrize("fallback", ["open", "closed", "rules"])
def test_a_block_that_may_not_be_overridden_holds_whatever_the_fallback(fallback: Fallback) -> None:
    engine = Engine(fallback=fallback, clock_ns=SlowClock(), rules=RuleSet((BLOCK,)))

    assert engine.assess(payment(), AT_US).outcome is RiskOutcome.DECLINE


def test_a_payment_whose_assessment_overran_still_counts() -> None:
    slow, quick = Engine(clock_ns=SlowClock()), Engine(clock_ns=still_ns)
    late = slow.assess(payment(1), AT_US)
    quick.restore([(late.event.seq, late.event.payload)])

    one, other = (engine.assess(payment(2), AT_US + 1) for engine in (slow, quick))
    assert one.features == other.features
    assert feature(one, "time_user_count_1h") == 1


def test_missing_evidence_is_named() -> None:
    engine = Engine(clock_ns=still_ns)

    assert engine.assess(payment(1, RiskContext()), AT_US).missing == (
        "device",
        "behaviour",
        "geo",
        "graph",
    )
    assert engine.assess(payment(2), AT_US).missing == ()


@pytest.mark.parametrize(
    ("context", "field", "kept"),
    [
        (RiskContext(geo=Geo(lat=math.nan, lon=math.inf)), None, "amount"),
        (RiskContext(geo=Geo(lat=31.0, accuracy_m=math.nan)), "accuracy_m", "amount"),
        (RiskContext(behavior=Behavior(pointer_straightness=math.inf)), "straightness", "amount"),
        (RiskContext(behavior=Behavior(form_ms=10**400)), None, "behaviour_form_ms"),
        (RiskContext(behavior=Behavior(form_ms="x")), "form_ms", "amount"),  # type: ignore[arg-type]  # on purpose
        (RiskContext(payer=Payer(account_id=["x"])), "user", "amount"),  # type: ignore[arg-type]  # on purpose
    ],
)
def test_what_can_not_be_used_goes_missing_and_is_named(
    context: RiskContext, field: str | None, kept: str
) -> None:
    decision = Engine(clock_ns=still_ns).assess(payment(1, context), AT_US)

    assert not math.isnan(feature(decision, kept))
    assert decision.event.seq == 1
    if field:
        assert decision.degraded.startswith("context:")
        assert field in decision.degraded
        assert decision.fallback == ""


hostile = st.one_of(
    st.none(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=20),
    st.booleans(),
    st.lists(st.text(max_size=8), max_size=3),
    st.sampled_from(["\ud800", "é" * 5_000, b"x"]),
)


GROUPS = {
    group.name: type(getattr(EMPTY_CONTEXT, group.name))
    for group in dataclasses.fields(RiskContext)
}
FIELD_COUNT = sum(len(dataclasses.fields(kind)) for kind in GROUPS.values())


def _hostile_context(values: list[Any]) -> RiskContext:
    at = iter(values)
    groups: dict[str, Any] = {
        name: kind(**{field.name: next(at) for field in dataclasses.fields(kind)})
        for name, kind in GROUPS.items()
    }
    return RiskContext(**groups)


SHARED = Engine(clock_ns=still_ns)


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(hostile, min_size=FIELD_COUNT, max_size=FIELD_COUNT),
    amount=st.integers(-(2**70), 2**70),
    at_us=st.integers(-(2**70), 2**70),
)
def test_nothing_in_a_context_can_make_assess_raise(
    values: list[Any], amount: int, at_us: int
) -> None:
    decision = SHARED.assess(payment(1, _hostile_context(values), amount), at_us)

    features = np.frombuffer(decision.features)
    assert len(features) == FEATURE_COUNT
    assert not np.isinf(features).any()
    assert math.isfinite(decision.score)
    assert not decision.degraded.startswith("fault")


def test_a_gap_in_the_log_is_refused() -> None:
    engine = Engine(clock_ns=still_ns)
    payloads = [engine.assess(payment(n), AT_US + n).event.payload for n in range(3)]

    with pytest.raises(LogGap, match="event 3, expected 2"):
        Engine(clock_ns=still_ns).restore([(1, payloads[0]), (3, payloads[2])])


def test_only_an_attempt_takes_feedback() -> None:
    engine = Engine(clock_ns=still_ns)
    attempt = engine.assess(payment(), AT_US).event
    label = engine.record(
        Feedback.GENUINE, attempt=attempt.payload, trade_no="T1", known_at_us=AT_US
    )

    with pytest.raises(ValueError, match="event 2 is not an attempt"):
        engine.record(Feedback.FRAUD, attempt=label.payload, trade_no="T1", known_at_us=AT_US)
    with pytest.raises(ValueError, match="768 bytes"):
        engine.record(Feedback.FRAUD, attempt=b"short", trade_no="T1", known_at_us=AT_US)
    assert engine.next_seq == 3


@pytest.mark.parametrize("damage", ["engine", "truncated", "absent"])
def test_a_snapshot_that_can_not_be_trusted_is_not_used(tmp_path: Path, damage: str) -> None:
    engine = Engine(clock_ns=still_ns)
    engine.assess(payment(), AT_US)
    path = tmp_path / "state.npz"
    if damage != "absent":
        engine.save_snapshot(path)
    if damage == "engine":
        path.write_bytes(path.read_bytes().replace(b'"engine": "1.', b'"engine": "0.'))
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-2_000])

    fresh = Engine(clock_ns=still_ns)
    assert fresh.load_snapshot(path) == 0
    assert fresh.next_seq == 1


def test_a_decision_names_the_table_its_addresses_were_looked_up_in() -> None:
    decisions = [Engine(geo=geo).assess(payment(), AT_US) for geo in (shipped(), None)]

    assert [one.geo_version for one in decisions] == [shipped().version, "none"]
