"""Questions to a PostgreSQL server: see `gateway.store.reads`."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

import psycopg

from gateway.domain.errors import Busy
from gateway.store.postgres import PostgresRaw
from gateway.store.raw import Raw
from gateway.store.reads import Reads

T = TypeVar("T")
TRIES = 2  # A connection that was lost is replaced once.
_Asked = tuple[Callable[[Raw], Any], "asyncio.Future[Any]"]
_Answer = tuple["asyncio.Future[Any]", Any, BaseException | None]
_log = logging.getLogger("yumen.store")


class PostgresReads(Reads):
    """Asks on a thread of its own; what comes meanwhile goes with the next journey.

    Args:
        connect: Opens a connection for reading.
    """

    def __init__(self, connect: "Callable[[], psycopg.Connection[Any]]") -> None:
        self._connect = connect
        self._raw: PostgresRaw | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reads")
        self._asked: list[_Asked] = []
        self._under_way = False

    async def ask(self, question: Callable[[Raw], T]) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._asked.append((question, future))
        if not self._under_way:
            self._under_way = True
            asyncio.get_running_loop().call_soon(self._travel)
        return await future

    def close(self) -> None:
        self._thread.shutdown()
        if self._raw is not None:
            self._raw.close()

    def _travel(self) -> None:
        asked, self._asked = self._asked, []
        loop = asyncio.get_running_loop()

        def journey() -> None:
            try:
                answers = self._answers(asked)
            except Exception as error:  # noqa: BLE001 - whoever asked must hear of it
                _log.warning("the database can't be asked: %s", error)
                busy = Busy(f"the database can't be asked now: {error}")
                answers = [(future, None, busy) for _, future in asked]
            loop.call_soon_threadsafe(self._arrived, answers)

        self._thread.submit(journey)

    def _arrived(self, answers: Sequence[_Answer]) -> None:
        for future, answer, error in answers:
            if future.done():  # The caller gave up waiting.
                continue
            if error is None:
                future.set_result(answer)
            else:
                future.set_exception(error)
        if self._asked:
            self._travel()
        else:
            self._under_way = False

    def _answers(self, asked: Sequence[_Asked]) -> list[_Answer]:
        for tries_left in reversed(range(TRIES)):
            raw = self._raw = self._raw or PostgresRaw(self._connect())
            try:
                with raw.queued():
                    return [_answer(raw, question, future) for question, future in asked]
            except psycopg.Error:
                with suppress(psycopg.Error):
                    raw.close()
                self._raw = None
                if not tries_left:
                    raise
        raise RuntimeError("unreachable: the last try returns or raises")


def _answer(raw: Raw, question: Callable[[Raw], Any], future: "asyncio.Future[Any]") -> _Answer:
    """Ask one question; what it raises itself, and not the database, is its own answer."""
    try:
        return future, question(raw), None
    except psycopg.Error:
        raise
    except Exception as error:  # noqa: BLE001 - handed to the caller who awaits the future
        return future, None, error
