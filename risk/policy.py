"""From a score and the rules that fired to an outcome.

Order: a decline that may not be overridden; then an override that allows; then the most severe of
declines, other rules and the score. So an allow rule lifts everything but the conditions that must
hold whoever vouches, and a mild rule never softens a bad score.
"""

from dataclasses import dataclass
from typing import Final, Literal

from risk.decision import RiskOutcome
from risk.rules.source import Action, Rule
from risk.scorer import BundleMeta

Fallback = Literal["open", "closed", "rules"]
RULES_ONLY: Final = "policy-1:rules"  # Policy version while no model is loaded.
_SEVERITY: Final = {outcome: place for place, outcome in enumerate(RiskOutcome)}
_OUTCOMES: Final = {
    Action.CHALLENGE: RiskOutcome.CHALLENGE,
    Action.REVIEW: RiskOutcome.REVIEW,
    Action.DECLINE: RiskOutcome.DECLINE,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome and the rules that led to it (none if the score alone did)."""

    outcome: RiskOutcome
    rules: tuple[Rule, ...]


def by_score(meta: BundleMeta, probability: float) -> RiskOutcome:
    """Return what the thresholds of a bundle say to a calibrated probability."""
    if probability >= meta.decline_at:
        return RiskOutcome.DECLINE
    if probability >= meta.review_at:
        return RiskOutcome.REVIEW
    if probability >= meta.challenge_at:
        return RiskOutcome.CHALLENGE
    return RiskOutcome.APPROVE


def decide(hits: tuple[Rule, ...], scored: RiskOutcome) -> Verdict:
    """Combine the rules that fired with what the score says."""
    if not hits:
        return Verdict(scored, ())
    fixed = tuple(rule for rule in hits if rule.action is Action.DECLINE and not rule.overridable)
    if fixed:
        return Verdict(RiskOutcome.DECLINE, fixed)
    if any(rule.action is Action.APPROVE_OVERRIDE for rule in hits):
        return Verdict(RiskOutcome.APPROVE, ())
    worst = max((_OUTCOMES[rule.action] for rule in hits), key=_SEVERITY.__getitem__)
    if _SEVERITY[worst] < _SEVERITY[scored]:
        return Verdict(scored, hits)
    strongest = sorted(hits, key=lambda rule: -_SEVERITY[_OUTCOMES[rule.action]])
    return Verdict(worst, tuple(strongest))


def without_score(fallback: Fallback, hits: tuple[Rule, ...] | None) -> Verdict:
    """Decide when the full path could not.

    Args:
        fallback: What is configured: let through, hold for review, or let the rules decide.
        hits: The rules that fired, or None if they could not run.

    Returns:
        A decline that may not be overridden is kept whatever the fallback; rules that could not
        run hold the payment for review.
    """
    if hits:
        verdict = decide(hits, RiskOutcome.APPROVE)
        fixed = any(not rule.overridable for rule in verdict.rules)
        if fallback == "rules" or (verdict.outcome is RiskOutcome.DECLINE and fixed):
            return verdict
    if fallback == "open" or (fallback == "rules" and hits is not None):
        return Verdict(RiskOutcome.APPROVE, ())
    return Verdict(RiskOutcome.REVIEW, ())
