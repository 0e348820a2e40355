"""What Klarna does when asked: sessions, pages, orders, refunds, settlements.

Written from docs.klarna.com; the adapter on the other side shares no code with it. Each verb works
in one transaction. An idempotency key that was used before answers what it made, whatever the
repeat says: Klarna looks at the key alone.
"""

import json
import secrets
import sqlite3
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from gateway.domain.money import AMOUNT_MINOR_MAX
from gateway.sandbox import bill, refunds, trades
from gateway.sandbox.protocols.base import Desk, payer_url
from gateway.sandbox.trades import Opening, Refund, Refusal, Trade, TradeStatus

NAME: Final = "bnpl"
PAGE_LIFE_S: Final = 47 * 3_600  # An hour less than the payment session's.
_TAKEN: Final = frozenset(
    {
        *("AUD", "CAD", "CHF", "CZK", "DKK", "EUR", "GBP", "HUF", "MXN", "NOK", "NZD", "PLN"),
        *("RON", "SEK", "USD"),
    }
)
_PAGE_COUNT_MAX: Final = 500
_FOREVER_US: Final = 2**62


class Problem(Exception):
    """Why a request is refused, as Klarna writes it."""

    def __init__(self, http_status: int, error_code: str, message: str) -> None:
        super().__init__(f"{error_code}: {message}")
        self.http_status = http_status
        self.body = {
            "error_code": error_code,
            "error_messages": [message],
            "correlation_id": str(uuid.uuid4()),
        }


def bad_value(message: str) -> Problem:
    """Refuse a field for how it is written."""
    return Problem(400, "BAD_VALUE", message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, read: what its work needs."""

    connection: sqlite3.Connection
    body: object
    query: Mapping[str, str]
    named: Mapping[str, str]
    key: str
    base_url: str
    now_us: int

    def fields(self) -> Mapping[str, object]:
        """Return the body as an object."""
        if not isinstance(self.body, dict):
            raise bad_value("Bad value: body")
        return self.body


Done = tuple[int, object, Mapping[str, str]]  # HTTP status, body, headers.
Work = Callable[[Call], Done]


class Verbs:
    """The verbs."""

    def __init__(self, desk: Desk) -> None:
        """Take what the sandbox lends."""
        self._desk = desk

    def table(self) -> tuple[tuple[str, str, Work], ...]:
        """Return method, path and work of every verb."""
        page, order = "/hpp/v1/sessions", "/ordermanagement/v1/orders/{id}"
        return (
            ("POST", "/payments/v1/sessions", self.create_session),
            ("POST", page, self.create_page),
            ("GET", page + "/{id}", self.page),
            ("DELETE", page + "/{id}", self.disable_page),
            ("GET", order, self.order),
            ("POST", order + "/cancel", self.cancel),
            ("POST", order + "/refunds", self.refund),
            ("GET", order + "/refunds/{refund}", self.refunded),
            ("GET", "/settlements/v1/transactions", self.transactions),
        )

    # Before the order.

    def create_session(self, call: Call) -> Done:
        """Make a payment session: what is to be paid."""
        known = _known(call, "session")
        if not known:
            body = call.fields()
            _check_session(body)
            known = str(uuid.uuid4())
            call.connection.execute(
                "INSERT INTO klarna_sessions VALUES (?, ?)", (known, json.dumps(body))
            )
            _remember(call, "session", known)
        methods = [{"identifier": "pay_over_time", "name": "Pay over time"}]
        return (
            200,
            {
                "session_id": known,
                "client_token": secrets.token_urlsafe(32),
                "payment_method_categories": methods,
            },
            {},
        )

    def create_page(self, call: Call) -> Done:
        """Make the page on which a session is paid."""
        known = _known(call, "page")
        if known:
            return 201, _page(_trade(call, known), call), {}
        body = call.fields()
        urls, options = body.get("merchant_urls"), body.get("options")
        if not isinstance(urls, dict) or not isinstance(options, dict):
            raise bad_value("Bad value: merchant_urls, options")
        if options.get("place_order_mode") != "CAPTURE_ORDER":
            raise bad_value("The sandbox plays place_order_mode CAPTURE_ORDER alone")
        if not all(str(url).startswith(("http://", "https://")) for url in urls.values()):
            raise bad_value("Bad value: merchant_urls")
        address = str(body.get("payment_session_url", ""))
        row = call.connection.execute(
            "SELECT session FROM klarna_sessions WHERE id = ?", (address.rpartition("/")[2],)
        ).fetchone()
        if row is None or not address.startswith(f"{call.base_url}/klarna/payments/v1/sessions/"):
            raise Problem(404, "NOT_FOUND", "No such payment session")
        session = json.loads(row["session"])
        opening = Opening(
            protocol=NAME,
            trade_no=str(uuid.uuid4()),
            pay_type="bnpl",
            amount_minor=session["order_amount"],
            currency=session["purchase_currency"],
            subject=session["order_lines"][0]["name"],
            notify_url=str(urls.get("status_update", "")),
            return_url=str(urls.get("success", "")),
            challenge=False,
            expires_at_s=call.now_us // 1_000_000 + PAGE_LIFE_S,
            extra=json.dumps(
                {
                    "reference": session.get("merchant_reference1", ""),
                    "country": session["purchase_country"],
                }
            ),
        )
        trade = trades.open_trade(call.connection, opening, call.now_us)
        _remember(call, "page", trade.trade_no)
        return 201, _page(trade, call), {}

    def page(self, call: Call) -> Done:
        """Show how a page stands."""
        return 200, page_status(_trade(call, call.named["id"])), {}

    def disable_page(self, call: Call) -> Done:
        """Let nobody pay on a page any more."""
        trade = _trade(call, call.named["id"])
        if trade.status is TradeStatus.PAID:
            raise Problem(403, "NOT_ALLOWED", "The session is completed")
        trades.close(call.connection, NAME, trade.trade_no, call.now_us)
        return 204, None, {}

    # The order.

    def order(self, call: Call) -> Done:
        """Show an order."""
        return 200, _order(_of_order(call), call), {}

    def cancel(self, call: Call) -> Done:
        """Call off an order; here every order is captured at once, so it is too late."""
        _of_order(call)
        raise Problem(403, "CANCEL_NOT_ALLOWED", "Captured orders can't be cancelled")

    def refund(self, call: Call) -> Done:
        """Give money back."""
        trade = _of_order(call)
        known = _known(call, "refund")
        if not known:
            body = call.fields()
            amount_minor = _amount(body, "refunded_amount")
            if trade.refunded_minor + amount_minor > trade.amount_minor:
                raise Problem(403, "REFUND_NOT_ALLOWED", "Refunds would exceed the captures")
            kept = {
                "reference": _text(body, "reference"),
                "description": _text(body, "description"),
                "order": json.loads(trade.extra),
            }
            known = secrets.token_hex(12)
            refunds.refund(
                call.connection,
                trade,
                known,
                amount_minor,
                trade.currency,
                call.now_us,
                extra=json.dumps(kept, ensure_ascii=False),
            )
            _remember(call, "refund", known)
        made = refunds.find(call.connection, trade, known)
        here = f"/ordermanagement/v1/orders/{call.named['id']}/refunds/{made.channel_refund_no}"
        return 201, None, {"Location": here, "Refund-Id": made.channel_refund_no}

    def refunded(self, call: Call) -> Done:
        """Show a refund."""
        trade = _of_order(call)
        for each in refunds.of_trade(call.connection, trade):
            if each.channel_refund_no == call.named["refund"]:
                return 200, _refund(each), {}
        raise Problem(404, "NOT_FOUND", "No such refund")

    # Settlements.

    def transactions(self, call: Call) -> Done:
        """List what moved, newest first."""
        size, offset = _count(call.query, "size", 20), _count(call.query, "offset", 0)
        if not 1 <= size <= _PAGE_COUNT_MAX:
            raise bad_value("Bad value: size")
        rows = bill.rows_between(call.connection, NAME, 0, _FOREVER_US)[::-1]
        found = bill.with_faults(rows, self._desk.dice)
        shown = [_transaction(row) for row in found[offset : offset + size]]
        pagination = {"count": len(shown), "total": len(found), "offset": offset}
        return 200, {"transactions": shown, "pagination": pagination}, {}


def page_status(trade: Trade) -> dict[str, object]:
    """Write how a page stands."""
    words = {
        TradeStatus.WAITING: "IN_PROGRESS" if trade.failed_attempts else "WAITING",
        TradeStatus.PAID: "COMPLETED",
        TradeStatus.CLOSED: "DISABLED",
    }
    shown: dict[str, object] = {
        "session_id": trade.trade_no,
        "status": words[trade.status],
        "expires_at": when(trade.expires_at_s * 1_000_000),
    }
    if trade.status is TradeStatus.PAID:
        shown |= {"order_id": trade.channel_trade_no, "klarna_reference": trade.trade_no[:8]}
    return shown


def when(at_us: int) -> str:
    """Write a time."""
    return f"{datetime.fromtimestamp(at_us // 1_000_000, tz=UTC):%Y-%m-%dT%H:%M:%SZ}"


def _page(trade: Trade, call: Call) -> dict[str, object]:
    return {
        "session_id": trade.trade_no,
        "session_url": f"{call.base_url}/klarna/hpp/v1/sessions/{trade.trade_no}",
        "redirect_url": payer_url(call.base_url, trade),
        "expires_at": when(trade.expires_at_s * 1_000_000),
    }


def _order(trade: Trade, call: Call) -> dict[str, object]:
    kept = json.loads(trade.extra)
    return {
        "order_id": trade.channel_trade_no,
        "status": "CAPTURED",
        "fraud_status": "ACCEPTED",
        "order_amount": trade.amount_minor,
        "captured_amount": trade.amount_minor,
        "refunded_amount": trade.refunded_minor,
        "remaining_authorized_amount": 0,
        "purchase_currency": trade.currency,
        "purchase_country": kept["country"],
        "merchant_reference1": kept["reference"],
        "created_at": when(trade.paid_at_us or 0),
        "captures": [
            {
                "capture_id": f"C{trade.channel_trade_no}",
                "captured_amount": trade.amount_minor,
                "captured_at": when(trade.paid_at_us or 0),
            }
        ],
        "refunds": [_refund(each) for each in refunds.of_trade(call.connection, trade)],
    }


def _refund(refund: Refund) -> dict[str, object]:
    kept = json.loads(refund.extra)
    return {
        "refund_id": refund.channel_refund_no,
        "refunded_amount": refund.amount_minor,
        "refunded_at": when(refund.created_at_us),
        "reference": kept["reference"],
        "description": kept["description"],
    }


def _transaction(row: bill.BillRow) -> dict[str, object]:
    kept, is_sale = json.loads(row.extra), row.kind == "PAY"
    order = kept if is_sale else kept["order"]
    shown: dict[str, object] = {
        "type": "SALE" if is_sale else "RETURN",
        "detailed_type": "PURCHASE" if is_sale else "PURCHASE_RETURN",
        "amount": row.amount_minor,
        "currency_code": row.currency,
        "order_id": row.channel_trade_no,
        "capture_id": f"C{row.channel_trade_no}" if is_sale else "",
        "sale_date": when(row.trade_paid_at_us),
        "capture_date": when(row.at_us),
        "merchant_reference1": order["reference"],
        "purchase_country": order["country"],
    }
    if not is_sale:
        shown |= {
            "refund_id": row.channel_refund_no,
            "merchant_refund_reference": kept["reference"],
        }
    return shown


def _trade(call: Call, number: str) -> Trade:
    try:
        return trades.find(call.connection, NAME, number, call.now_us)
    except Refusal as refusal:
        raise Problem(404, "NOT_FOUND", "No such session") from refusal


def _of_order(call: Call) -> Trade:
    number = call.named["id"]
    try:
        trade = trades.find_by_channel_no(call.connection, NAME, number, call.now_us)
    except Refusal as refusal:
        raise Problem(404, "NO_SUCH_ORDER", "No such order") from refusal
    if trade.status is not TradeStatus.PAID or trade.channel_trade_no != number:
        raise Problem(404, "NO_SUCH_ORDER", "No such order")
    return trade


def _check_session(body: Mapping[str, object]) -> None:
    amount, lines = _amount(body, "order_amount"), body.get("order_lines")
    for name, length in (("purchase_country", 2), ("purchase_currency", 3)):
        if len(_text(body, name)) != length:
            raise bad_value(f"Bad value: {name}")
    if body["purchase_currency"] not in _TAKEN or not _text(body, "locale"):
        raise bad_value("Bad value: purchase_currency, locale")
    if not isinstance(lines, list) or not lines or not all(isinstance(one, dict) for one in lines):
        raise bad_value("Bad value: order_lines")
    if sum(_amount(line, "total_amount") for line in lines) != amount:
        raise bad_value("Bad value: order_amount is not the sum of its lines")
    if any(not _text(line, "name") for line in lines):
        raise bad_value("Bad value: order_lines")


def _amount(body: Mapping[str, object], name: str) -> int:
    value = body.get(name)
    if type(value) is not int or not 0 < value <= AMOUNT_MINOR_MAX:
        raise bad_value(f"Bad value: {name}")
    return value


def _text(body: Mapping[str, object], name: str) -> str:
    value = body.get(name, "")
    if not isinstance(value, str) or len(value) > 255:  # noqa: PLR2004 - the fields' length.
        raise bad_value(f"Bad value: {name}")
    return value


def _count(query: Mapping[str, str], name: str, default: int) -> int:
    written = query.get(name, str(default))
    if not (written.isascii() and written.isdigit()):
        raise bad_value(f"Bad value: {name}")
    return int(written)


def _known(call: Call, verb: str) -> str:
    """Return the number of what a key made before; '' if it is new."""
    row = call.connection.execute(
        "SELECT number FROM klarna_keys WHERE verb = ? AND key = ?", (verb, call.key)
    ).fetchone()
    return row["number"] if row and call.key else ""


def _remember(call: Call, verb: str, number: str) -> None:
    if call.key:
        call.connection.execute(
            "INSERT INTO klarna_keys VALUES (?, ?, ?)", (verb, call.key, number)
        )
