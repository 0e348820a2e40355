"""Alipay as the sandbox plays it: one gateway address, pages, QR codes, refunds, the bill's zip."""

import asyncio
import hmac
import json
import secrets
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import ClassVar, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from gateway.sandbox import bill, refunds, trades
from gateway.sandbox.callbacks import Message
from gateway.sandbox.keys import Keys
from gateway.sandbox.page import Shown, shown_refusal
from gateway.sandbox.protocols import alipay_bill
from gateway.sandbox.protocols.alipay_wire import (
    APP_ID,
    BUYER_ID,
    BUYER_LOGON_ID,
    SELLER_ID,
    Call,
    Problem,
    Wire,
    beijing,
    failed,
    invalid,
    notice_of,
    parameters_of,
    problem_of,
    status_of,
    yuan,
)
from gateway.sandbox.protocols.base import WireProtocol, base_of, payer_url, read_body
from gateway.sandbox.trades import (
    Event,
    Opening,
    Refund,
    RefundStatus,
    Refusal,
    Trade,
    TradeStatus,
)

Fields = dict[str, object]
_PAGES: Final = {
    "alipay.trade.page.pay": {"FAST_INSTANT_TRADE_PAY"},
    "alipay.trade.wap.pay": {"QUICK_WAP_WAY", "QUICK_WAP_PAY"},
}
_PAGE_TRADE_S: Final = 15 * 86_400
_CODE_S: Final = 2 * 3_600
_BILL_ADDRESS_S: Final = 30
_OK: Final = {"code": "10000", "msg": "Success"}


class Alipay(WireProtocol):
    """See `docs/CHANNELS.md`, "Alipay"."""

    name = "alipay"
    schema: ClassVar[str] = """
CREATE TABLE IF NOT EXISTS alipay_codes (
  code TEXT PRIMARY KEY,
  opening TEXT NOT NULL             -- JSON of the trade that is made when somebody scans
) STRICT;
"""

    @cached_property
    def wire(self) -> Wire:
        """Keys are made when they are first needed."""
        return Wire(self.desk.keys)

    @staticmethod
    def account(keys: Keys, base_url: str) -> Mapping[str, str]:
        return {
            "gateway_url": f"{base_url}/gateway.do",
            "app_id": APP_ID,
            "private_key": keys.rsa_private_pem("alipay.app"),
            "alipay_public_key": keys.rsa_public_pem("alipay.platform"),
            "seller_id": SELLER_ID,
        }

    def routes(self) -> list[Route]:
        return [
            Route("/gateway.do", self._gateway, methods=["GET", "POST"]),
            Route("/alipay/qr/{code}", self._scanned, methods=["GET"]),
            Route("/downloadBillFile.resource", self._bill_file, methods=["GET"]),
        ]

    def compose(self, connection: sqlite3.Connection, event: Event) -> bytes:
        fields = notice_of(event, _refunded_minor(connection, event.trade))
        return json.dumps(fields, ensure_ascii=False).encode()

    def dress(self, body: bytes, event_id: str, now_us: int, *, valid: bool) -> Message:  # noqa: ARG002 - in the body
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        return Message(headers, self.wire.notification(json.loads(body), valid=valid))

    # The one address of all calls.

    async def _gateway(self, request: Request) -> Response:
        query, body = request.scope["query_string"], await read_body(request)
        try:
            parameters = parameters_of(query, body)
        except Problem as problem:
            return _answered(self.wire.unsigned("", problem))
        if parameters.get("method") in _PAGES:
            return await self._cashier(request, parameters)

        async def called(asked: Request) -> Response:
            return await self._called(asked, parameters)

        return await self.desk.faulty(called)(request)

    async def _called(self, request: Request, parameters: Mapping[str, str]) -> Response:
        method = parameters.get("method", "")
        verbs: dict[str, Callable[[Call], Awaitable[Fields]]] = {
            "alipay.trade.precreate": self._precreate,
            "alipay.trade.query": self._query,
            "alipay.trade.close": self._close,
            "alipay.trade.refund": self._refund,
            "alipay.trade.fastpay.refund.query": self._query_refund,
            "alipay.data.dataservice.bill.downloadurl.query": self._bill_address,
        }
        try:
            call = self.wire.check(parameters, base_of(request))
            verb = verbs.get(method)
            if verb is None:
                raise invalid("isv.invalid-method", "不存在的方法名")
            fields = {**_OK, **await verb(call)}
        except Refusal as refusal:
            return _answered(self.wire.answer(method, problem_of(refusal).answer))
        except Problem as problem:
            if parameters.get("app_id") != APP_ID or not method:
                return _answered(self.wire.unsigned(method, problem))
            return _answered(self.wire.answer(method, problem.answer))
        return _answered(self.wire.answer(method, fields))

    async def _cashier(self, request: Request, parameters: Mapping[str, str]) -> Response:
        """Make the trade of a signed link that the payer opened, and lead him to the page."""
        try:
            call = self.wire.check(parameters, base_of(request))
            if call.content.get("product_code") not in _PAGES[parameters["method"]]:
                raise invalid("isv.invalid-parameter", "无效的 product_code")
            opening = self._opening(call, _PAGE_TRADE_S)
            trade = await self._open(opening)
        except Problem as problem:
            said = f"{problem.answer['sub_code']}: {problem.answer['sub_msg']}"
            refusal = Refusal(400, problem.answer["sub_code"], said, said)
            return shown_refusal(Shown.of(request), refusal)
        except Refusal as refusal:
            return shown_refusal(Shown.of(request), refusal)
        return RedirectResponse(payer_url(base_of(request), trade), 302)

    async def _scanned(self, request: Request) -> Response:
        code = request.path_params["code"]

        def job(connection: sqlite3.Connection) -> Trade:
            row = connection.execute(
                "SELECT opening FROM alipay_codes WHERE code = ?", (code,)
            ).fetchone()
            if row is None:
                raise Refusal(404, "CODE_NOT_FOUND", "no such code", "二维码已失效")
            opening = Opening(**json.loads(row["opening"]))
            return trades.open_trade(connection, opening, self.desk.clock_us())

        try:
            trade = await self.desk.run(job)
        except Refusal as refusal:
            return shown_refusal(Shown.of(request), refusal)
        return RedirectResponse(payer_url(base_of(request), trade), 302)

    def _opening(self, call: Call, default_s: int) -> Opening:
        return Opening(
            protocol=self.name,
            trade_no=call.text("out_trade_no", longest=64),
            pay_type="alipay",
            amount_minor=call.minor("total_amount"),
            currency="CNY",
            subject=call.text("subject", longest=256),
            notify_url=call.notify_url,
            return_url=call.return_url,
            challenge=False,
            expires_at_s=call.expires_at_s(self.desk.clock_us(), default_s),
        )

    async def _open(self, opening: Opening) -> Trade:
        now_us = self.desk.clock_us()
        return await self.desk.run(
            lambda connection: trades.open_trade(connection, opening, now_us)
        )

    # The verbs. A trade is named by Alipay's number or by the merchant's.

    async def _precreate(self, call: Call) -> Fields:
        opening = self._opening(call, _CODE_S)
        code, now_us = f"bax{secrets.token_hex(11)}", self.desk.clock_us()
        kept = {name: getattr(opening, name) for name in Opening.__dataclass_fields__}

        def job(connection: sqlite3.Connection) -> None:
            known = _find(
                connection, Call(content={"out_trade_no": opening.trade_no}), now_us, missing=True
            )
            if known is not None and known.status is TradeStatus.PAID:
                raise failed("ACQ.TRADE_HAS_SUCCESS", "交易已被支付")
            if known is not None and known.status is TradeStatus.CLOSED:
                raise failed("ACQ.TRADE_HAS_CLOSE", "交易已经关闭")
            if known is not None and known.amount_minor != opening.amount_minor:
                raise failed("ACQ.CONTEXT_INCONSISTENT", "交易信息被篡改")
            connection.execute(
                "INSERT INTO alipay_codes (code, opening) VALUES (?, ?)",
                (code, json.dumps(kept, ensure_ascii=False)),
            )

        await self.desk.run(job)
        return {"out_trade_no": opening.trade_no, "qr_code": f"{call.base_url}/alipay/qr/{code}"}

    async def _query(self, call: Call) -> Fields:
        now_us = self.desk.clock_us()
        trade = await self.desk.run(lambda connection: _found(connection, call, now_us))
        fields: Fields = {
            "buyer_logon_id": BUYER_LOGON_ID,
            "buyer_pay_amount": "0.00",
            "buyer_user_id": BUYER_ID,
            "out_trade_no": trade.trade_no,
            "receipt_amount": "0.00",
            "total_amount": yuan(trade.amount_minor),
            "trade_no": trade.channel_trade_no,
            "trade_status": status_of(trade),
        }
        if trade.paid_at_us is not None:
            fields |= {
                "buyer_pay_amount": yuan(trade.amount_minor),
                "receipt_amount": yuan(trade.amount_minor),
                "send_pay_date": beijing(trade.paid_at_us),
            }
        return fields

    async def _close(self, call: Call) -> Fields:
        now_us = self.desk.clock_us()

        def job(connection: sqlite3.Connection) -> Trade:
            trade = _found(connection, call, now_us)
            if trade.status is not TradeStatus.WAITING:
                raise failed("ACQ.TRADE_STATUS_ERROR", "交易状态不合法")
            return trades.give_up(connection, trade, now_us, self.desk.announce)

        trade = await self.desk.run(job)
        return {"out_trade_no": trade.trade_no, "trade_no": trade.channel_trade_no}

    async def _refund(self, call: Call) -> Fields:
        amount_minor, now_us = call.minor("refund_amount"), self.desk.clock_us()
        delay_s = self.desk.dice.refund_delay_s()

        def job(connection: sqlite3.Connection) -> tuple[Refund, bool]:
            trade = _found(connection, call, now_us)
            number = call.text("out_request_no", longest=64, needed=False)
            if not number and amount_minor != trade.amount_minor:
                raise failed("ACQ.INVALID_PARAMETER", "部分退款必须传入 out_request_no")
            before = len(refunds.of_trade(connection, trade))
            done = refunds.refund(
                connection,
                trade,
                number or trade.trade_no,
                amount_minor,
                "CNY",
                now_us,
                delay_s=delay_s,
            )
            made = len(refunds.of_trade(connection, trade)) > before
            if made and done.status is RefundStatus.REFUNDED:
                self.desk.announce(connection, refunds.refunded(done, now_us))
            return done, made and done.status is RefundStatus.REFUNDED

        done, moved = await self.desk.run(job)
        return {
            "buyer_logon_id": BUYER_LOGON_ID,
            "buyer_user_id": BUYER_ID,
            "fund_change": "Y" if moved else "N",
            "gmt_refund_pay": beijing(now_us),
            "out_trade_no": done.trade.trade_no,
            "refund_fee": yuan(done.trade.refunded_minor),
            "send_back_fee": yuan(done.amount_minor),
            "trade_no": done.trade.channel_trade_no,
        }

    async def _query_refund(self, call: Call) -> Fields:
        number, now_us = call.text("out_request_no", longest=64), self.desk.clock_us()

        def job(connection: sqlite3.Connection) -> Refund | None:
            trade = _found(connection, call, now_us)
            known = (each for each in refunds.of_trade(connection, trade))
            return next((each for each in known if each.refund_no == number), None)

        refund = await self.desk.run(job)
        if refund is None or refund.status is not RefundStatus.REFUNDED:
            return {}  # Code 10000 and nothing else: not refunded, or not yet.
        return {
            "out_request_no": number,
            "out_trade_no": refund.trade.trade_no,
            "refund_amount": yuan(refund.amount_minor),
            "refund_status": "REFUND_SUCCESS",
            "total_amount": yuan(refund.trade.amount_minor),
            "trade_no": refund.trade.channel_trade_no,
        }

    # The bill: an address good for half a minute, then the file.

    async def _bill_address(self, call: Call) -> Fields:
        if call.text("bill_type", longest=16) != "trade":
            raise failed("ACQ.INVALID_PARAMETER", "参数无效: bill_type")
        day = call.text("bill_date", longest=10)
        bill.day_bounds_us(day)
        until_s = self.desk.clock_us() // 1_000_000 + _BILL_ADDRESS_S
        ticket = self._ticket(day, str(until_s))
        query = f"bizType=trade&bizDates={day}&fileType=csv.zip&until={until_s}&fileId={ticket}"
        return {"bill_download_url": f"{call.base_url}/downloadBillFile.resource?{query}"}

    def _ticket(self, day: str, until_s: str) -> str:
        secret = bytes.fromhex(self.desk.keys.secret_hex("alipay.bills"))
        return hmac.digest(secret, f"{day}\n{until_s}".encode(), "sha256").hex()

    async def _bill_file(self, request: Request) -> Response:
        asked = request.query_params
        day, until_s = asked.get("bizDates", ""), asked.get("until", "")
        if not hmac.compare_digest(self._ticket(day, until_s), asked.get("fileId", "")):
            return Response("非法请求", 403)
        if int(until_s) < self.desk.clock_us() // 1_000_000:
            return Response("下载地址已失效", 403)
        rows = await self.desk.run(lambda connection: bill.rows_of(connection, self.name, day))
        rows, now_us = bill.with_faults(rows, self.desk.dice), self.desk.clock_us()
        file = await asyncio.to_thread(alipay_bill.write, rows, day, now_us)
        return Response(file, media_type="application/zip")


def _answered(body: bytes) -> Response:
    return Response(body, media_type="text/html;charset=utf-8")


def _find(
    connection: sqlite3.Connection, call: Call, now_us: int, *, missing: bool = False
) -> Trade | None:
    """Return the trade a call names, by Alipay's number first."""
    channel_no = call.text("trade_no", longest=64, needed=False)
    number = call.text("out_trade_no", longest=64, needed=not channel_no)
    try:
        if channel_no:
            return trades.find_by_channel_no(connection, Alipay.name, channel_no, now_us)
        return trades.find(connection, Alipay.name, number, now_us)
    except Refusal:
        if missing:
            return None
        raise


def _found(connection: sqlite3.Connection, call: Call, now_us: int) -> Trade:
    trade = _find(connection, call, now_us)
    if trade is None:
        raise failed("ACQ.TRADE_NOT_EXIST", "交易不存在")
    return trade


def _refunded_minor(connection: sqlite3.Connection, trade: Trade) -> int:
    done = (each for each in refunds.of_trade(connection, trade) if each.refunded_at_us)
    return sum(each.amount_minor for each in done)
