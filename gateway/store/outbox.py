"""What must leave the gateway because of a change, written in that change's own transaction.

Notifications for merchants, events that other systems follow, facts for the risk engine, and
ledger entries: a crash can neither lose them (they are in the same commit as their cause) nor
double them (each has an identity derived from its cause).
"""

import json

from sqlalchemy import Connection, and_, bindparam, func, insert, select

from gateway.domain.ledger import Entry
from gateway.domain.money import to_major
from gateway.domain.numbers import utc_text
from gateway.domain.refund import refund_state
from gateway.store.orders import Order
from gateway.store.schema import upsert
from gateway.store.tables import (
    ledger_entries,
    ledger_postings,
    notifications,
    order_events,
    risk_inbox,
)
from risk.decision import Feedback

# Built once: building a statement costs several times its execution.
_ENTRY = insert(ledger_entries)
_POSTING = insert(ledger_postings)
_NOTIFICATION = upsert(notifications).on_conflict_do_nothing()
_OF_ORDER = and_(
    order_events.c.merchant_id == bindparam("of_merchant"),
    order_events.c.trade_no == bindparam("of_trade"),
)
# Nobody else numbers events of an order meanwhile: whoever publishes has changed, or holds, it.
_EVENT = insert(order_events).values(
    event_no=select(func.coalesce(func.max(order_events.c.event_no), 0) + 1)
    .where(_OF_ORDER)
    .scalar_subquery()
)
_REPORT = insert(risk_inbox)


def book(conn: Connection, entry: Entry, now_us: int) -> None:
    """Write a balanced entry.

    Raises:
        sqlalchemy.exc.IntegrityError: if its cause was booked before; the caller's transaction
            must not go on.
    """
    conn.execute(
        _ENTRY,
        {
            "merchant_id": entry.merchant_id,
            "entry_id": entry.entry_id,
            "trade_no": entry.trade_no,
            "kind": entry.kind,
            "created_at_us": now_us,
        },
    )
    conn.execute(
        _POSTING,
        [
            {
                "merchant_id": entry.merchant_id,
                "entry_id": entry.entry_id,
                "line_no": line_no,
                "account": posting.account,
                "amount_minor": posting.amount_minor,
                "currency": posting.currency,
            }
            for line_no, posting in enumerate(entry.postings)
        ],
    )


def notify(
    conn: Connection, order: Order, now_us: int, *, refund_no: str = "", news: str = ""
) -> None:
    """Queue the notification of what an order is now; the same news is queued once.

    Args:
        conn: The writer's connection.
        order: As it stands.
        now_us: The time.
        refund_no: The refund it is about, if it is about one.
        news: What tells this from what was said before with the same status and refund.
    """
    event_id = ":".join(filter(None, (order.trade_no, order.status, refund_no, news)))
    paid_minor = order.paid_minor
    payload = {
        "merchant_id": order.merchant_id,
        "trade_no": order.trade_no,
        "out_trade_no": order.out_trade_no,
        "trade_status": order.status,
        "total_amount": str(to_major(order.amount_minor, order.currency)),
        "receipt_amount": str(to_major(paid_minor, order.currency)),
        "currency": order.currency,
        "pay_time": utc_text(order.paid_at_us) if order.paid_at_us else "",
        "refund_amount": str(to_major(order.refunded_minor, order.currency)),
        "refund_status": refund_state(paid_minor, order.refunded_minor).value,
        "refund_no": refund_no,
        "status_reason": order.status_reason,
        "event_id": event_id,
    }
    conn.execute(
        _NOTIFICATION,
        {
            "merchant_id": order.merchant_id,
            "event_id": event_id,
            "trade_no": order.trade_no,
            "trade_status": order.status,
            "notify_url": order.notify_url,
            "payload": json.dumps(payload, ensure_ascii=False),
            "status": "PENDING",
            "next_attempt_at_us": now_us,
            "created_at_us": now_us,
        },
    )


def publish(
    conn: Connection,
    order: Order,
    kind: str,
    now_us: int,
    *,
    amount_minor: int = 0,
    detail: str = "",
) -> None:
    """Append to the feed of order events, e.g. RELEASED: inventory and coupons are free again."""
    conn.execute(
        _EVENT,
        {
            "of_merchant": order.merchant_id,
            "of_trade": order.trade_no,
            "merchant_id": order.merchant_id,
            "trade_no": order.trade_no,
            "kind": kind,
            "amount_minor": amount_minor,
            "detail": detail,
            "created_at_us": now_us,
        },
    )


def report(
    conn: Connection,
    trade_no: str,
    feedback: Feedback,
    known_at_us: int,
    *,
    source: str,
    amount_minor: int = 0,
) -> None:
    """Tell the risk engine what became of a payment; its owner gives the fact a place.

    Args:
        conn: The writer's connection.
        trade_no: The payment.
        feedback: What became known.
        known_at_us: When it became known, which is when features may first see it.
        source: channel, chargeback, review, merchant or history.
        amount_minor: The amount it is about, e.g. of a refund.
    """
    conn.execute(
        _REPORT,
        {
            "kind": feedback.value,
            "trade_no": trade_no,
            "amount_minor": amount_minor,
            "source": source,
            "known_at_us": known_at_us,
        },
    )
