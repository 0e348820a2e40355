"""Settle each business day once it is over; nothing is settled twice, whoever does it."""

import logging
from typing import Final

from gateway.payments.context import Context
from gateway.payments.settlement import day_before, settle_day

GRACE_US: Final = 600_000_000  # What was booked in the last seconds of the day is on disk by then.
_log = logging.getLogger("yumen.settlement")


class Settler:
    """Makes the settlements of the last business day that is over."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._settled_day = ""

    async def run_once(self) -> int:
        """Settle if a day has ended; return how many settlements were made."""
        now_us = self._context.clock_us()
        day = day_before(now_us - GRACE_US)
        if day == self._settled_day:
            return 0
        made = await self._context.writer.run(lambda conn: settle_day(conn, day, now_us))
        self._settled_day = day
        if made:
            _log.info("%s: %s settlements", day, len(made))
        return len(made)
