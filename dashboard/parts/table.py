"""Tables: what a column is called, how wide it is, and which colours its words have."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.parts.chart import AMBER, BLUE, GREY, JADE, OUTCOME_COLORS, RED
from dashboard.parts.text import Words
from risk.decision import Reason

STATUS_COLORS: Mapping[str, str] = {
    "CREATED": GREY,
    "HELD": BLUE,
    "WAIT_PAY": AMBER,
    "SUCCESS": JADE,
    "REFUND": BLUE,
    "CLOSED": GREY,
    "PENDING": AMBER,
    "ACTIVE": JADE,
    "REJECTED": RED,
    "FROZEN": BLUE,
}
REASONS_SHOWN = 3


def outcome_chips(words: Words) -> Any:  # noqa: ANN401 - Streamlit's own column type
    """Return the column of risk outcomes, each in its colour."""
    named = {words(f"outcome.{outcome}"): color for outcome, color in OUTCOME_COLORS.items()}
    return chips(words("col.outcome"), named)


def status_chips(words: Words, prefix: str = "status") -> Any:  # noqa: ANN401 - as above
    """Return the column of order (or merchant) statuses, each in its colour."""
    named = {words.known(prefix, status): color for status, color in STATUS_COLORS.items()}
    return chips(words("col.status"), named)


def chips(label: str, named: Mapping[str, str], width: int = 100) -> Any:  # noqa: ANN401 - as above
    """Return a column whose cells hold lists of coloured words.

    Args:
        label: Its heading.
        named: Colour of each word.
        width: Pixels.
    """
    return st.column_config.MultiselectColumn(
        label, options=list(named), color=list(named.values()), width=width
    )


def score_bar(words: Words) -> Any:  # noqa: ANN401 - as above
    """Return the column of fraud scores, 0 to 100, as bars."""
    return st.column_config.ProgressColumn(
        words("col.score"), min_value=0.0, max_value=100.0, format="%.1f%%", width=120
    )


def right(label: str, width: int | None = None) -> Any:  # noqa: ANN401 - as above
    """Return a column of numbers written as text, aligned as numbers are."""
    return st.column_config.TextColumn(label, width=width, alignment="right")


def reason_texts(
    reasons: Iterable[Reason], text: Callable[[str], str], limit: int = REASONS_SHOWN
) -> list[str]:
    """Write the strongest reasons in words."""
    return [text(reason.code) for reason in reasons][:limit]


def frame(rows: Iterable[Mapping[str, object]], columns: Iterable[str]) -> pd.DataFrame:
    """Put rows into a table that has its columns even without rows."""
    return pd.DataFrame(list(rows), columns=list(columns))
