"""From the rules that fired and the score to an outcome, on every step of the ladder.

Order: a decline that may not be overridden; then an override that allows; then the most severe of
declines, other rules and the score. So an allow rule lifts everything but the conditions that must
hold whoever vouches, and a mild rule never softens a bad score.

The ladder: the full path decides; if it is late or fails, the rules alone on what is known; if
these can't run, a static table by payment system and amount. An operator may choose instead to let
such payments through or to hold them. What must hold (block lists, declines that may not be
overridden) is enforced on every step, and where even that can't be checked, nothing is approved.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from risk.decision import RiskOutcome
from risk.policy import SEVERITY
from risk.rules.source import Action, Rule

Fallback = Literal["open", "closed", "rules"]
_OUTCOMES: Final = {
    Action.CHALLENGE: RiskOutcome.CHALLENGE,
    Action.REVIEW: RiskOutcome.REVIEW,
    Action.DECLINE: RiskOutcome.DECLINE,
}


class Step(StrEnum):
    """Which step of the ladder decided."""

    FULL = "full"
    RULES = "rules"
    STATIC = "static"
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome and the rules that led to it (none if the score alone did)."""

    outcome: RiskOutcome
    rules: tuple[Rule, ...]


def decide(hits: tuple[Rule, ...], scored: RiskOutcome) -> Verdict:
    """Combine the rules that fired with what the score says."""
    if not hits:
        return Verdict(scored, ())
    fixed = fixed_among(hits)
    if fixed:
        return Verdict(RiskOutcome.DECLINE, fixed)
    if any(rule.action is Action.APPROVE_OVERRIDE for rule in hits):
        return Verdict(RiskOutcome.APPROVE, ())
    worst = max((_OUTCOMES[rule.action] for rule in hits), key=SEVERITY.__getitem__)
    if SEVERITY[worst] < SEVERITY[scored]:
        return Verdict(scored, hits)
    strongest = sorted(hits, key=lambda rule: -SEVERITY[_OUTCOMES[rule.action]])
    return Verdict(worst, tuple(strongest))


def fixed_among(hits: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """Return those that decline and may not be overridden."""
    return tuple(rule for rule in hits if rule.action is Action.DECLINE and not rule.overridable)


def step_below(fallback: Fallback, *, rules_ran: bool) -> Step:
    """Return which step decides when the full path can't."""
    if fallback == "rules":
        return Step.RULES if rules_ran else Step.STATIC
    return Step(fallback)


def decide_below(
    step: Step, hits: tuple[Rule, ...], static: RiskOutcome, *, checked: bool
) -> Verdict:
    """Decide on a step below the full path.

    Args:
        step: Not FULL.
        hits: The rules that fired or, if rules could not run, those that must hold.
        static: What the table says to this payment.
        checked: Whether what must hold could be looked at.
    """
    if step is Step.RULES:
        return decide(hits, RiskOutcome.APPROVE)
    fixed = fixed_among(hits)
    if fixed:
        return Verdict(RiskOutcome.DECLINE, fixed)
    outcome = {Step.OPEN: RiskOutcome.APPROVE, Step.CLOSED: RiskOutcome.REVIEW}.get(step, static)
    if not checked and SEVERITY[outcome] < SEVERITY[RiskOutcome.REVIEW]:
        outcome = RiskOutcome.REVIEW
    return Verdict(outcome, ())
