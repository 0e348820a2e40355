"""The catalogue and the reasons are complete and keep their promised order."""

import numpy as np
import pytest

from risk.features.catalogue import FEATURE_NAMES, FEATURES, documentation, family_places, plan
from risk.features.definition import Family, Formula
from risk.reasons import CODES, FEATURE_CODES, ranked, text


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
    shares = np.zeros(len(FEATURE_NAMES))
    shares[FEATURE_NAMES.index("geo_speed_kmh")] = 2.0
    shares[FEATURE_NAMES.index("amount_user_over_max")] = 0.5
    shares[FEATURE_NAMES.index("amount_user_zscore_30d")] = 1.0
    shares[FEATURE_NAMES.index("payee_age_s")] = -3.0

    found = ranked(["STRUCTURING"], shares, degraded=False)
    assert [one.code for one in found] == ["STRUCTURING", "IMPOSSIBLE_TRAVEL", "AMOUNT_UNUSUAL"]
    assert [one.contribution for one in found] == [0.0, 2.0, 1.5]
    assert len(ranked([], np.ones(len(shares)), degraded=True)) == 5
    assert [one.code for one in ranked([], None, degraded=False)] == ["RISK_SCORE"]
