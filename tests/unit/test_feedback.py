"""Facts get their place in the log once, in order, and survive a commit that fails."""

import asyncio
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from gateway.clock import wall_clock_us
from gateway.domain.errors import Busy
from gateway.payments.context import Context, PaymentConfig
from gateway.payments.route import Health, Routes
from gateway.store.event_log import EventLog
from gateway.store.migrate import migrate
from gateway.store.outbox import report
from gateway.store.raw import Raw
from gateway.store.sqlite import SqliteDatabase, SqliteWriter, open_sqlite
from gateway.worker.feedback import UNPLACEABLE_SEQ, FeedbackPlacer
from risk import Engine, Feedback, Transaction
from tests.fakes import still_ns


@dataclass
class Disk:
    """Refuses as many transactions as it is told to."""

    log: EventLog
    refusals: int = 0
    written: list[int] = field(default_factory=list)

    def prologue(self, raw: Raw) -> int:
        if self.refusals:
            self.refusals -= 1
            raise sqlite3.OperationalError("database or disk is full")
        return self.log.write(raw)


def build(var: Path) -> tuple[Context, Disk]:
    path = var / "yumen.db"
    migrate(SqliteDatabase(path))
    log = EventLog()
    disk = Disk(log)
    context = Context(
        writer=SqliteWriter(path, prologue=disk.prologue, committed=log.committed),
        reader=SqliteDatabase(path).reader(),
        reads=SqliteDatabase(path).reads(),
        raw_reader=open_sqlite(path, read_only=True),
        risk=Engine(clock_ns=still_ns),
        log=log,
        channels={},
        routes=Routes(Health(wall_clock_us)),
        clock_us=lambda: 1,
        config=PaymentConfig(channel_notify_url=""),
    )
    return context, disk


async def close(context: Context) -> None:
    await context.writer.close()
    context.reader.dispose()
    context.reads.close()
    context.raw_reader.close()


def assess(context: Context, trade_no: str) -> None:
    assert context.risk is not None
    transaction = Transaction(
        event_id=trade_no, merchant_id="M1", amount_minor=1, currency="CNY", pay_type="alipay"
    )
    context.log.append(context.risk.assess(transaction, 1).event)


def tell(conn: Connection, trade_no: str, feedback: Feedback) -> None:
    report(conn, trade_no, feedback, 2, source="channel")


def places(context: Context) -> list[tuple[str, int | None]]:
    with context.reader.connect() as conn:
        rows = conn.execute(text("SELECT kind, seq FROM risk_inbox ORDER BY id"))
        return [(row.kind, row.seq) for row in rows]


def test_facts_are_placed_in_the_order_they_came_and_strange_ones_left_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        context, _ = build(tmp_path)
        placer = FeedbackPlacer(context)
        assess(context, "T1")
        await context.writer.run(lambda conn: tell(conn, "T1", Feedback.PAID))
        await context.writer.run(lambda conn: tell(conn, "T9", Feedback.PAID))
        await context.writer.run(lambda conn: tell(conn, "T1", Feedback.FRAUD))

        assert await placer.run_once() == 3
        assert await placer.run_once() == 0
        assert places(context) == [("PAID", 2), ("PAID", UNPLACEABLE_SEQ), ("FRAUD", 3)]
        await close(context)

    asyncio.run(scenario())


def test_a_fact_whose_commit_failed_is_not_applied_a_second_time(tmp_path: Path) -> None:
    async def scenario() -> None:
        context, disk = build(tmp_path)
        placer = FeedbackPlacer(context)
        assess(context, "T1")
        await context.writer.run(lambda conn: tell(conn, "T1", Feedback.PAID))
        disk.refusals = 1
        with pytest.raises(Busy):
            await placer.run_once()

        assert await placer.run_once() == 1
        assert places(context) == [("PAID", 2)]
        assert context.risk is not None
        assert context.risk.next_seq == 3
        with context.reader.connect() as conn:
            assert conn.execute(text("SELECT count(*) FROM risk_events")).scalar_one() == 2
        await close(context)

    asyncio.run(scenario())


def test_two_who_place_at_once_place_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        context, _ = build(tmp_path)
        placer = FeedbackPlacer(context)
        assess(context, "T1")
        await context.writer.run(lambda conn: tell(conn, "T1", Feedback.PAID))
        await asyncio.gather(placer.run_once(), placer.run_once())

        assert places(context) == [("PAID", 2)]
        assert context.risk is not None
        assert context.risk.next_seq == 3
        await close(context)

    asyncio.run(scenario())
