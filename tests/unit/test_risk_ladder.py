"""Whatever fails or is late, somebody decides: the next lower step, aloud, and what must hold."""

from dataclasses import replace
from typing import Any

import pytest

from risk import Engine, RiskOutcome, Transaction
from risk.decision import Decision
from risk.default_policy import DEFAULT_POLICY
from risk.rules.source import Action, Rule
from risk.verdict import Fallback
from tests.risk_doubles import (
    FixedModel,
    Time,
    Trouble,
    TroubledRules,
    TroubledStore,
    TroubledTariff,
)

AT_US = 1_700_000_000_000_000
DEADLINE_MS = 10.0
STAGES = ("features", "rules", "model", "policy")
BANNED = Rule(
    name="banned",
    expression='pay_type == "crypto"',
    action=Action.DECLINE,
    reason="DEVICE_KNOWN_FRAUD",
    overridable=False,
)
LARGE = Rule(name="large", expression="amount > 50_000", action=Action.REVIEW, reason="BURST")


class Bench:
    """An engine whose every part can be made to fail or to dawdle."""

    def __init__(self, fallback: Fallback = "rules", probability: float = 0.0) -> None:
        self.time = Time()
        names = (*STAGES, "static", "must_hold", "explaining", "shadow", "challenger")
        self.trouble = {name: Trouble(self.time) for name in names}
        self.engine = Engine(
            deadline_us=int(DEADLINE_MS * 1_000), fallback=fallback, clock_ns=self.time
        )
        tariff = TroubledTariff(DEFAULT_POLICY)
        tariff.terms_trouble = self.trouble["policy"]
        tariff.static_trouble = self.trouble["static"]
        rules = TroubledRules(
            (BANNED, LARGE),
            self.trouble["rules"],
            must=self.trouble["must_hold"],
            shadow=self.trouble["shadow"],
            shadow_names=("tried",),
        )
        bundle: Any = FixedModel(
            probability, self.trouble["model"], self.trouble["explaining"], shares={0: 1.0}
        )
        challenger: Any = FixedModel(0.99, self.trouble["challenger"], Trouble(self.time), "other")
        self.engine._reset(TroubledStore(self.trouble["features"]))
        self.engine._kit = replace(
            self.engine._kit, rules=rules, tariff=tariff, bundle=bundle, challenger=challenger
        )

    def assess(self, amount_minor: int = 2_000, pay_type: str = "alipay") -> Decision:
        payment = Transaction(
            event_id="T1",
            merchant_id="m",
            amount_minor=amount_minor,
            currency="CNY",
            pay_type=pay_type,
        )
        return self.engine.assess(payment, AT_US)


def test_with_everything_in_order_the_full_path_decides() -> None:
    decision = Bench(probability=0.5).assess()

    assert (decision.outcome, decision.step) == (RiskOutcome.CHALLENGE, "full")
    assert (decision.degraded, decision.fallback, decision.causes) == ("", "", ())
    assert min(decision.costs) == decision.costs[1]


@pytest.mark.parametrize(
    ("stage", "step", "outcomes"),
    [
        ("features", "static", ("APPROVE", "CHALLENGE", "REVIEW")),
        ("rules", "static", ("APPROVE", "CHALLENGE", "REVIEW")),
        ("model", "rules", ("APPROVE", "REVIEW", "REVIEW")),
        ("policy", "rules", ("APPROVE", "REVIEW", "REVIEW")),
    ],
)
def test_a_stage_that_fails_lets_the_next_lower_step_decide(
    stage: str, step: str, outcomes: tuple[str, ...]
) -> None:
    bench = Bench(probability=0.9)
    bench.trouble[stage].breaks = True
    decisions = [bench.assess(amount_minor) for amount_minor in (2_000, 60_000, 2_000_000)]

    assert tuple(one.outcome.value for one in decisions) == outcomes
    for one in decisions:
        assert (one.step, one.degraded) == (step, f"fault:{stage}:Broken")
        assert (one.fallback, one.score, one.costs) == (
            "rules",
            0.0 if stage != "policy" else 0.9,
            (),
        )
        assert one.reasons[0].code == "SYSTEM_DEGRADED"


@pytest.mark.parametrize("stage", ["features", "rules", "model"])
def test_a_stage_that_dawdles_lets_the_rules_decide_and_the_model_is_not_asked(stage: str) -> None:
    bench = Bench(probability=0.9)
    bench.trouble[stage].takes_ms = DEADLINE_MS + 1
    if stage != "model":
        bench.trouble["model"].breaks = True  # Would say so, if it were asked.
    small, large = bench.assess(), bench.assess(60_000)

    assert (small.outcome, large.outcome) == (RiskOutcome.APPROVE, RiskOutcome.REVIEW)
    for one in (small, large):
        assert (one.step, one.degraded, one.score) == ("rules", "deadline", 0.0)
        assert one.reasons[0].code == "SYSTEM_DEGRADED"
    assert large.rule_hits == ("large",)


@pytest.mark.parametrize("fallback", ["open", "closed", "rules"])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("slow", [False, True])
def test_what_must_hold_declines_whatever_fails_or_is_late(
    fallback: Fallback, stage: str, slow: bool
) -> None:
    bench = Bench(fallback)
    if slow:
        bench.trouble[stage].takes_ms = 1_000.0
    else:
        bench.trouble[stage].breaks = True
    decision = bench.assess(pay_type="crypto")

    assert decision.outcome is RiskOutcome.DECLINE
    assert "banned" in decision.rule_hits
    assert "DEVICE_KNOWN_FRAUD" in [reason.code for reason in decision.reasons]


@pytest.mark.parametrize("fallback", ["open", "closed", "rules"])
def test_nothing_is_approved_if_not_even_the_block_lists_can_be_asked(fallback: Fallback) -> None:
    bench = Bench(fallback)
    for stage in ("rules", "must_hold", "static"):
        bench.trouble[stage].breaks = True
    decision = bench.assess(100)

    assert decision.outcome is RiskOutcome.REVIEW
    assert decision.causes == ("fault:rules", "fault:must_hold", "fault:static")


def test_nothing_is_approved_in_silence_whatever_fails_together() -> None:
    names = (*STAGES, "static", "must_hold", "explaining", "shadow", "challenger")
    for mask in range(1 << len(names)):
        bench = _shared(mask, names)
        decision = bench.assess(2_000)
        troubled = any(mask >> place & 1 for place in range(4))

        assert bool(decision.degraded) or not troubled
        assert decision.outcome is RiskOutcome.APPROVE or decision.reasons
        if decision.outcome is RiskOutcome.APPROVE and troubled:
            assert decision.reasons[0].code == "SYSTEM_DEGRADED"
            assert decision.step in {"static", "rules"}


_BENCH: list[Bench] = []


def _shared(mask: int, names: tuple[str, ...]) -> Bench:
    if not _BENCH:
        _BENCH.append(Bench(probability=0.01))
    for place, name in enumerate(names):
        _BENCH[0].trouble[name].breaks = bool(mask >> place & 1)
    return _BENCH[0]


@pytest.mark.parametrize("probability", [float("nan"), -0.1, 1.5, float("inf")])
def test_a_model_that_gives_no_probability_does_not_decide(probability: float) -> None:
    decision = Bench(probability=probability).assess()

    assert (decision.step, decision.degraded) == ("rules", "fault:model:ScoreRefused")
    assert decision.score == 0.0


def test_reasons_that_fail_leave_the_outcome_and_say_so() -> None:
    bench = Bench(probability=0.5)
    bench.trouble["explaining"].breaks = True
    decision = bench.assess()

    assert (decision.outcome, decision.step) == (RiskOutcome.CHALLENGE, "full")
    assert (decision.degraded, decision.fallback) == ("reasons:Broken", "")
    assert [reason.code for reason in decision.reasons] == ["RISK_SCORE"]


def test_reasons_are_left_out_if_they_would_break_the_budget() -> None:
    bench = Bench(probability=0.5)
    bench.engine._kit = replace(bench.engine._kit, explain_ns=3_000_000)
    bench.trouble["model"].takes_ms = DEADLINE_MS - 2
    bench.trouble["explaining"].breaks = True  # Would say so, if it were asked.
    decision = bench.assess()

    assert (decision.outcome, decision.degraded) == (RiskOutcome.CHALLENGE, "reasons:deadline")


def test_a_full_path_that_overran_in_the_end_says_so() -> None:
    bench = Bench(probability=0.5)
    bench.trouble["explaining"].takes_ms = DEADLINE_MS + 1
    decision = bench.assess()

    assert (decision.outcome, decision.step) == (RiskOutcome.CHALLENGE, "full")
    assert (decision.degraded, decision.fallback) == ("late", "")
    assert decision.elapsed_us > DEADLINE_MS * 1_000


def test_a_field_that_can_not_be_used_stays_named_under_a_fault() -> None:
    bench = Bench()
    bench.trouble["model"].breaks = True
    decision = bench.assess(amount_minor="x")  # type: ignore[arg-type]  # on purpose

    assert decision.degraded == "fault:model:Broken;context:amount"
    assert decision.causes == ("fault:model", "context")


def test_challenger_and_shadow_rules_are_recorded_beside_the_answer() -> None:
    decision = Bench(probability=0.0).assess()

    assert decision.outcome is RiskOutcome.APPROVE
    assert decision.shadow is not None
    assert decision.shadow.rules == ("tried",)
    assert (decision.shadow.model_version, decision.shadow.score) == ("other", 0.99)
    assert decision.shadow.outcome == "DECLINE"


@pytest.mark.parametrize(
    ("part", "fault"), [("shadow", "rules:Broken"), ("challenger", "model:Broken")]
)
def test_a_shadow_that_fails_is_named_and_changes_nothing(part: str, fault: str) -> None:
    bench = Bench(probability=0.0)
    bench.trouble[part].breaks = True
    decision = bench.assess()

    assert (decision.outcome, decision.degraded, decision.step) == (
        RiskOutcome.APPROVE,
        "",
        "full",
    )
    assert decision.shadow is not None
    assert decision.shadow.fault == fault


def test_a_challenger_is_not_asked_when_the_budget_is_used_up() -> None:
    bench = Bench(probability=0.5)
    bench.trouble["explaining"].takes_ms = DEADLINE_MS + 1
    bench.trouble["challenger"].breaks = True  # Would say so, if it were asked.
    decision = bench.assess()

    assert decision.shadow is not None
    assert (decision.shadow.fault, decision.shadow.model_version) == ("deadline", "")
