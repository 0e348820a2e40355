"""Who did what, when and why: the audit trail, newest first."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select

from gateway.queries.reader import Reader, fetch
from gateway.store import tables

AUDIT_COUNT_MAX = 500


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One act of a person or an operator's program; `detail` holds what was before and after."""

    entry_id: int
    actor: str
    action: str
    object_id: str
    reason: str
    detail: Mapping[str, object]
    at_us: int


def audit_trail(
    reader: Reader, *, object_id: str | None = None, limit: int = 100
) -> tuple[AuditEntry, ...]:
    """Read the audit trail, newest first.

    Args:
        reader: From `open_reader`.
        object_id: Only what was done to this order or merchant.
        limit: At most so many, at most `AUDIT_COUNT_MAX`.

    Raises:
        ReaderError: if the database can't be read.
    """
    log = tables.audit_log.c
    statement = (
        select(
            log.id, log.actor, log.action, log.object_id, log.reason, log.detail, log.created_at_us
        )
        .order_by(log.id.desc())
        .limit(min(limit, AUDIT_COUNT_MAX))
    )
    if object_id is not None:
        statement = statement.where(log.object_id == object_id)
    return tuple(
        AuditEntry(entry_id, actor, action, about, reason, json.loads(detail), at_us)
        for entry_id, actor, action, about, reason, detail, at_us in fetch(reader, statement)
    )
