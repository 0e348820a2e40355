"""WeChat Pay's API v3 as the sandbox plays it: four kinds of orders, refunds, keys, bills."""

import asyncio
import hashlib
import hmac
import json
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.sandbox import bill, refunds, trades
from gateway.sandbox.callbacks import Message
from gateway.sandbox.keys import Keys
from gateway.sandbox.protocols import wechat_bill
from gateway.sandbox.protocols.base import Handler, WireProtocol, base_of, payer_url, read_body
from gateway.sandbox.protocols.wechat_wire import (
    APP_ID,
    MCH_ID,
    PUBLIC_KEY_ID,
    Asked,
    Problem,
    Wire,
    api_key,
    bad,
    notice_id,
    problem_of,
    refund_answer,
    refund_notice,
    rfc3339,
    transaction,
)
from gateway.sandbox.trades import Event, Opening, Refund, RefundStatus, Refusal, Trade, TradeStatus

Work = Callable[[Asked, Request], Awaitable[dict[str, object] | None]]
_CODE: Final = "weixin://wxpay/bizpayurl?pr="
_PREPAY: Final = "wx"
_ORDER_NO: Final = r"[0-9A-Za-z_\-*]{6,32}"
_REFUND_NO: Final = r"[0-9A-Za-z_\-|*@]{1,64}"
_ADDRESS: Final = r"https?://[^?]{1,240}"  # No query: WeChat Pay refuses one.
_KINDS: Final = ("native", "app", "jsapi", "h5")
_BILL_ADDRESS_S: Final = 30


class WeChat(WireProtocol):
    """See `docs/CHANNELS.md`, "WeChat Pay"."""

    name = "wechat"

    @cached_property
    def wire(self) -> Wire:
        """Keys are made when they are first needed."""
        return Wire(self.desk.keys, self.desk.clock_us)

    @staticmethod
    def account(keys: Keys, base_url: str) -> Mapping[str, str]:
        wire = Wire(keys, lambda: 0)
        return {
            "base_url": base_url,
            "mch_id": MCH_ID,
            "app_id": APP_ID,
            "serial_no": f"{wire.merchant.serial_number:X}",
            "private_key": keys.rsa_private_pem("wechat.merchant"),
            "apiv3_key": api_key(keys),
            "wechatpay_public_key": keys.rsa_public_pem("wechat.public"),
            "wechatpay_public_key_id": PUBLIC_KEY_ID,
        }

    def owns(self, code: str) -> str | None:
        for mark in (_CODE, _PREPAY):
            if code.startswith(mark):
                return code.removeprefix(mark)
        return None

    def routes(self) -> list[Route]:
        orders, returned = "/v3/pay/transactions", "/v3/refund/domestic/refunds"
        works: list[tuple[str, str, Work]] = [
            *((f"{orders}/{kind}", "POST", self._order) for kind in _KINDS),
            (f"{orders}/out-trade-no/{{number}}", "GET", self._query),
            (f"{orders}/id/{{channel_number}}", "GET", self._query),
            (f"{orders}/out-trade-no/{{number}}/close", "POST", self._close),
            (returned, "POST", self._refund),
            (f"{returned}/{{number}}", "GET", self._query_refund),
            ("/v3/certificates", "GET", self._certificates),
            ("/v3/bill/tradebill", "GET", self._bill),
        ]
        return [
            *(
                Route(path, self.desk.faulty(self._signed(work)), methods=[method])
                for path, method, work in works
            ),
            Route("/v3/billdownload/file", self._bill_file, methods=["GET"]),
        ]

    def compose(self, connection: sqlite3.Connection, event: Event) -> bytes:
        if event.event == "CLOSED":  # WeChat Pay tells nobody.
            return b""
        if event.event == "PAID":
            kind, original = "TRANSACTION.SUCCESS", "transaction"
            inside = transaction(event.trade, event.amount_minor)
        else:
            kind, original = "REFUND.SUCCESS", "refund"
            done = refunds.find(connection, event.trade, event.refund_no)
            inside = refund_notice(event, done.channel_refund_no)
        told = {
            "id": notice_id(event.event_id),
            "create_time": rfc3339(event.at_us),
            "event_type": kind,
            "resource_type": "encrypt-resource",
            "summary": "支付成功" if original == "transaction" else "退款成功",
            "resource": self.wire.sealed(_json(inside), original) | {"original_type": original},
        }
        by_public_key = bool(json.loads(event.trade.extra).get("by_public_key"))
        return json.dumps([by_public_key, _json(told).decode()], ensure_ascii=False).encode()

    def dress(self, body: bytes, event_id: str, now_us: int, *, valid: bool) -> Message:  # noqa: ARG002 - signed by the clock
        by_public_key, text = json.loads(body)
        content = text.encode()
        headers = self.wire.seal(content, by_public_key=by_public_key, valid=valid)
        return Message({"Content-Type": "application/json", **headers}, content)

    def heard(self, http_status: int, body: bytes) -> bool:  # noqa: ARG002 - the status says it
        return http_status in (200, 204)

    def _signed(self, work: Work) -> Handler:
        """Wrap a verb: verify the request, answer signed under the key the merchant expects."""

        async def answer(request: Request) -> Response:
            by_public_key = False
            try:
                asked = self._asked(request, await read_body(request))
                by_public_key = asked.by_public_key
                said = await work(asked, request)
                status, body = (204, b"") if said is None else (200, _json(said))
            except Refusal as refusal:
                status, body = _refused(problem_of(refusal))
            except Problem as problem:
                status, body = _refused(problem)
            headers = self.wire.seal(body, by_public_key=by_public_key)
            headers["Content-Type"] = "application/json; charset=utf-8"
            return Response(body, status, headers)

        return answer

    def _asked(self, request: Request, body: bytes) -> Asked:
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        query = request.scope["query_string"].decode("latin-1")
        target = f"{path}?{query}" if query else path
        return self.wire.check(request.method, target, request.headers, body)

    async def _order(self, asked: Asked, request: Request) -> dict[str, object]:
        kind = request.url.path.rpartition("/")[2]
        if asked.text("appid", r".{1,32}") != APP_ID or asked.text("mchid", r".{1,32}") != MCH_ID:
            raise Problem(400, "APPID_MCHID_NOT_MATCH", "商户号与appid不匹配")
        amount = asked.part("amount")
        if amount.get("currency", "CNY") != "CNY":
            raise bad("amount.currency")
        if kind == "jsapi":
            asked.text("openid", r".{1,128}", inside=asked.part("payer"))
        if kind == "h5":
            asked.text("payer_client_ip", r"[0-9a-fA-F.:]{3,45}", inside=asked.part("scene_info"))
        now_us = self.desk.clock_us()
        opening = Opening(
            protocol=self.name,
            trade_no=asked.text("out_trade_no", _ORDER_NO),
            pay_type={"h5": "MWEB"}.get(kind, kind.upper()),
            amount_minor=asked.fen("total", amount),
            currency="CNY",
            subject=asked.text("description", r".{1,127}"),
            notify_url=asked.text("notify_url", _ADDRESS),
            return_url="",
            challenge=False,
            expires_at_s=asked.expires_at_s(now_us),
            extra=json.dumps({"by_public_key": asked.by_public_key}),
        )
        trade = await self.desk.run(lambda conn: trades.open_trade(conn, opening, now_us))
        if trade.status is TradeStatus.PAID:
            raise Problem(400, "ORDERPAID", "订单已支付")
        if trade.status is TradeStatus.CLOSED:
            raise Problem(400, "ORDER_CLOSED", "订单已关闭")
        if kind == "native":
            return {"code_url": f"{_CODE}{trade.channel_trade_no}"}
        if kind == "h5":
            return {"h5_url": payer_url(base_of(request), trade)}
        return {"prepay_id": f"{_PREPAY}{trade.channel_trade_no}"}

    async def _query(self, _: Asked, request: Request) -> dict[str, object]:
        if request.query_params.get("mchid") != MCH_ID:
            raise bad("mchid")
        named, now_us = request.path_params, self.desk.clock_us()

        def job(connection: sqlite3.Connection) -> Trade:
            if "channel_number" in named:
                number = named["channel_number"]
                return trades.find_by_channel_no(connection, self.name, number, now_us)
            return trades.find(connection, self.name, named["number"], now_us)

        trade = await self.desk.run(job)
        return transaction(trade, trade.amount_minor)

    async def _close(self, asked: Asked, request: Request) -> None:
        if asked.text("mchid", r".{1,32}") != MCH_ID:
            raise bad("mchid")
        number, now_us = request.path_params["number"], self.desk.clock_us()

        def job(connection: sqlite3.Connection) -> None:
            trade = trades.find(connection, self.name, number, now_us)
            if trade.status is TradeStatus.PAID:
                raise Problem(400, "ORDERPAID", "订单已支付")
            if trade.status is TradeStatus.CLOSED:
                raise Problem(400, "ORDER_CLOSED", "订单已关闭")
            trades.close(connection, self.name, number, now_us)

        await self.desk.run(job)

    async def _refund(self, asked: Asked, _: Request) -> dict[str, object]:
        amount = asked.part("amount")
        number = asked.text("out_refund_no", _REFUND_NO)
        refund_minor, total_minor = asked.fen("refund", amount), asked.fen("total", amount)
        url = asked.text("notify_url", _ADDRESS) if "notify_url" in asked.body else ""
        delay_s, now_us = self.desk.dice.refund_delay_s(), self.desk.clock_us()

        def job(connection: sqlite3.Connection) -> Refund:
            trade = self._refunded_trade(connection, asked, now_us)
            if total_minor != trade.amount_minor:
                raise Problem(400, "INVALID_REQUEST", "订单金额不一致")
            known = {each.refund_no for each in refunds.of_trade(connection, trade)}
            made = refunds.refund(
                connection,
                trade,
                number,
                refund_minor,
                str(amount.get("currency", "CNY")),
                now_us,
                delay_s=delay_s,
                extra=json.dumps({"notify_url": url}),
            )
            if number not in known and made.status is RefundStatus.REFUNDED:
                self.desk.announce(connection, refunds.refunded(made, now_us))
                # The answer is always that it is under way; the notice says how it ended.
                return replace(made, status=RefundStatus.PROCESSING)
            return made

        return refund_answer(await self.desk.run(job))

    def _refunded_trade(self, connection: sqlite3.Connection, asked: Asked, now_us: int) -> Trade:
        try:
            if "transaction_id" in asked.body:
                number = asked.text("transaction_id", r".{1,32}")
                return trades.find_by_channel_no(connection, self.name, number, now_us)
            return trades.find(connection, self.name, asked.text("out_trade_no", _ORDER_NO), now_us)
        except Refusal:
            raise Problem(404, "RESOURCE_NOT_EXISTS", "订单不存在") from None

    async def _query_refund(self, _: Asked, request: Request) -> dict[str, object]:
        number, now_us = request.path_params["number"], self.desk.clock_us()
        return refund_answer(
            await self.desk.run(lambda conn: refunds.named(conn, self.name, number, now_us))
        )

    async def _certificates(self, _: Asked, request: Request) -> dict[str, object]:  # noqa: ARG002 - same shape as its sisters
        return self.wire.certificates()

    # The bill: an address and the hash of what is there, signed; then the file, unsigned.

    async def _bill(self, _: Asked, request: Request) -> dict[str, object]:
        asked = request.query_params
        day = asked.get("bill_date", "")
        if asked.get("bill_type", "ALL") != "ALL" or asked.get("tar_type", "GZIP") != "GZIP":
            raise bad("bill_type")
        file = await self._written(day)
        until_s = self.desk.clock_us() // 1_000_000 + _BILL_ADDRESS_S
        token = f"{day}.{until_s}.{self._ticket(day, str(until_s))}"
        zip_too = "&tartype=gzip" if "tar_type" in asked else ""
        return {
            "hash_type": "SHA1",
            "hash_value": hashlib.sha1(file, usedforsecurity=False).hexdigest(),
            "download_url": f"{base_of(request)}/v3/billdownload/file?token={token}{zip_too}",
        }

    async def _written(self, day: str) -> bytes:
        rows = await self.desk.run(lambda connection: bill.rows_of(connection, self.name, day))
        if not rows:
            raise Problem(400, "NO_STATEMENT_EXIST", "账单文件不存在")
        return await asyncio.to_thread(wechat_bill.write, bill.with_faults(rows, self.desk.dice))

    def _ticket(self, day: str, until_s: str) -> str:
        secret = bytes.fromhex(self.desk.keys.secret_hex("wechat.bills"))
        return hmac.digest(secret, f"{day}\n{until_s}".encode(), "sha256").hex()

    def _check_ticket(self, day: str, until_s: str, ticket: str) -> None:
        if not hmac.compare_digest(self._ticket(day, until_s).encode(), ticket.encode()):
            raise bad("token")
        if int(until_s) < self.desk.clock_us() // 1_000_000:
            raise Problem(400, "INVALID_REQUEST", "下载地址已失效")

    async def _bill_file(self, request: Request) -> Response:
        try:
            self._asked(request, b"")
            day, _, rest = request.query_params.get("token", "").partition(".")
            until_s, _, ticket = rest.partition(".")
            self._check_ticket(day, until_s, ticket)
            file = await self._written(day)
        except Problem as problem:
            return Response(_refused(problem)[1], problem.http_status)
        is_zip = request.query_params.get("tartype") == "gzip"
        body = wechat_bill.zipped(file) if is_zip else file
        return Response(body, media_type="application/x-gzip" if is_zip else "text/plain")


def _json(said: Mapping[str, object]) -> bytes:
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()


def _refused(problem: Problem) -> tuple[int, bytes]:
    return problem.http_status, _json({"code": problem.code, "message": problem.message})
