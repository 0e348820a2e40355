"""What only a server can do to us: vanish, leave a COMMIT unanswered, deadlock, be taken over."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from gateway.domain.errors import Busy
from gateway.refusal import Refused
from gateway.store.chain_proof import prove
from gateway.store.database import Database, database_at
from gateway.store.event_log import EventLog, read_log
from gateway.store.postgres import PostgresDatabase
from gateway.store.raw import Raw
from gateway.store.unit_of_work import Writer
from risk.decision import EventKind, LogEvent
from tests.databases import Databases
from tests.wire import Wire


@pytest.fixture
def database(maker: Databases, tmp_path: Path) -> Database:
    made = maker.fresh("postgres", tmp_path)
    with made.changing() as conn:
        conn.exec_driver_sql("CREATE TABLE money (name TEXT PRIMARY KEY, fen BIGINT NOT NULL)")
    return made


@pytest.fixture
def wire(database: Database) -> Iterator[Wire]:
    made = Wire(database.url)
    yield made
    made.close()


def event(seq: int) -> LogEvent:
    payload = bytes([seq % 256]) * 8
    return LogEvent(seq=seq, kind=EventKind.ATTEMPT, at_us=seq, trade_no=f"T{seq}", payload=payload)


def put(name: str) -> Callable[[Raw], object]:
    return lambda raw: raw.execute("INSERT INTO money (name, fen) VALUES (?, 1)", (name,))


def names(database: Database) -> list[str]:
    with closing(database.raw_reader()) as raw:
        return [name for (name,) in raw.execute("SELECT name FROM money ORDER BY name")]


def check_log(database: Database, count: int) -> None:
    """The log is dense, and the chain over it holds."""
    with closing(database.raw_reader()) as raw:
        assert [seq for seq, _ in read_log(raw)] == list(range(1, count + 1))
        proof = prove(raw)
        assert (proof.checked_count, proof.broken) == (count, None)


def owner_through(wire: Wire, log: EventLog) -> Writer:
    database = PostgresDatabase(wire.url)
    database.own()
    return database.writer(prologue=log.write, committed=log.committed, doubted=log.doubted)


async def tried(writer: Writer, name: str) -> bool:
    try:
        await writer.run_raw(put(name))
    except Busy:
        return False
    return True


async def until_it_works(writer: Writer, name: str) -> None:
    """Go on trying: the server may still hold the lost session's locks for a moment."""
    for _ in range(100):
        if await tried(writer, name):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{name} was refused a hundred times")


@pytest.mark.parametrize("lets_through", [True, False])
def test_a_commit_that_nobody_knows_the_end_of_is_busy_and_the_log_goes_on(
    database: Database, wire: Wire, lets_through: bool
) -> None:
    async def scenario() -> None:
        log = EventLog()
        writer = owner_through(wire, log)
        log.append(event(1))
        await writer.run_raw(put("first"))
        log.append(event(2))
        wire.cut_at(b"COMMIT", lets_through=lets_through)

        assert not await tried(writer, "unknown")
        assert wire.cuts == 1
        log.append(event(3))
        await until_it_works(writer, "third")
        assert len(log) == 0
        await writer.close()

    asyncio.run(scenario())

    assert names(database) == ["first", "third", *(["unknown"] if lets_through else [])]
    check_log(database, 3)


def test_a_connection_that_was_lost_between_payments_costs_nobody_an_answer(
    database: Database, wire: Wire
) -> None:
    async def scenario() -> None:
        log = EventLog()
        writer = owner_through(wire, log)
        log.append(event(1))
        await writer.run_raw(put("first"))
        wire.cut()
        await asyncio.sleep(0.2)  # The server lets the lost session's lock go.

        log.append(event(2))
        await writer.run_raw(put("second"))
        await writer.close()

    asyncio.run(scenario())

    assert names(database) == ["first", "second"]
    check_log(database, 2)


def test_statements_that_were_cut_off_leave_nothing_behind(database: Database, wire: Wire) -> None:
    async def scenario() -> None:
        log = EventLog()
        writer = owner_through(wire, log)
        log.append(event(1))
        for word in (b"INSERT INTO money", b"INSERT INTO risk_events"):
            wire.cut_at(word, lets_through=True)
            await until_it_works(writer, word.decode())
        await writer.close()

    asyncio.run(scenario())

    assert len(names(database)) == 2
    check_log(database, 1)


def test_who_was_taken_over_acknowledges_nothing_more(database: Database, wire: Wire) -> None:
    async def scenario() -> None:
        mine, theirs = EventLog(), EventLog()
        writer = owner_through(wire, mine)
        mine.append(event(1))
        await writer.run_raw(put("mine"))
        wire.cut_at(b"COMMIT", lets_through=False)
        mine.append(event(2))
        assert not await tried(writer, "lost")

        other = PostgresDatabase(database.url)
        other.own()
        successor = other.writer(prologue=theirs.write, committed=theirs.committed)
        theirs.append(
            LogEvent(seq=2, kind=EventKind.OUTCOME, at_us=9, trade_no="T9", payload=b"theirs")
        )
        await successor.run_raw(put("theirs"))
        assert not await tried(writer, "while they own it")
        await successor.close()
        with pytest.raises(Busy, match="another gateway gave number 2"):
            await writer.run_raw(put("after they left"))
        await writer.close()

    asyncio.run(scenario())

    assert names(database) == ["mine", "theirs"]
    check_log(database, 2)


def test_two_groups_that_lock_crosswise_both_get_through(database: Database) -> None:
    def take(first: str, second: str) -> Callable[[Raw], None]:
        def job(raw: Raw) -> None:
            for name in (first, second):
                raw.execute("UPDATE money SET fen = fen + 1 WHERE name = ?", (name,))
                raw.execute("SELECT pg_sleep(0.2)")

        return job

    async def scenario() -> None:
        one, other = database.writer(), database.writer()
        await asyncio.gather(one.run_raw(put("a")), one.run_raw(put("b")))
        await asyncio.gather(one.run_raw(take("a", "b")), other.run_raw(take("b", "a")))
        await one.close()
        await other.close()

    asyncio.run(scenario())

    with closing(database.raw_reader()) as raw:
        assert raw.execute("SELECT sum(fen) FROM money").fetchone() == (6,)


def test_questions_survive_a_server_that_went_away(database: Database, wire: Wire) -> None:
    async def scenario() -> None:
        reads = PostgresDatabase(wire.url).reads()
        question = "SELECT 1 FROM money LIMIT 1"
        assert await reads.ask(lambda raw: raw.execute(question).fetchone()) is None
        wire.cut()
        assert await reads.ask(lambda raw: raw.execute(question).fetchone()) is None
        wire.close()
        with pytest.raises(Busy, match="can't be asked now"):
            await reads.ask(lambda raw: raw.execute(question).fetchone())
        reads.close()

    asyncio.run(scenario())


def test_many_questions_at_once_each_get_their_own_answer(database: Database) -> None:
    async def scenario() -> list[Any]:
        reads = database.reads()

        def number(n: int, raw: Raw) -> object:
            return raw.execute("SELECT ?::bigint", (n,)).fetchone()[0]

        def fails(_raw: Raw) -> object:
            raise LookupError("not there")

        questions: list[Callable[[Raw], object]] = [
            *(partial(number, n) for n in range(50)),
            fails,
        ]
        asked = [reads.ask(question) for question in questions]
        answers: list[Any] = await asyncio.gather(*asked, return_exceptions=True)
        reads.close()
        return answers

    *answers, failure = asyncio.run(scenario())

    assert answers == list(range(50))
    assert isinstance(failure, LookupError)


def test_readers_can_not_write(database: Database) -> None:
    with (
        closing(database.raw_reader()) as raw,
        pytest.raises(psycopg.errors.ReadOnlySqlTransaction),
    ):
        raw.execute("DELETE FROM money")


def test_an_address_shows_no_password_and_an_unreachable_one_is_said_in_one_line() -> None:
    database = database_at("postgresql://ann:s3cret@127.0.0.1:1/house", Path())

    assert "s3cret" not in database.name
    assert database.as_argument() == (database.name, {"PGPASSWORD": "s3cret"})
    with pytest.raises(Refused, match="can't be reached") as refusal:
        database.exists()
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize("url", ["mysql://root@h/d", "sqlite://", "postgresql://:::"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Refused, match="a database is"):
        database_at(url, Path())
