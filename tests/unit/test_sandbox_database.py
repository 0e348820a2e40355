"""The sandbox's writer: whole jobs, durable answers, failures that reach only their caller."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from gateway.sandbox.database import Database


def test_a_failing_job_undoes_itself_alone(tmp_path: Path) -> None:
    def good(connection: sqlite3.Connection) -> int:
        return connection.execute("INSERT INTO seen VALUES (1)").rowcount

    def bad(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO seen VALUES (2)")
        raise LookupError("not today")

    async def play() -> list[int]:
        database = Database(tmp_path / "deep" / "sandbox.db")
        await database.run(lambda connection: connection.execute("CREATE TABLE seen (n)"))
        results = await asyncio.gather(
            *(database.run(bad if number % 2 else good) for number in range(20)),
            return_exceptions=True,
        )
        assert [type(result) for result in results] == [int, LookupError] * 10
        await database.close()
        again = Database(tmp_path / "deep" / "sandbox.db")
        rows = await again.run(
            lambda connection: connection.execute("SELECT n FROM seen").fetchall()
        )
        await again.close()
        return [row[0] for row in rows]

    assert asyncio.run(play()) == [1] * 10


def test_a_file_that_cannot_be_opened_is_told_to_every_caller(tmp_path: Path) -> None:
    async def play() -> None:
        (tmp_path / "taken").write_text("a file, not a folder")
        database = Database(tmp_path / "taken" / "sandbox.db")
        for _ in range(2):
            with pytest.raises(OSError, match="taken"):
                await database.run(lambda connection: connection.total_changes)
        await database.close()

    asyncio.run(play())
