"""Refunds: reserve first, then ask the channel, release only on a definite no.

The reservation is one conditional UPDATE under the writer, with a CHECK constraint behind it, so
any number of simultaneous refunds together never exceed what was paid. Without the merchant's own
refund number, one is derived from the signed request: the same bytes again are the same refund.
"""

from dataclasses import replace

from sqlalchemy import Connection

from gateway.channels.base import Channel, ChannelReply, Outcome, PaysOut, RefundRequest
from gateway.domain.errors import (
    IllegalTransition,
    InvalidParameter,
    OrderConflict,
    OrderNotFound,
)
from gateway.domain.numbers import new_number
from gateway.domain.order import Status
from gateway.domain.refund import RefundStatus, reserve
from gateway.payments.commands import RefundCommand
from gateway.payments.context import Context
from gateway.payments.open import trade_of
from gateway.payments.settle import fail_refund, finish_refund
from gateway.store import orders
from gateway.store.orders import Order, Refund, find_by_number

_LATE = "LATE"
RETRY_AFTER_US = 10_000_000  # First question about a refund whose outcome is unknown.


async def refund(context: Context, command: RefundCommand) -> Refund:
    """Refund part or all of a paid order, or return the refund this request made before.

    Raises:
        OrderNotFound: (1003) no such order of this merchant.
        IllegalTransition: (1004) the order is not paid, or refunded in full already.
        InsufficientBalance: (1005) more than is left of the payment.
        OrderConflict: (1001) the refund number is taken by another request.
        InvalidParameter: (1001) the amount does not fit the order's currency; or the account it
            shall go to is missing or malformed, at a channel that asks for one.
    """
    order = await context.reads.ask(
        lambda raw: find_by_number(raw, command.merchant_id, command.out_trade_no)
    )
    if order is None:
        raise OrderNotFound(command.out_trade_no)
    amount_minor = command.amount_minor(order.currency)
    to_account = _payee(context.channels[order.channel], command)
    now_us = context.clock_us()
    refund_no = new_number("R", now_us)

    def book_intent(conn: Connection) -> tuple[Refund, bool]:
        known = orders.find_refund(conn, command.merchant_id, command.out_refund_no)
        if known is not None and (known.kind, known.amount_minor) == (_LATE, amount_minor):
            return replace(known, to_account=to_account), orders.address_refund(
                conn, known, to_account
            )
        if known is not None:
            return _same(known, command), False
        wanted = replace(
            _intent(order, command, refund_no, amount_minor, now_us), to_account=to_account
        )
        _reserve(conn, order.trade_no, amount_minor)
        orders.insert_refund(conn, wanted)
        return wanted, True

    intent, is_new = await context.writer.run(book_intent)
    if not is_new:
        return intent
    return await ask_channel(context, intent)


def _payee(channel: Channel, command: RefundCommand) -> str:
    """Return where a refund goes; '' where the channel knows that itself."""
    if not isinstance(channel, PaysOut):
        return ""
    if not command.refund_account:
        raise InvalidParameter("refund_account", "is required: ask the customer where it shall go")
    try:
        return channel.payee(command.refund_account)
    except ValueError as error:
        raise InvalidParameter("refund_account", str(error)) from error


def _same(known: Refund, command: RefundCommand) -> Refund:
    if known.request_sha256 != command.request_sha256:
        raise OrderConflict("out_refund_no", "is taken by a refund with other contents")
    return known


def _intent(
    order: Order, command: RefundCommand, refund_no: str, amount_minor: int, now_us: int
) -> Refund:
    return Refund(
        merchant_id=order.merchant_id,
        refund_no=refund_no,
        out_refund_no=command.out_refund_no,
        request_sha256=command.request_sha256,
        trade_no=order.trade_no,
        amount_minor=amount_minor,
        currency=order.currency,
        reason=command.refund_reason,
        kind="MERCHANT",
        status=RefundStatus.PROCESSING.value,
        attempts=0,
        next_try_at_us=now_us + RETRY_AFTER_US,
        created_at_us=now_us,
        finished_at_us=0,
    )


def _reserve(conn: Connection, trade_no: str, amount_minor: int) -> None:
    order = orders.hold(conn, trade_no)
    if order is None:
        raise OrderNotFound(trade_no)
    if order.status != Status.SUCCESS:
        raise IllegalTransition(order.status, Status.REFUND)
    reserve(order.paid_minor, order.refund_reserved_minor, amount_minor)
    if not orders.reserve_refund(conn, order, amount_minor):
        raise RuntimeError(f"order {trade_no} moved inside the writer's own transaction")


def _request(context: Context, order: Order, intent: Refund) -> RefundRequest:
    return RefundRequest(
        refund_no=intent.refund_no,
        channel_refund_no=intent.channel_refund_no,
        amount_minor=intent.amount_minor,
        currency=intent.currency,
        reason=intent.reason,
        notify_url=context.notify_url(order.channel),
        created_at_us=intent.created_at_us,
        to_account=intent.to_account,
    )


async def ask_channel(context: Context, intent: Refund) -> Refund:
    """Bring a refund under way to its end, or as far as the channel's answer allows.

    A refund that was tried before is asked about first and made again only if the channel never
    heard of it; a repeat carries the same number. Late money at a channel that asks where to send
    it waits until the merchant says so: a refund request with this refund's number.
    """
    with context.reader.connect() as conn:
        order = orders.get(conn, intent.trade_no)
    if order is None:
        raise LookupError(intent.trade_no)
    channel = context.channels[order.channel]
    timeout_s = context.config.channel_timeout_s
    trade, request = trade_of(order), _request(context, order, intent)
    reply: ChannelReply | None = None
    if isinstance(channel, PaysOut) and not intent.to_account:
        reply = ChannelReply(outcome=Outcome.UNKNOWN, trade_no=order.trade_no)
    elif intent.attempts:
        reply = await channel.query_refund(trade, request, timeout_s=timeout_s)
    if reply is None or reply.outcome is Outcome.NOT_FOUND:
        reply = await channel.refund(trade, request, timeout_s=timeout_s)
    outcome, now_us = reply.outcome, context.clock_us()
    named = reply.channel_refund_no

    def settle(conn: Connection) -> Refund:
        if named and named != intent.channel_refund_no:
            orders.name_refund(conn, intent, named)
        if outcome is Outcome.REFUNDED:
            finish_refund(conn, intent, now_us)
        elif outcome is Outcome.REJECTED:
            fail_refund(conn, intent, now_us)
        else:
            wait_us = RETRY_AFTER_US * 2 ** min(intent.attempts, 8)
            orders.postpone_refund(conn, intent, now_us + wait_us)
        return orders.get_refund(conn, intent.refund_no) or intent

    return await context.writer.run(settle)
