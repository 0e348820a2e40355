"""Make a stored decision again from what was stored with it, part by part, and compare.

Every part is compared for itself, from the stored input of that part: a wrong feature then shows
as a wrong feature and does not drag score, outcome and reasons along. What timing decided (a
missed deadline, a fault) can't happen again; it is taken as recorded, and the step of the ladder
that it led to is decided again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from risk import reasons
from risk.compiled import ENGINE_VERSION
from risk.decision import Reason, RiskOutcome, causes_of
from risk.policy import Policy
from risk.reasons import Floats
from risk.rules.source import Rule, RuleSet
from risk.scorer import Bundle
from risk.tariff import Tariff
from risk.verdict import Step, Verdict, decide, decide_below

EQUAL: Final = "equal, bit for bit"
FIRST_POLICIES: Final = "policy-1:"
_RULES_DID_NOT_RUN: Final = frozenset({"fault:features", "fault:rules"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What was stored of a decision that others than features follow from.

    Attributes:
        values: The attempt's integers, from its log row.
        features: float64, catalogue order.
        shadow: As stored; see `risk.decision.Shadow`.
    """

    values: list[int]
    features: Floats
    outcome: str
    score: float
    score_raw: float
    reasons: tuple[Reason, ...]
    rule_hits: tuple[str, ...]
    model_version: str
    rule_version: str
    policy_version: str
    engine_version: str
    category: str
    costs: tuple[float, ...]
    step: str
    degraded: str
    fallback: str
    shadow: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What decided then, as far as it is still to be had; None where it isn't."""

    rules: RuleSet | None = None
    policy: Policy | None = None
    bundle: Bundle | None = None
    challenger: Bundle | None = None


def policy_of_version(version: str) -> Policy | None:
    """Return the policy of a version that no table needs to keep, or None.

    The first release decided by the bundle's thresholds alone.
    """
    return Policy(kind="thresholds") if version.startswith(FIRST_POLICIES) else None


def compare(stored: Recorded, means: Means) -> dict[str, str]:
    """Recompute every part and say, for each, ``equal…``, ``differs…`` or ``not compared…``."""
    found = {"score": _compare_score(stored, means.bundle)}
    if means.rules is None:
        missing = f"not compared: rule set {stored.rule_version} is not kept here"
        return found | dict.fromkeys(("rules", "outcome", "reasons"), missing)
    hits = _hits(stored, means.rules)
    found["rules"] = _same(stored.rule_hits, tuple(rule.name for rule in hits))
    if means.policy is None:
        missing = f"not compared: policy {stored.policy_version} is not kept here"
        return found | dict.fromkeys(("outcome", "reasons"), missing)
    tariff = Tariff(means.policy)
    if stored.model_version != "none" and means.bundle is None and not stored.fallback:
        missing = f"not compared: model {stored.model_version} is not here"
        return found | dict.fromkeys(("outcome", "reasons"), missing)
    verdict, category, costs = _judged(stored, hits, tariff, means.bundle)
    found["outcome"] = _same(stored.outcome, verdict.outcome.value)
    if category:
        found["costs"] = _same((stored.category, stored.costs), (category, costs))
    found["reasons"] = _compare_reasons(stored, verdict, means.bundle)
    return found | _compare_shadow(stored, means, hits, tariff)


def _same(then: object, now: object) -> str:
    return EQUAL if repr(then) == repr(now) else f"differs: stored {then!r}, now {now!r}"


def _compare_score(stored: Recorded, bundle: Bundle | None) -> str:
    if stored.model_version == "none" or stored.fallback:
        return "not compared: no model took part"
    if bundle is None:
        return f"not compared: model {stored.model_version} is not here"
    score, raw = bundle.score(stored.features)
    return _same((stored.score_raw, stored.score), (raw, score))


def _hits(stored: Recorded, rules: RuleSet) -> tuple[Rule, ...]:
    causes = causes_of(stored.degraded)
    if _RULES_DID_NOT_RUN.isdisjoint(causes):
        return rules.hits(stored.features.data, stored.values)
    return () if "fault:must_hold" in causes else rules.must_hold(stored.values)


def _judged(
    stored: Recorded, hits: tuple[Rule, ...], tariff: Tariff, bundle: Bundle | None
) -> tuple[Verdict, str, tuple[float, ...]]:
    """Return the verdict and, where the policy took part, its category and costs."""
    causes = causes_of(stored.degraded)
    if stored.fallback:
        static = RiskOutcome.REVIEW
        if "fault:static" not in causes:
            static = tariff.static(stored.values)
        checked = "fault:must_hold" not in causes
        if "fault:ladder" in causes:
            return Verdict(RiskOutcome.REVIEW, ()), "", ()
        return decide_below(Step(stored.step), hits, static, checked=checked), "", ()
    terms = tariff.terms(stored.values)
    category = "" if stored.policy_version.startswith(FIRST_POLICIES) else terms.category
    if bundle is None:
        return decide(hits, RiskOutcome.APPROVE), category, ()
    amount_minor = tariff.amount_minor(stored.values)
    scored, costs = terms.choose(stored.score, amount_minor, bundle.thresholds)
    return decide(hits, scored), category, costs or ()


def _compare_reasons(stored: Recorded, verdict: Verdict, bundle: Bundle | None) -> str:
    if stored.engine_version != ENGINE_VERSION:
        return f"not compared: made by engine {stored.engine_version}, this is {ENGINE_VERSION}"
    fell_back = bool(stored.fallback)
    if verdict.outcome is RiskOutcome.APPROVE:
        now = reasons.ranked([], None, degraded=True) if fell_back else ()
        return _same(stored.reasons, now)
    shares = None
    if bundle is not None and not fell_back and "reasons" not in causes_of(stored.degraded):
        shares = bundle.contributions(stored.features)
    codes = [rule.reason for rule in verdict.rules]
    return _same(stored.reasons, reasons.ranked(codes, shares, degraded=fell_back))


def _compare_shadow(
    stored: Recorded, means: Means, hits: tuple[Rule, ...], tariff: Tariff
) -> dict[str, str]:
    found = {}
    shadow = stored.shadow
    if means.rules is not None and shadow.get("rules"):
        now = means.rules.shadow_hits(stored.features.data, stored.values)
        found["shadow rules"] = _same(tuple(shadow["rules"]), now)
    version = shadow.get("model_version")
    if version and means.challenger is None:
        found["challenger"] = f"not compared: model {version} is not here"
    elif version and means.challenger is not None:
        score, raw = means.challenger.score(stored.features)
        terms, amount_minor = tariff.terms(stored.values), tariff.amount_minor(stored.values)
        scored, _ = terms.choose(score, amount_minor, means.challenger.thresholds)
        outcome = decide(hits, scored).outcome.value
        then = (shadow.get("score_raw", 0.0), shadow.get("score", 0.0), shadow["outcome"])
        found["challenger"] = _same(then, (raw, score, outcome))
    return found
