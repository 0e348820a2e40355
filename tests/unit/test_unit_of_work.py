"""The writer: each job whole or not at all, many in one commit, none acknowledged too early."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from gateway.domain.errors import Busy
from gateway.store.event_log import EventLog, read_log
from gateway.store.migrate import migrate
from gateway.store.raw import Raw
from gateway.store.sqlite import SqliteDatabase, SqliteWriter, open_sqlite
from risk.decision import EventKind, LogEvent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "yumen.db"
    raw = open_sqlite(file)
    raw.execute(
        "CREATE TABLE money (id INTEGER PRIMARY KEY, amount_fen INTEGER CHECK (amount_fen > 0))"
    )
    raw.close()
    return file


def amounts(path: Path) -> list[int]:
    raw = open_sqlite(path, read_only=True)
    try:
        return [row[0] for row in raw.execute("SELECT amount_fen FROM money ORDER BY id")]
    finally:
        raw.close()


def put(amount_fen: int) -> Callable[[Connection], object]:
    return lambda conn: conn.execute(
        text("INSERT INTO money (amount_fen) VALUES (:fen)"), {"fen": amount_fen}
    )


def test_jobs_that_arrive_together_share_a_commit(path: Path) -> None:
    async def scenario() -> int:
        writer = SqliteWriter(path)
        await asyncio.gather(*(writer.run(put(fen)) for fen in range(1, 101)))
        commits = writer.commits
        await writer.close()
        return commits

    assert asyncio.run(scenario()) <= 3
    assert amounts(path) == list(range(1, 101))


def test_what_is_acknowledged_can_be_read_by_others_at_once(path: Path) -> None:
    async def scenario() -> None:
        writer = SqliteWriter(path)
        await writer.run(put(7))
        assert amounts(path) == [7]
        await writer.close()

    asyncio.run(scenario())


def test_a_job_that_fails_undoes_itself_alone(path: Path) -> None:
    def half_done(conn: Connection) -> None:
        put(50)(conn)
        raise LookupError("changed my mind")

    async def scenario() -> list[object]:
        writer = SqliteWriter(path)
        jobs = [writer.run(put(1)), writer.run(half_done), writer.run(put(-1)), writer.run(put(2))]
        results = await asyncio.gather(*jobs, return_exceptions=True)
        await writer.close()
        return results

    results = asyncio.run(scenario())

    assert isinstance(results[1], LookupError)
    assert "CHECK" in str(results[2])
    assert amounts(path) == [1, 2]


def test_a_writer_waits_for_another_process_without_blocking_the_loop(path: Path) -> None:
    async def scenario() -> int:
        writer = SqliteWriter(path)
        other = open_sqlite(path)
        other.execute("BEGIN IMMEDIATE")
        job = asyncio.create_task(writer.run(put(3)))
        turns = 0
        while turns < 50:  # The loop goes on turning while the file is locked.
            await asyncio.sleep(0)
            turns += 1
        assert not job.done()
        other.execute("COMMIT")
        await job
        other.close()
        await writer.close()
        return turns

    assert asyncio.run(scenario()) == 50
    assert amounts(path) == [3]


def test_a_transaction_the_database_refuses_is_busy_and_the_next_one_works(path: Path) -> None:
    refusals = 1

    def prologue(_raw: Raw) -> int:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise sqlite3.OperationalError("disk I/O error")
        return 0

    async def scenario() -> None:
        writer = SqliteWriter(path, prologue=prologue)
        with pytest.raises(Busy, match="disk I/O error"):
            await writer.run(put(1))
        await writer.run(put(2))
        await writer.close()

    asyncio.run(scenario())

    assert amounts(path) == [2]


def event(seq: int) -> LogEvent:
    return LogEvent(
        seq=seq, kind=EventKind.ATTEMPT, at_us=seq, trade_no=f"T{seq}", payload=bytes([seq % 256])
    )


def test_events_reach_the_disk_in_order_even_after_a_failed_commit(tmp_path: Path) -> None:
    path = tmp_path / "yumen.db"
    migrate(SqliteDatabase(path))
    log = EventLog()
    refusals = 1

    def prologue(raw: Raw) -> int:
        nonlocal refusals
        count = log.write(raw)
        if refusals:
            refusals -= 1
            raise sqlite3.OperationalError("database or disk is full")
        return count

    async def scenario() -> None:
        writer = SqliteWriter(path, prologue=prologue, committed=log.committed)
        log.append(event(1))
        with pytest.raises(Busy):
            await writer.run(lambda _conn: None)
        log.append(event(2))
        await writer.run(lambda _conn: None)
        await writer.close()

    asyncio.run(scenario())
    raw = open_sqlite(path, read_only=True)

    assert [seq for seq, _ in read_log(raw)] == [1, 2]
    assert len(log) == 0
    raw.close()


def test_a_hole_in_the_log_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "yumen.db"
    migrate(SqliteDatabase(path))
    log = EventLog()
    log.append(event(1))
    log.append(event(3))
    raw = open_sqlite(path)
    log.write(raw)

    with pytest.raises(ValueError, match="lacks number 2"):
        list(read_log(raw))
    raw.close()
