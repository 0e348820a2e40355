"""The one collection of tables, and how constraints and indexes are called."""

from typing import Any

from sqlalchemy import MetaData, text
from sqlalchemy.dialects.postgresql import insert as upsert

# An INSERT with ON CONFLICT: SQLite took it over from PostgreSQL, and this one compiles for both.
__all__ = ["metadata", "only_where", "upsert"]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def only_where(condition: str) -> dict[str, Any]:
    """Return what makes an index cover only the rows that meet a condition, on every database."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}
