"""Ask the channel about what is not known: overdue orders, half-opened ones, slow refunds."""

import logging
from collections.abc import Awaitable

from gateway.channels.base import ChannelProtocolError
from gateway.domain.errors import Busy
from gateway.domain.order import Status
from gateway.payments.context import Context
from gateway.payments.expire import expire
from gateway.payments.learn import MOVED, ask_about
from gateway.payments.open import open_at_channel
from gateway.payments.refund import ask_channel
from gateway.store import orders
from gateway.store.orders import Order

UNOPENED_AFTER_US = 5_000_000  # Leaves a create that is under way alone.
ASK_AGAIN_AFTER_US = 15_000_000
BATCH_COUNT = 64
WATCHED_COUNT = 500  # Waiting payments of channels that tell nothing, newest first.
# Where nothing can be closed, money may come to an order that has ended: looked for so long.
WATCHED_AFTER_US = 7 * 86_400 * 1_000_000
ENDED_EVERY_US = 3_600 * 1_000_000
_log = logging.getLogger("yumen.resolve")


class Resolver:
    """Works through orders and refunds whose outcome is due; patient with a silent channel."""

    def __init__(self, context: Context) -> None:
        self._context = context
        # Who gave no answer, and when to ask again; a restart may ask at once, which is safe.
        self._not_before_us: dict[str, int] = {}

    async def run_once(self) -> int:
        """Ask about a batch of each kind; return how many were moved on."""
        context, now_us = self._context, self._context.clock_us()
        self._not_before_us = {
            number: at_us for number, at_us in self._not_before_us.items() if at_us > now_us
        }
        with context.reader.connect() as conn:
            overdue = orders.due_orders(conn, now_us, BATCH_COUNT + len(self._not_before_us))
            unopened = orders.unopened_orders(conn, now_us - UNOPENED_AFTER_US, BATCH_COUNT)
            refunds = orders.due_refunds(conn, now_us, BATCH_COUNT)
            watched = orders.waiting_orders(conn, self._silent(), WATCHED_COUNT)
            since_us = now_us - WATCHED_AFTER_US
            watched += orders.ended_orders(conn, self._silent(), since_us, WATCHED_COUNT)
        overdue_numbers = {order.trade_no for order in overdue}
        done_count = 0
        for order in overdue:
            if order.trade_no not in self._not_before_us:
                done_count += await self._tried(expire(context, order), order.trade_no, now_us)
        for order in unopened:
            number = order.trade_no
            if number not in overdue_numbers and number not in self._not_before_us:
                done_count += await self._tried(open_at_channel(context, number), number, now_us)
        for refund in refunds:
            if refund.refund_no not in self._not_before_us:
                question = ask_channel(context, refund)
                done_count += await self._tried(question, refund.refund_no, now_us)
        for order in watched:
            if order.trade_no not in self._not_before_us:
                done_count += await self._tried(self._watch(order), order.trade_no, now_us)
        return done_count

    def _silent(self) -> list[str]:
        return [name for name, channel in self._context.channels.items() if channel.poll_s]

    async def _watch(self, order: Order) -> bool:
        """Look whether a payment came that nobody will tell us of; not again for a while."""
        moved = await ask_about(self._context, order) in MOVED
        if not moved:
            poll_us = self._context.channels[order.channel].poll_s * 1_000_000
            waits = order.status == Status.WAIT_PAY
            pause_us = poll_us if waits else max(poll_us, ENDED_EVERY_US)
            self._not_before_us[order.trade_no] = self._context.clock_us() + pause_us
        return moved

    async def _tried(self, question: Awaitable[object], number: str, now_us: int) -> int:
        try:
            answer = await question
        except (Busy, ChannelProtocolError) as error:
            _log.warning("%s stays unresolved: %s", number, error)
            answer = False
        if answer is False:
            self._not_before_us.setdefault(number, now_us + ASK_AGAIN_AFTER_US)
            return 0
        return 1
