"""Several processes share the work of one database: no row is anybody else's while it is leased."""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import create_engine, insert, text

from gateway.store.database import Database
from gateway.store.tables import notifications
from gateway.worker.notify import due_notifications

ROWS = 1_500
WORKERS = 3
NOW_US = 1_795_000_000_000_000

# A worker: claims, says what it claimed, "sends", says that it did; until nothing is left to do.
WORKER = """
import asyncio, json, sys, time
from sqlalchemy import text
from gateway.store.database import database_at
from gateway.worker.notify import due_notifications

url, lease_us, linger_s = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
DONE = text("UPDATE notifications SET status = 'DELIVERED' WHERE event_id = :event_id"
            " AND status = 'PENDING' AND lease_until_us = :lease")
LEFT = text("SELECT count(*) FROM notifications WHERE status = 'PENDING'")

def say(**words):
    print(json.dumps(words), flush=True)

async def work():
    writer, now_us = database_at(url, None).writer(), lambda: time.time_ns() // 1_000
    while True:
        at_us = now_us()
        until_us = at_us + lease_us
        batch = await writer.run(lambda conn: due_notifications(at_us).claim(
            conn, now_us=at_us, lease_until_us=until_us, limit=40))
        names = [{"event_id": one.event_id, "lease": until_us} for one in batch]
        say(claimed=[one["event_id"] for one in names], at_us=at_us, until_us=until_us)
        time.sleep(linger_s)
        if names:
            await writer.run(lambda conn: conn.execute(DONE, names))
            say(done=[one["event_id"] for one in names], at_us=now_us())
        elif not await writer.run(lambda conn: conn.execute(LEFT).scalar()):
            break
    await writer.close()

asyncio.run(work())
"""


def fill(database: Database) -> None:
    with database.changing() as conn:
        conn.execute(
            insert(notifications),
            [
                {
                    "merchant_id": f"M{number % 7}",
                    "event_id": f"E{number}",
                    "trade_no": f"T{number}",
                    "trade_status": "SUCCESS",
                    "notify_url": "http://127.0.0.1:9/",
                    "payload": "{}",
                    "status": "PENDING",
                    "next_attempt_at_us": number,
                    "created_at_us": number,
                }
                for number in range(ROWS)
            ],
        )


@contextmanager
def workers(database: Database, lease_us: int, linger_s: float) -> Iterator[list[Any]]:
    command = [sys.executable, "-c", WORKER, database.url, str(lease_us), str(linger_s)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(WORKERS)]
    try:
        yield running
    finally:
        for worker in running:
            worker.kill()
            worker.wait()


def pending(database: Database) -> int:
    engine = database.reader()
    try:
        with engine.connect() as conn:
            count = conn.execute(text("SELECT count(*) FROM notifications WHERE status='PENDING'"))
            return int(count.scalar_one())
    finally:
        engine.dispose()


def times(said: list[list[dict[str, Any]]]) -> dict[str, list[tuple[int, int]]]:
    """When each row was somebody's: from its claim until it was done, or its lease ran out."""
    held: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for words in said:
        ends = {name: line["at_us"] for line in words for name in line.get("done", ())}
        for line in words:
            for name in line.get("claimed", ()):
                until_us = min(ends.get(name, line["until_us"]), line["until_us"])
                held[name].append((line["at_us"], until_us))
    return held


def overlaps(held: dict[str, list[tuple[int, int]]]) -> list[str]:
    return [
        name
        for name, spans in held.items()
        for before, after in zip(sorted(spans), sorted(spans)[1:], strict=False)
        if after[0] < before[1]
    ]


def lines(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines() if line.endswith("}")]


def test_workers_share_thousands_of_rows_and_none_gets_anothers(database: Database) -> None:
    fill(database)

    with workers(database, lease_us=600_000_000, linger_s=0.0) as running:
        said = [lines(worker.communicate(timeout=300)[0]) for worker in running]

    held = times(said)
    assert sum(map(len, held.values())) == len(held) == ROWS
    assert pending(database) == 0
    assert all(worker.returncode == 0 for worker in running)


def test_the_rows_of_killed_workers_are_taken_over_when_their_lease_ends(
    database: Database,
) -> None:
    fill(database)

    with workers(database, lease_us=1_500_000, linger_s=0.01) as running:
        killed = running[: WORKERS // 2]
        told = [
            [worker.stdout.readline() for _ in range(2 * place + 3)]
            for place, worker in enumerate(killed)
        ]
        for worker in killed:
            worker.kill()  # Each holds a batch that it claimed and never did.
        said = [
            lines("".join(begun) + worker.communicate(timeout=300)[0])
            for begun, worker in zip([*told, [], []], running, strict=True)
        ]

    held = times(said)
    assert len(held) == ROWS
    assert overlaps(held) == []
    assert any(len(spans) > 1 for spans in held.values())
    assert pending(database) == 0


def test_who_claims_second_gets_the_next_rows(database: Database) -> None:
    fill(database)

    with database.changing() as conn:
        first = due_notifications(NOW_US).claim(
            conn, now_us=NOW_US, lease_until_us=NOW_US + 10, limit=3
        )
    with database.changing() as conn:
        second = due_notifications(NOW_US).claim(
            conn, now_us=NOW_US, lease_until_us=NOW_US + 10, limit=3
        )
        later = due_notifications(NOW_US).claim(
            conn, now_us=NOW_US + 10, lease_until_us=NOW_US + 20, limit=6
        )

    assert [one.event_id for one in first] == ["E0", "E1", "E2"]
    assert [one.event_id for one in second] == ["E3", "E4", "E5"]
    assert later == [*first, *second]


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_a_row_that_another_transaction_is_taking_is_passed_over(database: Database) -> None:
    fill(database)
    engine = create_engine(database.url.replace("postgresql://", "postgresql+psycopg://"))
    taken = []

    with engine.connect() as one, engine.connect() as other:
        for conn in (one, other):  # Neither has committed when the other claims.
            taken += due_notifications(NOW_US).claim(
                conn, now_us=NOW_US, lease_until_us=NOW_US + 10, limit=3
            )
        one.commit()
        other.commit()
    engine.dispose()

    assert [one.event_id for one in taken] == ["E0", "E1", "E2", "E3", "E4", "E5"]
