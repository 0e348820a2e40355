"""The catalogue, the reasons and the policy are complete and keep their promised order."""

from itertools import product

import pytest

from risk.decision import RiskOutcome
from risk.features.catalogue import FEATURE_NAMES, FEATURES, documentation, family_places, plan
from risk.features.definition import Family, Formula
from risk.policy import Fallback, decide, without_score
from risk.reasons import CODES, FEATURE_CODES, ranked, text
from risk.rules.source import Action, Rule


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


def test_every_family_has_at_least_five_features() -> None:
    assert all(len(places) >= 5 for places in family_places().values())
    assert set(family_places()) == set(Family)


def test_names_are_unique_and_the_plan_has_a_row_for_each() -> None:
    assert len(set(FEATURE_NAMES)) == len(FEATURES) == len(plan())


def test_every_feature_is_documented_in_both_languages() -> None:
    page = documentation()

    assert all(f"| `{name}` |" in page for name in FEATURE_NAMES)
    assert all(one.meaning_en and one.meaning_zh and one.catches for one in FEATURES)
    assert not any(one.meaning_zh.isascii() for one in FEATURES)


@pytest.mark.parametrize(
    ("operation", "cells"),
    [("nothing", ("event.amount",)), ("value", ("event.nothing",)), ("ratio", ("event.amount",))],
)
def test_a_formula_of_unknown_parts_is_refused(operation: str, cells: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"unknown|takes"):
        Formula(operation, cells)


def test_every_feature_leads_to_a_code_and_every_code_speaks_both_languages() -> None:
    assert set(FEATURE_CODES) <= set(CODES)
    for code in CODES:
        assert text(code, "en").isascii()
        assert not text(code, "zh").isascii()


def test_reasons_are_rules_first_then_the_strongest_shares_and_never_more_than_five() -> None:
    shares = [0.0] * len(FEATURE_NAMES)
    shares[FEATURE_NAMES.index("geo_speed_kmh")] = 2.0
    shares[FEATURE_NAMES.index("amount_user_over_max")] = 0.5
    shares[FEATURE_NAMES.index("amount_user_zscore_30d")] = 1.0
    shares[FEATURE_NAMES.index("payee_age_s")] = -3.0

    found = ranked(["STRUCTURING"], shares, degraded=False)
    assert [one.code for one in found] == ["STRUCTURING", "IMPOSSIBLE_TRAVEL", "AMOUNT_UNUSUAL"]
    assert [one.contribution for one in found] == [0.0, 2.0, 1.5]
    assert len(ranked([], [1.0] * len(shares), degraded=True)) == 5
    assert [one.code for one in ranked([], None, degraded=False)] == ["RISK_SCORE"]


@pytest.mark.parametrize(
    ("hits", "scored", "outcome"),
    [
        ((), RiskOutcome.REVIEW, RiskOutcome.REVIEW),
        ((FIXED, ALLOW), RiskOutcome.APPROVE, RiskOutcome.DECLINE),
        ((ALLOW, BLOCK), RiskOutcome.DECLINE, RiskOutcome.APPROVE),
        ((BLOCK, HOLD), RiskOutcome.APPROVE, RiskOutcome.DECLINE),
        ((HOLD, ASK), RiskOutcome.APPROVE, RiskOutcome.REVIEW),
        ((ASK,), RiskOutcome.DECLINE, RiskOutcome.DECLINE),
    ],
)
def test_overrides_come_in_the_promised_order(
    hits: tuple[Rule, ...], scored: RiskOutcome, outcome: RiskOutcome
) -> None:
    assert decide(hits, scored).outcome is outcome


def test_every_fallback_decides_with_and_without_rules() -> None:
    fallbacks: tuple[Fallback, ...] = ("open", "closed", "rules")
    answers = {
        (fallback, name): without_score(fallback, hits).outcome.value
        for fallback, (name, hits) in product(
            fallbacks,
            {"none ran": None, "silent": (), "hold": (HOLD,), "fixed": (FIXED,)}.items(),
        )
    }

    assert answers == {
        ("open", "none ran"): "APPROVE",
        ("open", "silent"): "APPROVE",
        ("open", "hold"): "APPROVE",
        ("open", "fixed"): "DECLINE",
        ("closed", "none ran"): "REVIEW",
        ("closed", "silent"): "REVIEW",
        ("closed", "hold"): "REVIEW",
        ("closed", "fixed"): "DECLINE",
        ("rules", "none ran"): "REVIEW",
        ("rules", "silent"): "APPROVE",
        ("rules", "hold"): "REVIEW",
        ("rules", "fixed"): "DECLINE",
    }
