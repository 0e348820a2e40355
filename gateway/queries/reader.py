"""A read-only door to the gateway's database, for processes that must not be able to write.

The console is another process than the gateway. It opens the database read-only, so that no
mistake in a page can change an order; whatever it wants changed it asks the admin API for.
"""

from typing import Any, TypeAlias

from sqlalchemy import Engine, Executable
from sqlalchemy.exc import DatabaseError

from gateway.store.database import Database
from gateway.store.database import database_at as database_at

Reader: TypeAlias = Engine


class ReaderError(Exception):
    """The database can't be read; the message says which one and why."""


class DatabaseMissing(ReaderError):
    """There is no database yet: the gateway has never run on it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no database at {name}")
        self.name = name


class DatabaseUnreadable(ReaderError):
    """It is there, but it is not (yet) the gateway's database, or it is damaged."""


def open_reader(database: Database) -> Reader:
    """Open a database for reading alone.

    Returns:
        A SQLAlchemy engine of a few read-only connections, safe to share between threads.

    Raises:
        DatabaseMissing: if the gateway has not created its database yet.
    """
    if not database.exists():
        raise DatabaseMissing(database.name)
    return database.shared_reader()


def identity_of(database: Database) -> tuple[int | str, ...]:
    """Tell a database from another one put in its place later, e.g. to key a cache.

    Raises:
        DatabaseMissing: there is none.
    """
    try:
        return database.identity()
    except FileNotFoundError as error:
        raise DatabaseMissing(database.name) from error


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
