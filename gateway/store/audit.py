"""The audit trail: who did what, why, and what it changed, in the change's own transaction."""

import json
from collections.abc import Mapping

from sqlalchemy import Connection, insert, select

from gateway.store.tables import audit_log


def record(
    conn: Connection,
    *,
    actor: str,
    action: str,
    object_id: str,
    now_us: int,
    reason: str = "",
    detail: Mapping[str, object] | None = None,
) -> None:
    """Append one act to the audit trail.

    Args:
        conn: The writer's connection; the row is committed with what it is about, or not at all.
        actor: The person, or the operator's program.
        action: What was done, e.g. ``order.approve``.
        object_id: What it was done to.
        now_us: The time, microseconds since the epoch.
        reason: Why, in the actor's words.
        detail: What was before and after; JSON values, never a secret.
    """
    conn.execute(
        insert(audit_log).values(
            actor=actor,
            action=action,
            object_id=object_id,
            reason=reason,
            detail=json.dumps(detail or {}, ensure_ascii=False, sort_keys=True),
            created_at_us=now_us,
        )
    )


def last_actor(conn: Connection, object_id: str) -> str:
    """Who last changed this by hand; empty if nobody did."""
    actor = conn.execute(
        select(audit_log.c.actor)
        .where(audit_log.c.object_id == object_id)
        .order_by(audit_log.c.id.desc())
        .limit(1)
    ).scalar()
    return actor or ""


def read(
    conn: Connection, *, object_id: str = "", actor: str = "", before_id: int = 0, limit: int = 100
) -> list[dict[str, object]]:
    """Return acts, the newest first.

    Args:
        conn: Any connection.
        object_id: Only what was done to this; empty: to anything.
        actor: Only what this person did; empty: anybody.
        before_id: Only acts before this one; 0: from the newest on.
        limit: At most so many.
    """
    statement = select(audit_log).order_by(audit_log.c.id.desc()).limit(limit)
    if object_id:
        statement = statement.where(audit_log.c.object_id == object_id)
    if actor:
        statement = statement.where(audit_log.c.actor == actor)
    if before_id:
        statement = statement.where(audit_log.c.id < before_id)
    return [row._asdict() | {"detail": json.loads(row.detail)} for row in conn.execute(statement)]
