"""Take due work so that nobody else does it at the same time.

A worker leases rows: `lease_until_us` moves into the future in a transaction of its own, before
anything is done about them. Whoever dies leaves a lease that runs out, and the next worker finds
the row. PostgreSQL's workers pass over rows that another is taking (SKIP LOCKED); the embedded
database lets one of them write at a time. Both check the lease again as they move it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    Table,
    bindparam,
    select,
    update,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Due(Generic[T]):
    """Rows of one table that wait for a worker.

    Attributes:
        table: Has a column `lease_until_us`.
        where: What makes a row due, beside its lease.
        order_by: Who comes first.
        read: Makes what the worker wants of a row.
    """

    table: Table
    where: tuple[ColumnElement[bool], ...]
    order_by: ColumnElement[Any]
    read: Callable[[RowMapping], T]

    def is_any(self, conn: Connection, now_us: int) -> bool:
        """Whether a claim would find something now; takes no lock."""
        return conn.execute(self._free(now_us).limit(1)).first() is not None

    def claim(self, conn: Connection, *, now_us: int, lease_until_us: int, limit: int) -> list[T]:
        """Lease up to `limit` due rows and return them, the first in order first.

        Args:
            conn: The writer's connection.
            now_us: The time, microseconds since the epoch.
            lease_until_us: Until when nobody else may take them.
            limit: How many at most.
        """
        free = self._free(now_us).limit(limit).with_for_update(skip_locked=True)
        rows = conn.execute(free).mappings().all()
        if not rows:
            return []
        keys = [column.name for column in self.table.primary_key.columns]
        taken = conn.execute(
            update(self.table)
            .where(*(self.table.c[key] == bindparam(f"of_{key}") for key in keys))
            .where(self.table.c.lease_until_us <= now_us)
            .values(lease_until_us=lease_until_us),
            [{f"of_{key}": row[key] for key in keys} for row in rows],
        )
        if taken.rowcount != len(rows):
            raise RuntimeError(f"a row of {self.table.name} was leased inside this transaction")
        return [self.read(row) for row in rows]

    def _free(self, now_us: int) -> Select[Any]:
        return (
            select(self.table)
            .where(*self.where, self.table.c.lease_until_us <= now_us)
            .order_by(self.order_by)
        )
