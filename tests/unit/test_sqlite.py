"""What only a file can do to its writer: be locked by another process."""

import asyncio
from pathlib import Path

from gateway.store.sqlite import SqliteDatabase, open_sqlite


def test_a_writer_waits_for_another_process_without_blocking_the_loop(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "yumen.db")
    other = open_sqlite(database.path)
    other.execute("CREATE TABLE money (amount_fen INTEGER)")

    async def scenario() -> int:
        writer = database.writer()
        other.execute("BEGIN IMMEDIATE")
        job = asyncio.create_task(
            writer.run_raw(lambda raw: raw.execute("INSERT INTO money VALUES (3)"))
        )
        turns = 0
        while turns < 50:  # The loop goes on turning while the file is locked.
            await asyncio.sleep(0)
            turns += 1
        assert not job.done()
        other.execute("COMMIT")
        await job
        await writer.close()
        return turns

    assert asyncio.run(scenario()) == 50
    assert other.execute("SELECT amount_fen FROM money").fetchall() == [(3,)]
    other.close()
