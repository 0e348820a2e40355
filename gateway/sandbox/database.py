"""The sandbox's own SQLite file: one writer thread, every answer durable before it is given.

A commit waits for the disk, so it must not happen on the event loop that may be the gateway's
too. Jobs that arrive while one commit is under way share the next one.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Final, TypeVar, cast

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], object]
_Entry = tuple[Job, "Future[object]"]

_BATCH_MAX = 256

SCHEMA = """
CREATE TABLE IF NOT EXISTS trades (
  protocol TEXT NOT NULL,
  trade_no TEXT NOT NULL,
  channel_trade_no TEXT NOT NULL UNIQUE,
  pay_type TEXT NOT NULL,
  amount_minor INTEGER NOT NULL,       -- 0: closed before it was ever opened
  currency TEXT NOT NULL,
  subject TEXT NOT NULL,
  notify_url TEXT NOT NULL,
  return_url TEXT NOT NULL,
  challenge INTEGER NOT NULL,
  expires_at_s INTEGER NOT NULL,
  status TEXT NOT NULL,                -- WAITING | PAID | CLOSED
  failed_attempts INTEGER NOT NULL DEFAULT 0,
  refunded_minor INTEGER NOT NULL DEFAULT 0,  -- done or under way
  pay_at_us INTEGER,                   -- a payment that will arrive by itself
  pay_late INTEGER NOT NULL DEFAULT 0, -- ... even if the trade is closed by then
  opened_at_us INTEGER NOT NULL,
  paid_at_us INTEGER,
  closed_at_us INTEGER,
  extra TEXT NOT NULL DEFAULT '{}',    -- JSON of what the protocol alone keeps
  PRIMARY KEY (protocol, trade_no),
  CHECK (refunded_minor BETWEEN 0 AND amount_minor)
) STRICT;
CREATE INDEX IF NOT EXISTS ix_trades_pay_at ON trades (pay_at_us) WHERE pay_at_us IS NOT NULL;
CREATE INDEX IF NOT EXISTS ix_trades_paid_at ON trades (paid_at_us) WHERE paid_at_us IS NOT NULL;
CREATE TABLE IF NOT EXISTS refunds (
  protocol TEXT NOT NULL,
  refund_no TEXT NOT NULL,
  channel_refund_no TEXT NOT NULL UNIQUE,
  trade_no TEXT NOT NULL,
  amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
  status TEXT NOT NULL,                -- PROCESSING | REFUNDED | FAILED
  finish_at_us INTEGER,                -- when a slow one will be done
  created_at_us INTEGER NOT NULL,
  refunded_at_us INTEGER,
  extra TEXT NOT NULL DEFAULT '{}',
  PRIMARY KEY (protocol, refund_no),
  FOREIGN KEY (protocol, trade_no) REFERENCES trades (protocol, trade_no)
) STRICT;
CREATE INDEX IF NOT EXISTS ix_refunds_finish ON refunds (finish_at_us)
  WHERE status = 'PROCESSING';
CREATE INDEX IF NOT EXISTS ix_refunds_done ON refunds (refunded_at_us)
  WHERE refunded_at_us IS NOT NULL;
CREATE TABLE IF NOT EXISTS callbacks (
  id INTEGER PRIMARY KEY,
  event_id TEXT NOT NULL,
  protocol TEXT NOT NULL,
  url TEXT NOT NULL,
  body BLOB NOT NULL,
  bad_signature INTEGER NOT NULL,      -- the first try is wrongly signed, on purpose
  attempts INTEGER NOT NULL DEFAULT 0,
  created_at_us INTEGER NOT NULL,
  due_at_us INTEGER NOT NULL,
  status TEXT NOT NULL DEFAULT 'PENDING'  -- PENDING | ACKED | GIVEN_UP
) STRICT;
CREATE INDEX IF NOT EXISTS ix_callbacks_due ON callbacks (due_at_us) WHERE status = 'PENDING';
"""


VERSION: Final = 1
# The first release knew one protocol, whose numbers alone were the keys.
_FROM_THE_FIRST = """
ALTER TABLE trades RENAME TO first_trades;
ALTER TABLE refunds RENAME TO first_refunds;
DROP INDEX ix_trades_pay_at;
DROP INDEX ix_trades_paid_at;
DROP INDEX ix_refunds_finish;
DROP INDEX ix_refunds_done;
"""
_FILL = """
INSERT INTO trades (protocol, trade_no, channel_trade_no, pay_type, amount_minor, currency, subject,
  notify_url, return_url, challenge, expires_at_s, status, failed_attempts, refunded_minor,
  pay_at_us, pay_late, opened_at_us, paid_at_us, closed_at_us)
SELECT protocol, trade_no, channel_trade_no, pay_type, amount_minor, currency, subject,
  notify_url, return_url, challenge, expires_at_s, status, failed_attempts, refunded_minor,
  pay_at_us, pay_late, opened_at_us, paid_at_us, closed_at_us FROM first_trades;
INSERT INTO refunds (protocol, refund_no, channel_refund_no, trade_no, amount_minor, status,
  finish_at_us, created_at_us, refunded_at_us)
SELECT t.protocol, r.refund_no, 'SR' || r.refund_no, r.trade_no, r.amount_minor, r.status,
  r.finish_at_us, coalesce(r.refunded_at_us, t.paid_at_us, t.opened_at_us), r.refunded_at_us
FROM first_refunds r JOIN first_trades t USING (trade_no);
DROP TABLE first_refunds;
DROP TABLE first_trades;
"""


def _bring_up(connection: sqlite3.Connection) -> None:
    """Make the tables, or bring those of the first release forward, all or nothing."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    known = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'trades'")
    first = version < VERSION and known.fetchone()[0] == 1
    steps = (_FROM_THE_FIRST, SCHEMA, _FILL) if first else (SCHEMA,)
    script = "".join(steps) + f"PRAGMA user_version = {VERSION};"
    connection.executescript(f"BEGIN IMMEDIATE;{script}COMMIT;")


class Database:
    """Runs short jobs one after the other on the file's only connection."""

    def __init__(self, path: Path, schema: str = "") -> None:
        """Name the file; it is opened by the first job.

        Args:
            path: The SQLite file, made with its folder if missing.
            schema: Further tables, `CREATE TABLE IF NOT EXISTS`.
        """
        self._path = path
        self._schema = schema
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run `job` in a transaction and return its result once that is on the disk.

        An exception of the job undoes that job alone and is raised here.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="sandbox-database", daemon=True)
            self._thread.start()
        done: Future[object] = Future()
        self._queue.put((job, done))
        return cast("T", await asyncio.wrap_future(done))  # The queue forgets T.

    async def close(self) -> None:
        """Finish the jobs at hand and close the file; the next `run` opens it again."""
        if self._thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    def _work(self) -> None:
        try:
            connection = self._open()
        except (OSError, sqlite3.Error) as error:
            self._refuse_all(error)
            return
        open_for_work = True
        while open_for_work:
            batch, open_for_work = self._next_batch()
            if batch:
                _run_batch(connection, batch)
        connection.close()

    def _refuse_all(self, error: Exception) -> None:
        """Tell every caller why there is no database, until `close`."""
        while (entry := self._queue.get()) is not None:
            entry[1].set_exception(error)

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=10.0)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        _bring_up(connection)
        connection.executescript(self._schema)
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def _next_batch(self) -> tuple[list[_Entry], bool]:
        """Wait for a job and take what else is there; False when asked to close."""
        batch: list[_Entry] = []
        entry = self._queue.get()
        while entry is not None:
            batch.append(entry)
            if len(batch) == _BATCH_MAX or self._queue.empty():
                return batch, True
            entry = self._queue.get()
        return batch, False


def _run_batch(connection: sqlite3.Connection, batch: list[_Entry]) -> None:
    """Run the jobs in one transaction; answer their callers after the commit."""
    live = [(job, done) for job, done in batch if done.set_running_or_notify_cancel()]
    results: list[object] = []
    failures: dict[int, Exception] = {}
    try:
        connection.execute("BEGIN IMMEDIATE")
        for index, (job, _) in enumerate(live):
            connection.execute("SAVEPOINT job")
            result: object = None
            try:
                result = job(connection)
            except Exception as error:  # noqa: BLE001 - handed to the caller below.
                connection.execute("ROLLBACK TO job")
                failures[index] = error
            results.append(result)
            connection.execute("RELEASE job")
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        # Nothing of the batch is on the disk: whoever wasn't refused by his own job learns why.
        failures = {index: failures.get(index, error) for index in range(len(live))}
    for index, (_, done) in enumerate(live):
        if index in failures:
            done.set_exception(failures[index])
        else:
            done.set_result(results[index])
