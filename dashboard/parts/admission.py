"""Merchant admission: applications that wait, and everybody who was admitted."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from dashboard.parts import notice, table
from dashboard.parts.console import Console
from dashboard.parts.decide import decision_form
from dashboard.parts.money import duration
from gateway.queries.merchants import MaterialRow, MerchantRow, list_materials
from gateway.queries.reader import Reader

ROWS_SHOWN = 8
_MERCHANT = "merchant"


def show(
    console: Console, reader: Reader, waiting: Sequence[MerchantRow], *, can_act: bool
) -> None:
    """Show the applications that wait with what was handed in, and decide on one.

    Args:
        console: What the page works with.
        reader: Where the papers' descriptions are read.
        waiting: Merchants in PENDING, the oldest first.
        can_act: Whether the gateway answers.
    """
    words = console.words
    if not waiting:
        notice.empty(words("merchants.empty"))
        return
    ids = [merchant.merchant_id for merchant in waiting]
    picked_id = st.session_state.get(_MERCHANT)
    chosen = waiting[ids.index(picked_id)] if picked_id in ids else waiting[0]
    left, right = st.columns([2, 1])
    with left:
        st.markdown(f"**{words('merchants.pending')}**")
        table.pick(
            "merchants.queue",
            table.frame((_row(console, one, with_age=True) for one in waiting), _COLUMNS),
            ids,
            chosen.merchant_id,
            _show_merchant,
            height=table.row_height(len(waiting), ROWS_SHOWN),
            column_config=_column_config(console),
        )
        _show_materials(console, list_materials(reader, chosen.merchant_id))
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


def _show_materials(console: Console, materials: Sequence[MaterialRow]) -> None:
    """Show what was handed in; the papers themselves are opened through the admin API."""
    words = console.words
    if not materials:
        return
    st.markdown(f"**{words('merchants.materials')}**")
    rows = (
        {
            "kind": words.known("material", material.kind),
            "type": material.content_type,
            "size": -(-material.size_bytes // 1024),
            "since": console.date_text(material.uploaded_at_us),
            "sha256": material.sha256,
        }
        for material in materials
    )
    st.dataframe(
        table.frame(rows, ("kind", "type", "size", "since", "sha256")),
        hide_index=True,
        column_config={
            "kind": words("merchants.kind"),
            "type": "type",
            "size": words("merchants.size"),
            "since": words("merchants.since"),
            "sha256": words("merchants.sha256"),
        },
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


def _show_merchant(merchant_id: str) -> None:
    st.session_state[_MERCHANT] = merchant_id


def _forget() -> None:
    st.session_state.pop(_MERCHANT, None)
