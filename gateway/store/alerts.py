"""Alerts: what operators should look at, coalesced by kind and minute.

The hot path only counts in memory; a task of the worker writes what was counted, so that a storm
of the same trouble costs one row a minute and no payment waits for it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from sqlalchemy import Connection

from gateway.store.schema import upsert
from gateway.store.tables import alerts

MINUTE_US = 60_000_000
KINDS_MAX = 1_000
DETAIL_LENGTH_MAX = 500


class Severity(StrEnum):
    """How bad it is, mildest first."""

    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One kind of trouble within one minute.

    Attributes:
        kind: Stable and few, e.g. ``risk.degraded:deadline``.
        severity: How bad it is.
        detail: Of the latest.
        first_at_us: When it first happened in this minute, microseconds since the epoch.
        last_at_us: When it last happened.
        count: How often.
    """

    kind: str
    severity: str
    detail: str
    first_at_us: int
    last_at_us: int
    count: int

    @property
    def minute_at_us(self) -> int:
        """Start of the minute it belongs to."""
        return self.first_at_us // MINUTE_US * MINUTE_US


class AlertBook:
    """Alerts that wait to be written. One thread at a time."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, int], Alert] = {}

    def note(self, kind: str, severity: Severity, detail: str, at_us: int) -> None:
        """Count a trouble; microseconds, and no input or output."""
        detail = detail[:DETAIL_LENGTH_MAX]
        key = (kind, at_us // MINUTE_US)
        known = self._waiting.get(key)
        if known is not None:
            self._waiting[key] = replace(
                known,
                detail=detail,
                first_at_us=min(known.first_at_us, at_us),
                last_at_us=max(known.last_at_us, at_us),
                count=known.count + 1,
            )
        elif len(self._waiting) < KINDS_MAX:
            self._waiting[key] = Alert(
                kind=kind,
                severity=severity.value,
                detail=detail,
                first_at_us=at_us,
                last_at_us=at_us,
                count=1,
            )

    def take(self) -> list[Alert]:
        """Return what waits and forget it."""
        taken, self._waiting = list(self._waiting.values()), {}
        return taken

    def give_back(self, taken: Iterable[Alert]) -> None:
        """Wait again with what could not be written."""
        for alert in taken:
            key = (alert.kind, alert.first_at_us // MINUTE_US)
            newer = self._waiting.get(key, alert)
            self._waiting[key] = replace(
                newer,
                first_at_us=min(alert.first_at_us, newer.first_at_us),
                last_at_us=max(alert.last_at_us, newer.last_at_us),
                count=alert.count + (newer.count if newer is not alert else 0),
            )


def write(conn: Connection, taken: Iterable[Alert]) -> None:
    """Add alerts to what is stored of the same kind and minute."""
    for alert in taken:
        statement = upsert(alerts).values(
            kind=alert.kind,
            minute_at_us=alert.minute_at_us,
            severity=alert.severity,
            detail=alert.detail,
            first_at_us=alert.first_at_us,
            last_at_us=alert.last_at_us,
            count=alert.count,
        )
        new = statement.excluded
        conn.execute(
            statement.on_conflict_do_update(
                index_elements=[alerts.c.kind, alerts.c.minute_at_us],
                set_={
                    "severity": new.severity,
                    "detail": new.detail,
                    "last_at_us": new.last_at_us,
                    "count": alerts.c.count + new["count"],
                },
            )
        )
