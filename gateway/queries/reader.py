"""A read-only door to the gateway's database, for processes that must not be able to write.

The console is another process than the gateway. It opens the database file read-only, so that no
mistake in a page can change an order; whatever it wants changed it asks the admin API for.
"""

import sqlite3
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from sqlalchemy import Engine, Executable, create_engine
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import QueuePool

DATABASE_NAME = "yumen.db"
BUSY_TIMEOUT_S = 5.0
CONNECTION_COUNT_MAX = 4

Reader: TypeAlias = Engine


class ReaderError(Exception):
    """The database can't be read; the message says which file and why."""


class DatabaseMissing(ReaderError):
    """There is no database yet: the gateway has never run on this folder."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"no database at {path}")
        self.path = path


class DatabaseUnreadable(ReaderError):
    """The file is there, but it is not (yet) the gateway's database, or it is damaged."""


def open_reader(var: Path) -> Reader:
    """Open the database under `var` for reading alone.

    Args:
        var: The folder of all embedded state.

    Returns:
        A SQLAlchemy engine of a few read-only connections, safe to share between threads.

    Raises:
        DatabaseMissing: if the gateway has not created its database yet.
    """
    path = var.resolve() / DATABASE_NAME
    if not path.is_file():
        raise DatabaseMissing(path)
    address = f"file:{quote(str(path))}?mode=ro"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            address, uri=True, timeout=BUSY_TIMEOUT_S, check_same_thread=False
        )
        connection.execute("PRAGMA query_only = ON")
        return connection

    return create_engine(
        "sqlite+pysqlite://",
        creator=connect,
        poolclass=QueuePool,
        pool_size=CONNECTION_COUNT_MAX,
        max_overflow=CONNECTION_COUNT_MAX,
    )


def fetch(reader: Reader, statement: Executable) -> list[tuple[Any, ...]]:
    """Run one SELECT and return all its rows.

    Raises:
        DatabaseUnreadable: if a table is missing, the file is damaged or locked for too long.
    """
    try:
        with reader.connect() as connection:
            return [tuple(row) for row in connection.execute(statement)]
    except DatabaseError as error:
        raise DatabaseUnreadable(str(error.orig)) from error


def fetch_named(reader: Reader, statement: Executable) -> list[dict[str, Any]]:
    """Run one SELECT and return all its rows by column name.

    Raises:
        DatabaseUnreadable: as `fetch`.
    """
    try:
        with reader.connect() as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]
    except DatabaseError as error:
        raise DatabaseUnreadable(str(error.orig)) from error
