"""The sandbox as an ASGI app: the payer's page, the house protocol, the bill, and the courier.

It stands alone (`yumen sandbox`) or is mounted by the gateway under ``/sandbox``. A mounted app's
lifespan isn't run by its host, so the host calls `Sandbox.start` and `Sandbox.stop` itself.
"""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from gateway.sandbox import bill, page, payer, refunds, trades
from gateway.sandbox.callbacks import Announcer, Courier, pending_count
from gateway.sandbox.database import Database
from gateway.sandbox.faults import NO_FAULTS, ApiFault, FaultDice, Faults
from gateway.sandbox.protocols import sandbox as protocol
from gateway.sandbox.protocols.sandbox import Asked, Wire
from gateway.sandbox.trades import Refusal, Trade

_TIMEOUTS: Final = (ApiFault.TIMEOUT_BEFORE, ApiFault.TIMEOUT_AFTER)
_PAGE_HEADERS: Final = {
    "Content-Security-Policy": page.CONTENT_SECURITY_POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
Work = Callable[[Asked, Request], Awaitable[dict[str, object]]]


class Sandbox:
    """One sandbox: its ASGI `app`, and the background task that tells the gateway."""

    def __init__(
        self,
        var: Path,
        secret: bytes,
        clock_us: Callable[[], int],
        faults: Faults,
        client: httpx.AsyncClient | None,
    ) -> None:
        """See `build`."""
        self._clock_us = clock_us
        self._wire = Wire(secret, clock_us)
        self._database = Database(var / "sandbox.db")
        self._dice = FaultDice(faults)
        self._announce = Announcer(self._dice)
        self._courier = Courier(
            self._database,
            clock_us,
            {protocol.NAME: self._wire.sign_notification},
            self._let_happen,
            client,
        )
        self.app = Starlette(
            routes=[
                Route("/pay", self._pay, methods=["GET", "POST"]),
                Route("/api/prepay", self._signed("/api/prepay", self._prepay), methods=["POST"]),
                Route("/api/query", self._signed("/api/query", self._query), methods=["POST"]),
                Route("/api/close", self._signed("/api/close", self._close), methods=["POST"]),
                Route("/api/refund", self._signed("/api/refund", self._refund), methods=["POST"]),
                Route(
                    "/api/query_refund",
                    self._signed("/api/query_refund", self._query_refund),
                    methods=["POST"],
                ),
                Route("/api/bill", self._bill, methods=["GET"]),
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
        paid = trades.pay_what_is_due(connection, now_us, self._announce)
        return paid + refunds.finish_what_is_due(connection, now_us, self._announce)

    # The payer's page.

    async def _pay(self, request: Request) -> Response:
        wants_json = "application/json" in request.headers.get("accept", "")
        try:
            opening = self._wire.read_link(request.scope["query_string"])
            code = self._wire.one_time_code(opening.trade_no)
            if request.method == "GET":
                now_us = self._clock_us()
                trade = await self._database.run(
                    lambda connection: trades.open_trade(connection, opening, now_us)
                )
                return self._shown(trade, code, wants_json)
            return await self._acted(request, opening, code, wants_json)
        except Refusal as refusal:
            if wants_json:
                return JSONResponse(
                    protocol.refusal_answer(refusal), refusal.http_status, _PAGE_HEADERS
                )
            return HTMLResponse(page.render_refusal(refusal), refusal.http_status, _PAGE_HEADERS)

    async def _acted(
        self, request: Request, opening: trades.Opening, code: str, wants_json: bool
    ) -> Response:
        deed = payer.read_form(await _body(request))
        now_us = self._clock_us()
        try:
            trade = await self._database.run(
                lambda connection: payer.act(
                    connection, opening, deed, code, now_us, self._announce
                )
            )
        except Refusal as refusal:
            if wants_json:
                raise
            trade = await self._database.run(
                lambda connection: trades.open_trade(connection, opening, now_us)
            )
            problem = f"{refusal.message_zh} · {refusal.message_en}"
            return HTMLResponse(
                page.render_trade(trade, one_time_code=code, problem=problem),
                refusal.http_status,
                _PAGE_HEADERS,
            )
        self._courier.wake()
        if wants_json:
            return self._shown(trade, code, wants_json)
        # A reload of the page must not pay again.
        return RedirectResponse(f"?{request.scope['query_string'].decode('ascii')}", 303)

    @staticmethod
    def _shown(trade: Trade, code: str, wants_json: bool) -> Response:
        if not wants_json:
            document = page.render_trade(trade, one_time_code=code)
            return HTMLResponse(document, headers=_PAGE_HEADERS)
        shown: dict[str, object] = {
            **protocol.trade_answer(trade),
            "subject": trade.subject,
            "pay_type": trade.pay_type,
            "return_url": trade.return_url,
            "failed_attempts": trade.failed_attempts,
            "challenge": trade.challenge,
        }
        if trade.challenge:
            shown["otp_hint"] = code
        return JSONResponse(shown, headers=_PAGE_HEADERS)

    # The house protocol.

    def _signed(self, path: str, work: Work) -> Callable[[Request], Awaitable[Response]]:
        """Wrap a verb: verify the request, answer signed, and go wrong as often as asked to."""

        async def answer(request: Request) -> Response:
            fault = self._dice.api()
            if fault in {ApiFault.TIMEOUT_BEFORE, ApiFault.ERROR_BEFORE}:
                return await self._gone_wrong(fault)
            http_status, payload = await self._worked(path, work, request)
            if fault is not ApiFault.NONE:
                return await self._gone_wrong(fault)
            body = json.dumps(payload, ensure_ascii=False).encode()
            return self._answer(request, http_status, body, "application/json")

        return answer

    async def _worked(
        self, path: str, work: Work, request: Request
    ) -> tuple[int, dict[str, object]]:
        try:
            body = await _body(request)
            asked = self._wire.read_request(request.method, path, request.headers, body)
            return 200, await work(asked, request)
        except Refusal as refusal:
            return refusal.http_status, protocol.refusal_answer(refusal)

    def _answer(self, request: Request, http_status: int, body: bytes, media_type: str) -> Response:
        nonce = request.headers.get("x-sandbox-nonce", "")
        headers = self._wire.sign_answer(http_status, nonce, body)
        return Response(body, http_status, headers, media_type)

    async def _gone_wrong(self, fault: ApiFault) -> Response:
        if fault in _TIMEOUTS:
            await asyncio.sleep(self._dice.faults.timeout_s)
        return Response(b"sandbox fault", 500)

    async def _prepay(self, asked: Asked, request: Request) -> dict[str, object]:
        opening, now_us = self._wire.read_prepay(asked), self._clock_us()
        trade = await self._database.run(
            lambda connection: trades.open_trade(connection, opening, now_us)
        )
        if trade.status is trades.TradeStatus.CLOSED:
            raise Refusal(409, "TRADE_CLOSED", "the trade is closed", "交易已关闭")
        # Wherever the sandbox is mounted, its own address is what stands before the verb.
        base = str(request.url.replace(query="")).removesuffix("/api/prepay")
        return {
            **protocol.trade_answer(trade),
            "prepay_id": f"PP{trade.channel_trade_no}",
            "pay_url": f"{base}/pay?{self._wire.link_query(opening)}",
        }

    async def _query(self, asked: Asked, _: Request) -> dict[str, object]:
        trade_no, now_us = asked.number("trade_no"), self._clock_us()
        return protocol.trade_answer(
            await self._database.run(lambda connection: trades.find(connection, trade_no, now_us))
        )

    async def _close(self, asked: Asked, _: Request) -> dict[str, object]:
        trade_no, now_us = asked.number("trade_no"), self._clock_us()
        return protocol.trade_answer(
            await self._database.run(
                lambda connection: trades.close(connection, trade_no, protocol.NAME, now_us)
            )
        )

    async def _refund(self, asked: Asked, _: Request) -> dict[str, object]:
        trade_no, refund_no = asked.number("trade_no"), asked.number("refund_no")
        amount_minor, currency = asked.amount_minor(), asked.currency()
        now_us, delay_s = self._clock_us(), self._dice.refund_delay_s()
        refund = await self._database.run(
            lambda connection: refunds.refund(
                connection, trade_no, refund_no, amount_minor, currency, now_us, delay_s=delay_s
            )
        )
        return protocol.refund_answer(refund)

    async def _query_refund(self, asked: Asked, _: Request) -> dict[str, object]:
        trade_no, refund_no = asked.number("trade_no"), asked.number("refund_no")
        now_us = self._clock_us()
        return protocol.refund_answer(
            await self._database.run(
                lambda connection: refunds.find(connection, trade_no, refund_no, now_us)
            )
        )

    async def _bill(self, request: Request) -> Response:
        query = request.scope["query_string"].decode("latin-1")
        try:
            self._wire.read_request("GET", f"/api/bill?{query}", request.headers, b"")
            day = request.query_params.get("day", "")
            rows = await self._database.run(lambda connection: bill.rows_of(connection, day))
            file = await asyncio.to_thread(lambda: bill.write(bill.with_faults(rows, self._dice)))
            return self._answer(request, 200, file, "text/csv; charset=utf-8")
        except Refusal as refusal:
            body = json.dumps(protocol.refusal_answer(refusal), ensure_ascii=False).encode()
            return self._answer(request, refusal.http_status, body, "application/json")

    async def _healthz(self, _: Request) -> Response:
        failed = self._courier.failed
        return JSONResponse(
            {
                "status": "callbacks stopped" if failed else "ok",
                "pending_callbacks": await self.pending_callbacks(),
            },
            503 if failed else 200,
        )


async def _body(request: Request) -> bytes:
    """Read a request's body, up to the limit.

    Raises:
        Refusal: (400 BAD_REQUEST) if it is larger.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > protocol.BODY_BYTES_MAX:
            raise protocol.bad_request("body", f"must be at most {protocol.BODY_BYTES_MAX} bytes")
    return body


def build(
    var: Path,
    secret: bytes,
    clock_us: Callable[[], int],
    *,
    faults: Faults = NO_FAULTS,
    client: httpx.AsyncClient | None = None,
) -> Sandbox:
    """Build a sandbox; nothing is opened or started yet.

    Args:
        var: Folder of its state; the file is ``sandbox.db`` in it.
        secret: What the gateway and the sandbox sign with.
        clock_us: The time, microseconds since the epoch.
        faults: What goes wrong on purpose; nothing by default.
        client: Sends the callbacks; without one, the sandbox makes and closes its own.
    """
    return Sandbox(var, secret, clock_us, faults, client)
