"""UnionPay as the sandbox plays it: posted forms, app numbers, refunds, questions, files."""

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta, timezone
from functools import cached_property
from typing import ClassVar, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from gateway.sandbox import bill, refunds, trades
from gateway.sandbox.callbacks import Message
from gateway.sandbox.certificates import pem_of
from gateway.sandbox.keys import Keys
from gateway.sandbox.page import Shown, shown_refusal
from gateway.sandbox.protocols import unionpay_bill
from gateway.sandbox.protocols.base import Handler, WireProtocol, base_of, payer_url, read_body
from gateway.sandbox.protocols.unionpay_wire import (
    MER_ID,
    SIGNER,
    Problem,
    Wire,
    beijing,
    epoch_s,
    problem_of,
)
from gateway.sandbox.trades import (
    Event,
    Opening,
    Refund,
    RefundStatus,
    Refusal,
    Trade,
    TradeStatus,
)

Fields = dict[str, str]
Verb = Callable[[Fields], Awaitable[Fields]]
_CLEARING: Final = timezone(timedelta(hours=9))  # A clearing day begins at 23:00 in Beijing.
_TN: Final = "TN"
_CLOCK_TOLERANCE_S: Final = 900
_ECHOED: Final = ("txnType", "txnSubType", "bizType", "orderId", "txnTime", "reqReserved")


class UnionPay(WireProtocol):
    """See `docs/CHANNELS.md`, "UnionPay"."""

    name = "unionpay"
    schema: ClassVar[str] = """
CREATE TABLE IF NOT EXISTS unionpay_queries (
  query_id TEXT PRIMARY KEY,        -- UnionPay's own number, 21 digits
  trade_no TEXT NOT NULL,
  refund_no TEXT NOT NULL,          -- '' for the payment
  UNIQUE (trade_no, refund_no)
) STRICT;
"""

    @cached_property
    def wire(self) -> Wire:
        """Keys are made when they are first needed."""
        return Wire(self.desk.keys)

    @staticmethod
    def account(keys: Keys, base_url: str) -> Mapping[str, str]:
        wire = Wire(keys)
        root, middle = wire.chain
        _ = wire.signing  # Made now, not while somebody waits for an answer.
        return {
            "mer_id": MER_ID,
            "private_key": keys.rsa_private_pem("unionpay.merchant"),
            "certificate": pem_of(wire.merchant),
            "root_certificate": pem_of(root),
            "middle_certificate": pem_of(middle),
            "signer": SIGNER,
            "secret": wire.secret,
            "base_url": base_url,
            "file_url": f"{base_url}/filedownload/",
        }

    def owns(self, code: str) -> str | None:
        return code.removeprefix(_TN) if code.startswith(_TN) else None

    def routes(self) -> list[Route]:
        verbs: dict[str, tuple[Verb, set[tuple[str, str]]]] = {
            "/gateway/api/appTransReq.do": (self._app, {("01", "01")}),
            "/gateway/api/backTransReq.do": (self._refund, {("04", "00")}),
            "/gateway/api/queryTrans.do": (self._query, {("00", "00")}),
            "/filedownload/": (self._file, {("76", "01")}),
        }
        return [
            Route("/gateway/api/frontTransReq.do", self._page, methods=["POST"]),
            *(
                Route(path, self.desk.faulty(self._answered(verb, kinds)), methods=["POST"])
                for path, (verb, kinds) in verbs.items()
            ),
        ]

    def compose(self, connection: sqlite3.Connection, event: Event) -> bytes:
        if event.event not in ("PAID", "REFUNDED"):
            return b""  # UnionPay tells of nothing else.
        trade, extra = event.trade, json.loads(event.trade.extra)
        known = _query_id(connection, trade, event.refund_no, event.at_us)
        fields = {
            "respCode": "00",
            "respMsg": "成功[0000000]",
            "queryId": known,
            "txnAmt": str(event.amount_minor),
            "settleAmt": str(event.amount_minor),
            "currencyCode": "156",
            "settleCurrencyCode": "156",
            "settleDate": beijing(event.at_us + 3_600_000_000)[4:8],
            "traceNo": known[-6:],
            "traceTime": beijing(event.at_us)[4:],
            "bizType": "000201",
        }
        if event.refund_no:
            done = refunds.find(connection, trade, event.refund_no)
            kept = json.loads(done.extra)
            fields |= {"txnType": "04", "txnSubType": "00", "orderId": done.refund_no}
            fields |= {"txnTime": kept["txn_time"], "reqReserved": kept["reserved"]}
            fields["origQryId"] = _query_id(connection, trade, "", event.at_us)
        else:
            fields |= {"txnType": "01", "txnSubType": "01", "orderId": trade.trade_no}
            fields |= {"txnTime": extra["txn_time"], "accNo": "621626*********0018"}
        return json.dumps([extra["method"], fields], ensure_ascii=False).encode()

    def dress(self, body: bytes, event_id: str, now_us: int, *, valid: bool) -> Message:  # noqa: ARG002 - in the body
        method, fields = json.loads(body)
        headers = {"Content-Type": "application/x-www-form-urlencoded;charset=utf-8"}
        return Message(headers, self.wire.notification(fields, method, valid=valid))

    def heard(self, http_status: int, body: bytes) -> bool:  # noqa: ARG002 - the status says it
        return http_status == 200  # noqa: PLR2004 - OK.

    def _answered(self, verb: Verb, kinds: set[tuple[str, str]]) -> Handler:
        """Wrap a verb: verify the request, answer by the method it was signed with."""

        async def answer(request: Request) -> Response:
            fields: Fields = {}
            try:
                fields = self.wire.read(await read_body(request))
                _check_kind(fields, kinds)
                said = {"respCode": "00", "respMsg": "成功[0000000]", **await verb(fields)}
            except Refusal as refusal:
                said = _refused(problem_of(refusal))
            except Problem as problem:
                said = _refused(problem)
            echoed: Fields = {name: fields[name] for name in _ECHOED if name in fields}
            body = self.wire.answer(echoed | said, fields.get("signMethod", "01"))
            return Response(body, media_type="text/html;charset=utf-8")

        return answer

    # Payments.

    async def _page(self, request: Request) -> Response:
        """Make the trade of a posted form, and lead the payer to the page."""
        try:
            fields = self.wire.read(await read_body(request))
            trade = await self._open(fields)
        except Problem as problem:
            refusal = Refusal(400, problem.code, problem.message, problem.message)
            return shown_refusal(Shown.of(request), refusal)
        except Refusal as refusal:
            return shown_refusal(Shown.of(request), refusal)
        return RedirectResponse(payer_url(base_of(request), trade), 303)

    async def _app(self, fields: Fields) -> Fields:
        trade = await self._open(fields)
        return {"tn": f"{_TN}{trade.channel_trade_no}"}

    async def _open(self, fields: Fields) -> Trade:
        if (fields.get("txnType"), fields.get("bizType")) != ("01", "000201"):
            raise Problem("10", "报文格式错误: txnType[1000006]")
        now_us, txn_time = self.desk.clock_us(), _needed(fields, "txnTime")
        if abs(epoch_s(txn_time) - now_us // 1_000_000) > _CLOCK_TOLERANCE_S:
            raise Problem("10", "报文格式错误: txnTime 与当前时间不符[1000007]")
        if fields.get("currencyCode") != "156":
            raise Problem("10", "报文格式错误: currencyCode[1000008]")
        written = fields.get("payTimeout", "")
        opening = Opening(
            protocol=self.name,
            trade_no=_needed(fields, "orderId"),
            pay_type="unionpay",
            amount_minor=_fen(fields),
            currency="CNY",
            subject=fields.get("orderDesc") or "-",
            notify_url=_needed(fields, "backUrl"),
            return_url=fields.get("frontUrl", ""),
            challenge=False,
            expires_at_s=epoch_s(written) if written else now_us // 1_000_000 + 86_400,
            extra=json.dumps({"txn_time": txn_time, "method": fields["signMethod"]}),
        )
        trade = await self.desk.run(lambda conn: trades.open_trade(conn, opening, now_us))
        if json.loads(trade.extra)["txn_time"] != txn_time:
            raise Problem("12", "重复交易[1200003]")
        return trade

    # Refunds and questions. Both are named by number and time.

    async def _refund(self, fields: Fields) -> Fields:
        number, amount_minor = _needed(fields, "orderId"), _fen(fields)
        original, now_us = _needed(fields, "origQryId"), self.desk.clock_us()
        delay_s = self.desk.dice.refund_delay_s()
        kept = {
            "txn_time": _needed(fields, "txnTime"),
            "reserved": fields.get("reqReserved", ""),
            "notify_url": _needed(fields, "backUrl"),
        }

        def job(connection: sqlite3.Connection) -> str:
            trade = _by_query_id(connection, original, now_us)
            if any(each.refund_no == number for each in refunds.of_trade(connection, trade)):
                raise Problem("12", "重复交易[1200004]")
            made = refunds.refund(
                connection,
                trade,
                number,
                amount_minor,
                "CNY",
                now_us,
                delay_s=delay_s,
                extra=json.dumps(kept),
            )
            if made.status is RefundStatus.REFUNDED:
                self.desk.announce(connection, refunds.refunded(made, now_us))
            return _query_id(connection, trade, number, now_us)

        query_id = await self.desk.run(job)
        return {"queryId": query_id, "origQryId": original, "txnAmt": str(amount_minor)}

    async def _query(self, fields: Fields) -> Fields:
        number, txn_time = _needed(fields, "orderId"), _needed(fields, "txnTime")
        now_us = self.desk.clock_us()

        def job(connection: sqlite3.Connection) -> Fields:
            try:
                refund = refunds.named(connection, self.name, number, now_us)
            except Refusal:
                return _payment(connection, number, txn_time, now_us)
            return _refunded(connection, refund, txn_time)

        return await self.desk.run(job)

    # The file of a clearing day.

    async def _file(self, fields: Fields) -> Fields:
        if fields.get("fileType") != "00":
            raise Problem("10", "报文格式错误: fileType[1000009]")
        settled, now_us = _needed(fields, "settleDate"), self.desk.clock_us()
        year = int(beijing(now_us)[:4])
        if settled > beijing(now_us + 3_600_000_000)[4:8]:
            year -= 1  # Only month and day are named: the last such day is meant.
        day = f"{year}-{settled[:2]}-{settled[2:]}"

        def job(
            connection: sqlite3.Connection,
        ) -> tuple[list[bill.BillRow], dict[tuple[str, str], str]]:
            rows = bill.rows_of(connection, self.name, day, _CLEARING)
            ids = {}
            for row in rows:
                trade = trades.find(connection, self.name, row.trade_no, now_us)
                for refund_no in {"", row.refund_no}:
                    found = _query_id(connection, trade, refund_no, row.at_us)
                    ids[row.trade_no, refund_no] = found
            return rows, ids

        rows, ids = await self.desk.run(job)
        if not rows:
            raise Problem("98", "文件不存在[9800001]")
        rows = bill.with_faults(rows, self.desk.dice)
        file = await asyncio.to_thread(unionpay_bill.write, rows, day, ids)
        return {
            "settleDate": settled,
            "fileType": "00",
            "fileName": unionpay_bill.file_name(day),
            "fileContent": unionpay_bill.packed(file),
        }


def _refused(problem: Problem) -> Fields:
    return {"respCode": problem.code, "respMsg": problem.message}


def _check_kind(fields: Fields, kinds: set[tuple[str, str]]) -> None:
    if (fields.get("txnType", ""), fields.get("txnSubType", "")) not in kinds:
        raise Problem("10", "报文格式错误: txnType[1000005]")


def _needed(fields: Fields, name: str) -> str:
    if not fields.get(name):
        raise Problem("13", f"报文交易要素缺失: {name}[1300001]")
    return fields[name]


def _fen(fields: Fields) -> int:
    written = _needed(fields, "txnAmt")
    if not (written.isascii() and written.isdigit() and len(written) <= 12 and int(written)):  # noqa: PLR2004 - n12
        raise Problem("10", "报文格式错误: txnAmt[1000010]")
    return int(written)


def _query_id(connection: sqlite3.Connection, trade: Trade, refund_no: str, at_us: int) -> str:
    """Return UnionPay's own number of a payment or refund; made when first needed."""
    digest = hashlib.sha256(f"{trade.trade_no}:{refund_no}".encode()).digest()
    made = f"{beijing(at_us)}{int.from_bytes(digest[:6]) % 10**7:07d}"
    connection.execute(
        "INSERT INTO unionpay_queries (query_id, trade_no, refund_no) VALUES (?, ?, ?)"
        " ON CONFLICT (trade_no, refund_no) DO NOTHING",
        (made, trade.trade_no, refund_no),
    )
    row = connection.execute(
        "SELECT query_id FROM unionpay_queries WHERE trade_no = ? AND refund_no = ?",
        (trade.trade_no, refund_no),
    ).fetchone()
    return str(row["query_id"])


def _by_query_id(connection: sqlite3.Connection, query_id: str, now_us: int) -> Trade:
    row = connection.execute(
        "SELECT trade_no FROM unionpay_queries WHERE query_id = ? AND refund_no = ''", (query_id,)
    ).fetchone()
    if row is None:
        raise Problem("35", "原交易不存在或状态不正确[3500003]")
    return trades.find(connection, UnionPay.name, row["trade_no"], now_us)


def _payment(connection: sqlite3.Connection, number: str, txn_time: str, now_us: int) -> Fields:
    try:
        trade = trades.find(connection, UnionPay.name, number, now_us)
    except Refusal:
        raise Problem("34", "查无此交易[3400001]") from None
    if json.loads(trade.extra)["txn_time"] != txn_time:
        raise Problem("34", "查无此交易[3400002]")
    about = {"txnType": "01", "txnSubType": "01", "txnAmt": str(trade.amount_minor)}
    if trade.status is not TradeStatus.PAID:
        unpaid = "交易已受理, 请稍后查询交易结果[6154037]"
        return about | {"origRespCode": "05", "origRespMsg": unpaid, "settleAmt": "0"}
    return about | {
        "origRespCode": "00",
        "origRespMsg": "成功[0000000]",
        "queryId": _query_id(connection, trade, "", trade.paid_at_us or now_us),
        "settleAmt": str(trade.amount_minor),
        "currencyCode": "156",
    }


def _refunded(connection: sqlite3.Connection, refund: Refund, txn_time: str) -> Fields:
    if json.loads(refund.extra)["txn_time"] != txn_time:
        raise Problem("34", "查无此交易[3400003]")
    done = refund.status is RefundStatus.REFUNDED
    return {
        "txnType": "04",
        "txnSubType": "00",
        "bizType": "000201",
        "origRespCode": "00" if done else "05",
        "origRespMsg": "成功[0000000]" if done else "交易已受理, 请稍后查询[0500001]",
        "queryId": _query_id(connection, refund.trade, refund.refund_no, refund.created_at_us),
        "txnAmt": str(refund.amount_minor),
        "currencyCode": "156",
    }
