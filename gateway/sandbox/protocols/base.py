"""What a payment system's wire protocol is to the sandbox, and what the sandbox lends to it.

A protocol verifies and reads what the gateway (or an official client) sends, moves trades by
`gateway.sandbox.trades` and `refunds`, and writes answers, callbacks and bills as the real system
does. It shares no code with the adapter of the same name.
"""

import asyncio
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.sandbox import trades
from gateway.sandbox.callbacks import Message
from gateway.sandbox.database import Database
from gateway.sandbox.faults import ApiFault, FaultDice
from gateway.sandbox.keys import Keys
from gateway.sandbox.trades import Announce, Event, Trade, bad_request

BODY_BYTES_MAX: Final = 65_536
_TIMEOUTS: Final = (ApiFault.TIMEOUT_BEFORE, ApiFault.TIMEOUT_AFTER)
Handler = Callable[[Request], Awaitable[Response]]
Do = Callable[[sqlite3.Connection, Trade, int, Announce], Trade]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the sandbox lends to its protocols.

    Attributes:
        database: Runs jobs, each in a transaction that is on disk before it answers.
        clock_us: The time, microseconds since the epoch.
        dice: Draws the faults.
        announce: Writes an event's callbacks down, in the transaction that causes it.
        wake: Sends what was announced at once.
        keys: Keys of both sides.
        webhook_url: What the merchant entered in the account's settings, where a protocol tells
            an account and not a payment; ``{channel}`` in it becomes the protocol's name.
    """

    database: Database
    clock_us: Callable[[], int]
    dice: FaultDice
    announce: Announce
    wake: Callable[[], None]
    keys: Keys
    webhook_url: str = ""

    async def run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run a job in a transaction; answered once it is on disk, and callbacks are sent."""
        result = await self.database.run(job)
        self.wake()
        return result

    def faulty(self, handler: Handler) -> Handler:
        """Let requests go wrong as often as the faults have it, before or after their effect."""

        async def answer(request: Request) -> Response:
            fault = self.dice.api()
            if fault in {ApiFault.TIMEOUT_BEFORE, ApiFault.ERROR_BEFORE}:
                return await self._gone_wrong(fault)
            response = await handler(request)
            return response if fault is ApiFault.NONE else await self._gone_wrong(fault)

        return answer

    async def _gone_wrong(self, fault: ApiFault) -> Response:
        if fault in _TIMEOUTS:
            await asyncio.sleep(self.dice.faults.timeout_s)
        return Response(b"sandbox fault", 500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Something that the payers of one protocol alone can do.

    Attributes:
        label: What the button says, in Chinese and English.
        do: Does it: transaction, trade, time in microseconds, announcer; may raise `Refusal`.
    """

    label: str
    do: Do


class WireProtocol(ABC):
    """One payment system as the sandbox plays it.

    Attributes:
        name: As in `gateway.channels`; the first part of its trades' key.
        schema: Tables of its own, `CREATE TABLE IF NOT EXISTS`.
    """

    name: ClassVar[str]
    schema: ClassVar[str] = ""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    @staticmethod
    @abstractmethod
    def account(keys: Keys, base_url: str) -> Mapping[str, str]:
        """Return what the gateway's adapter must be told to use this sandbox.

        Args:
            keys: Keys of both sides.
            base_url: Where the sandbox lives.
        """

    @abstractmethod
    def routes(self) -> list[Route]:
        """Return its routes, with whole paths below the sandbox's address."""

    @abstractmethod
    def compose(self, connection: sqlite3.Connection, event: Event) -> bytes:
        """Make what is kept of an event's callback, in the transaction that causes it.

        Returns:
            Its content; empty if this payment system says nothing about such an event.
        """

    @abstractmethod
    def dress(self, body: bytes, event_id: str, now_us: int, *, valid: bool) -> Message:
        """Make the callback's message, signed afresh; `valid` False signs it wrongly on purpose."""

    def owns(self, code: str) -> str | None:  # noqa: ARG002 - most give addresses, not codes
        """Return the channel's number of the trade that a scanned code is about, if it is ours."""
        return None

    def heard(self, http_status: int, body: bytes) -> bool:
        """Say whether the gateway's answer acknowledges a callback."""
        return http_status == 200 and body.strip() == b"success"  # noqa: PLR2004 - OK.

    def acts(self) -> Mapping[str, Act]:
        """Return what its payers can do besides `gateway.sandbox.payer.Action`, by action."""
        return {}

    def pay(
        self,
        connection: sqlite3.Connection,
        trade: Trade,
        now_us: int,
        announce: Announce,
        copies: int,
        late: bool,
    ) -> Trade:
        """Do what happens when the payer pays; where money waits for a capture, it is approved."""
        return trades.pay(connection, trade, now_us, announce, copies=copies, late=late)


def base_of(request: Request) -> str:
    """Return the sandbox's own address, wherever it is mounted."""
    root = request.scope.get("root_path", "")
    return f"{request.url.scheme}://{request.url.netloc}{root}"


def payer_url(base_url: str, trade: Trade) -> str:
    """Return the page on which the payer of a trade acts."""
    return f"{base_url}/payer/{trade.protocol}/{trade.channel_trade_no}"


async def read_body(request: Request) -> bytes:
    """Read a request's body, up to the limit.

    Raises:
        Refusal: (400 BAD_REQUEST) if it is larger.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise bad_request("body", f"must be at most {BODY_BYTES_MAX} bytes")
    return body
