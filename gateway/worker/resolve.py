"""Ask the channel about what is not known: overdue orders, half-opened ones, slow refunds.

Every order and refund is leased before it is asked about, so any number of workers share the work.
Where the channel gave no answer the lease is left to run out: that is the pause until it is asked
again, by whoever comes first.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from gateway.channels.base import ChannelProtocolError
from gateway.domain.errors import Busy
from gateway.payments.context import Context
from gateway.payments.expire import expire
from gateway.payments.learn import ask_about
from gateway.payments.open import open_at_channel
from gateway.payments.refund import ask_channel
from gateway.store import due
from gateway.store.claims import Due

T = TypeVar("T")

UNOPENED_AFTER_US: Final = 5_000_000  # Leaves a create that is under way alone.
BATCH_COUNT: Final = 32
QUESTIONS_MAX: Final = 3  # A channel is asked so often about one order in one go.
LEASE_SLACK_S: Final = 5.0
# Where nothing can be closed, money may come to an order that has ended: looked for so long.
ENDED_SINCE_US: Final = 7 * 86_400 * 1_000_000
ENDED_EVERY_S: Final = 3_600.0
_log = logging.getLogger("yumen.resolve")


class Resolver:
    """Works through orders and refunds whose outcome is due; patient with a silent channel."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lease_s = QUESTIONS_MAX * context.config.channel_timeout_s + LEASE_SLACK_S

    async def run_once(self) -> int:
        """Ask about a batch of each kind; return how many were asked about."""
        context, now_us = self._context, self._context.clock_us()
        unopened = due.unopened_orders(now_us - UNOPENED_AFTER_US)
        counts = [
            await self._each(due.overdue_orders(now_us), lambda order: expire(context, order)),
            await self._each(unopened, lambda order: open_at_channel(context, order.trade_no)),
            await self._each(due.due_refunds(now_us), lambda one: ask_channel(context, one)),
        ]
        for name, channel in context.channels.items():
            if channel.poll_s:  # Of its payments nobody will tell us.
                waiting = due.waiting_orders([name])
                pause_s = max(self._lease_s, channel.poll_s)
                ended = due.ended_transfers([name], now_us - ENDED_SINCE_US)
                for kind, every_s in ((waiting, pause_s), (ended, max(pause_s, ENDED_EVERY_S))):
                    counts.append(
                        await self._each(kind, lambda order: ask_about(context, order), every_s)
                    )
        return sum(counts)

    async def _each(
        self, kind: Due[T], ask: Callable[[T], Awaitable[object]], lease_s: float | None = None
    ) -> int:
        context, now_us = self._context, self._context.clock_us()
        with context.reader.connect() as conn:
            if not kind.is_any(conn, now_us):
                return 0
        until_us = now_us + int((lease_s or self._lease_s) * 1e6)
        claimed = await context.writer.run(
            lambda conn: kind.claim(conn, now_us=now_us, lease_until_us=until_us, limit=BATCH_COUNT)
        )
        await asyncio.gather(*(self._tried(ask, one) for one in claimed))
        return len(claimed)

    async def _tried(self, ask: Callable[[T], Awaitable[object]], about: T) -> None:
        try:
            await ask(about)
        except (Busy, ChannelProtocolError) as error:
            _log.warning("%s stays unresolved: %s", about, error)
