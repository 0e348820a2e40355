"""The live window: what the monitoring page asks for every two seconds, kept cheap.

A minute that is over does not change its decisions any more, so it is read once and kept; only
the last two are read again. Orders do change afterwards (they are paid), so older order minutes
are refreshed now and then. All tabs of all analysts share one window, and a second reader within
`FRESH_US` gets what the first one got.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import TypeVar

from gateway.queries.health import Backlog, backlog
from gateway.queries.reader import Reader
from gateway.queries.traffic import (
    MINUTE_US,
    DecisionMinute,
    OrderMinute,
    decision_minutes,
    last_decision_at_us,
    order_minutes,
    total,
)

FRESH_US = 800_000
SETTLED_AFTER_US = 2 * MINUTE_US  # A decision is on disk long before it is this old.
ORDERS_SETTLED_AFTER_US = 5 * MINUTE_US
ORDERS_REFRESH_US = 30_000_000
WINDOW_MINUTES_MAX = 360

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class LiveWindow:
    """Everything the monitoring page shows of a window of time.

    Attributes:
        read_at_us: When it was read.
        until_us: End of the window: now, or the last traffic if there is none in the window.
        minutes_at_us: Start of each minute, oldest first, without gaps; the last one is going on.
        decisions: One for each minute.
        orders: One for each minute.
        all_decisions: Sum of `decisions`.
        all_orders: Sum of `orders`.
        backlog: What waits now.
        last_at_us: When the latest decision of all was made; None if there is none yet.
    """

    read_at_us: int
    until_us: int
    minutes_at_us: tuple[int, ...]
    decisions: tuple[DecisionMinute, ...]
    orders: tuple[OrderMinute, ...]
    all_decisions: DecisionMinute
    all_orders: OrderMinute
    backlog: Backlog
    last_at_us: int | None

    @property
    def is_live(self) -> bool:
        """Whether the window ends now, and not at traffic of the past."""
        return self.until_us >= self.read_at_us - MINUTE_US


class LiveTraffic:
    """Windows of traffic over one database, read incrementally; safe to share between threads."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._lock = Lock()
        self._decisions: dict[int, DecisionMinute] = {}
        self._orders: dict[int, OrderMinute] = {}
        self._decisions_read: tuple[int, int] | None = None  # Minutes [from, to) that are kept.
        self._orders_read: tuple[int, int] | None = None
        self._orders_read_at_us = 0
        self._windows: dict[int, LiveWindow] = {}

    def window(self, now_us: int, minutes: int) -> LiveWindow:
        """Return the last `minutes` minutes, or the last ones with traffic if these are empty.

        Args:
            now_us: The time, microseconds since the epoch.
            minutes: Length of the window, 1 to `WINDOW_MINUTES_MAX`.

        Raises:
            ReaderError: if the database can't be read.
            ValueError: if `minutes` is out of range.
        """
        if not 1 <= minutes <= WINDOW_MINUTES_MAX:
            raise ValueError(f"a window has 1 to {WINDOW_MINUTES_MAX} minutes, was {minutes}")
        with self._lock:
            known = self._windows.get(minutes)
            if known is not None and 0 <= now_us - known.read_at_us < FRESH_US:
                return known
            window = self._read(now_us, minutes)
            self._windows[minutes] = window
            return window

    def _read(self, now_us: int, minutes: int) -> LiveWindow:
        last_at_us = last_decision_at_us(self._reader)
        until_us = now_us
        if last_at_us is not None and not -MINUTE_US < now_us - last_at_us < minutes * MINUTE_US:
            until_us = last_at_us + 1
        end_us = (until_us // MINUTE_US + 1) * MINUTE_US
        start_us = end_us - minutes * MINUTE_US
        self._refresh_decisions(start_us, end_us, until_us)
        self._refresh_orders(start_us, end_us, until_us, now_us)
        starts_us = tuple(range(start_us, end_us, MINUTE_US))
        decisions = tuple(self._decisions.get(at_us, DecisionMinute()) for at_us in starts_us)
        orders = tuple(self._orders.get(at_us, OrderMinute()) for at_us in starts_us)
        all_orders = OrderMinute()
        for minute in orders:
            all_orders.add(minute)
        return LiveWindow(
            read_at_us=now_us,
            until_us=until_us,
            minutes_at_us=starts_us,
            decisions=decisions,
            orders=orders,
            all_decisions=total(decisions),
            all_orders=all_orders,
            backlog=backlog(self._reader, now_us),
            last_at_us=last_at_us,
        )

    def _refresh_decisions(self, start_us: int, end_us: int, until_us: int) -> None:
        since_us = _first_unsettled_us(self._decisions_read, start_us, until_us, SETTLED_AFTER_US)
        self._decisions = _kept(self._decisions, end_us, since_us)
        self._decisions |= decision_minutes(self._reader, since_us, end_us)
        self._decisions_read = _grown(self._decisions_read, since_us, end_us)

    def _refresh_orders(self, start_us: int, end_us: int, until_us: int, now_us: int) -> None:
        if now_us - self._orders_read_at_us >= ORDERS_REFRESH_US:
            self._orders_read = None
            self._orders_read_at_us = now_us
        since_us = _first_unsettled_us(
            self._orders_read, start_us, until_us, ORDERS_SETTLED_AFTER_US
        )
        self._orders = _kept(self._orders, end_us, since_us)
        self._orders |= order_minutes(self._reader, since_us, end_us)
        self._orders_read = _grown(self._orders_read, since_us, end_us)


def _first_unsettled_us(
    known: tuple[int, int] | None, start_us: int, until_us: int, settled_after_us: int
) -> int:
    """Return from which minute on the database must be read to know all from `start_us`."""
    unsettled_us = (until_us - settled_after_us) // MINUTE_US * MINUTE_US
    if known is None or not known[0] <= start_us <= known[1]:
        return start_us
    return max(start_us, min(known[1], unsettled_us))


def _kept(minutes: Mapping[int, M], end_us: int, since_us: int) -> dict[int, M]:
    """Forget what is about to be read again and what no window reaches any more."""
    oldest_us = end_us - WINDOW_MINUTES_MAX * MINUTE_US
    return {at_us: one for at_us, one in minutes.items() if oldest_us <= at_us < since_us}


def _grown(known: tuple[int, int] | None, since_us: int, end_us: int) -> tuple[int, int]:
    """Return which span is known after reading `[since_us, end_us)`."""
    if known is None or not known[0] <= since_us <= known[1]:
        return since_us, end_us
    return max(known[0], end_us - WINDOW_MINUTES_MAX * MINUTE_US), end_us
