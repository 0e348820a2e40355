"""Bring a database to this release's schema; a new file gets the whole of it."""

import sqlite3
from pathlib import Path

from gateway.store.unit_of_work import open_sqlite

HEAD = "0005"
MIGRATIONS = Path(__file__).parent / "migrations"


def revision_of(path: Path) -> str:
    """Return the schema revision of a database file; '' if it is missing or empty."""
    if not path.exists():
        return ""
    raw = open_sqlite(path, read_only=True)
    try:
        row = raw.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError:
        return ""
    finally:
        raw.close()
    return "" if row is None else str(row[0])


def migrate(path: Path, *, to: str = HEAD) -> bool:
    """Upgrade the database to a revision, in one transaction; False if it stands there already.

    Args:
        path: The database's file; made if there is none.
        to: The revision; only a test of an upgrade wants another one than `HEAD`.

    Raises:
        alembic.util.CommandError: if the file is of a release that this one doesn't know.
    """
    if revision_of(path) == to:
        return False
    # Imported here: a gateway that is up to date never needs them.
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine
    from sqlalchemy.pool import StaticPool

    path.parent.mkdir(parents=True, exist_ok=True)
    raw = open_sqlite(path)
    engine = create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            # One process upgrades; another that starts meanwhile waits and finds it done.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            config.attributes["connection"] = connection
            command.upgrade(config, to)
            connection.exec_driver_sql("COMMIT")
    finally:
        if raw.in_transaction:
            raw.execute("ROLLBACK")
        raw.close()
    return True
