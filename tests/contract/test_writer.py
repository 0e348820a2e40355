"""What every writer promises: each job whole or not at all, none acknowledged too early.

One suite for all databases; what only a file or only a server can do to us stands beside it in
`tests/unit/test_sqlite.py` and `tests/contract/test_postgres.py`.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    insert,
    select,
)

from gateway.domain.errors import Busy
from gateway.owner import AlreadyOwned
from gateway.store.database import Database, database_at
from gateway.store.event_log import EventLog, read_log
from gateway.store.raw import Raw
from risk.decision import EventKind, LogEvent

money = Table(
    "money",
    MetaData(),
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("amount_fen", BigInteger),
    CheckConstraint("amount_fen > 0"),
)


@pytest.fixture
def purse(database: Database) -> Database:
    with database.changing() as conn:
        money.create(conn)
    return database


def amounts(database: Database) -> list[int]:
    engine = database.reader()
    try:
        with engine.connect() as conn:
            return list(conn.execute(select(money.c.amount_fen).order_by(money.c.id)).scalars())
    finally:
        engine.dispose()


def put(amount_fen: int) -> Callable[[Connection], object]:
    return lambda conn: conn.execute(insert(money).values(amount_fen=amount_fen))


def put_raw(amount_fen: int) -> Callable[[Raw], object]:
    return lambda raw: raw.execute("INSERT INTO money (amount_fen) VALUES (?)", (amount_fen,))


def event(seq: int) -> LogEvent:
    return LogEvent(
        seq=seq, kind=EventKind.ATTEMPT, at_us=seq, trade_no=f"T{seq}", payload=bytes([seq % 256])
    )


def logged(database: Database) -> list[int]:
    raw = database.raw_reader()
    try:
        return [seq for seq, _ in read_log(raw)]
    finally:
        raw.close()


def test_jobs_that_arrive_together_share_a_commit(purse: Database) -> None:
    async def scenario() -> int:
        writer = purse.writer()
        jobs = [writer.run(put(fen)) for fen in range(1, 51)]
        jobs += [writer.run_raw(put_raw(fen)) for fen in range(51, 101)]
        await asyncio.gather(*jobs)
        commits = writer.commits
        await writer.close()
        return commits

    assert asyncio.run(scenario()) <= 3
    assert sorted(amounts(purse)) == list(range(1, 101))


def test_what_is_acknowledged_can_be_read_by_others_at_once(purse: Database) -> None:
    async def scenario() -> None:
        writer, reads = purse.writer(), purse.reads()
        await writer.run_raw(put_raw(7))
        assert amounts(purse) == [7]
        found = await reads.ask(lambda raw: raw.execute("SELECT amount_fen FROM money").fetchall())
        assert found == [(7,)]
        reads.close()
        await writer.close()

    asyncio.run(scenario())


def test_a_job_that_fails_undoes_itself_alone(purse: Database) -> None:
    def half_done(conn: Connection) -> None:
        put(50)(conn)
        raise LookupError("changed my mind")

    def half_done_raw(raw: Raw) -> None:
        put_raw(60)(raw)
        raise LookupError("changed my mind")

    async def scenario() -> list[object]:
        writer = purse.writer()
        jobs = [
            writer.run(put(1)),
            writer.run(half_done),
            writer.run(put(-1)),
            writer.run_raw(half_done_raw),
            writer.run_raw(put_raw(-2)),
            writer.run_raw(put_raw(2)),
            writer.run(put(3)),
        ]
        results = await asyncio.gather(*jobs, return_exceptions=True)
        await writer.close()
        return results

    results = asyncio.run(scenario())

    assert [type(result) for result in (results[1], results[3])] == [LookupError, LookupError]
    assert "check" in str(results[2]).lower()
    assert isinstance(results[4], purse.errors)
    assert not any(isinstance(results[place], Exception) for place in (0, 5, 6))
    assert sorted(amounts(purse)) == [1, 2, 3]


def test_the_answer_of_a_statement_can_be_read_within_a_job(purse: Database) -> None:
    def job(raw: Raw) -> tuple[int, int, list[tuple[int]]]:
        added = raw.execute("INSERT INTO money (amount_fen) VALUES (?) RETURNING id", (5,))
        (number,) = added.fetchone()
        changed = raw.execute("UPDATE money SET amount_fen = 6 WHERE id = ?", (number,)).rowcount
        return number, changed, raw.execute("SELECT amount_fen FROM money").fetchall()

    async def scenario() -> object:
        writer = purse.writer()
        answer = await writer.run_raw(job)
        await writer.close()
        return answer

    assert asyncio.run(scenario()) == (1, 1, [(6,)])


def test_a_transaction_the_database_refuses_is_busy_and_the_next_one_works(
    purse: Database,
) -> None:
    fails = True

    def prologue(_raw: Raw) -> int:
        if fails:
            raise purse.errors[0]("disk I/O error")
        return 0

    async def scenario() -> None:
        nonlocal fails
        writer = purse.writer(prologue=prologue)
        with pytest.raises(Busy, match="disk I/O error"):
            await writer.run(put(1))
        fails = False
        await writer.run(put(2))
        await writer.close()

    asyncio.run(scenario())

    assert amounts(purse) == [2]


def test_events_reach_the_disk_in_order_even_after_a_failed_commit(database: Database) -> None:
    log = EventLog()
    fails = True

    def prologue(raw: Raw) -> int:
        count = log.write(raw)
        if fails:
            raise database.errors[0]("database or disk is full")
        return count

    async def scenario() -> None:
        nonlocal fails
        writer = database.writer(prologue=prologue, committed=log.committed, doubted=log.doubted)
        log.append(event(1))
        with pytest.raises(Busy, match="disk is full"):
            await writer.run(lambda _conn: None)
        log.append(event(2))
        fails = False
        await writer.run(lambda _conn: None)
        log.append(event(3))
        writer.nudge()
        await writer.close()

    asyncio.run(scenario())

    assert logged(database) == [1, 2, 3]
    assert len(log) == 0


def test_a_hole_in_the_log_is_an_error(database: Database) -> None:
    async def scenario() -> None:
        log = EventLog()
        writer = database.writer(prologue=log.write, committed=log.committed)
        log.append(event(1))
        log.append(event(3))
        writer.nudge()
        await writer.close()

    asyncio.run(scenario())

    with pytest.raises(ValueError, match="lacks number 2"):
        logged(database)


def test_one_process_alone_owns_a_database(database: Database) -> None:
    other = database_at(database.url, Path())
    lock = database.own()

    with pytest.raises(AlreadyOwned, match="another gateway runs on"):
        other.own()
    lock.close()
    other.own().close()
