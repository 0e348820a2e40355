"""Look for communities in the log, in a process of its own: ``python -m gateway.worker.survey``.

networkx keeps the interpreter busy for seconds and would hold up every payment if it ran in the
gateway. This process reads the database, changes nothing, prints one JSON object and ends; the
owner of the feature state gives its rows their place in the log.
"""

import json
import os
import sqlite3
import sys
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from gateway.store.unit_of_work import open_sqlite
from risk.communities import WINDOW_US, Refresh, Window, refresh
from risk.features.event import stack

CHUNK_COUNT = 10_000
EVENTS_MAX = 2_000_000  # Newest; about 50 bytes of memory each, and four times that while sorting.
NICENESS = 10


def survey(path: Path, now_us: int) -> Refresh:
    """Find the communities of the 30 days before `now_us`.

    Args:
        path: The embedded database.
        now_us: The moment the rows stand for, Unix microseconds.

    Raises:
        sqlite3.Error: the database can't be read.
    """
    window = Window(now_us)
    with closing(open_sqlite(path, read_only=True)) as raw:
        last_seq = raw.execute("SELECT coalesce(max(seq), 0) FROM risk_events").fetchone()[0]
        first_seq = max(_first_seq(raw, now_us - WINDOW_US, last_seq), last_seq - EVENTS_MAX)
        rows = raw.execute(
            "SELECT payload FROM risk_events WHERE seq BETWEEN ? AND ? ORDER BY seq",
            (first_seq, last_seq),
        )
        while chunk := rows.fetchmany(CHUNK_COUNT):
            window.add(stack([payload for (payload,) in chunk]))
    return refresh(window)


def _first_seq(raw: sqlite3.Connection, since_us: int, last_seq: int) -> int:
    """Return about where the log passes `since_us`: its times only grow, late events aside."""
    low, high = 1, last_seq + 1
    while low < high:
        middle = (low + high) // 2
        row = raw.execute("SELECT at_us FROM risk_events WHERE seq = ?", (middle,)).fetchone()
        if row is None or row[0] > since_us:
            high = middle
        else:
            low = middle + 1
    return low


def main(arguments: list[str]) -> None:
    """Print what was found in the database ``arguments[0]`` at the time ``arguments[1]`` (µs)."""
    os.nice(NICENESS)
    started_s = time.monotonic()
    found = survey(Path(arguments[0]), int(arguments[1]))
    report = asdict(found) | {
        "rows": [[row.user, *row.attributes()] for row in found.rows],
        "elapsed_s": round(time.monotonic() - started_s, 2),
    }
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1:])
