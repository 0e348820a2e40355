"""From the gateway's database to columns, incrementally, beside a running gateway.

The log is read in stretches of equally many events. A stretch that is complete and some way behind
the log's end is read once and kept (`models.backtest.cache`); the rest is read anew each time.
Vectors stored under another catalogue are recomputed by replaying the log.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text
from sqlalchemy.exc import DatabaseError

from gateway.queries.reader import DatabaseUnreadable, open_reader
from gateway.store.database import Database
from models.backtest import History, NoHistory
from models.backtest.cache import (
    PartEntry,
    PartRows,
    hash_of_event,
    is_whole,
    open_history,
    read_manifest,
    save_manifest,
    write_part,
)
from models.backtest.history import UNKNOWN, feedback_of
from risk.features.catalogue import FEATURE_COUNT, FEATURE_HASH
from risk.features.event import stack
from risk.features.replay import replay
from risk.policy import OUTCOMES
from risk.state.store import MemoryStateStore

Ints = NDArray[np.int64]
Progress = Callable[[int, int], None]
"""(events done, events in all)."""

CACHE_FOLDER: Final = "backtest"
STRETCH_EVENTS: Final = 131_072
# An event may reach the disk some commits before its decision; so far back both are there.
SETTLED_EVENTS: Final = 8_192
NO_MODEL: Final = "none"
_PLACE_OF: Final = {outcome.value: place for place, outcome in enumerate(OUTCOMES)}
_STRETCH: Final = text("""
SELECT e.kind, e.trade_no, e.payload, d.merchant_id, d.features, d.feature_hash,
       d.outcome, d.score_raw, d.model_version, d.degraded
FROM risk_events e
LEFT JOIN decisions d ON e.kind = 'ATTEMPT' AND d.trade_no = e.trade_no AND d.seq = e.seq
WHERE e.seq BETWEEN :first AND :last
ORDER BY e.seq
""")
_PAYLOADS: Final = text(
    "SELECT payload FROM risk_events WHERE seq BETWEEN :first AND :last ORDER BY seq"
)
_LAST: Final = text("SELECT coalesce(max(seq), 0) FROM risk_events")


@dataclass(frozen=True, slots=True)
class _Decided:
    """A decided attempt as the database has it."""

    place: int
    trade_no: str
    merchant_id: str
    features: bytes
    feature_hash: str
    outcome: str
    score_raw: float
    model_version: str
    degraded: str


def load_history(
    database: Database, folder: Path, *, now_s: float, progress: Progress | None = None
) -> History:
    """Bring the cache up to date with the database and open it.

    Args:
        database: The gateway's.
        folder: Of the cache; made when needed.
        now_s: The time, seconds since the epoch: old files of the cache are cleared away.
        progress: Told how many new events are read, of how many.

    Raises:
        ReaderError: the database can't be read.
        NoHistory: there are no decided payments in it.
        OSError: the cache can't be written.
    """
    reader = open_reader(database)
    try:
        with reader.connect() as conn:
            entries = _brought_up_to_date(conn, folder, now_s, progress)
    except DatabaseError as error:
        raise DatabaseUnreadable(str(error.orig)) from error
    finally:
        reader.dispose()
    history = open_history(folder, entries)
    if not len(history):
        raise NoHistory("there is no decided payment yet: nothing to run a back-test over")
    return history


def load_log(database: Database) -> Ints:
    """Return the whole log, shape ``(n, EVENT_WIDTH)``, to be replayed with other features.

    Raises:
        ReaderError: the database can't be read.
    """
    reader = open_reader(database)
    try:
        with reader.connect() as conn:
            return stack(_payloads(conn, 1, _last_seq(conn)))
    except DatabaseError as error:
        raise DatabaseUnreadable(str(error.orig)) from error
    finally:
        reader.dispose()


def _last_seq(conn: Connection) -> int:
    return int(conn.execute(_LAST).scalar_one())


def _payloads(conn: Connection, first_seq: int, last_seq: int) -> list[bytes]:
    rows = conn.execute(_PAYLOADS, {"first": first_seq, "last": last_seq})
    return [payload for (payload,) in rows]


def _brought_up_to_date(
    conn: Connection, folder: Path, now_s: float, progress: Progress | None
) -> Sequence[PartEntry]:
    last_seq = _last_seq(conn)
    entries = _usable(conn, folder, last_seq)
    read_to = entries[-1].last_seq if entries else 0
    if read_to == last_seq:
        return entries
    first_seqs = range(read_to + 1, last_seq + 1, STRETCH_EVENTS)
    recompute = _Recompute(conn)
    for first_seq in first_seqs:
        stretch_end = first_seq + STRETCH_EVENTS - 1
        is_full = stretch_end <= last_seq - SETTLED_EVENTS
        entry = _read_stretch(conn, folder, first_seq, min(stretch_end, last_seq), recompute)
        entries.append(replace(entry, is_full=is_full))
        if progress is not None:
            progress(entry.last_seq - read_to, last_seq - read_to)
    save_manifest(folder, entries, now_s=now_s)
    return entries


def _usable(conn: Connection, folder: Path, last_seq: int) -> list[PartEntry]:
    """The cached parts that still stand; none if they were made from another log."""
    kept: list[PartEntry] = []
    for entry in read_manifest(folder):
        current = entry.last_seq == last_seq and not entry.undecided_count
        if not (entry.is_full or current) or not is_whole(folder, entry):
            break
        kept.append(entry)
    if not kept:
        return []
    found = _payloads(conn, kept[-1].last_seq, kept[-1].last_seq)
    same = bool(found) and hash_of_event(found[0]) == kept[-1].last_event_hash
    return kept if same else []


def _read_stretch(
    conn: Connection,
    folder: Path,
    first_seq: int,
    last_seq: int,
    recompute: "_Recompute",
) -> PartEntry:
    rows = conn.execute(_STRETCH, {"first": first_seq, "last": last_seq}).all()
    events = stack([row[2] for row in rows])
    decided = [
        _Decided(place, row[1], *row[3:])
        for place, row in enumerate(rows)
        if row[0] == "ATTEMPT" and row[4] is not None
    ]
    attempts_count = sum(row[0] == "ATTEMPT" for row in rows)
    places = np.array([one.place for one in decided], dtype=np.int64)
    name = f"{first_seq:012d}-{last_seq:012d}-{os.getpid()}"
    write_part(
        folder,
        name,
        PartRows(
            features=_features(decided, events, first_seq, recompute),
            events=events[places],
            outcome=np.array([_PLACE_OF.get(d.outcome, UNKNOWN) for d in decided], np.int8),
            score_raw=np.array([one.score_raw for one in decided], dtype=np.float64),
            scored_by=[_scored_by(one) for one in decided],
            trade_no=[one.trade_no for one in decided],
            merchant_id=[one.merchant_id for one in decided],
            feedback=feedback_of(events),
        ),
    )
    return PartEntry(
        name=name,
        first_seq=first_seq,
        last_seq=last_seq,
        rows_count=len(decided),
        undecided_count=attempts_count - len(decided),
        last_event_hash=hash_of_event(rows[-1][2]),
        is_full=False,
    )


def _scored_by(decided: _Decided) -> str:
    """The bundle whose output is stored, or "" where a lower step of the ladder decided."""
    parts = decided.degraded.split(";")
    full = not any(part.startswith(("deadline", "fault")) for part in parts)
    return decided.model_version if full and decided.model_version != NO_MODEL else ""


def _features(
    decided: list[_Decided], events: Ints, first_seq: int, recompute: "_Recompute"
) -> NDArray[np.float64]:
    """The vectors as stored; where another catalogue computed them, all anew from the log."""
    width_bytes = FEATURE_COUNT * 8
    known = [d.feature_hash == FEATURE_HASH and len(d.features) == width_bytes for d in decided]
    if not all(known):
        places = np.array([one.place for one in decided], dtype=np.int64)
        return recompute.features(events, first_seq)[places]
    joined = b"".join([one.features for one in decided])
    return np.frombuffer(joined, dtype="<f8").reshape(-1, FEATURE_COUNT)


class _Recompute:
    """The log replayed through the kernel up to wherever a stretch needs it."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._store: MemoryStateStore | None = None
        self._applied_seq = 0

    def features(self, events: Ints, first_seq: int) -> NDArray[np.float64]:
        """Return the vectors of a stretch; it must begin after all stretches asked before."""
        self._store = self._store or MemoryStateStore()
        while self._applied_seq < first_seq - 1:
            last_seq = min(self._applied_seq + STRETCH_EVENTS, first_seq - 1)
            payloads = _payloads(self._conn, self._applied_seq + 1, last_seq)
            replay(stack(payloads), store=self._store)
            self._applied_seq = last_seq
        found = replay(events, store=self._store)
        self._applied_seq = first_seq + len(events) - 1
        return found
