"""Open an accepted order at its channel: from CREATED to WAIT_PAY, exactly once.

The order is on disk before the channel is asked, so a crash between the two leaves an order in
CREATED that the worker finds. Opening is idempotent in our number at the channel; an unknown
outcome is resolved by asking again with the same number, never by another channel.
"""

from sqlalchemy import Connection

from gateway.channels.base import ChannelReply, Outcome, PayRequest, Trade
from gateway.domain.errors import Busy
from gateway.domain.order import Status
from gateway.payments.close import close_order
from gateway.payments.commands import CreateCommand
from gateway.payments.context import Context
from gateway.payments.route import is_definite_no
from gateway.store import orders
from gateway.store.orders import Order
from risk.decision import RiskOutcome


def pay_request(
    context: Context,
    terms: Order | CreateCommand,
    *,
    trade_no: str,
    channel: str,
    created_at_us: int,
    expires_at_us: int,
    challenge: bool,
) -> PayRequest:
    """Say to a channel what an order, or a command that is about to be one, asks for."""
    return PayRequest(
        trade_no=trade_no,
        created_at_us=created_at_us,
        pay_type=str(terms.pay_type),
        amount_minor=terms.amount_minor,
        currency=terms.currency,
        subject=terms.subject,
        notify_url=context.notify_url(channel),
        return_url=terms.return_url,
        expires_at_s=expires_at_us // 1_000_000,
        challenge=challenge,
    )


def trade_of(order: Order) -> Trade:
    """Say to a channel which payment is meant."""
    return Trade(
        trade_no=order.trade_no,
        channel_trade_no=order.channel_trade_no,
        amount_minor=order.amount_minor,
        currency=order.currency,
        created_at_us=order.created_at_us,
        expires_at_s=order.expires_at_us // 1_000_000,
    )


async def open_at_channel(context: Context, trade_no: str) -> Order:
    """Open an order that stands in CREATED, and return it as it then stands.

    An account that refuses the payment for good is followed by the next one that may serve it.

    Args:
        context: What to work with.
        trade_no: The gateway's number of the order.

    Returns:
        The order in WAIT_PAY with its `pay_url`; in CLOSED if every channel refused it; or as
        somebody else left it who was faster.

    Raises:
        Busy: (1006) if the channel's answer is unknown; the worker goes on asking.
        LookupError: if there is no such order.
    """
    while (order := await _tried(context, trade_no)) is None:
        pass  # Its account refused it, and the next one has its turn.
    return order


async def _tried(context: Context, trade_no: str) -> Order | None:
    """Ask the order's account to open it; None if the order went on to another account."""
    with context.reader.connect() as conn:
        order = orders.get(conn, trade_no)
    if order is None:
        raise LookupError(trade_no)
    if order.status != Status.CREATED or order.status_reason:
        return order
    reply = await _ask(context, order)
    if reply.outcome is Outcome.ACCEPTED:
        return await context.writer.run(lambda conn: _opened(conn, order, reply))
    if not is_definite_no(reply):
        raise Busy(f"the channel's answer about {trade_no} is not known yet")
    following, now_us = _next_account(context, order), context.clock_us()
    if not following:
        return await context.writer.run(lambda conn: _refused(conn, order, now_us))
    await context.writer.run(lambda conn: _move_on(conn, order, following))
    return None


def _next_account(context: Context, order: Order) -> str:
    tried = (*order.tried_channels.split(), order.channel)
    return context.routes.after(order.merchant_id, order.pay_type, tried)


def _move_on(conn: Connection, order: Order, following: str) -> None:
    """Take the order to another account; somebody who was faster has done what was right."""
    tried = " ".join((*order.tried_channels.split(), order.channel))
    orders.change(conn, order, channel=following, tried_channels=tried, channel_trade_no="")


def _asked(context: Context, order: Order) -> PayRequest:
    return pay_request(
        context,
        order,
        trade_no=order.trade_no,
        channel=order.channel,
        created_at_us=order.created_at_us,
        expires_at_us=order.expires_at_us,
        challenge=order.risk_outcome == RiskOutcome.CHALLENGE,
    )


def link_again(context: Context, order: Order) -> ChannelReply:
    """Return an order's link as it was first made, with the form that may belong to it.

    Where the channel had to be asked, that is the stored link alone.
    """
    linked = context.channels[order.channel].link(_asked(context, order))
    if linked is not None:
        return linked
    return ChannelReply(outcome=Outcome.ACCEPTED, trade_no=order.trade_no, pay_url=order.pay_url)


async def _ask(context: Context, order: Order) -> ChannelReply:
    request = _asked(context, order)
    channel, timeout_s = context.channels[order.channel], context.config.channel_timeout_s
    linked = channel.link(request)
    if linked is not None:
        return linked
    reply = await channel.pay(request, timeout_s=timeout_s)
    context.routes.health.heard(order.channel, reply.outcome)
    if reply.outcome is Outcome.UNKNOWN and _may_leave(context, order):
        # A silent account is left only once it has closed the payment, or never heard of it.
        return await channel.close(trade_of(order), timeout_s=timeout_s)
    return reply


def _may_leave(context: Context, order: Order) -> bool:
    return context.routes.health.is_out(order.channel) and bool(_next_account(context, order))


def _opened(conn: Connection, asked: Order, reply: ChannelReply) -> Order:
    order = orders.hold(conn, asked.trade_no)
    if order is None:
        raise LookupError(asked.trade_no)
    if order.status != Status.CREATED or order.channel != asked.channel:
        return order
    moved = orders.move(
        conn,
        order,
        Status.WAIT_PAY,
        pay_url=reply.pay_url,
        prepay_id=reply.prepay_id,
        channel_trade_no=reply.channel_trade_no,
    )
    return moved or order


def _refused(conn: Connection, asked: Order, now_us: int) -> Order:
    order = orders.hold(conn, asked.trade_no)
    if order is None:
        raise LookupError(asked.trade_no)
    if order.status != Status.CREATED or order.channel != asked.channel:
        return order
    return close_order(conn, order, "CHANNEL_REFUSED", now_us) or order
