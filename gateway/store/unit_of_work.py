"""One writer, one transaction at a time, many requests in each: group commit.

Every change of a process goes through one connection. Jobs that arrive while a transaction is
being committed form the next one, so the group grows with the load and nobody waits for more than
two commits. Each job is whole or not at all, and is acknowledged only after the commit that holds
it is on disk.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection

from gateway.store.raw import Raw

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pending:
    """A job that waits for its transaction; `core` if it speaks SQLAlchemy."""

    job: Callable[[Raw], Any]
    future: "asyncio.Future[Any]"
    core: bool


Outcome = tuple["asyncio.Future[Any]", Any, BaseException | None]


class Writer(ABC):
    """Runs jobs in shared, durable transactions; belongs to one event loop.

    `prologue` runs first in every transaction and `committed` after it is on disk: the event
    log uses them to go to disk in its own order, ahead of whatever depends on it.

    Attributes:
        commits: Transactions that are on disk.
        jobs: Jobs that were run.
    """

    def __init__(self) -> None:
        self.commits = 0
        self.jobs = 0
        self._pending: list[Pending] = []
        self._flushing = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def run(self, job: Callable[[Connection], T]) -> T:
        """Run a job of SQLAlchemy Core statements; return once it is on disk.

        Args:
            job: Short and synchronous. If it raises, its own changes alone are undone and the
                exception is raised here.

        Raises:
            Busy: (1006) if the transaction could not be committed, or is not known to be.
        """
        return await self._wait(lambda _raw: job(self._core()), core=True)

    async def run_raw(self, job: Callable[[Raw], T]) -> T:
        """Run a job on the raw connection, for the path where SQLAlchemy's cost would show.

        The job may be run again if the transaction has to be: it changes the database alone.
        """
        return await self._wait(job, core=False)

    async def _wait(self, job: Callable[[Raw], T], *, core: bool) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._pending.append(Pending(job, future, core))
        self.nudge()
        return await future

    def nudge(self) -> None:
        """Start a transaction soon if none is under way, even if only the prologue has work."""
        if not self._flushing:
            self._flushing = True
            self._idle.clear()
            asyncio.get_running_loop().call_soon(self._begin)

    async def close(self) -> None:
        """Wait for what is under way, then let go of the database."""
        await self._idle.wait()
        self._let_go()

    @abstractmethod
    def _core(self) -> Connection:
        """The connection as SQLAlchemy sees it, while a job runs."""

    @abstractmethod
    def _begin(self) -> None:
        """Run all that waits in one transaction; leads to `_finish`, whatever happens."""

    @abstractmethod
    def _let_go(self) -> None:
        """Close what was opened."""

    def _take(self) -> list[Pending]:
        taken, self._pending = self._pending, []
        return taken

    def _finish(self, outcomes: Iterable[Outcome]) -> None:
        for future, result, error in outcomes:
            if future.done():  # The caller gave up waiting; what was done stays done.
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        if self._pending:
            asyncio.get_running_loop().call_soon(self._begin)
        else:
            self._flushing = False
            self._idle.set()
