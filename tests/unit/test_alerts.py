"""A storm of the same trouble is one row a minute; nothing counted is lost."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine

from gateway import doctor
from gateway.domain.errors import Busy
from gateway.queries.alerts import alerts_since
from gateway.queries.reader import open_reader
from gateway.store.alerts import KINDS_MAX, MINUTE_US, AlertBook, Severity, write
from gateway.store.database import embedded
from gateway.store.migrate import migrate
from gateway.store.sqlite import SqliteDatabase, SqliteWriter
from gateway.store.tables import metadata
from gateway.worker.alerts import AlertWriter

AT_US = 1_795_000_000_000_000

notes = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(AT_US, AT_US + 3 * MINUTE_US)), max_size=30
)


@given(parts=st.lists(notes, max_size=4))
def test_every_trouble_is_counted_once_however_it_is_written(
    parts: list[list[tuple[str, int]]],
) -> None:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    book = AlertBook()
    with engine.connect() as conn:
        for part in parts:
            for kind, at_us in part:
                book.note(kind, Severity.WARNING, f"{kind} at {at_us}", at_us)
            write(conn, book.take())
        rows = conn.exec_driver_sql(
            "SELECT kind, minute_at_us, count, last_at_us FROM alerts"
        ).all()

    every = [note for part in parts for note in part]
    expected: dict[tuple[str, int], list[int]] = {}
    for kind, at_us in every:
        expected.setdefault((kind, at_us // MINUTE_US * MINUTE_US), []).append(at_us)
    assert {(kind, minute): count for kind, minute, count, _ in rows} == {
        key: len(times) for key, times in expected.items()
    }


def test_a_book_does_not_grow_without_end() -> None:
    book = AlertBook()
    for number in range(2 * KINDS_MAX):
        book.note(f"kind-{number}", Severity.INFO, "x" * 10_000, AT_US)

    taken = book.take()
    assert len(taken) == KINDS_MAX
    assert max(len(alert.detail) for alert in taken) == 500
    assert book.take() == []


class RefusingWriter(SqliteWriter):
    """A writer whose database is busy."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked = 0

    async def run(self, job: object) -> object:  # type: ignore[override]  # it never runs the job
        self.asked += 1
        raise Busy("locked")


def test_what_can_not_be_written_waits(tmp_path: Path) -> None:
    book, refusing = AlertBook(), RefusingWriter(tmp_path / "yumen.db")
    writer = AlertWriter(book, refusing)
    book.note("k", Severity.ERROR, "first", AT_US)
    for _ in range(2):
        with pytest.raises(Busy):
            asyncio.run(writer.run_once())
    book.note("k", Severity.ERROR, "second", AT_US + 5)

    asyncio.run(refusing.close())
    (alert,) = book.take()
    assert refusing.asked == 2
    assert (alert.count, alert.detail, alert.last_at_us) == (2, "second", AT_US + 5)


def test_doctor_and_console_see_what_was_raised_within_the_hour(tmp_path: Path) -> None:
    migrate(SqliteDatabase(tmp_path / "yumen.db"))
    assert doctor.check_alerts(embedded(tmp_path), AT_US).state is doctor.State.GOOD
    book = AlertBook()
    book.note("old", Severity.ERROR, "gone", AT_US - doctor.ALERTS_WITHIN_US - MINUTE_US)
    for second in range(3):
        at_us = AT_US - MINUTE_US + second * 40_000_000
        book.note("risk.degraded:deadline", Severity.WARNING, f"T{second}", at_us)

    async def put() -> None:
        writer = SqliteWriter(tmp_path / "yumen.db")
        await AlertWriter(book, writer).run_once()
        await writer.close()

    asyncio.run(put())
    check = doctor.check_alerts(embedded(tmp_path), AT_US + MINUTE_US)
    reader = open_reader(embedded(tmp_path))
    (found,) = alerts_since(reader, AT_US - MINUTE_US)
    reader.dispose()

    assert (check.state, check.detail) == (
        doctor.State.WARNING,
        "within the hour: risk.degraded:deadline × 3",
    )
    assert (found.kind, found.count, found.detail) == ("risk.degraded:deadline", 3, "T2")


def test_doctor_says_which_policy_decides_and_that_none_can_be_read(tmp_path: Path) -> None:
    assert doctor.check_policy(embedded(tmp_path)).state is doctor.State.WARNING
    assert doctor.check_alerts(embedded(tmp_path), AT_US).state is doctor.State.WARNING
    migrate(SqliteDatabase(tmp_path / "yumen.db"))
    assert doctor.check_policy(embedded(tmp_path)).state is doctor.State.GOOD

    engine = create_engine(f"sqlite:///{tmp_path / 'yumen.db'}")
    with engine.begin() as conn:
        conn.exec_driver_sql(
            "INSERT INTO policy_live (version, author, note, since_us) VALUES ('p', 'a', '', 1)"
        )
    engine.dispose()
    assert doctor.check_policy(embedded(tmp_path)).state is doctor.State.BAD
