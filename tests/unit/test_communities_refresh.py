"""Rows of communities get their places in the log once, when it is time or somebody asks."""

import asyncio
import fcntl
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway import cli
from gateway.clock import wall_clock_us
from gateway.domain.errors import Busy
from gateway.payments.context import Context, PaymentConfig
from gateway.payments.route import Health, Routes
from gateway.refusal import Refused
from gateway.store.database import Database, embedded
from gateway.store.event_log import EventLog, read_log
from gateway.store.migrate import migrate
from gateway.store.raw import Raw
from gateway.store.sqlite import SqliteDatabase, SqliteWriter, open_sqlite
from gateway.worker import communities
from gateway.worker.communities import CommunityRefresher, SurveyFailed, in_a_process, request
from gateway.worker.survey import survey
from risk import Engine, Feedback, RiskContext, Transaction
from risk.features.event import decode
from risk.features.identity import identify, table_subject
from risk.transaction import Device, Payer

DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000
START_US = 20_000 * DAY_US
LATER_US = START_US + 3 * DAY_US


async def here(database: Database, now_us: int) -> Mapping[str, Any]:
    """The survey without a process: as quick as a test should be."""
    found = survey(database, now_us)
    rows = [[row.user, *row.attributes()] for row in found.rows]
    return {"rows": rows, "ref_seq": found.ref_seq, "users": found.users}


@dataclass
class House:
    """A context on a folder, and how often somebody looked for communities."""

    var: Path
    start_us: int = START_US
    refusals: int = 0
    looked: int = 0
    fails: bool = False
    log: EventLog = field(default_factory=EventLog)

    def __post_init__(self) -> None:
        self.now_us = self.start_us + 3 * DAY_US
        migrate(SqliteDatabase(self.var / "yumen.db"))
        self.engine = Engine()
        path = self.var / "yumen.db"
        self.context = Context(
            writer=SqliteWriter(path, prologue=self.prologue, committed=self.log.committed),
            reader=SqliteDatabase(path).reader(),
            reads=SqliteDatabase(path).reads(),
            raw_reader=open_sqlite(path, read_only=True),
            risk=self.engine,
            log=self.log,
            channels={},
            routes=Routes(Health(wall_clock_us)),
            clock_us=lambda: self.now_us,
            config=PaymentConfig(channel_notify_url=""),
        )

    def prologue(self, raw: Raw) -> int:
        if self.refusals and len(self.log):
            self.refusals -= 1
            raise sqlite3.OperationalError("database or disk is full")
        return self.log.write(raw)

    def live(self) -> None:
        """Three users share a device on two days; one of them is a fraud."""
        for day in (0, 1):
            for name in "abc":
                decision = self.engine.assess(
                    Transaction(
                        event_id=f"T{day}{name}",
                        merchant_id="m",
                        amount_minor=100,
                        currency="CNY",
                        pay_type="alipay",
                        context=RiskContext(
                            payer=Payer(account_id=name), device=Device(device_id="d")
                        ),
                    ),
                    self.start_us + day * DAY_US,
                )
                self.log.append(decision.event)
        self.log.append(
            self.engine.record(
                Feedback.FRAUD,
                attempt=decision.event.payload,
                trade_no="T1c",
                known_at_us=self.start_us + 2 * DAY_US,
            )
        )

    def refresher(self, interval_s: int = 3_600) -> CommunityRefresher:
        async def look(database: Database, now_us: int) -> Mapping[str, Any]:
            self.looked += 1
            if self.fails:
                raise SurveyFailed("no such file")
            return await here(database, now_us)

        return CommunityRefresher(
            self.context, self.var, embedded(self.var), interval_s=interval_s, survey=look
        )

    def table(self) -> list[tuple[str, int]]:
        sql = "SELECT trade_no, seq FROM risk_events WHERE kind = 'TABLE' ORDER BY trade_no"
        return self.context.raw_reader.execute(sql).fetchall()

    async def close(self) -> None:
        await self.context.writer.close()
        self.context.reader.dispose()
        self.context.reads.close()
        self.context.raw_reader.close()


def test_rows_get_places_once_and_a_replay_knows_them(tmp_path: Path) -> None:
    async def scenario() -> None:
        house = House(tmp_path)
        house.live()
        refresher = house.refresher()
        report = await refresher.refresh()
        subjects = sorted(table_subject(identify("user", name)) for name in "abc")
        assert [subject for subject, _ in house.table()] == subjects
        assert (report["placed"], report["at_us"], report["ref_seq"]) == (3, LATER_US, 7)
        assert (await refresher.refresh())["placed"] == 0

        log = list(read_log(house.context.raw_reader))
        assert {tuple(decode(payload)[[2, 6]].tolist()) for _, payload in log[7:]} == {
            (LATER_US, 7)
        }
        again = Engine()
        assert again.restore(log) == house.engine.next_seq - 1
        assert again.state_bytes == house.engine.state_bytes
        await house.close()

    asyncio.run(scenario())


def test_a_refused_commit_loses_no_row_and_repeats_none(tmp_path: Path) -> None:
    async def scenario() -> None:
        house = House(tmp_path)
        house.live()
        await house.context.writer.run_raw(lambda _raw: None)
        house.refusals = 1
        with pytest.raises(Busy):
            await house.refresher().refresh()
        assert house.table() == []
        await house.refresher().refresh()
        assert len(house.table()) == 3
        await house.close()

    asyncio.run(scenario())


def test_it_looks_when_it_is_time_or_when_asked(tmp_path: Path) -> None:
    async def scenario() -> None:
        house = House(tmp_path)
        house.live()
        refresher = house.refresher()
        assert await refresher.run_once() == 0
        house.now_us += HOUR_US
        assert await refresher.run_once() == 3
        assert await refresher.run_once() == 0
        assert house.looked == 1

        idle = house.refresher(interval_s=0)
        house.now_us += 100 * HOUR_US
        assert await idle.run_once() == 0
        request(tmp_path)
        await idle.run_once()
        await idle.run_once()
        assert house.looked == 2
        # What the last process did counts for the next one.
        assert communities.last_refresh_us(tmp_path) == house.now_us
        await house.close()

    asyncio.run(scenario())


def test_a_survey_that_fails_is_not_repeated_before_its_time(tmp_path: Path) -> None:
    async def scenario() -> None:
        house = House(tmp_path, fails=True)
        refresher = house.refresher()
        house.now_us += HOUR_US
        with pytest.raises(SurveyFailed):
            await refresher.run_once()
        assert await refresher.run_once() == 0
        assert house.looked == 1
        await house.close()

    asyncio.run(scenario())


def test_the_process_finds_what_the_function_finds(tmp_path: Path) -> None:
    async def scenario() -> None:
        house = House(tmp_path)
        house.live()
        await house.context.writer.run_raw(lambda _raw: None)
        database = embedded(tmp_path)
        found = await in_a_process(database, LATER_US)
        assert found["rows"] == (await here(database, LATER_US))["rows"]
        assert [row[2] for row in found["rows"]] == [333_333] * 3
        with pytest.raises(SurveyFailed, match="unable to open database"):
            await in_a_process(embedded(tmp_path / "nowhere"), LATER_US)
        await house.close()

    asyncio.run(scenario())


def test_old_events_are_not_even_read(tmp_path: Path) -> None:
    async def scenario() -> None:
        house = House(tmp_path)
        house.live()
        await house.context.writer.run_raw(lambda _raw: None)
        path = tmp_path / "yumen.db"
        assert survey(SqliteDatabase(path), START_US + 30 * DAY_US).rows == ()
        assert len(survey(SqliteDatabase(path), START_US + 30 * DAY_US - 1).rows) == 3
        await house.close()

    asyncio.run(scenario())


def test_the_command_refreshes_reports_and_shows(tmp_path: Path) -> None:
    async def prepare() -> None:
        house = House(tmp_path, start_us=wall_clock_us() - 3 * DAY_US)
        house.live()
        await house.context.writer.run_raw(lambda _raw: None)
        await house.close()

    def graph(*words: str) -> Any:
        line = ["graph", *words, "--var", str(tmp_path), "--json"]
        done = CliRunner().invoke(cli.app, line)
        if done.exception is not None:
            raise done.exception
        return json.loads(done.stdout.splitlines()[-1])

    for words in (["refresh"], ["stats"], ["show", "c"]):
        with pytest.raises(Refused):
            graph(*words)
    asyncio.run(prepare())
    report = graph("refresh")
    assert (report["users"], report["placed"], report["asked"]) == (3, 3, False)
    assert graph("stats")["largest"] == 3
    row = graph("show", "c")
    assert (row["ref_seq"], row["community_fraud_ppm"]) == (7, 333_333)
    with pytest.raises(Refused, match="in no community"):
        graph("show", "nobody")


def test_beside_a_running_gateway_the_command_asks_it(tmp_path: Path) -> None:
    migrate(SqliteDatabase(tmp_path / "yumen.db"))
    with (tmp_path / "owner.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = CliRunner().invoke(cli.app, ["graph", "refresh", "--var", str(tmp_path), "--json"])
    assert json.loads(done.stdout.splitlines()[-1]) == {"asked": True}
    assert (tmp_path / communities.REQUEST).exists()
