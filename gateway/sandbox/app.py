"""The sandbox as an ASGI app: every protocol's routes, the payer's page, and the courier.

It stands alone (`yumen sandbox`) or is mounted by the gateway under ``/sandbox``. A mounted app's
lifespan isn't run by its host, so the host calls `Sandbox.start` and `Sandbox.stop` itself.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from gateway.sandbox import refunds, trades
from gateway.sandbox.callbacks import Announcer, Courier, pending_count
from gateway.sandbox.database import Database
from gateway.sandbox.faults import NO_FAULTS, FaultDice, Faults
from gateway.sandbox.page import Shown, shown_refusal, shown_trade
from gateway.sandbox.payer import act, action_of, read_form
from gateway.sandbox.protocols.base import Act, Desk, Do, WireProtocol, base_of, read_body
from gateway.sandbox.protocols.registry import PROTOCOLS, keys_in
from gateway.sandbox.trades import Refusal, Trade


class Sandbox:
    """One sandbox: its ASGI `app`, and the background task that tells the gateway."""

    def __init__(
        self,
        var: Path,
        clock_us: Callable[[], int],
        faults: Faults,
        client: httpx.AsyncClient | None,
        webhook_url: str,
    ) -> None:
        """See `build`."""
        self._clock_us = clock_us
        self._database = Database(var / "sandbox.db", "".join(kind.schema for kind in PROTOCOLS))
        dice = FaultDice(faults)
        self.protocols: dict[str, WireProtocol] = {}
        composes = {
            kind.name: lambda conn, event: self.protocols[event.trade.protocol].compose(conn, event)
            for kind in PROTOCOLS
        }
        self._announce = Announcer(dice, composes)
        self._courier = Courier(self._database, clock_us, self.protocols, self._let_happen, client)
        desk = Desk(
            database=self._database,
            clock_us=clock_us,
            dice=dice,
            announce=self._announce,
            wake=self._courier.wake,
            keys=keys_in(var),
            webhook_url=webhook_url,
        )
        self.protocols |= {kind.name: kind(desk) for kind in PROTOCOLS}
        self.app = Starlette(
            routes=[
                *(route for each in self.protocols.values() for route in each.routes()),
                Route("/scan", self._scan, methods=["GET"]),
                Route("/payer/{protocol}/{number}", self._payer, methods=["GET", "POST"]),
                Route("/healthz", self._healthz, methods=["GET"]),
            ],
            lifespan=self._lifespan,
        )

    async def start(self) -> None:
        """Start telling the gateway what is due; does nothing if it is started already."""
        await self._courier.start()

    async def stop(self) -> None:
        """Stop the background task and close the database; nothing that is due is lost."""
        await self._courier.stop()
        await self._database.close()

    async def pending_callbacks(self) -> int:
        """Count the callbacks the gateway hasn't acknowledged yet."""
        return await self._database.run(pending_count)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        await self.start()
        yield
        await self.stop()

    def _let_happen(self, connection: sqlite3.Connection, now_us: int) -> int:
        paid = trades.pay_what_is_due(
            connection, now_us, self._announce, lambda name: self.protocols[name].pay
        )
        return paid + refunds.finish_what_is_due(connection, now_us, self._announce)

    async def _scan(self, request: Request) -> Response:
        """Lead a payer who scanned a code that is no address to the page of its trade."""
        code = request.query_params.get("code", "")
        for protocol in self.protocols.values():
            number = protocol.owns(code)
            if number is not None:
                page = f"{base_of(request)}/payer/{protocol.name}/{quote(number, safe='')}"
                return RedirectResponse(page, 302)
        refusal = Refusal(404, "CODE_NOT_FOUND", "no payment system knows this code", "无法识别")
        return shown_refusal(Shown.of(request), refusal)

    async def _payer(self, request: Request) -> Response:
        """Show the payer's page of a trade, or act as the payer."""
        ways = {name: each.label for name, each in self._acts(request).items()}
        shown = Shown.of(request, ways)
        try:
            if request.method == "GET":
                return shown_trade(shown, await self._looked_up(request), "")
            try:
                return shown_trade(shown, await self._acted(request), "", acted=True)
            except Refusal as refusal:
                if shown.as_json:
                    raise
                return shown_trade(shown, await self._looked_up(request), "", refusal)
        except Refusal as refusal:
            return shown_refusal(shown, refusal)

    async def _looked_up(self, request: Request) -> Trade:
        now_us = self._clock_us()
        return await self._database.run(lambda conn: _named(conn, request, now_us))

    async def _acted(self, request: Request) -> Trade:
        body, now_us = await read_body(request), self._clock_us()
        do = self._what_to_do(request, body)
        trade = await self._database.run(
            lambda conn: do(conn, _named(conn, request, now_us), now_us, self._announce)
        )
        self._courier.wake()
        return trade

    def _acts(self, request: Request) -> Mapping[str, Act]:
        protocol = self.protocols.get(request.path_params["protocol"])
        return protocol.acts() if protocol is not None else {}

    def _what_to_do(self, request: Request, body: bytes) -> Do:
        own = self._acts(request).get(action_of(body))
        if own is not None:
            return own.do
        deed = read_form(body)
        return lambda conn, trade, now_us, announce: act(
            conn, trade, deed, "", now_us, announce, self.protocols[trade.protocol].pay
        )

    async def _healthz(self, _: Request) -> Response:
        failed = self._courier.failed
        return JSONResponse(
            {
                "status": "callbacks stopped" if failed else "ok",
                "pending_callbacks": await self.pending_callbacks(),
            },
            503 if failed else 200,
        )


def _named(connection: sqlite3.Connection, request: Request, now_us: int) -> Trade:
    """Return the trade that the address of a payer's page names."""
    named = request.path_params
    return trades.find_by_channel_no(connection, named["protocol"], named["number"], now_us)


def build(
    var: Path,
    clock_us: Callable[[], int],
    *,
    faults: Faults = NO_FAULTS,
    client: httpx.AsyncClient | None = None,
    webhook_url: str = "",
) -> Sandbox:
    """Build a sandbox; nothing is opened or started yet.

    Args:
        var: Folder of its state: ``sandbox.db`` and ``sandbox.keys``.
        clock_us: The time, microseconds since the epoch.
        faults: What goes wrong on purpose; nothing by default.
        client: Sends the callbacks; without one, the sandbox makes and closes its own.
        webhook_url: Where accounts are told what happened, for protocols that name no address
            with a payment; ``{channel}`` in it becomes the protocol's name.
    """
    return Sandbox(var, clock_us, faults, client, webhook_url)
