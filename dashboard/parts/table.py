"""Tables: what a column is called, how wide it is, and which colours its words have."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    "REGISTERED": GREY,
    "PENDING": AMBER,
    "INCOMPLETE": AMBER,
    "APPROVED": BLUE,
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


def pick(
    name: str,
    data: pd.DataFrame,
    ids: Sequence[str],
    chosen: str,
    on_pick: Callable[[str], None],
    *,
    height: int,
    column_config: Mapping[str, Any],
) -> None:
    """Show a table of which one row is picked, and always the one that is shown below it.

    Streamlit remembers a picked row by its place. When the rows change, that place is another
    row, so a table of other rows is another table here and starts with the chosen one picked.

    Args:
        name: Name of the table on its page.
        data: One row for each id.
        ids: What the rows stand for.
        chosen: The one that is shown now; it need not be among them.
        on_pick: Called with the id that was picked.
        height: Pixels.
        column_config: As for `st.dataframe`.
    """
    digest = hashlib.blake2b("\n".join(ids).encode(), digest_size=8).hexdigest()
    key = f"{name}.{digest}"
    place = ids.index(chosen) if chosen in ids else None

    def picked() -> None:
        rows = st.session_state[key]["selection"]["rows"]
        if rows and rows[0] < len(ids):
            on_pick(ids[rows[0]])

    st.dataframe(
        data,
        hide_index=True,
        height=height,
        on_select=picked,
        selection_mode="single-row" if place is None else "single-row-required",
        selection_default=None if place is None else {"selection": {"rows": [place]}},
        key=key,
        column_config=column_config,
    )


def row_height(count: int, most: int) -> int:
    """Return the height of a table of so many rows, at most `most`, in pixels."""
    return 38 + 35 * min(count, most)


def frame(rows: Iterable[Mapping[str, object]], columns: Iterable[str]) -> pd.DataFrame:
    """Put rows into a table that has its columns even without rows."""
    return pd.DataFrame(list(rows), columns=list(columns))
