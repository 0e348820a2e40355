"""Close unpaid orders when their time is over, and find those a crash left half opened.

An order closes here only after its channel has closed it: closing first and asking later is how
a payer pays for an order that no longer exists. If the channel says that it was paid in time,
the payment wins.
"""

from sqlalchemy import Connection

from gateway.channels.base import Outcome
from gateway.domain.order import Status
from gateway.payments.close import close_order
from gateway.payments.context import Context
from gateway.payments.learn import MOVED, ask_about
from gateway.payments.open import trade_of
from gateway.store import orders
from gateway.store.orders import Order


async def expire(context: Context, order: Order) -> bool:
    """Close an overdue order, or settle it if the channel was paid; False if not known yet."""
    if order.status == Status.CREATED and order.status_reason == "REVIEW":
        now_us = context.clock_us()
        await context.writer.run(lambda conn: _close(conn, order.trade_no, now_us))
        return True
    channel = context.channels[order.channel]
    reply = await channel.close(trade_of(order), timeout_s=context.config.channel_timeout_s)
    now_us = context.clock_us()
    if reply.outcome is Outcome.CLOSED:
        await context.writer.run(lambda conn: _close(conn, order.trade_no, now_us))
        return True
    if reply.outcome is Outcome.PAID:
        return await ask_about(context, order) in MOVED
    return False


def _close(conn: Connection, trade_no: str, now_us: int) -> None:
    order = orders.hold(conn, trade_no)
    if order is not None and order.status in (Status.CREATED, Status.WAIT_PAY):
        close_order(conn, order, "EXPIRED", now_us)
