"""The house's own simple protocol on the sandbox's side: signed links, five verbs, the bill."""

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.sandbox import bill, refunds, trades
from gateway.sandbox.callbacks import Message
from gateway.sandbox.keys import Keys
from gateway.sandbox.page import Shown, shown_refusal, shown_trade
from gateway.sandbox.payer import act, read_form
from gateway.sandbox.protocols import sandbox as protocol
from gateway.sandbox.protocols.base import Desk, Handler, WireProtocol, base_of, read_body
from gateway.sandbox.protocols.sandbox import Asked, Wire
from gateway.sandbox.trades import Event, Opening, Refusal, Trade

Work = Callable[[Asked, Request], Awaitable[dict[str, object]]]
_VERBS: Final = ("prepay", "query", "close", "refund", "query_refund")


class House(WireProtocol):
    """See `docs/CHANNELS.md`, "The house's sandbox protocol"."""

    name = protocol.NAME

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.wire = Wire(secret_of(desk.keys), desk.clock_us)

    @staticmethod
    def account(keys: Keys, base_url: str) -> Mapping[str, str]:
        return {"base_url": base_url, "secret_hex": secret_of(keys).hex()}

    def routes(self) -> list[Route]:
        works: dict[str, Work] = {verb: getattr(self, f"_{verb}") for verb in _VERBS}
        return [
            Route("/pay", self._page, methods=["GET", "POST"]),
            Route("/api/bill", self._bill, methods=["GET"]),
            *(
                Route(f"/api/{verb}", self.desk.faulty(self._signed(verb, work)), methods=["POST"])
                for verb, work in works.items()
            ),
        ]

    def compose(self, connection: sqlite3.Connection, event: Event) -> bytes:  # noqa: ARG002 - others look up
        body = {
            "event_id": event.event_id,
            "event": event.event,
            "trade_no": event.trade.trade_no,
            "channel_trade_no": event.trade.channel_trade_no,
            "refund_no": event.refund_no,
            "amount_minor": event.amount_minor,
            "currency": event.trade.currency,
            "at_us": event.at_us,
        }
        return json.dumps(body, ensure_ascii=False).encode()

    def dress(self, body: bytes, event_id: str, now_us: int, *, valid: bool) -> Message:  # noqa: ARG002 - it is in the body
        return Message(self.wire.sign_notification(body, now_us, valid), body)

    # The payer's page behind a signed link.

    async def _page(self, request: Request) -> Response:
        shown = Shown.of(request)
        try:
            opening = self.wire.read_link(request.scope["query_string"])
            code = self.wire.one_time_code(opening.trade_no)
            if request.method == "GET":
                return shown_trade(shown, await self._open(opening), code)
            return await self._acted(request, opening, code, shown)
        except Refusal as refusal:
            return shown_refusal(shown, refusal)

    async def _open(self, opening: Opening) -> Trade:
        now_us = self.desk.clock_us()
        return await self.desk.run(
            lambda connection: trades.open_trade(connection, opening, now_us)
        )

    async def _acted(self, request: Request, opening: Opening, code: str, shown: Shown) -> Response:
        deed, now_us = read_form(await read_body(request)), self.desk.clock_us()

        def job(connection: sqlite3.Connection) -> Trade:
            trade = trades.open_trade(connection, opening, now_us)
            return act(connection, trade, deed, code, now_us, self.desk.announce, self.pay)

        try:
            trade = await self.desk.run(job)
        except Refusal as refusal:
            if shown.as_json:
                raise
            return shown_trade(shown, await self._open(opening), code, refusal)
        return shown_trade(shown, trade, code, acted=True)

    # The verbs.

    def _signed(self, verb: str, work: Work) -> Handler:
        """Wrap a verb: verify the request, answer signed."""

        async def answer(request: Request) -> Response:
            try:
                body = await read_body(request)
                asked = self.wire.read_request(
                    request.method, f"/api/{verb}", request.headers, body
                )
                http_status, payload = 200, await work(asked, request)
            except Refusal as refusal:
                http_status, payload = refusal.http_status, protocol.refusal_answer(refusal)
            text = json.dumps(payload, ensure_ascii=False).encode()
            return self._answer(request, http_status, text, "application/json")

        return answer

    def _answer(self, request: Request, http_status: int, body: bytes, media_type: str) -> Response:
        nonce = request.headers.get("x-sandbox-nonce", "")
        headers = self.wire.sign_answer(http_status, nonce, body)
        return Response(body, http_status, headers, media_type)

    async def _prepay(self, asked: Asked, request: Request) -> dict[str, object]:
        opening = self.wire.read_prepay(asked)
        trade = await self._open(opening)
        if trade.status is trades.TradeStatus.CLOSED:
            raise Refusal(409, "TRADE_CLOSED", "the trade is closed", "交易已关闭")
        return {
            **protocol.trade_answer(trade),
            "prepay_id": f"PP{trade.channel_trade_no}",
            "pay_url": f"{base_of(request)}/pay?{self.wire.link_query(opening)}",
        }

    async def _query(self, asked: Asked, _: Request) -> dict[str, object]:
        trade_no, now_us = asked.number("trade_no"), self.desk.clock_us()
        return protocol.trade_answer(
            await self.desk.run(lambda conn: trades.find(conn, self.name, trade_no, now_us))
        )

    async def _close(self, asked: Asked, _: Request) -> dict[str, object]:
        trade_no, now_us = asked.number("trade_no"), self.desk.clock_us()
        return protocol.trade_answer(
            await self.desk.run(lambda conn: trades.close(conn, self.name, trade_no, now_us))
        )

    async def _refund(self, asked: Asked, _: Request) -> dict[str, object]:
        trade_no, refund_no = asked.number("trade_no"), asked.number("refund_no")
        amount_minor, currency = asked.amount_minor(), asked.currency()
        now_us, delay_s = self.desk.clock_us(), self.desk.dice.refund_delay_s()

        def job(connection: sqlite3.Connection) -> trades.Refund:
            trade = trades.find(connection, self.name, trade_no, now_us)
            return refunds.refund(
                connection, trade, refund_no, amount_minor, currency, now_us, delay_s=delay_s
            )

        return protocol.refund_answer(await self.desk.run(job))

    async def _query_refund(self, asked: Asked, _: Request) -> dict[str, object]:
        trade_no, refund_no = asked.number("trade_no"), asked.number("refund_no")
        now_us = self.desk.clock_us()

        def job(connection: sqlite3.Connection) -> trades.Refund:
            trade = trades.find(connection, self.name, trade_no, now_us)
            return refunds.find(connection, trade, refund_no)

        return protocol.refund_answer(await self.desk.run(job))

    async def _bill(self, request: Request) -> Response:
        query = request.scope["query_string"].decode("latin-1")
        try:
            self.wire.read_request("GET", f"/api/bill?{query}", request.headers, b"")
            day = request.query_params.get("day", "")
            rows = await self.desk.run(lambda conn: bill.rows_of(conn, self.name, day))
            dice = self.desk.dice
            file = await asyncio.to_thread(lambda: bill.write(bill.with_faults(rows, dice)))
            return self._answer(request, 200, file, "text/csv; charset=utf-8")
        except Refusal as refusal:
            body = json.dumps(protocol.refusal_answer(refusal), ensure_ascii=False).encode()
            return self._answer(request, refusal.http_status, body, "application/json")


def secret_of(keys: Keys) -> bytes:
    """Return what the gateway and the sandbox sign with."""
    return bytes.fromhex(keys.secret_hex("sandbox.secret"))
