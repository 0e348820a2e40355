"""Close unpaid orders when their time is over, and find those a crash left half opened.

An order closes here only after its channel has closed it: closing first and asking later is how
a payer pays for an order that no longer exists. If the channel says that it was paid in time,
the payment wins.
"""

from sqlalchemy import Connection

from gateway.channels.base import Outcome
from gateway.domain.errors import Busy, IllegalTransition, OrderNotFound
from gateway.domain.order import Status
from gateway.payments.close import close_order
from gateway.payments.context import Context
from gateway.payments.learn import MOVED, ask_about
from gateway.payments.open import trade_of
from gateway.store import orders
from gateway.store.orders import Order, find_by_number
from gateway.store.raw import Raw


async def expire(context: Context, order: Order) -> bool:
    """Close an overdue order, or settle it if the channel was paid; False if not known yet."""
    return await close_at_channel(context, order, "EXPIRED")


async def close_by_merchant(context: Context, merchant_id: str, out_trade_no: str) -> Order:
    """Close an unpaid order because its merchant asks for it; a closed one stays as it is.

    Raises:
        OrderNotFound: (1003) no such order of this merchant.
        IllegalTransition: (1004) it was paid.
        Busy: (1006) the channel's answer is not known; repeat the request.
    """

    def find(raw: Raw) -> Order | None:
        return find_by_number(raw, merchant_id, out_trade_no)

    order = await context.reads.ask(find)
    if order is None:
        raise OrderNotFound(out_trade_no)
    if order.status in _UNPAID:
        await close_at_channel(context, order, "MERCHANT")
        # Read again: a notification may have been faster than our own question.
        order = await context.reads.ask(find) or order
    if order.status in _UNPAID:
        raise Busy("the channel has not said yet that the payment is closed")
    if order.status != Status.CLOSED:
        raise IllegalTransition(order.status, Status.CLOSED)
    return order


_UNPAID = (Status.CREATED, Status.WAIT_PAY)


async def close_at_channel(context: Context, order: Order, reason: str) -> bool:
    """Close an unpaid order here once its channel has; if that was paid in time, settle it.

    Args:
        context: What to work with.
        order: In CREATED or WAIT_PAY.
        reason: EXPIRED or MERCHANT.

    Returns:
        Whether the order's outcome is known now.
    """
    if order.status == Status.CREATED and order.status_reason == "REVIEW":
        now_us = context.clock_us()
        await context.writer.run(lambda conn: _close(conn, order.trade_no, reason, now_us))
        return True
    channel = context.channels[order.channel]
    reply = await channel.close(trade_of(order), timeout_s=context.config.channel_timeout_s)
    now_us = context.clock_us()
    if reply.outcome is Outcome.CLOSED:
        await context.writer.run(lambda conn: _close(conn, order.trade_no, reason, now_us))
        return True
    if reply.outcome is Outcome.PAID:
        return await ask_about(context, order) in MOVED
    return False


def _close(conn: Connection, trade_no: str, reason: str, now_us: int) -> None:
    order = orders.hold(conn, trade_no)
    if order is not None and order.status in _UNPAID:
        close_order(conn, order, reason, now_us)
