"""The driver's own connection, for the path where SQLAlchemy's cost would show.

Such statements are plain SQL, written once for every database: ``?`` stands for a value, rows
come as tuples, and what both databases spell differently is not used.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol, cast

from sqlalchemy import Connection

RAW = "raw"  # Where a SQLAlchemy connection keeps its `Raw`.


class Rows(Protocol):
    """What a statement found, as a DB-API cursor gives it."""

    @property
    def rowcount(self) -> int: ...

    @property
    def description(self) -> Any: ...  # noqa: ANN401 - the DB-API's own tuples

    def fetchone(self) -> Any: ...  # noqa: ANN401 - a row of whatever was selected

    def fetchmany(self, size: int, /) -> list[Any]: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class Raw(Protocol):
    """A connection that begins and commits nothing by itself."""

    def execute(self, sql: str, values: Sequence[Any] = ..., /) -> Rows: ...

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> object: ...

    def close(self) -> None: ...


def raw_of(conn: Connection) -> Raw:
    """Return the driver's connection behind SQLAlchemy's, inside the same transaction."""
    raw: Raw | None = conn.info.get(RAW)
    if raw is not None:
        return raw
    driver = conn.connection.driver_connection
    if isinstance(driver, sqlite3.Connection):
        return driver
    from gateway.store.postgres import PostgresRaw  # Its driver is not installed everywhere.

    made: Raw = conn.info.setdefault(RAW, PostgresRaw(cast("Any", driver)))
    return made


@contextmanager
def steady(raw: Raw) -> Iterator[None]:
    """Let everything that is read in the block be of one moment, whatever is committed meanwhile.

    Args:
        raw: A connection outside a transaction.
    """
    if not isinstance(raw, sqlite3.Connection):
        from gateway.store.postgres import PostgresRaw

        if not isinstance(raw, PostgresRaw):
            raise TypeError(f"no driver of ours: {type(raw)}")
        with raw.steady():
            yield
        return
    text_factory = raw.text_factory
    # A changed byte may leave text that is no UTF-8; it must be found, not stumbled over.
    raw.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")
    raw.execute("BEGIN")
    try:
        yield
    finally:
        raw.execute("ROLLBACK")
        raw.text_factory = text_factory
