"""Close an unpaid order and let go of what it held."""

from sqlalchemy import Connection

from gateway.domain.order import Status
from gateway.store import orders, outbox
from gateway.store.orders import Order
from risk.decision import Feedback


def close_order(conn: Connection, order: Order, reason: str, now_us: int) -> Order | None:
    """Close an order in the caller's transaction: release, tell the merchant, tell risk.

    Args:
        conn: The writer's connection.
        order: The order as it was read, in CREATED or WAIT_PAY.
        reason: EXPIRED, MERCHANT, REJECTED, CHANNEL_REFUSED or CLOSED_AT_CHANNEL.
        now_us: The time.

    Returns:
        The closed order, or None if somebody else moved it first (nothing is written).

    Raises:
        IllegalTransition: (1004) if it is refunded or closed already.
    """
    closed = orders.move(conn, order, Status.CLOSED, status_reason=reason, closed_at_us=now_us)
    if closed is None:
        return None
    outbox.publish(conn, closed, "RELEASED", now_us, detail=reason)
    outbox.notify(conn, closed, now_us)
    outbox.report(conn, closed.trade_no, Feedback.CLOSED, now_us, source="channel")
    return closed
