"""Live monitoring: traffic, what risk decides and how fast, and what merchants still wait for."""

from collections.abc import Iterable, Sequence

import streamlit as st

from dashboard.parts import address, chart, notice, table
from dashboard.parts.console import Console
from dashboard.parts.money import duration, micros, money, percent, short_money
from dashboard.parts.text import Words
from dashboard.parts.why import reason_text
from gateway.queries.alerts import AlertRow, alerts_since
from gateway.queries.decisions import DecisionRow, latest_decisions
from gateway.queries.live import LiveWindow
from gateway.queries.reader import ReaderError
from gateway.queries.traffic import OUTCOMES, SCORE_BIN_COUNT
from risk.decision import RiskOutcome

WINDOWS_MINUTES = ("15", "60", "360")
REFRESH_S = 2
LATEST_COUNT = 40
IDLE_AFTER_S = 30
ALERTS_WITHIN_US = 3_600_000_000
# Colours of the score chart, not thresholds: those belong to the model.
LOW_BINS, MIDDLE_BINS = SCORE_BIN_COUNT // 5, SCORE_BIN_COUNT * 3 // 5
_LAST_GOOD = "monitoring.last"


def render(console: Console) -> None:
    """Show the page."""
    words = console.words
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(words("nav.monitoring"), width="stretch")
        minutes = st.segmented_control(
            words("window"),
            WINDOWS_MINUTES,
            required=True,
            format_func=lambda minutes: _window_name(words, int(minutes)),
            label_visibility="collapsed",
            **address.bound("window", address.read("window", WINDOWS_MINUTES, "15")),
        )
    _live(console, int(minutes or WINDOWS_MINUTES[0]))


def _window_name(words: Words, minutes: int) -> str:
    if minutes % 60:
        return words("window.minutes", n=minutes)
    return words("window.hours", n=minutes // 60)


@st.fragment(run_every=REFRESH_S)
def _live(console: Console, minutes: int) -> None:
    now_us = console.clock_us()
    try:
        window = console.live().window(now_us, minutes)
        latest = latest_decisions(
            console.reader(),
            until_us=window.until_us + 1,
            limit=LATEST_COUNT,
            outcome=address.read("outcome", OUTCOMES, "") or None,
        )
        alerts = alerts_since(console.reader(), now_us - ALERTS_WITHIN_US)
    except ReaderError as error:
        notice.unreadable(console, error)
        kept = st.session_state.get(_LAST_GOOD)
        if kept is None:
            return
        window, latest, alerts = kept
        age = duration((now_us - window.read_at_us) / 1e6)
        st.warning(console.words("error.stale", age=age), icon=":material/history:")
    else:
        st.session_state[_LAST_GOOD] = (window, latest, alerts)
    if window.last_at_us is None:
        notice.empty(console.words("live.none"), console.words("live.none.how"))
        return
    _state_line(console, window, latest)
    _alerts(console, alerts)
    _headlines(console, window)
    _charts(console, window)
    _latest(console, latest)


def _state_line(console: Console, window: LiveWindow, latest: Sequence[DecisionRow]) -> None:
    words = console.words
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        idle_s = (window.read_at_us - (window.last_at_us or 0)) / 1e6
        if idle_s > IDLE_AFTER_S:
            st.badge(
                words("live.idle", age=duration(idle_s)), color="orange", icon=":material/pause:"
            )
        else:
            at = console.clock_text(window.read_at_us)
            st.badge(
                words("live", at=at, zone=console.zone), color="green", icon=":material/sensors:"
            )
        version = latest[0].model_version if latest else "none"
        named = words("model.none") if version == "none" else words("model", version=version)
        st.badge(named, color="blue", icon=":material/model_training:")
        count = window.all_decisions.degraded_count
        st.badge(
            words("degraded", n=count),
            color="red" if count else "gray",
            icon=":material/warning:",
            help=words("degraded.help"),
        )
        st.badge(
            words("inbox", n=window.backlog.inbox_count),
            color="gray",
            icon=":material/inbox:",
            help=words("inbox.help"),
        )
    if not window.is_live:
        st.info(words("live.past", at=console.date_text(window.until_us)))


def _alerts(console: Console, alerts: Sequence[AlertRow]) -> None:
    if not alerts:
        return
    words = console.words
    worst = any(alert.severity == "ERROR" for alert in alerts)
    title = words("alerts", n=sum(alert.count for alert in alerts))
    with st.expander(title, expanded=worst, icon=":material/notification_important:"):
        for alert in alerts:
            line = words(
                "alerts.line",
                kind=alert.kind,
                n=alert.count,
                at=console.clock_text(alert.last_at_us),
                detail=alert.detail,
            )
            show = st.error if alert.severity == "ERROR" else st.warning
            show(line, icon=":material/warning:")


def _headlines(console: Console, window: LiveWindow) -> None:
    words, decisions, orders = console.words, window.all_decisions, window.all_orders
    per_minute = [minute.count for minute in window.decisions]
    currency = max(orders.paid_minor, key=lambda code: orders.paid_minor[code], default="CNY")
    paid_minor = [minute.paid_minor.get(currency, 0) for minute in window.orders]
    waiting = window.backlog
    cells = st.columns(6)
    cells[0].metric(
        words("kpi.traffic"),
        f"{per_minute[-2] if len(per_minute) > 1 else per_minute[-1]:,}",
        help=words("kpi.traffic.help"),
        border=True,
        height="stretch",
        chart_data=per_minute[:-1],
        chart_type="area",
        delta_color="primary",
    )
    cells[1].metric(
        words("kpi.approval"),
        percent(decisions.share(RiskOutcome.APPROVE)),
        help=words("kpi.approval.help"),
        border=True,
        height="stretch",
        chart_data=_known(minute.share(RiskOutcome.APPROVE) for minute in window.decisions),
        delta_color="primary",
    )
    cells[2].metric(
        words("kpi.success"),
        percent(orders.success_ratio),
        help=words("kpi.success.help"),
        border=True,
        height="stretch",
        chart_data=_known(_successes(window)),
        delta_color="primary",
    )
    cells[3].metric(
        words("kpi.amount"),
        short_money(orders.paid_minor.get(currency, 0), currency),
        help=words("kpi.amount.help"),
        border=True,
        height="stretch",
        chart_data=[minor / 100 for minor in paid_minor[:-1]],
        chart_type="bar",
        delta_color="primary",
    )
    cells[4].metric(
        words("kpi.latency"),
        micros(decisions.latency_us(0.5)),
        words("kpi.latency.delta", value=micros(decisions.latency_us(0.99))),
        delta_color="off",
        delta_arrow="off",
        help=words("kpi.latency.help"),
        border=True,
        height="stretch",
    )
    late = waiting.overdue_s >= 1
    overdue = words("kpi.backlog.delta", age=duration(waiting.overdue_s))
    cells[5].metric(
        words("kpi.backlog"),
        f"{waiting.pending_count:,}",
        overdue if late else words("kpi.backlog.ok"),
        delta_color="red" if late else "off",
        delta_arrow="off",
        help=words("kpi.backlog.help"),
        border=True,
        height="stretch",
    )


def _charts(console: Console, window: LiveWindow) -> None:
    words = console.words
    times = [f"{console.at(at_us):%H:%M}" for at_us in window.minutes_at_us]
    wide, narrow = st.columns([2, 1])
    with wide.container(border=True):
        st.markdown(f"**{words('chart.traffic')}**")
        mix = [
            (
                f"{words(f'outcome.{outcome}')} {percent(window.all_decisions.share(outcome))}",
                chart.OUTCOME_COLORS[outcome],
                [int(minute.outcome_counts[place]) for minute in window.decisions],
            )
            for place, outcome in enumerate(OUTCOMES)
        ]
        st.echarts_chart(chart.stacked_bars(times, mix), height=260, key="traffic")
    with narrow.container(border=True):
        st.markdown(f"**{words('chart.score')}**")
        st.echarts_chart(_score_chart(window), height=260, key="scores")
    left, right = st.columns(2)
    with left.container(border=True):
        st.markdown(f"**{words('chart.latency')}**")
        latencies = [
            (name, color, [minute.latency_us(quantile) for minute in window.decisions])
            for name, color, quantile in (("p50", chart.JADE, 0.5), ("p99", chart.AMBER, 0.99))
        ]
        st.echarts_chart(chart.lines(times, latencies), height=200, key="latency")
    with right.container(border=True):
        st.markdown(f"**{words('chart.rates')}**")
        approval = [minute.share(RiskOutcome.APPROVE) for minute in window.decisions]
        rates = [
            (words("kpi.approval"), chart.JADE, _percentages(approval)),
            (words("kpi.success"), chart.BLUE, _percentages(_successes(window))),
        ]
        st.echarts_chart(chart.lines(times, rates, unit="%", y_max=100), height=200, key="rates")


def _successes(window: LiveWindow) -> list[float | None]:
    """Success by minute; none for the running one, whose payers are still paying."""
    return [*(minute.success_ratio for minute in list(window.orders)[:-1]), None]


def _score_chart(window: LiveWindow) -> chart.Option:
    counts = window.all_decisions.score_counts.tolist()
    labels = [f"{100 * place // SCORE_BIN_COUNT}%" for place in range(SCORE_BIN_COUNT)]
    colors = [
        chart.JADE if place < LOW_BINS else chart.AMBER if place < MIDDLE_BINS else chart.RED
        for place in range(SCORE_BIN_COUNT)
    ]
    return chart.histogram(labels, counts, colors)


def _latest(console: Console, rows: Sequence[DecisionRow]) -> None:
    words = console.words
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{words('latest')}**", width="stretch")
        st.pills(
            words("latest.filter"),
            [str(outcome) for outcome in OUTCOMES],
            format_func=lambda outcome: words(f"outcome.{outcome}"),
            label_visibility="collapsed",
            **address.bound("outcome", address.read("outcome", OUTCOMES, "")),
        )
    if not rows:
        notice.empty(words("latest.empty"))
        return
    shown = table.frame(
        (
            {
                "time": console.clock_text(row.decided_at_us),
                "merchant": row.merchant_name or row.merchant_id,
                "amount": money(row.amount_minor, row.currency),
                "outcome": [words(f"outcome.{row.outcome}")],
                "score": 100 * row.score,
                "reasons": table.reason_texts(
                    row.reasons, lambda code: reason_text(code, words.language)
                ),
                "status": [words.known("status", _status(row))],
                "pay_type": row.pay_type,
                "elapsed": micros(row.elapsed_us),
                "trade_no": row.trade_no,
            }
            for row in rows
        ),
        (
            *("time", "merchant", "amount", "outcome", "score"),
            *("reasons", "status", "pay_type", "elapsed", "trade_no"),
        ),
    )
    text = st.column_config.TextColumn
    st.dataframe(
        shown,
        hide_index=True,
        height=420,
        column_config={
            "time": text(words("col.time"), width=80),
            "merchant": text(words("col.merchant"), width=175),
            "amount": table.right(words("col.amount"), 105),
            "outcome": table.outcome_chips(words),
            "score": table.score_bar(words),
            "reasons": st.column_config.ListColumn(words("col.reasons"), width=340),
            "status": table.status_chips(words),
            "pay_type": text(words("col.pay_type"), width=90),
            "elapsed": table.right(words("col.elapsed"), 80),
            "trade_no": text(words("col.trade_no")),
        },
    )


def _status(row: DecisionRow) -> str:
    return "HELD" if row.status_reason == "REVIEW" else row.status


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _percentages(values: Sequence[float | None]) -> list[float | None]:
    return [None if value is None else 100 * value for value in values]
