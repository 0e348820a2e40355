"""What PayPal does when asked: orders made, patched and captured, refunds, reports.

Each verb works in one transaction. A request id that was used before answers how that request's
object stands now, whatever the repeat says.
"""

import json
import secrets
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from gateway.sandbox import bill, refunds, trades
from gateway.sandbox.protocols import paypal_objects as objects
from gateway.sandbox.protocols.base import Desk, payer_url
from gateway.sandbox.protocols.paypal_objects import invalid, not_found, unprocessable
from gateway.sandbox.trades import Opening, Refund, Refusal, Trade, TradeStatus

NAME: Final = "paypal"
ORDER_LIFE_S: Final = 3 * 3_600
REPORT_SPAN_S_MAX: Final = 31 * 86_400
_CUSTOM_ID: Final = "/purchase_units/@reference_id=='default'/custom_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, read: what its work needs."""

    connection: sqlite3.Connection
    body: object
    query: Mapping[str, str]
    named: Mapping[str, str]
    request_id: str
    base_url: str
    now_us: int

    def fields(self) -> Mapping[str, object]:
        """Return the body as an object."""
        if not isinstance(self.body, dict):
            raise invalid("/", "MALFORMED_REQUEST_JSON")
        return self.body


Done = tuple[int, object]  # HTTP status, body.
Work = Callable[[Call], Done]


class Verbs:
    """The verbs."""

    def __init__(self, desk: Desk) -> None:
        """Take what the sandbox lends."""
        self._desk = desk

    def table(self) -> tuple[tuple[str, str, Work], ...]:
        """Return method, path and work of every verb."""
        order = "/v2/checkout/orders/{id}"
        return (
            ("POST", "/v2/checkout/orders", self.create),
            ("GET", order, self.order),
            ("PATCH", order, self.patch),
            ("POST", order + "/capture", self.capture),
            ("GET", "/v2/payments/captures/{id}", self.captured),
            ("POST", "/v2/payments/captures/{id}/refund", self.refund),
            ("GET", "/v2/payments/refunds/{id}", self.refunded),
            ("GET", "/v1/reporting/transactions", self.transactions),
        )

    # Orders.

    def create(self, call: Call) -> Done:
        """Make an order that waits for the payer."""
        known = _known(call, "create")
        if known:
            return 200, self._shown(trades.find(call.connection, NAME, known, call.now_us), call)
        body = call.fields()
        if body.get("intent") != "CAPTURE":
            raise invalid("/intent")
        units = body.get("purchase_units")
        if not isinstance(units, list) or len(units) != 1 or not isinstance(units[0], dict):
            raise invalid("/purchase_units")
        amount_minor, currency = objects.amount_of(units[0])
        shown = objects.part(
            objects.part(objects.part(body, "payment_source"), "paypal"), "experience_context"
        )
        returns_to = objects.text(shown, "return_url", 2_048)
        for address in (returns_to, objects.text(shown, "cancel_url", 2_048)):
            if not address.startswith(("http://", "https://")):
                raise invalid("/payment_source/paypal/experience_context/return_url")
        kept = {
            "custom_id": objects.text(units[0], "custom_id", 255),
            "invoice_id": objects.text(units[0], "invoice_id", 127),
            "api_url": f"{call.base_url}/paypal",
        }
        opening = Opening(
            protocol=NAME,
            trade_no=secrets.token_hex(12),
            pay_type="paypal",
            amount_minor=amount_minor,
            currency=currency,
            subject=objects.text(units[0], "description", 127),
            notify_url=self._desk.webhook_url.format(channel=NAME),
            return_url=returns_to,
            challenge=False,
            expires_at_s=call.now_us // 1_000_000 + ORDER_LIFE_S,
            extra=json.dumps(kept, ensure_ascii=False),
        )
        trade = trades.open_trade(call.connection, opening, call.now_us)
        _remember(call, "create", trade.trade_no)
        return 201, self._shown(trade, call)

    def order(self, call: Call) -> Done:
        """Show an order."""
        return 200, self._shown(_trade(call, call.named["id"]), call)

    def patch(self, call: Call) -> Done:
        """Change the `custom_id` of an order that isn't completed."""
        trade = _trade(call, call.named["id"])
        match call.body:
            case [{"op": "replace" | "add", "path": path, "value": str(value)}]:
                pass
            case _:
                raise invalid("/", "INVALID_PATCH_OPERATION")
        if path != _CUSTOM_ID or len(value) > 255:  # noqa: PLR2004 - the field's length.
            raise unprocessable("NOT_PATCHABLE", "Cannot be patched.")
        if trade.status is TradeStatus.PAID:
            raise unprocessable("ORDER_ALREADY_COMPLETED", "The order cannot be patched.")
        kept = json.loads(trade.extra) | {"custom_id": value}
        trades.keep(call.connection, trade, json.dumps(kept, ensure_ascii=False))
        return 204, None

    def capture(self, call: Call) -> Done:
        """Take the money of an order the payer approved."""
        trade = _trade(call, call.named["id"])
        if trade.status is TradeStatus.PAID:
            if _known(call, "capture"):
                return 200, self._shown(trade, call)
            raise unprocessable("ORDER_ALREADY_CAPTURED", "Order already captured.")
        kept = json.loads(trade.extra)
        if "approved" not in kept:
            raise unprocessable("ORDER_NOT_APPROVED", "Payer has not yet approved the Order.")
        taken = call.connection.execute(
            "SELECT 1 FROM trades WHERE protocol = ? AND status = 'PAID'"
            " AND extra ->> 'invoice_id' = ? AND extra ->> 'invoice_id' != ''",
            (NAME, kept["invoice_id"]),
        ).fetchone()
        if taken is not None:
            raise unprocessable("DUPLICATE_INVOICE_ID", "Duplicate Invoice ID detected.")
        paid = trades.pay(call.connection, trade, call.now_us, self._desk.announce)
        _remember(call, "capture", trade.trade_no)
        return 201, self._shown(paid, call)

    def captured(self, call: Call) -> Done:
        """Show a capture."""
        return 200, objects.capture_object(_of_capture(call))

    def _shown(self, trade: Trade, call: Call) -> object:
        made = refunds.of_trade(call.connection, trade)
        return objects.order_object(trade, made, payer_url(call.base_url, trade))

    # Refunds.

    def refund(self, call: Call) -> Done:
        """Give money back."""
        trade = _of_capture(call)
        known = _known(call, "refund")
        if known:
            return 200, objects.refund_object(refunds.find(call.connection, trade, known))
        body = call.fields()
        amount_minor, currency = trade.amount_minor - trade.refunded_minor, trade.currency
        if "amount" in body:
            amount_minor, currency = objects.amount_of(body)
        if trade.refunded_minor == trade.amount_minor:
            raise unprocessable("CAPTURE_FULLY_REFUNDED", "The capture has been fully refunded.")
        if currency != trade.currency:
            raise unprocessable("REFUND_CURRENCY_MISMATCH", "Refund in the capture's currency.")
        if trade.refunded_minor + amount_minor > trade.amount_minor:
            raise unprocessable("REFUND_AMOUNT_EXCEEDED", "More than the capture's amount.")
        kept = {
            "custom_id": objects.text(body, "custom_id", 127),
            "invoice_id": objects.text(body, "invoice_id", 127),
            "note_to_payer": objects.text(body, "note_to_payer", 255),
        }
        refund = refunds.refund(
            call.connection,
            trade,
            secrets.token_hex(12),
            amount_minor,
            currency,
            call.now_us,
            delay_s=self._desk.dice.refund_delay_s(),
            extra=json.dumps(kept, ensure_ascii=False),
        )
        _remember(call, "refund", refund.refund_no)
        if refund.refunded_at_us is not None:
            self._desk.announce(call.connection, refunds.refunded(refund, call.now_us))
        return 201, objects.refund_object(refund)

    def refunded(self, call: Call) -> Done:
        """Show a refund."""
        return 200, objects.refund_object(_refund(call, call.named["id"]))

    # Reports.

    def transactions(self, call: Call) -> Done:
        """List the transactions of a time, by pages."""
        first, after = (_time(call.query, name) for name in ("start_date", "end_date"))
        if not 0 <= (after - first).total_seconds() <= REPORT_SPAN_S_MAX:
            raise invalid("/end_date", "INVALID_DATE_RANGE")
        size, page = _count(call.query, "page_size", 100, 500), _count(call.query, "page", 1, 10**6)
        bounds_us = (int(first.timestamp()) * 1_000_000, int(after.timestamp() + 1) * 1_000_000)
        found = bill.with_faults(
            bill.rows_between(call.connection, NAME, *bounds_us), self._desk.dice
        )
        shown = found[(page - 1) * size : page * size]
        return 200, {
            "transaction_details": [objects.transaction(row) for row in shown],
            "account_number": "SANDBOX",
            "start_date": f"{first:%Y-%m-%dT%H:%M:%S}+0000",
            "end_date": f"{after:%Y-%m-%dT%H:%M:%S}+0000",
            "last_refreshed_datetime": f"{_utc(call.now_us):%Y-%m-%dT%H:%M:%S}+0000",
            "page": page,
            "total_items": len(found),
            "total_pages": max(1, -(-len(found) // size)),
        }


def _trade(call: Call, number: str) -> Trade:
    """Return the trade of an order; one that nobody approved in time is gone."""
    try:
        trade = trades.find_by_channel_no(call.connection, NAME, number, call.now_us)
    except Refusal as refusal:
        raise not_found() from refusal
    if trade.status is TradeStatus.CLOSED:
        raise not_found()
    return trade


def _of_capture(call: Call) -> Trade:
    number = call.named["id"]
    trade = _trade(call, number.removeprefix("CAP"))
    if not number.startswith("CAP") or trade.status is not TradeStatus.PAID:
        raise not_found()
    return trade


def _refund(call: Call, number: str) -> Refund:
    try:
        return refunds.find_by_channel_no(call.connection, NAME, number, call.now_us)
    except Refusal as refusal:
        raise not_found() from refusal


def _known(call: Call, verb: str) -> str:
    """Return the number of what a request id made before; '' if it is new."""
    row = call.connection.execute(
        "SELECT number FROM paypal_requests WHERE verb = ? AND request_id = ?",
        (f"{verb}:{call.named.get('id', '')}", call.request_id),
    ).fetchone()
    return row["number"] if row and call.request_id else ""


def _remember(call: Call, verb: str, number: str) -> None:
    if call.request_id:
        call.connection.execute(
            "INSERT INTO paypal_requests VALUES (?, ?, ?)",
            (f"{verb}:{call.named.get('id', '')}", call.request_id, number),
        )


def _time(query: Mapping[str, str], name: str) -> datetime:
    try:
        at = datetime.fromisoformat(query[name])
    except (KeyError, ValueError) as error:
        raise invalid(f"/{name}") from error
    if at.tzinfo is None:
        raise invalid(f"/{name}")
    return at.astimezone(UTC)


def _utc(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us // 1_000_000, tz=UTC)


def _count(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    written = query.get(name, str(default))
    if not (written.isascii() and written.isdigit() and 1 <= int(written) <= most):
        raise invalid(f"/{name}")
    return int(written)
