"""How often rules and lists changed: what tells a running gateway to look again."""

from sqlalchemy import Connection, select

from gateway.store.rule_tables import change_counters
from gateway.store.schema import upsert


def count_up(conn: Connection, name: str) -> int:
    """Count a change of ``rules`` or ``lists`` and return its number."""
    one = upsert(change_counters).values(name=name, number=1)
    counted = one.on_conflict_do_update(
        index_elements=["name"], set_={"number": change_counters.c.number + 1}
    )
    return int(conn.execute(counted.returning(change_counters.c.number)).scalar_one())


def counted(conn: Connection, name: str) -> int:
    """Return how often ``rules`` or ``lists`` changed; 0 if never."""
    statement = select(change_counters.c.number).where(change_counters.c.name == name)
    return int(conn.execute(statement).scalar() or 0)
