"""What merchants ask beside the three verbs of the specification, signed in the same way.

Close an order, find a refund, list orders, download the bill of a day, see how notifications
went and have one sent again. None of it is hot, all of it is as strict as the rest.
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from gateway.domain.errors import InvalidParameter, ObjectNotFound, OrderNotFound
from gateway.domain.money import to_major
from gateway.domain.numbers import check_out_trade_no, utc_text
from gateway.http.asgi import App, Receive, Scope, Send
from gateway.http.merchant_api import Answer, MerchantApi, order_answer
from gateway.http.schemas import (
    Params,
    optional_number,
    optional_text,
    optional_time_ms,
    read_query,
)
from gateway.payments.expire import close_by_merchant
from gateway.payments.resend import ResendCommand, resend
from gateway.payments.settlement import day_before, end_of
from gateway.queries.merchant import (
    PAGE_MAX,
    Page,
    bill,
    notifications_page,
    orders_page,
    refund_of,
)
from gateway.queries.reader import Reader
from gateway.store.orders import Order, find_by_number

DAY_US: Final = 86_400_000_000
SPAN_US_MAX: Final = 100 * DAY_US
_STATUSES: Final = ("WAIT_PAY", "SUCCESS", "CLOSED", "REFUND")
_HOW: Final = ("PENDING", "DELIVERED", "GIVEN_UP")
Line = dict[str, str]


@dataclass(frozen=True, slots=True)
class OrdersApi:
    """The further routes of merchants.

    Attributes:
        api: Admits, answers and signs.
        reader: Read on threads of its own, so that a long list blocks no payment.
    """

    api: MerchantApi
    reader: Reader

    def routes(self) -> dict[str, App]:
        """Return the handlers by path."""
        verbs: dict[str, Callable[[Params], Awaitable[Answer]]] = {
            "/api/payment/close": self._close,
            "/api/payment/refund/query": self._refund,
            "/api/payment/list": self._list,
            "/api/payment/bill": self._bill,
            "/api/payment/notification/list": self._notifications,
            "/api/payment/notification/resend": self._resend,
        }
        return {path: self._handler(path, verb) for path, verb in verbs.items()}

    def _handler(self, path: str, verb: Callable[[Params], Awaitable[Answer]]) -> App:
        name = path.removeprefix("/api/payment/").replace("/", "_")

        async def handle(scope: Scope, receive: Receive, send: Send) -> None:
            await self.api.serve(scope, receive, send, name, verb)

        return handle

    def _now_ms(self) -> int:
        return self.api.context.clock_us() // 1_000

    def _once(self, params: Params) -> str:
        """Refuse the same bytes twice: each of these asks about the present."""
        merchant_id = str(params["merchant_id"])
        self.api.seen.accept(merchant_id, str(params["sign"]), self.api.context.clock_us())
        return merchant_id

    async def _close(self, params: Params) -> Answer:
        command = read_query(params)
        order = await close_by_merchant(self.api.context, command.merchant_id, command.out_trade_no)
        return order_answer(order) | {
            "msg": "订单已关闭 / order closed",
            "timestamp": self._now_ms(),
        }

    async def _refund(self, params: Params) -> Answer:
        merchant_id = self._once(params)
        refund_no = optional_text(params, "refund_no")
        out_refund_no = optional_text(params, "out_refund_no")
        if bool(refund_no) == bool(out_refund_no):
            raise InvalidParameter("refund_no", "give either refund_no or out_refund_no")
        found = await asyncio.to_thread(
            refund_of, self.reader, merchant_id, refund_no=refund_no, out_refund_no=out_refund_no
        )
        if found is None:
            raise ObjectNotFound(f"no refund {(refund_no or out_refund_no)[:64]}")
        finished_at_us = found["finished_at_us"]
        return {
            "code": "SUCCESS",
            "msg": "查询成功 / refund found",
            "refund_no": found["refund_no"],
            "out_refund_no": _own_number(found["out_refund_no"]),
            "trade_no": found["trade_no"],
            "out_trade_no": found["out_trade_no"],
            "refund_status": found["status"],
            "refund_amount": str(to_major(found["amount_minor"], found["currency"])),
            "currency": found["currency"],
            "refund_reason": found["reason"],
            "refund_time": utc_text(finished_at_us) if finished_at_us else "",
            "timestamp": self._now_ms(),
        }

    async def _list(self, params: Params) -> Answer:
        merchant_id = self._once(params)
        now_us = self.api.context.clock_us()
        until_us = _time_us(params, "end_time", now_us + 1)
        from_us = _time_us(params, "start_time", until_us - DAY_US)
        if not 0 <= until_us - from_us <= SPAN_US_MAX:
            raise InvalidParameter("start_time", "must be up to 100 days before end_time")
        status = _one_of(params, "trade_status", _STATUSES)
        cursor, limit = optional_text(params, "cursor", 96), _limit(params)
        page = await _page(
            orders_page,
            self.reader,
            merchant_id,
            from_us=from_us,
            until_us=until_us,
            status=status,
            cursor=cursor,
            limit=limit,
        )
        rows = [_order_line(row) for row in page.rows]
        return _listed("orders", rows, page.next_cursor, self._now_ms())

    async def _notifications(self, params: Params) -> Answer:
        merchant_id = self._once(params)
        trade_no = ""
        out_trade_no = optional_text(params, "out_trade_no")
        if out_trade_no:
            check_out_trade_no(out_trade_no)
            order = await self.api.context.reads.ask(
                lambda raw: find_by_number(raw, merchant_id, out_trade_no)
            )
            if order is None:
                raise OrderNotFound(out_trade_no)
            trade_no = order.trade_no
        status = _one_of(params, "status", _HOW)
        cursor, limit = optional_text(params, "cursor", 200), _limit(params)
        page = await _page(
            notifications_page,
            self.reader,
            merchant_id,
            trade_no=trade_no,
            status=status,
            cursor=cursor,
            limit=limit,
        )
        rows = [_notification_line(row) for row in page.rows]
        return _listed("notifications", rows, page.next_cursor, self._now_ms())

    async def _resend(self, params: Params) -> Answer:
        merchant_id = self._once(params)
        event_id = optional_text(params, "event_id", 160)
        if not event_id:
            raise InvalidParameter("event_id", "is required")
        command, now_us = ResendCommand(merchant_id=merchant_id, event_id=event_id), self._now_ms()
        await self.api.context.writer.run(lambda conn: resend(conn, command, now_us * 1_000))
        return {
            "code": "SUCCESS",
            "msg": "将重新通知 / will be sent again",
            "event_id": event_id,
            "timestamp": now_us,
        }

    async def _bill(self, params: Params) -> Answer:
        merchant_id = self._once(params)
        day, now_us = optional_text(params, "day", 10), self.api.context.clock_us()
        try:
            until_us = end_of(day)
        except ValueError as error:
            raise InvalidParameter("day", "must be a day written YYYY-MM-DD") from error
        if day > day_before(now_us):
            raise InvalidParameter("day", "isn't over yet (days end at midnight of UTC+08:00)")
        file = await asyncio.to_thread(
            bill, self.reader, merchant_id, day, until_us - DAY_US, until_us
        )
        return {
            "code": "SUCCESS",
            "msg": "账单 / bill",
            "day": day,
            "sha256": hashlib.sha256(file).hexdigest(),
            "bill": file.decode(),
            "timestamp": self._now_ms(),
        }


async def _page(ask: Callable[..., Page], *args: Any, **filters: Any) -> Page:  # noqa: ANN401 - passed on
    try:
        return await asyncio.to_thread(ask, *args, **filters)
    except ValueError as error:
        raise InvalidParameter("cursor", "must be next_cursor of the page before") from error


def _listed(name: str, rows: list[Line], next_cursor: str, now_ms: int) -> Answer:
    return {
        "code": "SUCCESS",
        "msg": "查询成功 / found",
        # As text, so that what is signed has one form: see docs/SIGNING.md.
        name: json.dumps(rows, ensure_ascii=False, separators=(",", ":")),
        "count": len(rows),
        "next_cursor": next_cursor,
        "timestamp": now_ms,
    }


def _order_line(row: Mapping[str, Any]) -> Line:
    names = ("code", "msg")
    order = Order(**{field.name: row[field.name] for field in fields(Order)})
    line = {name: str(value) for name, value in order_answer(order).items() if name not in names}
    return line | {"pay_type": order.pay_type, "created_time": utc_text(order.created_at_us)}


def _notification_line(row: Mapping[str, Any]) -> Line:
    delivered_at_us, pending = row["delivered_at_us"], row["status"] == "PENDING"
    return {
        "event_id": row["event_id"],
        "trade_no": row["trade_no"],
        "trade_status": row["trade_status"],
        "notify_url": row["notify_url"],
        "status": row["status"],
        "attempts": str(row["attempts"]),
        "last_error": row["last_error"],
        "created_time": utc_text(row["created_at_us"]),
        "delivered_time": utc_text(delivered_at_us) if delivered_at_us else "",
        "next_attempt_time": utc_text(row["next_attempt_at_us"]) if pending else "",
    }


def _own_number(out_refund_no: str) -> str:
    """The merchant's number of a refund, '' where we derived one from its request."""
    return "" if out_refund_no.startswith("~") else out_refund_no


def _one_of(params: Params, field: str, words: tuple[str, ...]) -> str:
    word = optional_text(params, field)
    if word and word not in words:
        raise InvalidParameter(field, "must be one of " + ", ".join(words))
    return word


def _limit(params: Params) -> int:
    count = optional_number(params, "limit", PAGE_MAX)
    if not 1 <= count <= PAGE_MAX:
        raise InvalidParameter("limit", f"must be 1 to {PAGE_MAX}")
    return count


def _time_us(params: Params, field: str, default_us: int) -> int:
    """Read a time in seconds or milliseconds, as `timestamp` is written."""
    return optional_time_ms(params, field, default_us // 1_000) * 1_000
