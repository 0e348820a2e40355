"""A database of the first release is upgraded with its data in it, and the tables then agree."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from gateway.store.chain import head
from gateway.store.chain_proof import prove
from gateway.store.migrate import migrate
from gateway.store.sqlite import SqliteDatabase, open_sqlite
from gateway.store.tables import metadata
from tests.seeded import decision_row, order_row
from tests.stand import standing

COUNT = 5


def first_release(path: Path) -> None:
    """Make a database as revision 0001 had it, with orders, decisions and events."""
    migrate(SqliteDatabase(path), to="0001")
    with closing(open_sqlite(path)) as raw:
        for index in range(COUNT):
            order = order_row(index, 1_000 + index)
            put(raw, "orders", order)
            put(raw, "decisions", decision_row(order, seq=0))


def put(raw: sqlite3.Connection, table: str, row: dict[str, object]) -> None:
    columns = {name[1] for name in raw.execute(f"PRAGMA table_info({table})")}
    kept = {name: value for name, value in row.items() if name in columns}
    places = ", ".join("?" * len(kept))
    raw.execute(f"INSERT INTO {table} ({', '.join(kept)}) VALUES ({places})", [*kept.values()])


def test_decisions_of_the_first_release_are_chained_the_same_way_everywhere(tmp_path: Path) -> None:
    heads = set()
    for name in ("one.db", "two.db"):
        first_release(tmp_path / name)
        assert migrate(SqliteDatabase(tmp_path / name))
        with closing(open_sqlite(tmp_path / name)) as raw:
            assert prove(raw).broken is None
            heads.add(head(raw))

    assert len(heads) == 1
    assert heads.pop()[0] == COUNT


def test_the_chain_of_an_upgraded_gateway_goes_on(tmp_path: Path) -> None:
    var = tmp_path / "var"
    first_release(var / "yumen.db")

    async def pay() -> None:
        async with standing(var) as stand:
            await stand.shop.create(risk_context='{"payer":{"account_id":"u"}}')

    asyncio.run(pay())

    with closing(open_sqlite(var / "yumen.db", read_only=True)) as raw:
        proof = prove(raw)
    assert (proof.broken, proof.checked_count) == (None, COUNT + 2)


def test_the_migrations_make_the_tables_that_the_code_names(tmp_path: Path) -> None:
    path = tmp_path / "yumen.db"
    migrate(SqliteDatabase(path))
    with closing(open_sqlite(path)) as raw:
        engine = create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool)
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            differences = compare_metadata(context, metadata)

    assert differences == []
