"""Merchant admission: applications that wait, and everybody who was admitted."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from dashboard.parts import notice, table
from dashboard.parts.console import Console
from dashboard.parts.decide import decision_form
from dashboard.parts.money import duration
from gateway.queries.merchants import MerchantRow

_SHOWN = "merchants.shown"
_MERCHANT = "merchant"


def show(console: Console, waiting: Sequence[MerchantRow], *, can_act: bool) -> None:
    """Show the applications that wait, and decide on one.

    Args:
        console: What the page works with.
        waiting: Merchants in PENDING, the oldest first.
        can_act: Whether the gateway answers.
    """
    words = console.words
    if not waiting:
        notice.empty(words("merchants.empty"))
        return
    st.session_state[_SHOWN] = [merchant.merchant_id for merchant in waiting]
    left, right = st.columns([2, 1])
    with left:
        st.markdown(f"**{words('merchants.pending')}**")
        st.dataframe(
            table.frame((_row(console, merchant, with_age=True) for merchant in waiting), _COLUMNS),
            hide_index=True,
            on_select=_picked,
            selection_mode="single-row",
            key="merchants.queue",
            column_config=_column_config(console),
        )
    picked_id = st.session_state.get(_MERCHANT)
    chosen = next((one for one in waiting if one.merchant_id == picked_id), waiting[0])
    with right.container(border=True):
        st.markdown(f"**{chosen.name}** &nbsp; :gray[`{chosen.merchant_id}`]")
        decision_form(
            console,
            chosen.merchant_id,
            chosen.version,
            can_act=can_act,
            is_order=False,
            after=_forget,
        )


def show_all(console: Console, merchants: Sequence[MerchantRow]) -> None:
    """Show all merchants, wherever they stand."""
    st.dataframe(
        table.frame((_row(console, merchant, with_age=False) for merchant in merchants), _COLUMNS),
        hide_index=True,
        column_config=_column_config(console),
    )


_COLUMNS = ("name", "status", "mcc", "since", "age", "merchant_id", "app_id")


def _row(console: Console, merchant: MerchantRow, *, with_age: bool) -> dict[str, object]:
    age_s = (console.clock_us() - merchant.created_at_us) / 1e6
    return {
        "name": merchant.name,
        "status": [console.words.known("merchant", merchant.status)],
        "mcc": merchant.mcc,
        "since": console.date_text(merchant.created_at_us),
        "age": duration(age_s) if with_age else None,
        "merchant_id": merchant.merchant_id,
        "app_id": merchant.app_id,
    }


def _column_config(console: Console) -> dict[str, Any]:
    words = console.words
    return {
        "name": words("merchants.name"),
        "status": table.status_chips(words, "merchant"),
        "mcc": words("merchants.mcc"),
        "since": words("merchants.since"),
        "age": words("review.age"),
        "merchant_id": "merchant_id",
        "app_id": "app_id",
    }


def _picked() -> None:
    rows = st.session_state["merchants.queue"]["selection"]["rows"]
    shown: list[str] = st.session_state.get(_SHOWN, [])
    if rows and rows[0] < len(shown):
        st.session_state[_MERCHANT] = shown[rows[0]]


def _forget() -> None:
    st.session_state.pop(_MERCHANT, None)
