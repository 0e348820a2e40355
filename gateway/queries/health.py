"""What waits: notifications to merchants and risk events, with the age of the oldest."""

from dataclasses import dataclass

from sqlalchemy import func, select, text

from gateway.queries.reader import Reader, fetch
from gateway.store import tables


@dataclass(frozen=True, slots=True)
class Backlog:
    """Work that is stored and not done yet.

    Attributes:
        pending_count: Notifications that merchants have not acknowledged.
        overdue_s: How long the most overdue of them has waited past its time, seconds.
        inbox_count: Outcomes and labels that the risk engine has not placed in its log.
    """

    pending_count: int
    overdue_s: float
    inbox_count: int


def backlog(reader: Reader, now_us: int) -> Backlog:
    """Count what waits.

    Raises:
        ReaderError: if the database can't be read.
    """
    notifications = tables.notifications.c
    # Written as the partial indexes are, or SQLite would read the whole table.
    pending = text("status = 'PENDING'")
    count, oldest_at_us = fetch(
        reader, select(func.count(), func.min(notifications.next_attempt_at_us)).where(pending)
    )[0]
    (inbox_count,) = fetch(
        reader,
        select(func.count()).select_from(tables.risk_inbox).where(text("seq IS NULL")),
    )[0]
    overdue_us = max(0, now_us - oldest_at_us) if oldest_at_us is not None else 0
    return Backlog(count, overdue_us / 1e6, inbox_count)
