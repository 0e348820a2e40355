"""The writer of a PostgreSQL database: see `gateway.store.postgres` for how it fits in.

What may go wrong and what follows from it. Before COMMIT was sent: nothing was changed, everybody
is told Busy. While COMMIT was under way: nobody knows, so everybody is told Busy too, and the log
is told to look before it writes again; a caller who repeats is answered from what is stored.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from gateway.domain.errors import Busy
from gateway.store.postgres import PostgresRaw
from gateway.store.raw import RAW, Raw
from gateway.store.unit_of_work import Outcome, Pending, Writer

TRIES = 5  # Of a group that another process's transaction got in the way of.
_AGAIN = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected)
_log = logging.getLogger("yumen.store")

Connect = Callable[[], "psycopg.Connection[Any]"]


class _Session:
    """One connection, as both kinds of job see it."""

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self.raw = PostgresRaw(connection)
        self._engine: Engine = create_engine(
            "postgresql+psycopg://",
            creator=lambda: connection,
            poolclass=StaticPool,
            pool_reset_on_return=None,
            isolation_level="AUTOCOMMIT",
            use_native_hstore=False,
        )
        # Never committed or closed by SQLAlchemy: the transaction is the writer's alone.
        self.core: Connection = self._engine.connect()
        self.core.info[RAW] = self.raw

    @property
    def is_lost(self) -> bool:
        return self.raw.connection.closed

    def close(self) -> None:
        with suppress(psycopg.Error, DBAPIError):
            self.core.close()
        self._engine.dispose()
        self.raw.close()


class _Failed(Exception):
    """The group was not committed, or is not known to be."""


class PostgresWriter(Writer):
    """The writer of one database; see `Writer`.

    Args:
        connect: Opens another connection when one was lost.
        first: The connection to begin with; None: opens one with the first job.
        prologue: See `Writer`; here it runs on the writer's thread.
        committed: See `Writer`.
        doubted: Told, on the writer's thread, when it is not known how a commit ended, or whether
            others wrote while the connection was away.
    """

    def __init__(
        self,
        connect: Connect,
        first: "psycopg.Connection[Any] | None",
        *,
        prologue: Callable[[Raw], int],
        committed: Callable[[int], None],
        doubted: Callable[[], None],
    ) -> None:
        super().__init__()
        self._connect = connect
        self._session: _Session | None = None if first is None else _Session(first)
        self._was_connected = first is not None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="commit")
        self._prologue = prologue
        self._committed = committed
        self._doubted = doubted

    def _core(self) -> Connection:
        if self._session is None:
            raise RuntimeError("a job runs without a session")
        return self._session.core

    def _let_go(self) -> None:
        self._thread.shutdown()
        if self._session is not None:
            self._session.close()

    def _begin(self) -> None:
        jobs, loop = self._take(), asyncio.get_running_loop()

        def group() -> None:
            try:
                outcomes, logged_count = self._group(jobs)
            except BaseException as error:  # noqa: BLE001 - whoever waits must hear of it
                _log.warning("a transaction failed: %s", error)
                busy = Busy(f"the database refused the transaction: {error}")
                refused: list[Outcome] = [(one.future, None, busy) for one in jobs]
                loop.call_soon_threadsafe(self._finish, refused)
            else:
                loop.call_soon_threadsafe(self._after_commit, outcomes, logged_count)

        self._thread.submit(group)

    def _after_commit(self, outcomes: list[Outcome], logged_count: int) -> None:
        self.commits += 1
        self.jobs += len(outcomes)
        self._committed(logged_count)
        self._finish(outcomes)

    def _group(self, jobs: Sequence[Pending]) -> tuple[list[Outcome], int]:
        """Run and commit all jobs; what it raises means that nobody may be acknowledged."""
        try:
            try:
                done = self._run(jobs, self._all_at_once)
            except Exception as error:  # noqa: BLE001 - whose fault it was shows when each runs alone
                _log.debug("a group is run again, job by job: %s", error)
                self._undo()
                done = self._run_patiently(jobs)
            self._commit()
        except BaseException:
            self._undo()
            raise
        return done

    def _run_patiently(self, jobs: Sequence[Pending]) -> tuple[list[Outcome], int]:
        for _ in range(TRIES - 1):
            try:
                return self._run(jobs, self._one_by_one)
            except _AGAIN:
                self._undo()
        return self._run(jobs, self._one_by_one)

    def _run(
        self, jobs: Sequence[Pending], how: Callable[[_Session, Sequence[Pending]], list[Outcome]]
    ) -> tuple[list[Outcome], int]:
        session = self._ready()
        with session.raw.queued():
            session.raw.execute("BEGIN")
            logged_count = self._prologue(session.raw)
            outcomes = how(session, [one for one in jobs if not one.core])
        return [
            *outcomes,
            *(self._run_one(session, one) for one in jobs if one.core),
        ], logged_count

    def _ready(self) -> _Session:
        if self._session is None:
            self._session = _Session(self._connect())
            if self._was_connected:
                self._doubted()
            self._was_connected = True
        return self._session

    def _all_at_once(self, session: _Session, jobs: Sequence[Pending]) -> list[Outcome]:
        """Run jobs on the way to the server, hoping that none fails: none has a savepoint."""
        return [(one.future, one.job(session.raw), None) for one in jobs]

    def _one_by_one(self, session: _Session, jobs: Sequence[Pending]) -> list[Outcome]:
        session.raw.wait()  # What the prologue did wrong is no job's fault.
        return [self._run_one(session, one) for one in jobs]

    def _run_one(self, session: _Session, pending: Pending) -> Outcome:
        session.raw.execute("SAVEPOINT job")
        try:
            result = pending.job(session.raw)
            session.raw.wait()
        except Exception as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            if isinstance(cause, _AGAIN):
                raise cause from error
            if session.is_lost:
                raise
            session.raw.remembered.clear()
            session.raw.execute("ROLLBACK TO SAVEPOINT job")
            session.raw.execute("RELEASE SAVEPOINT job")
            return pending.future, None, error
        session.raw.execute("RELEASE SAVEPOINT job")
        return pending.future, result, None

    def _commit(self) -> None:
        session = self._ready()
        try:
            session.raw.execute("COMMIT")
        except psycopg.Error:
            self._doubted()
            self._drop()
            raise

    def _undo(self) -> None:
        """Leave no transaction open; a connection that can't say so is thrown away."""
        if self._session is None:
            return
        self._session.raw.remembered.clear()
        try:
            self._session.raw.execute("ROLLBACK")
        except psycopg.Error:
            self._drop()

    def _drop(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None
