"""One order, closely: what it is, why risk stopped it, what it is connected with."""

import json
from collections.abc import Mapping, Sequence
from typing import Literal

import streamlit as st

from dashboard.parts import chart, notice, table
from dashboard.parts.console import Console
from dashboard.parts.money import NOTHING, duration, micros, money, percent
from dashboard.parts.why import FeatureValue, feature_values, is_known, reason_text
from gateway.queries.orders import OrderDetail, OrderEvent
from gateway.queries.reader import Reader, ReaderError
from gateway.queries.related import RelatedOrder, related_orders


def facts(console: Console, detail: OrderDetail) -> None:
    """Show the order's own facts."""
    words = console.words
    now_us = console.clock_us()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{detail.trade_no}**", width="stretch")
        outcome = words(f"outcome.{detail.outcome}")
        st.badge(outcome, color=_BADGES[detail.outcome], icon=":material/shield:")
    cells = st.columns(4)
    cells[0].metric(words("col.amount"), money(detail.amount_minor, detail.currency))
    cells[1].metric(words("col.score"), percent(detail.score))
    cells[2].metric(words("review.age"), duration((now_us - detail.created_at_us) / 1e6))
    left_s = (detail.expires_at_us - now_us) / 1e6
    cells[3].metric(words("review.left"), duration(left_s) if left_s > 0 else NOTHING)
    lines = (
        ("col.merchant", detail.merchant_name or detail.merchant_id),
        ("review.out_trade_no", detail.out_trade_no),
        ("review.subject", detail.subject),
        ("col.pay_type", f"{detail.pay_type} · {detail.channel}"),
        ("col.created", console.date_text(detail.created_at_us)),
        ("review.model", f"{detail.model_version} / {detail.rule_version}"),
        ("review.elapsed", micros(detail.elapsed_us)),
    )
    columns = st.columns(2)
    for place, (key, value) in enumerate(lines):
        # As code, so that a merchant's text is never read as markup.
        columns[place % 2].markdown(f":gray[{words(key)}] &nbsp; `{_inert(value)}`")


ROWS_SHOWN = 7
_BADGES: Mapping[str, Literal["green", "orange", "blue", "red"]] = {
    "APPROVE": "green",
    "CHALLENGE": "orange",
    "REVIEW": "blue",
    "DECLINE": "red",
}


def _inert(text: str) -> str:
    return text.replace("`", "'").replace("\n", " ") or NOTHING


def reasons(console: Console, detail: OrderDetail) -> None:
    """Show why: the model's contributions, the rules, and what evidence was missing."""
    words = console.words
    st.markdown(f"**{words('review.why')}**")
    parts = [
        (reason_text(reason.code, words.language), reason.contribution)
        for reason in detail.reasons
        if reason.contribution
    ]
    for reason in detail.reasons:
        if not reason.contribution:
            family = words.known("family", reason.family)
            said = reason_text(reason.code, words.language)
            st.markdown(f":orange-badge[{family}] {_inert(said)} :gray[`{reason.code}`]")
    if parts:
        st.caption(words("review.why.chart"))
        height = 34 + 30 * len(parts)
        st.echarts_chart(chart.contributions(parts), height=height, key=f"why.{detail.trade_no}")
    rules = json.loads(detail.rule_hits)
    if rules:
        st.caption(words("review.rules", rules=", ".join(rules)))
    missing = json.loads(detail.missing)
    if missing:
        families = "、" if words.language == "zh" else ", "
        named = families.join(words.known("family", family) for family in missing)
        st.caption(words("review.missing", families=named))


def evidence(console: Console, reader: Reader, detail: OrderDetail) -> None:
    """Show related payments, the features, and the time line."""
    try:
        related = related_orders(reader, detail.trade_no)
    except ReaderError as error:
        notice.unreadable(console, error)
        return
    words = console.words
    with st.expander(words("review.related", n=len(related)), expanded=bool(related)):
        _related(console, related)
    values = feature_values(detail.features, detail.feature_hash, words.language)
    present = sum(value.value is not None for value in values)
    with st.expander(words("review.features", n=present, total=len(values))):
        if not is_known(detail.feature_hash):
            st.warning(words("review.features.unknown", hash=detail.feature_hash))
        _features(console, values)
    with st.expander(words("review.timeline")):
        _time_line(console, detail.currency, detail.events)


def _related(console: Console, related: Sequence[RelatedOrder]) -> None:
    words = console.words
    if not related:
        st.caption(words("review.related.none"))
        return
    rows = (
        {
            "time": console.date_text(order.at_us),
            "shared": [words(f"link.{name}") for name in order.shared],
            "amount": money(order.amount_minor, order.currency),
            "outcome": [words(f"outcome.{order.outcome}")],
            "score": 100 * order.score,
            "status": [words.known("status", order.status)],
            "label": [words.known("label", order.label)] if order.label else [],
            "trade_no": order.trade_no,
        }
        for order in related
    )
    columns = (*("time", "shared", "amount", "outcome", "score", "status", "label", "trade_no"),)
    labels = {words("label.FRAUD"): chart.RED, words("label.GENUINE"): chart.JADE}
    st.dataframe(
        table.frame(rows, columns),
        hide_index=True,
        height=table.row_height(len(related), ROWS_SHOWN),
        column_config={
            "time": words("col.time"),
            "shared": st.column_config.ListColumn(words("review.shared"), width=190),
            "amount": table.right(words("col.amount")),
            "outcome": table.outcome_chips(words),
            "score": table.score_bar(words),
            "status": table.status_chips(words),
            "label": table.chips(words("review.label"), labels),
            "trade_no": words("col.trade_no"),
        },
    )


def _features(console: Console, values: Sequence[FeatureValue]) -> None:
    words = console.words
    rows = (
        {
            "family": words.known("family", value.family),
            "feature": value.name,
            "value": value.value,
            "meaning": value.meaning,
        }
        for value in values
    )
    st.dataframe(
        table.frame(rows, ("family", "feature", "value", "meaning")),
        hide_index=True,
        height=360,
        column_config={
            "family": words("review.family"),
            "feature": words("review.feature"),
            "value": st.column_config.NumberColumn(words("review.value.of"), format="%.6g"),
            "meaning": st.column_config.TextColumn(words("review.meaning"), width="large"),
        },
    )


def _time_line(console: Console, currency: str, events: Sequence[OrderEvent]) -> None:
    words = console.words
    rows = (
        {
            "time": console.date_text(event.at_us),
            "event": event.kind,
            "amount": money(event.amount_minor, currency),
            "detail": event.detail,
        }
        for event in events
    )
    st.dataframe(
        table.frame(rows, ("time", "event", "amount", "detail")),
        hide_index=True,
        column_config={
            "time": words("col.time"),
            "event": words("review.event"),
            "amount": table.right(words("col.amount")),
            "detail": words("review.detail"),
        },
    )
