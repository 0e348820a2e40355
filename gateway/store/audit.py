"""The audit trail: who did what, why, and what it changed, in the change's own transaction."""

import json
from collections.abc import Mapping

from sqlalchemy import Connection, insert

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
