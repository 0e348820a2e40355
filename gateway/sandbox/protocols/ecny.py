"""e-CNY at the sandbox: a bank that takes orders for the wallets, as its guide has it."""

import asyncio
import csv
import io
import json
import sqlite3
import zipfile
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.sandbox import bill, refunds, trades
from gateway.sandbox.callbacks import Message
from gateway.sandbox.keys import Keys
from gateway.sandbox.protocols import ecny_wire as wire
from gateway.sandbox.protocols.base import (
    Act,
    Desk,
    Handler,
    WireProtocol,
    base_of,
    payer_url,
    read_body,
)
from gateway.sandbox.protocols.ecny_wallet import LEVELS, spend
from gateway.sandbox.protocols.ecny_wire import Asked, Bank, Misasked, beijing
from gateway.sandbox.trades import Announce, Event, Opening, Refund, Refusal, Trade, TradeStatus

Work = Callable[[Asked, Request], Awaitable[dict[str, object]]]
_PATH: Final = "/ecny/polypay/v1.0/mchorders"
_SPECIAL: Final = frozenset("/=&+<>%#'\"\\")  # May not stand in a product's name.
_HEADER: Final = (
    "交易类型",
    "商户订单号",
    "平台订单号",
    "原商户订单号",
    "交易金额",
    "优惠金额",
    "手续费",
    "币种",
    "支付方式",
    "交易完成时间",
)


class Ecny(WireProtocol):
    """See `docs/CHANNELS.md`, "e-CNY"."""

    name = wire.NAME

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.bank = Bank(desk.keys, desk.clock_us)

    @staticmethod
    def account(keys: Keys, base_url: str) -> Mapping[str, str]:
        return wire.account(keys, base_url)

    def routes(self) -> list[Route]:
        works: dict[str, Work] = {
            "ecny/unifiedOrder": self._order,
            "orderquery": self._query,
            "close": self._close,
            "refund": self._refund,
            "refundquery": self._query_refund,
            "statementurl": self._statement_url,
        }
        return [
            *(
                Route(f"{_PATH}/{name}", self.desk.faulty(self._signed(work)), methods=["POST"])
                for name, work in works.items()
            ),
            Route("/ecny/statement/{day}/{ticket}", self._statement, methods=["GET"]),
        ]

    def acts(self) -> Mapping[str, Act]:
        return {
            f"wallet{level}": Act(
                label=f"{level} 类钱包付款 · Pay from a level {level} wallet",
                do=partial(self._pay_from, level),
            )
            for level in LEVELS
        }

    def _pay_from(
        self,
        level: int,
        connection: sqlite3.Connection,
        trade: Trade,
        now_us: int,
        announce: Announce,
    ) -> Trade:
        if trade.status is TradeStatus.WAITING:
            spend(connection, trade, level, now_us)
        return self.pay(connection, trade, now_us, announce, 1, False)

    def compose(self, connection: sqlite3.Connection, event: Event) -> bytes:
        trade = event.trade
        content: dict[str, object] = {
            "merId": wire.MERCHANT_NO,
            "userId": wire.CASHIER_NO,
            "currencyCode": "156",
            "payType": "EC",
            "endDate": beijing(event.at_us)[:8],
            "endTime": beijing(event.at_us)[8:],
        }
        if event.event == "REFUNDED":
            done = refunds.find(connection, trade, event.refund_no)
            content |= {
                "orderId": done.refund_no,
                "cmbOrderId": done.channel_refund_no,
                "refundAmt": str(event.amount_minor),
                "refundDscAmt": "0",
                "txnTime": beijing(done.created_at_us),
                "mchReserved": json.loads(done.extra)["reserved"],
            }
        elif event.event == "PAID":
            content |= {
                "orderId": trade.trade_no,
                "cmbOrderId": trade.channel_trade_no,
                "txnAmt": str(event.amount_minor),
                "dscAmt": "0",
                "txnTime": beijing(trade.opened_at_us),
            }
        else:
            return b""  # The bank tells of money alone.
        return json.dumps(content, ensure_ascii=False).encode()

    def dress(self, body: bytes, event_id: str, now_us: int, *, valid: bool) -> Message:  # noqa: ARG002 - neither stands in it
        message = self.bank.notification(body.decode(), valid=valid)
        headers = {"Content-Type": "application/x-www-form-urlencoded;charset=UTF-8"}
        return Message(headers, urlencode(message).encode())

    def heard(self, http_status: int, body: bytes) -> bool:
        return http_status == 200 and self.bank.acknowledges(body)  # noqa: PLR2004 - OK.

    # The verbs.

    def _signed(self, work: Work) -> Handler:
        """Wrap a verb: verify the request, answer signed."""

        async def answer(request: Request) -> Response:
            content: dict[str, object] | None = None
            try:
                body = await read_body(request)
                asked = await asyncio.to_thread(self.bank.read, request.headers, body)
                content = {"merId": wire.MERCHANT_NO, **await work(asked, request)}
                fields = {"returnCode": "SUCCESS", "respCode": "SUCCESS"}
            except Misasked as error:
                fields = {"returnCode": "FAIL", "errCode": error.code, "respMsg": error.message}
            except Refusal as refusal:
                fields = wire.refused(refusal)
            text = await asyncio.to_thread(self.bank.say, fields, content)
            return Response(text, media_type="application/json")

        return answer

    async def _order(self, asked: Asked, request: Request) -> dict[str, object]:
        kind = asked.fixed("transactionType", "TT01", "TT03", "TT04", "TT13")
        asked.fixed("currencyCode", "156")
        goods = asked.text("goodsName", 200)
        if _SPECIAL & set(goods):
            raise Misasked("GOODSNAME_NOT_LAWFUL", "商品名称含特殊字符")
        for name, length_max in (("terminalNo", 32), ("terminalIp", 64), ("tradePlace", 128)):
            asked.text(name, length_max)
        _check_cashier(asked)
        opening = Opening(
            protocol=self.name,
            trade_no=asked.number("orderId"),
            pay_type="ecny",
            amount_minor=asked.fen("txnAmt"),
            currency="CNY",
            subject=goods,
            notify_url=asked.text("notifyUrl", 256),
            return_url="",
            challenge=False,
            expires_at_s=asked.expiry_s("orderTimeExpire"),
        )
        now_us = self.desk.clock_us()
        trade = await self.desk.run(lambda conn: trades.open_trade(conn, opening, now_us))
        if trade.status is TradeStatus.CLOSED:
            raise Refusal(409, "TRADE_CLOSED", "the trade is closed", "订单号已失效")
        address = payer_url(base_of(request), trade)
        known: dict[str, object] = {
            "orderId": trade.trade_no,
            "cmbOrderId": trade.channel_trade_no,
            "txnTime": beijing(trade.opened_at_us),
        }
        if kind == "TT01":
            return known | {"qrCode": address}
        return known | {"invokeUrl": address, "context": self.bank.envelope(trade)}

    async def _query(self, asked: Asked, _: Request) -> dict[str, object]:
        _check_cashier(asked)
        trade = await self._found(asked.number("orderId"))
        state = {"WAITING": "P", "CLOSED": "C"}.get(trade.status, "S")
        answer: dict[str, object] = {
            "orderId": trade.trade_no,
            "cmbOrderId": trade.channel_trade_no,
            "txnAmt": str(trade.amount_minor),
            "dscAmt": "0",
            "currencyCode": "156",
            "payType": "EC",
            "tradeState": "R" if state == "S" and trade.refunded_minor else state,
            "txnTime": beijing(trade.opened_at_us),
        }
        if trade.paid_at_us is not None:
            paid_at = beijing(trade.paid_at_us)
            answer |= {"endDate": paid_at[:8], "endTime": paid_at[8:]}
        return answer

    async def _found(self, trade_no: str) -> Trade:
        now_us = self.desk.clock_us()
        return await self.desk.run(lambda conn: trades.find(conn, self.name, trade_no, now_us))

    async def _close(self, asked: Asked, _: Request) -> dict[str, object]:
        _check_cashier(asked)
        trade_no, now_us = asked.number("origOrderId"), self.desk.clock_us()

        def job(connection: sqlite3.Connection) -> Trade:
            trades.find(connection, self.name, trade_no, now_us)
            return trades.close(connection, self.name, trade_no, now_us)

        trade = await self.desk.run(job)
        if trade.status is TradeStatus.PAID:
            raise Refusal(409, "ORDER_PAID", "the trade is paid", "订单已支付")
        return {"origOrderId": trade_no, "closeState": "C", "txnTime": beijing(now_us)}

    async def _refund(self, asked: Asked, _: Request) -> dict[str, object]:
        _check_cashier(asked)
        refund_no, amount_fen = asked.number("orderId"), asked.fen("refundAmt")
        trade_no, whole_fen = asked.number("origOrderId"), asked.fen("txnAmt")
        notify_url = asked.text("notifyUrl", 256, required=False)
        asked.text("refundReason", 256, required=False)
        extra = json.dumps({"reserved": asked.text("mchReserved", 128, required=False)})
        now_us, delay_s = self.desk.clock_us(), self.desk.dice.refund_delay_s()

        def job(connection: sqlite3.Connection) -> Refund:
            trade = trades.find(connection, self.name, trade_no, now_us)
            if trade.amount_minor != whole_fen:
                raise Refusal(409, "TXNAMT_ERROR", "not the trade's amount", "原交易金额不符")
            before = trade.refunded_minor
            done = refunds.refund(
                connection,
                trade,
                refund_no,
                amount_fen,
                "CNY",
                now_us,
                delay_s=delay_s,
                extra=extra,
            )
            if done.refunded_at_us is not None and done.trade.refunded_minor != before:
                self.desk.announce(connection, _refunded(done, now_us, notify_url))
            return done

        return _refund_answer(await self.desk.run(job), "refundState")

    async def _query_refund(self, asked: Asked, _: Request) -> dict[str, object]:
        _check_cashier(asked)
        refund_no, now_us = asked.number("orderId"), self.desk.clock_us()

        def job(connection: sqlite3.Connection) -> Refund:
            row = connection.execute(
                "SELECT channel_refund_no FROM refunds WHERE protocol = ? AND refund_no = ?",
                (self.name, refund_no),
            ).fetchone()
            number = row["channel_refund_no"] if row else refund_no
            return refunds.find_by_channel_no(connection, self.name, number, now_us)

        answer = _refund_answer(await self.desk.run(job), "tradeState")
        return answer | {"currencyCode": "156"}

    # The statement.

    async def _statement_url(self, asked: Asked, request: Request) -> dict[str, object]:
        written = asked.text("billDate", 8)
        asked.fixed("billType", "zip")
        day = f"{written[:4]}-{written[4:6]}-{written[6:]}"
        bill.day_bounds_us(day)
        address = f"{base_of(request)}/ecny/statement/{day}/{self.bank.ticket(day)}"
        return {"fileDownloadUrl": address}

    async def _statement(self, request: Request) -> Response:
        day = request.path_params["day"]
        if request.path_params["ticket"] != self.bank.ticket(day):
            return Response(status_code=403)
        rows = await self.desk.run(lambda conn: bill.rows_of(conn, self.name, day))
        rows = bill.with_faults(rows, self.desk.dice)
        name = f"POL{wire.MERCHANT_NO}{day.replace('-', '')}.csv"
        file = await asyncio.to_thread(_zipped, name, _lines(rows))
        return Response(file, media_type="application/zip")


def _check_cashier(asked: Asked) -> None:
    if asked.text("userId", 32) != wire.CASHIER_NO:
        raise Misasked("USERID_NOT_EXIST", "收银员信息不存在")


def _refunded(done: Refund, now_us: int, notify_url: str) -> Event:
    event = refunds.refunded(done, now_us)
    return Event(
        event_id=event.event_id,
        event=event.event,
        trade=event.trade,
        refund_no=event.refund_no,
        amount_minor=event.amount_minor,
        at_us=event.at_us,
        notify_url=notify_url,
    )


def _refund_answer(refund: Refund, state: str) -> dict[str, object]:
    return {
        "orderId": refund.refund_no,
        "cmbOrderId": refund.channel_refund_no,
        "refundAmt": str(refund.amount_minor),
        "refundDscAmt": "0",
        state: "P" if refund.refunded_at_us is None else "S",
        "txnTime": beijing(refund.created_at_us),
    }


def _lines(rows: list[bill.BillRow]) -> list[list[str]]:
    lines, sums = [list(_HEADER)], {"PAY": [0, 0], "REFUND": [0, 0]}
    for row in rows:
        paid = row.kind == "PAY"
        lines.append(
            [
                "收款" if paid else "退款",
                row.trade_no if paid else row.refund_no,
                row.channel_trade_no if paid else row.channel_refund_no,
                "" if paid else row.trade_no,
                str(row.amount_minor),
                "0",
                "0",
                "156",
                "EC",
                beijing(row.at_us),
            ]
        )
        sums[row.kind][0] += 1
        sums[row.kind][1] += row.amount_minor
    lines.append(["合计", *(str(each) for kind in ("PAY", "REFUND") for each in sums[kind])])
    return lines


def _zipped(name: str, lines: list[list[str]]) -> bytes:
    text, file = io.StringIO(), io.BytesIO()
    csv.writer(text, lineterminator="\r\n").writerows(lines)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name), text.getvalue().encode("utf-8-sig"))
    return file.getvalue()
