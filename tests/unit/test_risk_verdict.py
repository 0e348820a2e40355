"""Rules, score and ladder come to one outcome, in the promised order."""

from itertools import product

import pytest

from risk.decision import RiskOutcome
from risk.rules.source import Action, Rule
from risk.verdict import Fallback, Step, decide, decide_below, step_below

APPROVE, CHALLENGE, REVIEW, DECLINE = RiskOutcome


def rule(action: Action, *, overridable: bool = True) -> Rule:
    return Rule(
        name=f"{action}{overridable}",
        expression="amount > 0",
        action=action,
        reason="BURST",
        overridable=overridable,
    )


FIXED = rule(Action.DECLINE, overridable=False)
ALLOW = rule(Action.APPROVE_OVERRIDE)
BLOCK = rule(Action.DECLINE)
HOLD = rule(Action.REVIEW)
ASK = rule(Action.CHALLENGE)


@pytest.mark.parametrize(
    ("hits", "scored", "outcome"),
    [
        ((), REVIEW, REVIEW),
        ((FIXED, ALLOW), APPROVE, DECLINE),
        ((ALLOW, BLOCK), DECLINE, APPROVE),
        ((BLOCK, HOLD), APPROVE, DECLINE),
        ((HOLD, ASK), APPROVE, REVIEW),
        ((ASK,), DECLINE, DECLINE),
    ],
)
def test_overrides_come_in_the_promised_order(
    hits: tuple[Rule, ...], scored: RiskOutcome, outcome: RiskOutcome
) -> None:
    assert decide(hits, scored).outcome is outcome


@pytest.mark.parametrize(
    ("fallback", "rules_ran", "step"),
    [
        ("rules", True, Step.RULES),
        ("rules", False, Step.STATIC),
        ("open", True, Step.OPEN),
        ("closed", False, Step.CLOSED),
    ],
)
def test_the_configured_step_decides_below_the_full_path(
    fallback: Fallback, rules_ran: bool, step: Step
) -> None:
    assert step_below(fallback, rules_ran=rules_ran) is step


def test_every_step_decides_with_and_without_rules() -> None:
    steps = (Step.RULES, Step.STATIC, Step.OPEN, Step.CLOSED)
    known = {"silent": (), "hold": (HOLD,), "allow": (ALLOW,), "fixed": (FIXED, ALLOW)}
    answers = {
        (step.value, name): decide_below(step, hits, CHALLENGE, checked=True).outcome.value
        for step, (name, hits) in product(steps, known.items())
    }

    assert answers == {
        ("rules", "silent"): "APPROVE",
        ("rules", "hold"): "REVIEW",
        ("rules", "allow"): "APPROVE",
        ("rules", "fixed"): "DECLINE",
        ("static", "silent"): "CHALLENGE",
        ("static", "hold"): "CHALLENGE",
        ("static", "allow"): "CHALLENGE",
        ("static", "fixed"): "DECLINE",
        ("open", "silent"): "APPROVE",
        ("open", "hold"): "APPROVE",
        ("open", "allow"): "APPROVE",
        ("open", "fixed"): "DECLINE",
        ("closed", "silent"): "REVIEW",
        ("closed", "hold"): "REVIEW",
        ("closed", "allow"): "REVIEW",
        ("closed", "fixed"): "DECLINE",
    }


@pytest.mark.parametrize("step", [Step.STATIC, Step.OPEN, Step.CLOSED])
@pytest.mark.parametrize("static", list(RiskOutcome))
def test_nothing_is_approved_while_what_must_hold_can_not_be_checked(
    step: Step, static: RiskOutcome
) -> None:
    outcome = decide_below(step, (), static, checked=False).outcome

    assert outcome in {REVIEW, DECLINE}
