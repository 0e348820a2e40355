"""Tell the gateway, again and again until it has heard.

A callback is written down in the transaction that causes it and sent by a task of its own, so a
crash between the two loses nothing: the row is still due when the sandbox starts again.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

import httpx
import structlog

from gateway.sandbox.database import Database
from gateway.sandbox.faults import FaultDice
from gateway.sandbox.trades import Event

RETRY_AFTER_S: Final = (1, 2, 5, 10, 30, 60)  # The last one repeats.
GIVE_UP_AFTER_S: Final = 86_400
_SEND_TIMEOUT_S: Final = 10.0
_IN_FLIGHT_MAX: Final = 64
_POLL_S: Final = 0.25  # Between looks at the clock for payments that arrive by themselves.

Compose = Callable[[sqlite3.Connection, Event], bytes]  # What is kept of an event, to be sent.

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Message:
    """A callback as it goes out; signed afresh at each try."""

    headers: Mapping[str, str]
    content: bytes


class Sends(Protocol):
    """How a protocol's callbacks leave and are acknowledged."""

    def dress(self, body: bytes, event_id: str, now_us: int, *, valid: bool) -> Message:
        """Make the message of a kept body; `valid` False signs it wrongly on purpose."""
        ...

    def heard(self, http_status: int, body: bytes) -> bool:
        """Say whether the gateway's answer acknowledges a callback."""
        ...


@dataclass(frozen=True, slots=True)
class Callback:
    """One message that is due."""

    id: int
    event_id: str
    protocol: str
    url: str
    body: bytes
    bad_signature: bool
    attempts: int
    created_at_us: int


class Announcer:
    """Writes callbacks down; the faults of each are drawn here and kept with it."""

    def __init__(self, dice: FaultDice, compose: Mapping[str, Compose]) -> None:
        """Bind the faults, and for each protocol what makes the content of a callback."""
        self._dice = dice
        self._compose = compose

    def __call__(self, connection: sqlite3.Connection, event: Event) -> None:
        """Write the callbacks of `event` down, in the transaction that causes it."""
        if not (event.notify_url or event.trade.notify_url):
            return
        fault = self._dice.callback()
        if fault.wrong_amount:
            # Under an id of its own: it must not stand in the true event's way.
            self._insert(
                connection,
                replace(event, event_id=f"{event.event_id}W", amount_minor=event.amount_minor + 1),
                due_at_us=event.at_us,
                bad_signature=False,
            )
        for copy in range(max(event.copies, fault.copies)):
            self._insert(
                connection,
                event,
                due_at_us=event.at_us + int(fault.delay_s * 1_000_000),
                bad_signature=fault.bad_signature and copy == 0,
            )

    def _insert(
        self,
        connection: sqlite3.Connection,
        event: Event,
        *,
        due_at_us: int,
        bad_signature: bool,
    ) -> None:
        body = self._compose[event.trade.protocol](connection, event)
        if not body:
            return
        connection.execute(
            "INSERT INTO callbacks (event_id, protocol, url, body, bad_signature, created_at_us,"
            " due_at_us) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                event.event_id,
                event.trade.protocol,
                event.notify_url or event.trade.notify_url,
                body,
                bad_signature,
                event.at_us,
                due_at_us,
            ),
        )


def due(connection: sqlite3.Connection, now_us: int, limit: int) -> list[Callback]:
    """Return callbacks that are due, oldest first, at most `limit`."""
    rows = connection.execute(
        "SELECT id, event_id, protocol, url, body, bad_signature, attempts, created_at_us"
        " FROM callbacks WHERE status = 'PENDING' AND due_at_us <= ?"
        " ORDER BY due_at_us, id LIMIT ?",
        (now_us, limit),
    ).fetchall()
    return [
        Callback(
            id=row["id"],
            event_id=row["event_id"],
            protocol=row["protocol"],
            url=row["url"],
            body=row["body"],
            bad_signature=bool(row["bad_signature"]),
            attempts=row["attempts"],
            created_at_us=row["created_at_us"],
        )
        for row in rows
    ]


def pending_count(connection: sqlite3.Connection) -> int:
    """Count the callbacks that the gateway hasn't heard yet."""
    row = connection.execute("SELECT count(*) FROM callbacks WHERE status = 'PENDING'").fetchone()
    return int(row[0])


def _note(connection: sqlite3.Connection, callback: Callback, now_us: int, heard: bool) -> None:
    """Keep what became of a try; the same event's other copies keep going by themselves."""
    attempts = callback.attempts + 1
    pause_s = RETRY_AFTER_S[min(attempts, len(RETRY_AFTER_S)) - 1]
    over = now_us - callback.created_at_us > GIVE_UP_AFTER_S * 1_000_000
    status = "ACKED" if heard else "GIVEN_UP" if over else "PENDING"
    connection.execute(
        "UPDATE callbacks SET attempts = ?, due_at_us = ?, status = ? WHERE id = ?",
        (attempts, now_us + pause_s * 1_000_000, status, callback.id),
    )


class Courier:
    """The task that sends what is due and lets delayed payments and slow refunds happen."""

    def __init__(
        self,
        database: Database,
        clock_us: Callable[[], int],
        protocols: Mapping[str, Sends],
        happen: Callable[[sqlite3.Connection, int], int],
        client: httpx.AsyncClient | None = None,
    ) -> None:
        """Bind the task; nothing runs before `start`.

        Args:
            database: Where the callbacks stand.
            clock_us: The time, microseconds since the epoch.
            protocols: For each protocol, how its notifications are sent and acknowledged.
            happen: Lets everything happen whose time has come; returns how much did.
            client: Sends the callbacks; without one, the courier makes and closes its own.
        """
        self._database = database
        self._clock_us = clock_us
        self._protocols = protocols
        self._happen = happen
        self._given_client = client
        self._client: httpx.AsyncClient | None = None
        self._wake = asyncio.Event()
        self._sending: dict[int, asyncio.Task[None]] = {}
        self._loop: asyncio.Task[None] | None = None

    @property
    def failed(self) -> bool:
        """Whether the task was started and died, so that nobody is told anything any more."""
        return self._loop is not None and self._loop.done()

    def wake(self) -> None:
        """Look at once: something was just written down."""
        self._wake.set()

    async def start(self) -> None:
        """Start sending; does nothing if it runs already."""
        if self._loop is None:
            self._client = self._given_client or httpx.AsyncClient(trust_env=False)
            self._loop = asyncio.create_task(self._run(), name="sandbox-courier")

    async def stop(self) -> None:
        """Stop sending; what was under way is sent again after the next start."""
        if self._loop is None:
            return
        tasks = [self._loop, *self._sending.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._loop = None
        self._sending.clear()
        if self._client is not None and self._given_client is None:
            await self._client.aclose()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._round()
            except sqlite3.Error as error:  # A full disk may be mended; the task must live on.
                _log.error("sandbox_database_failed", problem=str(error))
            # Not `wait_for`: before Python 3.12 it can swallow the cancellation that stops us.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_POLL_S):
                    await self._wake.wait()

    async def _round(self) -> None:
        now_us = self._clock_us()
        callbacks = await self._database.run(
            lambda connection: (
                self._happen(connection, now_us),
                due(connection, now_us, 2 * _IN_FLIGHT_MAX),
            )[1]
        )
        for callback in callbacks:
            if len(self._sending) >= _IN_FLIGHT_MAX:
                break
            if callback.id not in self._sending:
                task = asyncio.create_task(self._send(callback))
                self._sending[callback.id] = task

    async def _send(self, callback: Callback) -> None:
        try:
            await self._send_once(callback)
        finally:
            self._sending.pop(callback.id, None)
            self._wake.set()

    async def _send_once(self, callback: Callback) -> None:
        heard = await self._try(callback)
        now_us = self._clock_us()
        try:
            await self._database.run(lambda connection: _note(connection, callback, now_us, heard))
        except sqlite3.Error as error:  # Still due: it is sent again, which does no harm.
            _log.error("sandbox_database_failed", problem=str(error))

    async def _try(self, callback: Callback) -> bool:
        valid = not (callback.bad_signature and callback.attempts == 0)
        protocol = self._protocols[callback.protocol]
        message = protocol.dress(callback.body, callback.event_id, self._clock_us(), valid=valid)
        if self._client is None:
            return False
        try:
            async with asyncio.timeout(_SEND_TIMEOUT_S):
                response = await self._client.post(
                    callback.url, content=message.content, headers=dict(message.headers)
                )
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
            _log.info("sandbox_callback_unheard", event_id=callback.event_id, problem=repr(error))
            return False
        return protocol.heard(response.status_code, response.content)
