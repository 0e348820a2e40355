"""Orders and refunds: read whole, changed by compare-and-set alone.

A change names the status it expects; if the row has moved on meanwhile nothing is written and
the caller is told so. Together with the transition table in `gateway.domain.order` this makes
the order's history a path in that table, whatever arrives twice, late or at once.
"""

import json
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Update, bindparam, insert, select, update
from sqlalchemy.dialects import sqlite

from gateway.domain.order import Status, advance
from gateway.domain.refund import RefundStatus
from gateway.store.chain import append_decision
from gateway.store.evidence import Evidence
from gateway.store.raw import Raw, Rows
from gateway.store.tables import decisions, orders, refunds
from risk.decision import Feedback


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One row of `orders`; see the table for meanings and units."""

    merchant_id: str
    trade_no: str
    out_trade_no: str
    request_sha256: bytes
    channel: str
    channel_trade_no: str
    pay_type: str
    amount_minor: int
    currency: str
    subject: str
    body: str
    notify_url: str
    return_url: str
    pay_url: str
    prepay_id: str
    status: str
    status_reason: str
    decision_id: str
    risk_outcome: str
    paid_minor: int
    refund_reserved_minor: int
    refunded_minor: int
    created_at_us: int
    expires_at_us: int
    paid_at_us: int
    closed_at_us: int
    version: int
    risk_degraded: str = ""
    tried_channels: str = ""
    fee_minor: int = 0
    fee_returned_minor: int = 0
    cost_minor: int = 0
    cost_returned_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """One row of `refunds`; see the table for meanings and units."""

    merchant_id: str
    refund_no: str
    out_refund_no: str
    request_sha256: bytes
    trade_no: str
    amount_minor: int
    currency: str
    reason: str
    kind: str
    status: str
    attempts: int
    next_try_at_us: int
    created_at_us: int
    finished_at_us: int
    channel_refund_no: str = ""
    to_account: str = ""


_ORDER_FIELDS = tuple(field.name for field in fields(Order))
_ORDER_COLUMNS = [orders.c[name] for name in _ORDER_FIELDS]
_REFUND_COLUMNS = [refunds.c[field.name] for field in fields(Refund)]
_DECISION_FIELDS = tuple(column.name for column in decisions.columns)


def _insert_sql(table: Any, names: tuple[str, ...]) -> str:  # noqa: ANN401 - any Table
    return str(
        insert(table).compile(dialect=sqlite.dialect(paramstyle="qmark"), column_keys=list(names))
    )


_INSERT_ORDER = _insert_sql(orders, _ORDER_FIELDS)
_INSERT_DECISION = _insert_sql(decisions, _DECISION_FIELDS)
_SELECT_BY_NUMBER = (
    f"SELECT {', '.join(_ORDER_FIELDS)} FROM orders"  # noqa: S608 - names of our own columns
    " WHERE merchant_id = ? AND out_trade_no = ?"
)


def find_by_number(raw: Raw, merchant_id: str, out_trade_no: str) -> Order | None:
    """Read an order by the merchant's own number, on the raw connection (hot path)."""
    return read_order(seek_by_number(raw, merchant_id, out_trade_no))


def seek_by_number(raw: Raw, merchant_id: str, out_trade_no: str) -> Rows:
    """Ask for an order by the merchant's own number; `read_order` reads the answer."""
    return raw.execute(_SELECT_BY_NUMBER, (merchant_id, out_trade_no))


def read_order(rows: Rows) -> Order | None:
    """Read the order that was asked for, if there is one."""
    row = rows.fetchone()
    return None if row is None else Order(**dict(zip(_ORDER_FIELDS, row, strict=True)))


def find_reasons(raw: Raw, merchant_id: str, decision_id: str) -> list[str]:
    """Read the reason codes of a decision, strongest first."""
    row = raw.execute(
        "SELECT reasons FROM decisions WHERE merchant_id = ? AND decision_id = ?",
        (merchant_id, decision_id),
    ).fetchone()
    return [] if row is None else [reason["code"] for reason in json.loads(row[0])]


# A refusal is an outcome as any other: how often an entity was refused is evidence of its own.
_REPORT_DECLINED: Final = (
    "INSERT INTO risk_inbox (kind, trade_no, source, known_at_us) VALUES (?, ?, 'risk', ?)"
)


def insert_created(
    raw: Raw,
    order: Order,
    decision: dict[str, Any],
    evidence: Evidence | None = None,
) -> None:
    """Write a new order and the decision it rests on, chained, in the caller's transaction.

    Args:
        raw: The writer's connection.
        order: The order as it stands after creation.
        decision: One value for each column of `decisions`.
        evidence: What the merchant told of the payment, sealed.

    Raises:
        the driver's IntegrityError: if the merchant's number is taken.
        Busy: (1006) if a person's key was replaced or erased meanwhile.
    """
    raw.execute(_INSERT_ORDER, [getattr(order, name) for name in _ORDER_FIELDS])
    raw.execute(_INSERT_DECISION, [decision[name] for name in _DECISION_FIELDS])
    kept = None
    if evidence is not None:
        kept = evidence.store(raw, order.merchant_id, order.decision_id)
    append_decision(raw, decision, kept)
    if order.status_reason == "DECLINED":
        raw.execute(
            _REPORT_DECLINED, (Feedback.DECLINED.value, order.trade_no, order.created_at_us)
        )


_GET = select(*_ORDER_COLUMNS).where(orders.c.trade_no == bindparam("trade_no"))
_GET_REFUND = select(*_REFUND_COLUMNS).where(refunds.c.refund_no == bindparam("refund_no"))


def get(conn: Connection, trade_no: str) -> Order | None:
    """Read an order by the gateway's number."""
    row = conn.execute(_GET, {"trade_no": trade_no}).mappings().first()
    return None if row is None else Order(**row)


_HOLD = _GET.with_for_update()


def hold(conn: Connection, trade_no: str) -> Order | None:
    """Read an order in order to change it: nobody else changes it before this transaction ends.

    Args:
        conn: The writer's connection.
        trade_no: The gateway's number.
    """
    row = conn.execute(_HOLD, {"trade_no": trade_no}).mappings().first()
    return None if row is None else Order(**row)


def move(conn: Connection, order: Order, target: Status, **changes: Any) -> Order | None:  # noqa: ANN401 - column values
    """Move an order along one arrow of the transition table, if it still stands where it stood.

    Args:
        conn: The writer's connection.
        order: The order as it was read.
        target: Where it shall go.
        **changes: Further columns to set.

    Returns:
        The order as it stands now, or None if somebody else moved it first (nothing is written).

    Raises:
        IllegalTransition: (1004) if the table has no such arrow.
    """
    return change(conn, order, status=advance(Status(order.status), target).value, **changes)


def change(conn: Connection, order: Order, **changes: Any) -> Order | None:  # noqa: ANN401 - column values
    """Set columns of an order if it still has the version that was read; None if it hasn't."""
    names = tuple(changes)
    known = {
        "for_merchant": order.merchant_id,
        "for_trade": order.trade_no,
        "for_version": order.version,
    }
    done = conn.execute(_changing(names), {**known, **changes})
    if done.rowcount != 1:
        return None
    return replace(order, **changes, version=order.version + 1)


@cache
def _changing(names: tuple[str, ...]) -> Update:
    """The UPDATE of these columns; built once, since building costs more than running it."""
    return (
        update(orders)
        .where(
            orders.c.merchant_id == bindparam("for_merchant"),
            orders.c.trade_no == bindparam("for_trade"),
            orders.c.version == bindparam("for_version"),
        )
        .values({name: bindparam(name) for name in names} | {"version": orders.c.version + 1})
    )


def reserve_refund(conn: Connection, order: Order, amount_minor: int) -> bool:
    """Reserve part of what was paid; False if it no longer fits or the order isn't paid."""
    done = conn.execute(
        update(orders)
        .where(
            orders.c.merchant_id == order.merchant_id,
            orders.c.trade_no == order.trade_no,
            orders.c.status == Status.SUCCESS.value,
            orders.c.refund_reserved_minor + amount_minor <= orders.c.paid_minor,
        )
        .values(
            refund_reserved_minor=orders.c.refund_reserved_minor + amount_minor,
            version=orders.c.version + 1,
        )
    )
    return done.rowcount == 1


def insert_refund(conn: Connection, refund: Refund) -> None:
    """Write a new refund."""
    conn.execute(insert(refunds).values({f.name: getattr(refund, f.name) for f in fields(Refund)}))


def get_refund(conn: Connection, refund_no: str) -> Refund | None:
    """Read a refund by the gateway's number."""
    row = conn.execute(_GET_REFUND, {"refund_no": refund_no}).mappings().first()
    return None if row is None else Refund(**row)


def find_refund(conn: Connection, merchant_id: str, out_refund_no: str) -> Refund | None:
    """Read a refund by the merchant's own (or derived) number."""
    row = (
        conn.execute(
            select(*_REFUND_COLUMNS).where(
                refunds.c.merchant_id == merchant_id, refunds.c.out_refund_no == out_refund_no
            )
        )
        .mappings()
        .first()
    )
    return None if row is None else Refund(**row)


def settle_refund(conn: Connection, refund: Refund, status: RefundStatus, now_us: int) -> bool:
    """Take a refund from PROCESSING to its end; False if it has one already."""
    done = conn.execute(
        update(refunds)
        .where(
            refunds.c.merchant_id == refund.merchant_id,
            refunds.c.refund_no == refund.refund_no,
            refunds.c.status == RefundStatus.PROCESSING.value,
        )
        .values(status=status.value, finished_at_us=now_us)
    )
    return done.rowcount == 1


def name_refund(conn: Connection, refund: Refund, channel_refund_no: str) -> None:
    """Keep the channel's own number of a refund."""
    conn.execute(
        update(refunds)
        .where(refunds.c.merchant_id == refund.merchant_id, refunds.c.refund_no == refund.refund_no)
        .values(channel_refund_no=channel_refund_no)
    )


def address_refund(conn: Connection, refund: Refund, to_account: str) -> bool:
    """Say where a refund goes that waits to be told; False if it doesn't wait (any more)."""
    done = conn.execute(
        update(refunds)
        .where(
            refunds.c.merchant_id == refund.merchant_id,
            refunds.c.refund_no == refund.refund_no,
            refunds.c.status == RefundStatus.PROCESSING.value,
            refunds.c.to_account == "",
        )
        .values(to_account=to_account)
    )
    return done.rowcount == 1


def postpone_refund(conn: Connection, refund: Refund, next_try_at_us: int) -> None:
    """Note a try without a definite answer, and when to ask again."""
    conn.execute(
        update(refunds)
        .where(refunds.c.merchant_id == refund.merchant_id, refunds.c.refund_no == refund.refund_no)
        .values(attempts=refunds.c.attempts + 1, next_try_at_us=next_try_at_us)
    )
