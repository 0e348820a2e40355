"""Bring a database to this release's schema; a new one gets the whole of it."""

from pathlib import Path

from sqlalchemy import inspect, text

from gateway.store.database import Database

HEAD = "0009"
MIGRATIONS = Path(__file__).parent / "migrations"
_TABLE = "alembic_version"


def revision_of(database: Database) -> str:
    """Return the schema revision of a database; '' if it is missing or empty."""
    if not database.exists():
        return ""
    engine = database.reader()
    try:
        with engine.connect() as conn:
            if not inspect(conn).has_table(_TABLE):
                return ""
            found = conn.execute(text(f"SELECT version_num FROM {_TABLE}")).scalar()  # noqa: S608
            return "" if found is None else str(found)
    finally:
        engine.dispose()


def migrate(database: Database, *, to: str = HEAD) -> bool:
    """Upgrade the database to a revision, in one transaction; False if it stands there already.

    Args:
        database: What to upgrade; a file is made if there is none.
        to: The revision; only a test of an upgrade wants another one than `HEAD`.

    Raises:
        alembic.util.CommandError: if the database is of a release that this one doesn't know.
    """
    if revision_of(database) == to:
        return False
    # Imported here: a gateway that is up to date never needs them.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    # One process upgrades; another that starts meanwhile waits and finds it done.
    with database.changing() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, to)
    return True
