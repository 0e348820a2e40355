"""PostgreSQL by URL: the same tables, the same statements, the same promises as the file.

A gateway's changes go through one connection on a thread of its own: a whole group of jobs in one
transaction, each inside a savepoint, acknowledged after COMMIT. Other processes (workers, commands)
write at the same time, so a job that reads a row to change it locks it first (`orders.hold`), and
a group that two processes deadlocked is run again.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import lru_cache
from typing import Any

import psycopg
from psycopg.adapt import Loader
from psycopg.types.numeric import Int8Dumper
from sqlalchemy import Connection, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import QueuePool

from gateway.owner import AlreadyOwned
from gateway.refusal import Refused
from gateway.store.database import Condition, Database, Lock, Scrubbed
from gateway.store.raw import Raw, Rows
from gateway.store.reads import Reads
from gateway.store.unit_of_work import Writer

CONNECT_TIMEOUT_S = 5
LOCK_WAIT_MS = 10_000
OWNER_WAIT_MS = 3_000
SHARED_COUNT_MAX = 4
# Numbers of advisory locks are one name space per database: these two are ours.
OWNER_LOCK = 0x79756D656E01
CHANGE_LOCK = 0x79756D656E02
_SETTINGS = {
    "application_name": "yumen",
    "connect_timeout": CONNECT_TIMEOUT_S,
    # A server that vanished without a word is noticed within half a minute, not after hours.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


@lru_cache(maxsize=512)
def _spelled(sql: str) -> str:
    """Our ``?`` as psycopg's ``%s``; no statement of ours holds either in a literal."""
    return sql.replace("%", "%%").replace("?", "%s")


class PostgresRaw:
    """psycopg's connection as `Raw`.

    Attributes:
        connection: psycopg's own, in autocommit: it begins and commits nothing by itself.
        remembered: What was read or written last and may be built on, so that it need not be asked
            for again over the network; emptied whenever anything fails.
    """

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self.connection = connection
        self.remembered: dict[str, Any] = {}
        self._pipeline: psycopg.Pipeline | None = None

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Rows:
        """Run one statement, or put it on its way if statements are `queued`."""
        if values:
            rows = self.connection.execute(_spelled(sql), values)
        else:
            rows = self.connection.execute(sql)
        return rows if self._pipeline is None else _Queued(rows, self._pipeline)

    @contextmanager
    def queued(self) -> Iterator[None]:
        """Send the block's statements without waiting for answers, except where one is read.

        A statement that fails makes the block, or whatever reads an answer in it, raise.
        """
        with self.connection.pipeline() as pipeline:
            self._pipeline = pipeline
            try:
                yield
                pipeline.sync()
            finally:
                self._pipeline = None

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> None:
        """Run one statement for each row, in one journey over the network."""
        self.connection.cursor().executemany(_spelled(sql), list(rows))

    def wait(self) -> None:
        """Wait until all that is on its way was answered.

        Raises:
            psycopg.Error: one of the statements failed.
        """
        if self._pipeline is not None:
            self._pipeline.sync()

    def close(self) -> None:
        """Let go of the connection."""
        self.connection.close()

    @contextmanager
    def steady(self) -> Iterator[None]:
        """See `gateway.store.raw.steady`."""
        self.connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            yield
        finally:
            self.connection.execute("ROLLBACK")


class _Queued:
    """The rows of a statement whose answer may still be on its way."""

    __slots__ = ("_cursor", "_pipeline")

    def __init__(self, cursor: "psycopg.Cursor[Any]", pipeline: psycopg.Pipeline) -> None:
        self._cursor = cursor
        self._pipeline = pipeline

    @property
    def rowcount(self) -> int:
        self._pipeline.sync()
        return self._cursor.rowcount

    @property
    def description(self) -> Any:  # noqa: ANN401 - the DB-API's own tuples
        self._pipeline.sync()
        return self._cursor.description

    def fetchone(self) -> Any:  # noqa: ANN401 - a row of whatever was selected
        return self._cursor.fetchone()

    def fetchmany(self, size: int, /) -> list[Any]:
        return self._cursor.fetchmany(size)

    def fetchall(self) -> list[Any]:
        return self._cursor.fetchall()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cursor)


class _Reading(PostgresRaw):
    """A connection for reads that comes back by itself after the server was away."""

    def __init__(self, connect: Callable[[], "psycopg.Connection[Any]"]) -> None:
        super().__init__(connect())
        self._connect = connect

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Rows:
        try:
            return super().execute(sql, values)
        except psycopg.OperationalError:
            if not self.connection.closed:
                raise
            self.connection = self._connect()
            return super().execute(sql, values)


class PostgresDatabase(Database):
    """A database on a PostgreSQL server; conventions as in `Database`.

    Args:
        url: ``postgresql://user:password@host:port/name``; what is missing comes from libpq's own
            places (``PGPASSWORD``, ``~/.pgpass``).

    Raises:
        Refused: it is no such URL.
    """

    def __init__(self, url: str) -> None:
        try:
            self._address = make_url(url).set(drivername="postgresql")
        except (ArgumentError, ValueError) as error:
            raise Refused("a database is postgresql://USER@HOST/NAME or sqlite:///FILE") from error
        self._owner: psycopg.Connection[Any] | None = None

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        return (psycopg.Error,)

    @property
    def name(self) -> str:
        return self._address.set(password=None).render_as_string()

    @property
    def url(self) -> str:
        return self._address.render_as_string(hide_password=False)

    def as_argument(self) -> tuple[str, dict[str, str]]:
        password = self._address.password
        return self.name, {"PGPASSWORD": str(password)} if password else {}

    def exists(self) -> bool:
        """Whether the server can be reached; without one there is no going on.

        Raises:
            Refused: it can't.
        """
        try:
            self._connect().close()
        except psycopg.OperationalError as error:
            raise Refused(f"{self.name} can't be reached: {error}") from error
        return True

    def reader(self) -> Engine:
        return self._engine(size=1)

    def shared_reader(self) -> Engine:
        return self._engine(size=SHARED_COUNT_MAX)

    def raw_reader(self) -> Raw:
        return _Reading(self._connect_to_read)

    def reads(self) -> Reads:
        from gateway.store.postgres_reads import PostgresReads

        return PostgresReads(self._connect_to_read)

    def writer(
        self,
        *,
        prologue: Callable[[Raw], int] = lambda _raw: 0,
        committed: Callable[[int], None] = lambda _count: None,
        doubted: Callable[[], None] = lambda: None,
    ) -> Writer:
        from gateway.store.postgres_writer import PostgresWriter

        first, self._owner = self._owner, None
        return PostgresWriter(
            self._connect if first is None else self._connect_as_owner,
            first,
            prologue=prologue,
            committed=committed,
            doubted=doubted,
        )

    @contextmanager
    def changing(self) -> Iterator[Connection]:
        engine = create_engine(
            "postgresql+psycopg://", creator=self._connect, use_native_hstore=False
        )
        try:
            with engine.connect() as conn, conn.begin():
                conn.exec_driver_sql(f"SELECT pg_advisory_xact_lock({CHANGE_LOCK})")
                yield conn
        finally:
            engine.dispose()

    def own(self) -> Lock:
        """Take the advisory lock that tells who owns the feature state.

        The session that holds it is the next `writer`'s own: if the server loses one, it loses
        the other, and nothing is written by who is the owner no longer.
        """
        try:
            self._owner = self._connect_as_owner()
        except _OwnedElsewhere as error:
            raise AlreadyOwned(str(error)) from error
        return self._owner

    def scrub(self, secrets: tuple[bytes, ...] = ()) -> Scrubbed:  # noqa: ARG002 - not in reach
        """Rewrite the table of people; the server's log and its backups are out of our reach."""
        with self._connect() as conn:
            try:
                conn.execute("VACUUM (FULL) subjects")
                conn.execute("VACUUM evidence")
            except psycopg.errors.LockNotAvailable:
                return Scrubbed(-1, is_clean=False)
        return Scrubbed(-1, is_clean=True)

    def occurrences(self, needle: bytes) -> int:  # noqa: ARG002 - not in reach
        return -1

    def condition(self) -> Condition:
        with self._connect_to_read() as conn:
            row = conn.execute(
                "SELECT pg_database_size(current_database()), current_setting('fsync'),"
                " current_setting('full_page_writes'), current_setting('synchronous_commit'),"
                " current_setting('server_version'), current_setting('server_encoding')"
            ).fetchone()
        if row is None:
            raise RuntimeError("a SELECT of settings gave no row")
        size_bytes, fsync, pages, commit, version, encoding = row
        detail = f"{size_bytes / 1e6:.1f} MB, PostgreSQL {version}"
        for setting, value in (("fsync", fsync), ("full_page_writes", pages)):
            if value != "on":
                return Condition(detail, f"{setting} is {value}", f"Set {setting} = on.")
        if commit in ("off", "local"):
            mend = "Set synchronous_commit = on: an answered payment must be on disk."
            return Condition(detail, f"synchronous_commit is {commit}", mend)
        if encoding != "UTF8":
            return Condition(detail, f"the encoding is {encoding}", "Create it with UTF8.")
        return Condition(detail)

    def identity(self) -> tuple[int | str, ...]:
        return (self.name,)

    def _engine(self, *, size: int) -> Engine:
        return create_engine(
            "postgresql+psycopg://",
            creator=self._connect_to_read,
            isolation_level="AUTOCOMMIT",
            use_native_hstore=False,
            poolclass=QueuePool,
            pool_size=size,
            max_overflow=SHARED_COUNT_MAX,
        )

    def _connect(self) -> "psycopg.Connection[Any]":
        conn = psycopg.connect(self.url, autocommit=True, **_SETTINGS)  # type: ignore[arg-type]
        # One type for every integer: else each mix of magnitudes is a statement of its own.
        conn.adapters.register_dumper(int, Int8Dumper)
        conn.adapters.register_loader("numeric", _WholeLoader)
        conn.execute(f"SET lock_timeout = {LOCK_WAIT_MS}")
        return conn

    def _connect_to_read(self) -> "psycopg.Connection[Any]":
        conn = self._connect()
        conn.execute("SET default_transaction_read_only = on")
        return conn

    def _connect_as_owner(self) -> "psycopg.Connection[Any]":
        conn = self._connect()
        try:
            # A server may need a moment to see that the session which held it is gone.
            conn.execute(f"SET lock_timeout = {OWNER_WAIT_MS}")
            conn.execute(f"SELECT pg_advisory_lock({OWNER_LOCK})")
            conn.execute(f"SET lock_timeout = {LOCK_WAIT_MS}")
        except psycopg.errors.LockNotAvailable as error:
            conn.close()
            raise _OwnedElsewhere(f"another gateway runs on {self.name}; stop it first") from error
        except psycopg.Error:
            conn.close()
            raise
        return conn


class _WholeLoader(Loader):
    """A sum of integers comes as numeric; here it is what it is on SQLite: an integer."""

    def load(self, data: Any) -> int | Decimal:  # noqa: ANN401 - a buffer of either kind
        text = bytes(data).decode()
        return Decimal(text) if "." in text else int(text)


class _OwnedElsewhere(psycopg.OperationalError):
    """Another session holds the lock of the feature state's owner."""
