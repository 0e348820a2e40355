"""Every feature the engine computes, as declared: what it means, over what, and what it catches."""

from collections.abc import Iterator, Mapping

import streamlit as st

from dashboard.parts import table
from dashboard.parts.console import Console
from dashboard.parts.text import Language, Words
from risk.features.catalogue import FEATURE_HASH, FEATURES, window_of, yields_without
from risk.features.definition import Family
from risk.reasons import FEATURE_CODES, text

COLUMNS = ("family", "feature", "meaning", "unit", "window", "reason", "without", "formula")
HEIGHT_PX = 620


def render(console: Console) -> None:
    """Show the page."""
    words = console.words
    st.header(words("nav.features"))
    st.caption(words("features.caption", n=len(FEATURES), hash=FEATURE_HASH))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        family = st.selectbox(
            words("review.family"),
            [None, *Family],
            format_func=lambda one: words(f"family.{one}") if one else words("features.all"),
            key="features.family",
            width=220,
        )
        sought = st.text_input(
            words("features.search"), key="features.search", placeholder="card, 24h, 收款人"
        )
    rows = [
        row
        for row in catalogue_rows(words)
        if family in (None, row["is_of"])
        and sought.strip().lower() in " ".join(row.values()).lower()
    ]
    st.dataframe(
        table.frame(rows, COLUMNS),
        hide_index=True,
        height=HEIGHT_PX,
        column_config={
            "family": words("review.family"),
            "feature": words("review.feature"),
            "meaning": st.column_config.TextColumn(words("review.meaning"), width="large"),
            "unit": words("features.unit"),
            "window": words("features.window"),
            "reason": words("features.reason"),
            "without": st.column_config.TextColumn(words("features.without"), width="medium"),
            "formula": st.column_config.TextColumn(words("features.formula"), width="medium"),
        },
    )
    st.caption(words("features.count", n=len(rows)))


def catalogue_rows(words: Words) -> Iterator[Mapping[str, str]]:
    """Yield one row a feature, in catalogue order, in the language of `words`."""
    language: Language = words.language
    for feature, code in zip(FEATURES, FEATURE_CODES, strict=True):
        yield {
            "is_of": str(feature.family),
            "family": words(f"family.{feature.family}"),
            "feature": feature.name,
            "meaning": feature.meaning_zh if language == "zh" else feature.meaning_en,
            "unit": str(feature.unit),
            "window": window_of(feature),
            "reason": text(code, language),
            "without": yields_without(feature),
            "formula": str(feature.formula),
        }
