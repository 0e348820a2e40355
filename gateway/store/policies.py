"""Policies and which of them decides: kept under the hash of what they say, never changed.

So any decision's `policy_version` leads to the very text that decided it. Going live is a row of
its own: the newest one decides, and the rows before it say who let which policy decide and why.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select

from gateway.store import audit
from gateway.store.database import Database
from gateway.store.tables import policies, policy_live
from risk.default_policy import DEFAULT_POLICY
from risk.policy import Policy, PolicyError
from risk.policy_text import read_policy

HOUSE = "yumen"


@dataclass(frozen=True, slots=True)
class Reign:
    """A policy's time: since when it decides or decided, by whom, and why."""

    version: str
    author: str
    note: str
    since_us: int


def publish(conn: Connection, policy: Policy, *, author: str, note: str, now_us: int) -> str:
    """Let a policy decide from now on and return its version; the act is audited.

    Args:
        conn: The writer's connection.
        policy: What shall decide.
        author: Who says so.
        note: Why.
        now_us: The time, microseconds since the epoch.
    """
    before = live_version(conn)
    _keep(conn, policy, author=author, note=note, now_us=now_us)
    conn.execute(
        insert(policy_live).values(
            version=policy.version, author=author, note=note, since_us=now_us
        )
    )
    audit.record(
        conn,
        actor=author,
        action="policy.publish",
        object_id=policy.version,
        now_us=now_us,
        reason=note,
        detail={"before": before, "after": policy.version},
    )
    return policy.version


def seed(conn: Connection, *, now_us: int) -> None:
    """Keep the policy that ships and, where none was ever published, let it decide."""
    _keep(conn, DEFAULT_POLICY, author=HOUSE, note="ships with the release", now_us=now_us)
    if not live_version(conn):
        publish(conn, DEFAULT_POLICY, author=HOUSE, note="the policy that ships", now_us=now_us)


def seed_database(database: Database, *, now_us: int) -> None:
    """Run `seed` in a transaction of its own, for whoever builds a gateway on this database.

    Args:
        database: Of this release.
        now_us: The time, microseconds since the epoch.
    """
    with database.changing() as conn:
        seed(conn, now_us=now_us)


def live_version(conn: Connection) -> str:
    """Return the version that decides, '' on a database where none was published."""
    found = conn.execute(_LIVE).scalar_one_or_none()
    return "" if found is None else str(found)


def find(conn: Connection, version: str) -> Policy | None:
    """Return a policy by its version, or None if it is not kept here.

    Raises:
        PolicyError: the row is damaged: it is no policy, or says something else than its name.
    """
    content = conn.execute(
        select(policies.c.content).where(policies.c.version == version)
    ).scalar_one_or_none()
    if content is None:
        return DEFAULT_POLICY if version == DEFAULT_POLICY.version else None
    policy = read_policy(content)
    if policy.version != version:
        raise PolicyError(version, f"the row holds {policy.version}")
    return policy


def live(conn: Connection) -> Policy:
    """Return the policy that decides; the one that ships if none was published.

    Raises:
        PolicyError: the row is damaged or missing.
    """
    version = live_version(conn)
    if not version:
        return DEFAULT_POLICY
    policy = find(conn, version)
    if policy is None:
        raise PolicyError(version, "is named as live and not kept")
    return policy


def reigns(conn: Connection, limit: int) -> list[Reign]:
    """Return who let which policy decide, newest first."""
    columns = (
        policy_live.c.version,
        policy_live.c.author,
        policy_live.c.note,
        policy_live.c.since_us,
    )
    rows = conn.execute(select(*columns).order_by(policy_live.c.id.desc()).limit(limit))
    return [Reign(*row) for row in rows]


_LIVE = select(policy_live.c.version).order_by(policy_live.c.id.desc()).limit(1)


def _keep(conn: Connection, policy: Policy, *, author: str, note: str, now_us: int) -> None:
    known = conn.execute(
        select(policies.c.version).where(policies.c.version == policy.version)
    ).first()
    if known is None:
        conn.execute(
            insert(policies).values(
                version=policy.version,
                content=policy.canonical(),
                author=author,
                note=note,
                created_at_us=now_us,
            )
        )
