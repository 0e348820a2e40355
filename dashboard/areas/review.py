"""The review desk: orders and merchants that wait for a person, and what people decided before."""

from collections.abc import Sequence

import streamlit as st

from dashboard.parts import admission, notice, order_card, table, trail
from dashboard.parts.console import Console
from dashboard.parts.decide import decision_form
from dashboard.parts.money import duration, money
from dashboard.parts.why import reason_text
from gateway.queries.merchants import MerchantRow, list_merchants
from gateway.queries.orders import HeldOrder, held_orders, order_detail
from gateway.queries.reader import Reader, ReaderError

QUEUE_CHECK_S = 5
SOON_US = 3_600_000_000
ROWS_SHOWN = 8
_SHOWN = "review.shown"
_ORDER = "order"


def render(console: Console) -> None:
    """Show the page."""
    words = console.words
    st.header(words("nav.review"))
    notice.flash()
    health = notice.api_health(console)
    try:
        reader = console.reader()
        held = held_orders(reader)
        waiting = list_merchants(reader, status="PENDING")
    except ReaderError as error:
        notice.unreadable(console, error)
        return
    orders_tab, merchants_tab, audit_tab = st.tabs(
        [
            f"{words('review.orders')} ({len(held)})",
            f"{words('review.merchants')} ({len(waiting)})",
            words("review.audit"),
        ]
    )
    with orders_tab:
        _orders(console, reader, held, can_act=health is not None)
    with merchants_tab:
        _merchants(console, reader, waiting, can_act=health is not None)
    with audit_tab:
        trail.show(console, reader)


def _merchants(
    console: Console, reader: Reader, waiting: Sequence[MerchantRow], *, can_act: bool
) -> None:
    admission.show(console, reader, waiting, can_act=can_act)
    with st.expander(console.words("merchants.all")):
        admission.show_all(console, list_merchants(reader))


def _orders(console: Console, reader: Reader, held: Sequence[HeldOrder], *, can_act: bool) -> None:
    words = console.words
    st.session_state[_SHOWN] = [order.trade_no for order in held]
    _summary(console, held)
    trade_no = st.query_params.get(_ORDER) or (held[0].trade_no if held else "")
    if held:
        _queue(console, held, trade_no)
    else:
        notice.empty(words("review.empty"), words("review.empty.how"))
    if trade_no:
        _one(console, reader, trade_no, can_act=can_act)


def _summary(console: Console, held: Sequence[HeldOrder]) -> None:
    words = console.words
    now_us = console.clock_us()
    amounts: dict[str, int] = {}
    for order in held:
        amounts[order.currency] = amounts.get(order.currency, 0) + order.amount_minor
    soon_count = sum(order.expires_at_us - now_us < SOON_US for order in held)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(words("review.count", n=len(held)), color="blue", icon=":material/gavel:")
        if soon_count:
            soon = words("review.soon", n=soon_count)
            st.badge(soon, color="orange", icon=":material/timer:")
        for currency, minor in amounts.items():
            amount = money(minor, currency)
            st.badge(words("review.value", amount=amount), color="gray", icon=":material/payments:")
        _watch(console)


@st.fragment(run_every=QUEUE_CHECK_S)
def _watch(console: Console) -> None:
    """Offer a refresh when the queue has changed; never pull it from under a decision."""
    try:
        present = [order.trade_no for order in held_orders(console.reader())]
    except ReaderError:
        return  # The page itself says so on its next run; this only compares.
    if present != st.session_state.get(_SHOWN):
        label = f"{console.words('review.changed')} · {console.words('refresh')}"
        if st.button(label, icon=":material/refresh:", type="tertiary", key="review.refresh"):
            st.rerun(scope="app")


def _queue(console: Console, held: Sequence[HeldOrder], chosen: str) -> None:
    words = console.words
    now_us = console.clock_us()
    rows = (
        {
            "score": 100 * order.score,
            "amount": money(order.amount_minor, order.currency),
            "reasons": table.reason_texts(
                order.reasons, lambda code: reason_text(code, words.language)
            ),
            "merchant": order.merchant_name or order.merchant_id,
            "pay_type": order.pay_type,
            "age": duration((now_us - order.created_at_us) / 1e6),
            "left": duration((order.expires_at_us - now_us) / 1e6),
            "trade_no": order.trade_no,
        }
        for order in held
    )
    columns = ("score", "amount", "reasons", "merchant", "pay_type", "age", "left", "trade_no")
    text = st.column_config.TextColumn
    table.pick(
        "review.queue",
        table.frame(rows, columns),
        [order.trade_no for order in held],
        chosen,
        _show_order,
        height=table.row_height(len(held), ROWS_SHOWN),
        column_config={
            "score": table.score_bar(words),
            "amount": table.right(words("col.amount"), 110),
            "reasons": st.column_config.ListColumn(words("col.reasons"), width=420),
            "merchant": text(words("col.merchant"), width=175),
            "pay_type": text(words("col.pay_type"), width=90),
            "age": table.right(words("review.age"), 80),
            "left": table.right(words("review.left"), 80),
            "trade_no": words("col.trade_no"),
        },
    )


def _show_order(trade_no: str) -> None:
    """Put the picked order into the address."""
    st.query_params[_ORDER] = trade_no


def _one(console: Console, reader: Reader, trade_no: str, *, can_act: bool) -> None:
    words = console.words
    try:
        detail = order_detail(reader, trade_no)
    except ReaderError as error:
        notice.unreadable(console, error)
        return
    if detail is None:
        st.warning(words("review.unknown", trade_no=trade_no))
        return
    is_held = detail.status == "CREATED" and detail.status_reason == "REVIEW"
    left, right = st.columns([2, 1])
    with left.container(border=True, height="stretch"):
        order_card.facts(console, detail)
        order_card.reasons(console, detail)
    with right.container(border=True, height="stretch"):
        if is_held:
            decision_form(
                console,
                detail.trade_no,
                detail.version,
                can_act=can_act,
                is_order=True,
                after=_forget_order,
            )
        else:
            status = words.known("status", detail.status)
            st.info(words("review.not_held", status=status), icon=":material/info:")
    order_card.evidence(console, reader, detail)


def _forget_order() -> None:
    """After a decision the next order in the queue comes up by itself."""
    st.query_params.pop(_ORDER, None)
