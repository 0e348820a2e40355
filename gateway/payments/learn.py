"""Learn from a channel what happened, where its notification doesn't prove it or never comes.

Some channels only wake us up (an unsigned callback, an event that may be old); some say nothing
at all (a chain of blocks). The question's answer is then the fact, and it is applied as a
notification's would be.
"""

from dataclasses import replace
from typing import Final

from gateway.channels.base import ChannelReply, Outcome
from gateway.payments.context import Context
from gateway.payments.open import trade_of
from gateway.payments.refund import ask_channel
from gateway.payments.settle import Verdict, apply_fact
from gateway.store import orders
from gateway.store.orders import Order

MOVED: Final = frozenset({Verdict.APPLIED, Verdict.LATE})
_SETTLED: Final = frozenset({Outcome.PAID, Outcome.CLOSED})


async def ask_about(context: Context, order: Order) -> Verdict:
    """Ask the channel about a payment and apply what it says.

    Returns:
        What became of the answer; IGNORED if it says nothing that is final.

    Raises:
        ChannelProtocolError: if the answer can't be believed.
    """
    channel = context.channels[order.channel]
    reply = await channel.query(trade_of(order), timeout_s=context.config.channel_timeout_s)
    received_minor = reply.received_minor
    if reply.outcome not in _SETTLED and received_minor in (None, order.paid_minor):
        return Verdict.IGNORED
    now_us = context.clock_us()
    # One payment, one fact: the id is the payment's, not this question's. Where money comes in
    # parts, each sum is a fact, which means something else once the order is closed.
    part = "" if received_minor is None else f":{received_minor}:{order.status}"
    known_as = reply.event_id or f"QUERY:{order.trade_no}:{reply.outcome}{part}"
    fact = replace(reply, event_id=known_as)
    return await context.writer.run(lambda conn: apply_fact(conn, order.channel, fact, now_us))


async def look_into(context: Context, channel: str, hint: ChannelReply) -> Verdict:
    """Follow a notification that proves nothing: ask about the payment or refund it names.

    Returns:
        What became of the answer; UNKNOWN_ORDER if the channel should tell us again later.

    Raises:
        ChannelProtocolError: if the answer can't be believed.
    """
    with context.reader.connect() as conn:
        order = orders.get(conn, hint.trade_no)
        refund = orders.get_refund(conn, hint.refund_no) if hint.refund_no else None
    if order is None or order.channel != channel:
        return Verdict.UNKNOWN_ORDER
    if refund is None:
        return await ask_about(context, order)
    before = refund.status
    after = await ask_channel(context, replace(refund, attempts=max(refund.attempts, 1)))
    return Verdict.APPLIED if after.status != before else Verdict.REPEATED
