"""Close unpaid orders when their time is over, and find those a crash left half opened.

An order closes here only after its channel has closed it: closing first and asking later is how
a payer pays for an order that no longer exists. If the channel says that it was paid in time,
the payment wins.
"""

from dataclasses import replace

from sqlalchemy import Connection

from gateway.channels.base import Outcome
from gateway.domain.order import Status
from gateway.payments.close import close_order
from gateway.payments.context import Context
from gateway.payments.settle import Verdict, apply_fact
from gateway.store import orders
from gateway.store.orders import Order


async def expire(context: Context, order: Order) -> bool:
    """Close an overdue order, or settle it if the channel was paid; False if not known yet."""
    if order.status == Status.CREATED and order.status_reason == "REVIEW":
        now_us = context.clock_us()
        await context.writer.run(lambda conn: _close(conn, order.trade_no, now_us))
        return True
    channel = context.channels[order.channel]
    reply = await channel.close(order.trade_no, timeout_s=context.config.channel_timeout_s)
    now_us = context.clock_us()
    if reply.outcome is Outcome.CLOSED:
        await context.writer.run(lambda conn: _close(conn, order.trade_no, now_us))
        return True
    if reply.outcome is Outcome.PAID:
        return await settle_paid(context, order)
    return False


async def settle_paid(context: Context, order: Order) -> bool:
    """Ask the channel about an order and apply what it says, as its notification would.

    Returns:
        Whether that moved anything; False if the channel was not paid, or not the order's amount.
    """
    channel = context.channels[order.channel]
    reply = await channel.query(order.trade_no, timeout_s=context.config.channel_timeout_s)
    if reply.outcome is not Outcome.PAID:
        return False
    now_us = context.clock_us()
    # One payment, one fact: the id is the payment's, not this question's.
    fact = replace(reply, event_id=reply.event_id or f"QUERY:{order.trade_no}:PAID")
    verdict = await context.writer.run(lambda conn: apply_fact(conn, order.channel, fact, now_us))
    # A repeat moved nothing: what it says is known, and an order still due must wait its turn.
    return verdict in (Verdict.APPLIED, Verdict.LATE)


def _close(conn: Connection, trade_no: str, now_us: int) -> None:
    order = orders.get(conn, trade_no)
    if order is not None and order.status in (Status.CREATED, Status.WAIT_PAY):
        close_order(conn, order, "EXPIRED", now_us)
