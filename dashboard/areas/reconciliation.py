"""Reconciliation: do the books balance, and do the channels' bills agree with them."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta, timezone
from typing import Any

import streamlit as st

from dashboard.parts import notice, table
from dashboard.parts.api import AdminClient
from dashboard.parts.chart import AMBER, BLUE, JADE, RED
from dashboard.parts.console import Console
from dashboard.parts.money import money, percent
from gateway.queries.breaks import (
    Break,
    ReconRun,
    TrialBalance,
    recon_breaks,
    recon_runs,
    trial_balance,
)
from gateway.queries.reader import Reader, ReaderError

# The channels of this gateway close their day in China, whatever the analyst's own zone.
BUSINESS_ZONE = timezone(timedelta(hours=8))
_ACCOUNT_GROUPS = (
    ("recon.channels", "channel:"),
    ("recon.merchants", "merchant:"),
    ("recon.suspense", "suspense:"),
)
_BOOKS_KEPT_S = 5
ACCOUNT_COUNT_SHOWN = 200
RUNS_SHOWN = 6
_RUN = "recon.chosen"


def render(console: Console) -> None:
    """Show the page."""
    words = console.words
    st.header(words("nav.reconciliation"))
    notice.flash()
    health = notice.api_health(console)
    try:
        reader = console.reader()
        runs = recon_runs(reader)
        books = _books(reader, str(console.var))
    except ReaderError as error:
        notice.unreadable(console, error)
        return
    left, right = st.columns([2, 3])
    with left.container(border=True, height="stretch"):
        _bill_form(console, health, runs)
    with right.container(border=True, height="stretch"):
        _show_books(console, books)
    _show_runs(console, reader, runs)


@st.cache_data(ttl=_BOOKS_KEPT_S, max_entries=4, show_spinner=False)
def _books(_reader: Reader, var: str) -> TrialBalance:  # noqa: ARG001 - part of the key
    return trial_balance(_reader)


def _bill_form(console: Console, health: dict[str, Any] | None, runs: Sequence[ReconRun]) -> None:
    words = console.words
    st.markdown(f"**{words('recon.form')}**")
    known = list(health["channels"]) if health else []
    channels = sorted({*known, *(run.channel for run in runs)}) or ["sandbox"]
    today = console.at(console.clock_us()).astimezone(BUSINESS_ZONE).date()
    channel = st.selectbox(words("col.channel"), channels, key="recon.channel")
    day = st.date_input(
        words("col.day"), value=today, max_value=today, format="YYYY-MM-DD", key="recon.day"
    )
    if not console.actor:
        st.caption(words("actor.needed"))
    clicked = st.button(
        words("recon.run"),
        type="primary",
        icon=":material/compare_arrows:",
        disabled=health is None or not console.actor,
        key="recon.run",
        width="stretch",
    )
    if clicked:
        with st.spinner(words("recon.running")):
            _run(console, console.api(), str(channel), f"{day:%Y-%m-%d}")
        _books.clear()
        st.session_state.pop(_RUN, None)  # The new run is the one to look at.
        st.rerun()


def _run(console: Console, api: AdminClient, channel: str, day: str) -> None:
    words = console.words
    answer: dict[str, Any] = {}
    if notice.act(console, lambda: answer.update(api.reconcile(channel, day))):
        said = words("recon.done", matched=answer["matched"], breaks=answer["breaks"])
        notice.say("success", said)


def _show_books(console: Console, books: TrialBalance) -> None:
    words = console.words
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{words('recon.books')}**", width="stretch")
        for currency, gap_minor in books.sum_minor.items():
            if gap_minor:
                gap = money(gap_minor, currency)
                st.badge(words("recon.unbalanced", gap=gap), color="red", icon=":material/error:")
        if books.accounts and books.is_balanced:
            st.badge(words("recon.balanced"), color="green", icon=":material/check_circle:")
    if not books.accounts:
        notice.empty(words("recon.books.empty"))
        return
    rows = [_equation(books, currency) for currency in books.sum_minor]
    groups = [key for key, _ in _ACCOUNT_GROUPS]
    columns = {key: table.right(words(key)) for key in groups}
    total = table.right(words("recon.sum"))
    st.dataframe(
        table.frame(rows, ("currency", *groups, "sum")),
        hide_index=True,
        column_config={"currency": "", "sum": total, **columns},
    )
    with st.expander(words("recon.accounts")):
        _show_accounts(console, books)


def _equation(books: TrialBalance, currency: str) -> dict[str, str]:
    """Return one line: what channels owe, what we owe, what is in suspense, and their sum."""
    row = {"currency": currency}
    for key, prefix in _ACCOUNT_GROUPS:
        minor = sum(
            account.balance_minor
            for account in books.accounts
            if account.currency == currency and account.account.startswith(prefix)
        )
        row[key] = money(minor, currency)
    row["sum"] = money(books.sum_minor[currency], currency)
    return row


def _show_accounts(console: Console, books: TrialBalance) -> None:
    words = console.words
    largest = sorted(books.accounts, key=lambda account: -abs(account.balance_minor))
    st.dataframe(
        table.frame(
            (
                {
                    "account": account.account,
                    "currency": account.currency,
                    "balance": money(account.balance_minor, account.currency),
                    "postings": account.posting_count,
                }
                for account in largest[:ACCOUNT_COUNT_SHOWN]
            ),
            ("account", "currency", "balance", "postings"),
        ),
        hide_index=True,
        column_config={
            "account": words("recon.account"),
            "currency": "",
            "balance": table.right(words("recon.balance")),
            "postings": words("recon.postings"),
        },
    )


def _show_runs(console: Console, reader: Reader, runs: Sequence[ReconRun]) -> None:
    words = console.words
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{words('recon.runs')}**", width="content")
        st.caption(words("recon.runs.hint"))
    if not runs:
        notice.empty(words("recon.runs.empty"), words("recon.runs.empty.how"))
        return
    shown = table.frame((_run_row(console, run) for run in runs), _RUN_COLUMNS)
    number = st.column_config.NumberColumn
    ids = [run.run_id for run in runs]
    picked_id = st.session_state.get(_RUN)
    chosen = runs[ids.index(picked_id)] if picked_id in ids else runs[0]
    table.pick(
        "recon.runs",
        shown,
        ids,
        chosen.run_id,
        _show_run,
        height=table.row_height(len(runs), RUNS_SHOWN),
        column_config={
            "time": words("col.time"),
            "channel": words("col.channel"),
            "day": words("col.day"),
            "bill_rows": number(words("recon.bill_rows"), format="localized"),
            "ledger_rows": number(words("recon.ledger_rows"), format="localized"),
            "matched": number(words("recon.matched"), format="localized"),
            "breaks": number(words("recon.breaks"), format="localized"),
            "rate": table.right(words("recon.rate")),
            "gap": table.right(words("recon.gap")),
        },
    )
    _show_breaks(console, reader, chosen)


def _show_run(run_id: str) -> None:
    st.session_state[_RUN] = run_id


_RUN_COLUMNS = (
    *("time", "channel", "day", "bill_rows", "ledger_rows", "matched", "breaks", "rate", "gap"),
)


def _run_row(console: Console, run: ReconRun) -> dict[str, object]:
    compared = max(run.bill_rows, run.ledger_rows)
    return {
        "time": console.date_text(run.created_at_us),
        "channel": run.channel,
        "day": run.bill_day,
        "bill_rows": run.bill_rows,
        "ledger_rows": run.ledger_rows,
        "matched": run.matched,
        "breaks": run.breaks,
        "rate": percent(run.matched / compared if compared else None, 2),
        "gap": money(run.gap_minor, "CNY"),
    }


def _show_breaks(console: Console, reader: Reader, run: ReconRun) -> None:
    words = console.words
    try:
        breaks = recon_breaks(reader, run.run_id)
    except ReaderError as error:
        notice.unreadable(console, error)
        return
    st.markdown(f"**{words('recon.breaks.of', day=run.bill_day, channel=run.channel)}**")
    if not breaks:
        st.success(words("recon.breaks.none"), icon=":material/check_circle:")
        return
    counts = Counter(found.kind for found in breaks)
    kind = st.pills(
        words("recon.kind"),
        sorted(counts),
        format_func=lambda kind: f"{words.known('break', kind)} {counts[kind]}",
        key="recon.kind",
        label_visibility="collapsed",
    )
    chosen = [found for found in breaks if kind is None or found.kind == kind]
    colors = {words.known("break", name): _kind_color(name) for name in counts}
    st.dataframe(
        table.frame((_break_row(console, found) for found in chosen), _BREAK_COLUMNS),
        hide_index=True,
        column_config={
            "kind": table.chips(words("recon.kind"), colors, 190),
            "state": table.chips(words("recon.state"), _state_colors(console), 90),
            "trade_no": words("col.trade_no"),
            "refund_no": words("recon.refund_no"),
            "merchant": words("col.merchant"),
            "ours": table.right(words("recon.ours")),
            "theirs": table.right(words("recon.theirs")),
            "difference": table.right(words("recon.difference")),
            "why": st.column_config.TextColumn(words("recon.why"), width="large"),
        },
    )


_BREAK_COLUMNS = (
    *("kind", "ours", "theirs", "difference", "why", "state"),
    *("trade_no", "refund_no", "merchant"),
)


def _break_row(console: Console, found: Break) -> dict[str, object]:
    words = console.words
    why = words.known("why", found.kind.removeprefix("REFUND_"))
    return {
        "kind": [words.known("break", found.kind)],
        "trade_no": found.trade_no,
        "refund_no": found.refund_no,
        "merchant": found.merchant_id,
        "ours": money(found.ours_minor, found.currency),
        "theirs": money(found.theirs_minor, found.currency),
        "state": [words.known("state", found.status)],
        "difference": money(found.difference_minor, found.currency),
        "why": f"{why} ({found.detail})" if found.detail else why,
    }


def _state_colors(console: Console) -> dict[str, str]:
    return {console.words("state.OPEN"): AMBER, console.words("state.RESOLVED"): JADE}


def _kind_color(kind: str) -> str:
    if kind.endswith("CROSS_DAY"):
        return JADE
    if "DUPLICATE" in kind:
        return BLUE
    return RED if kind.endswith("ONLY") else AMBER
