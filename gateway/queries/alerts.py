"""Alerts as operators read them: what went wrong lately, how often, and when last."""

from dataclasses import dataclass

from sqlalchemy import func, select

from gateway.queries.reader import Reader, fetch
from gateway.store import tables

KINDS_COUNT_MAX = 100


@dataclass(frozen=True, slots=True)
class AlertRow:
    """One kind of trouble since some time; times in microseconds since the epoch.

    Attributes:
        kind: What went wrong.
        severity: INFO, WARNING or ERROR.
        detail: Of the latest.
        first_at_us: When it first happened in that time.
        last_at_us: When it last happened.
        count: How often.
    """

    kind: str
    severity: str
    detail: str
    first_at_us: int
    last_at_us: int
    count: int


def alerts_since(reader: Reader, since_us: int) -> tuple[AlertRow, ...]:
    """Read what went wrong since a time, one row a kind, the latest first.

    Raises:
        ReaderError: if the database can't be read.
    """
    alerts = tables.alerts.c
    newest = func.row_number().over(
        partition_by=alerts.kind, order_by=(alerts.last_at_us.desc(), alerts.minute_at_us.desc())
    )
    ranked = (
        select(
            alerts.kind,
            alerts.severity,
            alerts.detail,
            func.min(alerts.first_at_us).over(partition_by=alerts.kind).label("first_at_us"),
            alerts.last_at_us,
            func.sum(alerts["count"]).over(partition_by=alerts.kind).label("count"),
            newest.label("place"),
        )
        .where(alerts.last_at_us >= since_us)
        .subquery()
    )
    of = ranked.c
    statement = (
        select(of.kind, of.severity, of.detail, of.first_at_us, of.last_at_us, of["count"])
        .where(of.place == 1)
        .order_by(of.last_at_us.desc(), of.kind)
        .limit(KINDS_COUNT_MAX)
    )
    return tuple(AlertRow(*row) for row in fetch(reader, statement))
