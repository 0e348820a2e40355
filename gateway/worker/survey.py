"""Look for communities in the log, in a process of its own: ``python -m gateway.worker.survey``.

networkx keeps the interpreter busy for seconds and would hold up every payment if it ran in the
gateway. This process reads the database, changes nothing, prints one JSON object and ends; the
owner of the feature state gives its rows their place in the log.
"""

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

from sqlalchemy import Connection, text

from gateway.store.database import Database, database_at
from risk.communities import WINDOW_US, Refresh, Window, refresh
from risk.features.event import stack

CHUNK_COUNT = 10_000
EVENTS_MAX = 2_000_000  # Newest; about 50 bytes of memory each, and four times that while sorting.
NICENESS = 10
_LAST = text("SELECT coalesce(max(seq), 0) FROM risk_events")
_AT = text("SELECT at_us FROM risk_events WHERE seq = :seq")
_PAYLOADS = text("SELECT payload FROM risk_events WHERE seq BETWEEN :first AND :last ORDER BY seq")


def survey(database: Database, now_us: int) -> Refresh:
    """Find the communities of the 30 days before `now_us`.

    Args:
        database: Whose log it reads.
        now_us: The moment the rows stand for, Unix microseconds.

    Raises:
        sqlalchemy.exc.DatabaseError: the database can't be read.
    """
    window = Window(now_us)
    engine = database.reader()
    try:
        with engine.connect() as conn:
            last_seq = int(conn.execute(_LAST).scalar_one())
            first_seq = max(_first_seq(conn, now_us - WINDOW_US, last_seq), last_seq - EVENTS_MAX)
            for first in range(first_seq, last_seq + 1, CHUNK_COUNT):
                last = min(first + CHUNK_COUNT - 1, last_seq)
                chunk = conn.execute(_PAYLOADS, {"first": first, "last": last}).all()
                window.add(stack([payload for (payload,) in chunk]))
    finally:
        engine.dispose()
    return refresh(window)


def _first_seq(conn: Connection, since_us: int, last_seq: int) -> int:
    """Return about where the log passes `since_us`: its times only grow, late events aside."""
    low, high = 1, last_seq + 1
    while low < high:
        middle = (low + high) // 2
        at_us = conn.execute(_AT, {"seq": middle}).scalar()
        if at_us is None or at_us > since_us:
            high = middle
        else:
            low = middle + 1
    return low


def main(arguments: list[str]) -> None:
    """Print what was found at the time ``arguments[0]`` (µs) in the database named on stdin."""
    os.nice(NICENESS)
    started_s = time.monotonic()
    found = survey(database_at(sys.stdin.read(), Path()), int(arguments[0]))
    report = asdict(found) | {
        "rows": [[row.user, *row.attributes()] for row in found.rows],
        "elapsed_s": round(time.monotonic() - started_s, 2),
    }
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1:])
