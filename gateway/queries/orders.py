"""Orders as the reviewer sees them: the queue of held ones, and everything about one."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, select, text

from gateway.queries.decisions import read_reasons
from gateway.queries.reader import Reader, fetch, fetch_named
from gateway.store import tables
from risk.decision import Reason
from risk.features.event import decode, feedback_of

HELD_COUNT_MAX = 500
EVENT_COUNT_MAX = 100

# Written as the partial index is: with other words SQLite would read every order.
_OPEN = text("orders.status IN ('CREATED','WAIT_PAY')")


@dataclass(frozen=True, slots=True)
class HeldOrder:
    """One order waiting for a person; `version` is what a decision about it must name.

    It is closed by itself at `expires_at_us` if nobody decides.
    """

    trade_no: str
    merchant_id: str
    merchant_name: str
    out_trade_no: str
    amount_minor: int
    currency: str
    pay_type: str
    subject: str
    score: float
    reasons: tuple[Reason, ...]
    created_at_us: int
    expires_at_us: int
    version: int


@dataclass(frozen=True, slots=True)
class OrderEvent:
    """One thing that happened to an order, for its time line."""

    at_us: int
    kind: str
    amount_minor: int | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderDetail:
    """An order, its decision, and what has happened since.

    Attributes:
        features: float64, little-endian, in the order of the catalogue with hash `feature_hash`.
        events: The time line, oldest first.
    """

    trade_no: str
    merchant_id: str
    merchant_name: str
    out_trade_no: str
    amount_minor: int
    paid_minor: int
    refunded_minor: int
    currency: str
    pay_type: str
    channel: str
    subject: str
    status: str
    status_reason: str
    created_at_us: int
    expires_at_us: int
    version: int
    decision_id: str
    outcome: str
    score: float
    reasons: tuple[Reason, ...]
    rule_hits: str
    missing: str
    features: bytes
    feature_hash: str
    model_version: str
    rule_version: str
    degraded: str
    elapsed_us: int
    decided_at_us: int
    seq: int
    events: tuple[OrderEvent, ...]


def held_orders(reader: Reader, *, limit: int = 200) -> tuple[HeldOrder, ...]:
    """Read the orders held for review, the one that runs out first at the top.

    Raises:
        ReaderError: if the database can't be read.
    """
    orders, decisions, merchants = tables.orders.c, tables.decisions.c, tables.merchants.c
    rows = fetch_named(
        reader,
        select(
            orders.trade_no,
            orders.merchant_id,
            merchants.name.label("merchant_name"),
            orders.out_trade_no,
            orders.amount_minor,
            orders.currency,
            orders.pay_type,
            orders.subject,
            decisions.score,
            decisions.reasons,
            orders.created_at_us,
            orders.expires_at_us,
            orders.version,
        )
        .select_from(_with_decision())
        .where(_OPEN, orders.status == "CREATED", orders.status_reason == "REVIEW")
        .order_by(orders.expires_at_us)
        .limit(min(limit, HELD_COUNT_MAX)),
    )
    return tuple(HeldOrder(**_read(row)) for row in rows)


def order_detail(reader: Reader, trade_no: str) -> OrderDetail | None:
    """Read everything about one order; None if there is none of this number.

    Raises:
        ReaderError: if the database can't be read.
    """
    orders, decisions, merchants = tables.orders.c, tables.decisions.c, tables.merchants.c
    rows = fetch_named(
        reader,
        select(
            orders.trade_no,
            orders.merchant_id,
            merchants.name.label("merchant_name"),
            orders.out_trade_no,
            orders.amount_minor,
            orders.paid_minor,
            orders.refunded_minor,
            orders.currency,
            orders.pay_type,
            orders.channel,
            orders.subject,
            orders.status,
            orders.status_reason,
            orders.created_at_us,
            orders.expires_at_us,
            orders.version,
            orders.decision_id,
            decisions.outcome,
            decisions.score,
            decisions.reasons,
            decisions.rule_hits,
            decisions.missing,
            decisions.features,
            decisions.feature_hash,
            decisions.model_version,
            decisions.rule_version,
            decisions.degraded,
            decisions.elapsed_us,
            decisions.decided_at_us,
            decisions.seq,
        )
        .select_from(_with_decision())
        .where(orders.trade_no == trade_no),
    )
    if not rows:
        return None
    return OrderDetail(**_read(rows[0]), events=_time_line(reader, trade_no))


def _with_decision() -> Any:  # noqa: ANN401 - a join of three tables has no nameable row type
    orders, decisions, merchants = tables.orders.c, tables.decisions.c, tables.merchants.c
    return tables.orders.join(
        tables.decisions,
        and_(
            decisions.merchant_id == orders.merchant_id,
            decisions.decision_id == orders.decision_id,
        ),
    ).outerjoin(tables.merchants, merchants.merchant_id == orders.merchant_id)


def _read(row: dict[str, Any]) -> dict[str, Any]:
    reasons = read_reasons(row["reasons"])
    return {**row, "reasons": reasons, "merchant_name": row["merchant_name"] or ""}


def _time_line(reader: Reader, trade_no: str) -> tuple[OrderEvent, ...]:
    """Gather what happened to an order from every table that knows a part of it."""
    events, facts, notes = tables.order_events.c, tables.channel_facts.c, tables.notifications.c
    audit = tables.audit_log.c
    found: list[OrderEvent] = [
        OrderEvent(at_us, f"ORDER_{kind}", amount_minor or None, detail)
        for at_us, kind, amount_minor, detail in fetch(
            reader,
            select(events.created_at_us, events.kind, events.amount_minor, events.detail)
            .where(events.trade_no == trade_no)
            .limit(EVENT_COUNT_MAX),
        )
    ]
    found += [
        OrderEvent(at_us, f"CHANNEL_{outcome}", amount_minor, verdict)
        for at_us, outcome, amount_minor, verdict in fetch(
            reader,
            select(facts.received_at_us, facts.outcome, facts.amount_minor, facts.verdict)
            .where(facts.trade_no == trade_no)
            .limit(EVENT_COUNT_MAX),
        )
    ]
    found += [
        OrderEvent(delivered_at_us or created_at_us, f"NOTIFY_{status}", None, trade_status)
        for delivered_at_us, created_at_us, status, trade_status in fetch(
            reader,
            select(notes.delivered_at_us, notes.created_at_us, notes.status, notes.trade_status)
            .where(notes.trade_no == trade_no)
            .limit(EVENT_COUNT_MAX),
        )
    ]
    found += [
        OrderEvent(at_us, "AUDIT", None, f"{action}: {actor}{f' ({reason})' if reason else ''}")
        for at_us, action, actor, reason in fetch(
            reader,
            select(audit.created_at_us, audit.action, audit.actor, audit.reason)
            .where(audit.object_id == trade_no)
            .limit(EVENT_COUNT_MAX),
        )
    ]
    log = tables.risk_events.c
    for at_us, payload in fetch(
        reader,
        select(log.at_us, log.payload)
        .where(log.trade_no == trade_no, log.kind.in_(("OUTCOME", "LABEL")))
        .limit(EVENT_COUNT_MAX),
    ):
        feedback = feedback_of(decode(payload))
        found.append(OrderEvent(at_us, f"RISK_{feedback}", None, ""))
    return tuple(sorted(found, key=lambda event: event.at_us))
