"""Tell a merchant again what it was told, or could not be told, before."""

from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from gateway.domain.errors import ObjectNotFound
from gateway.store.tables import notifications


@dataclass(frozen=True, slots=True, kw_only=True)
class ResendCommand:
    """A notification that shall be sent once more, now.

    Attributes:
        merchant_id: Whose it is.
        event_id: Which one; the merchant sees the same id again.
    """

    merchant_id: str
    event_id: str


def resend(conn: Connection, command: ResendCommand, now_us: int) -> None:
    """Make a notification due now, with its whole schedule before it.

    Raises:
        ObjectNotFound: (1009) the merchant has no such notification.
    """
    key = (
        notifications.c.merchant_id == command.merchant_id,
        notifications.c.event_id == command.event_id,
    )
    if conn.execute(select(notifications.c.event_id).where(*key)).first() is None:
        raise ObjectNotFound(f"no notification {command.event_id[:80]}")
    conn.execute(
        update(notifications)
        .where(*key)
        .values(status="PENDING", attempts=0, first_attempt_at_us=0, next_attempt_at_us=now_us)
    )
