"""Stripe's objects as the sandbox writes them, and its parameters as it reads them.

Written from docs.stripe.com/api; the adapter on the other side shares no code with it.
"""

import csv
import io
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl

from gateway.domain.money import AMOUNT_MINOR_MAX, MINOR_DIGITS, to_major
from gateway.sandbox.bill import BillRow
from gateway.sandbox.trades import Refund, RefundStatus, Trade, TradeStatus

API_VERSION: Final = "2026-10-28.endive"
_DIGITS: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_UNKNOWN: Final = "Received unknown parameter: {}"

# Currencies that Stripe writes with two decimals though they have none, with none, and those
# whose third decimal must be zero.
_TWO_OF_NONE: Final = frozenset({"ISK", "UGX"})
_NONE: Final = frozenset({"MGA"})
_THREE: Final = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})


class Problem(Exception):
    """Why a request is refused, as Stripe writes it.

    Attributes:
        http_status: 400, 401, 404, 409.
        error: The error object.
        executed: Whether the request got as far as being tried: then its answer is kept under
            its idempotency key, as a success would be.
    """

    def __init__(
        self,
        message: str,
        *,
        http_status: int = 400,
        kind: str = "invalid_request_error",
        code: str = "",
        param: str = "",
        executed: bool = False,
    ) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.executed = executed
        self.error = {"message": message, "type": kind}
        if code:
            self.error |= {
                "code": code,
                "doc_url": f"https://docs.stripe.com/error-codes#{code}",
            }
        if param:
            self.error["param"] = param


class Params:
    """Form parameters with brackets, each known by name; nothing unknown is let through."""

    def __init__(self, text: str, known: re.Pattern[str]) -> None:
        """Read the text of a query or body."""
        try:
            pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text))
        except ValueError as error:
            raise Problem("Invalid request: the form can't be read") from error
        self._values = dict(pairs)
        if len(self._values) != len(pairs):
            raise Problem("Invalid request: a parameter stands twice")
        for name in self._values:
            if known.fullmatch(name) is None:
                raise Problem(_UNKNOWN.format(name), code="parameter_unknown", param=name)

    @property
    def fingerprint(self) -> str:
        """Return what makes two requests the same to an idempotency key."""
        return json.dumps(self._values, sort_keys=True)

    def text(self, name: str, *, default: str | None = None, length_max: int = 5_000) -> str:
        """Return a parameter; one without a default must be given."""
        value = self._values.get(name, default)
        if value is None:
            message = f"Missing required param: {name}."
            raise Problem(message, code="parameter_missing", param=name)
        if len(value) > length_max:
            raise Problem(f"Invalid string: {name} is too long", param=name)
        return value

    def one_of(self, name: str, words: tuple[str, ...], default: str | None = None) -> str:
        """Return a parameter that must be one of some words."""
        value = self.text(name, default=default)
        if value not in words:
            raise Problem(f"Invalid {name}: must be one of {', '.join(words)}", param=name)
        return value

    def integer(self, name: str, default: int | None = None) -> int:
        """Return a whole number."""
        value = self.text(name, default=None if default is None else str(default))
        if _DIGITS.fullmatch(value) is None:
            message = f"Invalid integer: {value[:40]}"
            raise Problem(message, code="parameter_invalid_integer", param=name)
        return int(value)

    def address(self, name: str) -> str:
        """Return a web address."""
        value = self.text(name)
        if not value.startswith(("http://", "https://")):
            raise Problem("Not a valid URL", code="url_invalid", param=name)
        return value

    def has(self, name: str) -> bool:
        """Whether a parameter is given."""
        return name in self._values

    def map(self, prefix: str) -> dict[str, str]:
        """Return the parameters of the form prefix[key]; empty ones unset theirs."""
        cut = len(prefix) + 1
        return {
            name[cut:-1]: value
            for name, value in self._values.items()
            if name.startswith(f"{prefix}[") and value
        }


def minor_of(units: int, currency: str, param: str) -> int:
    """Read an amount in Stripe's unit.

    Raises:
        Problem: if the currency has no such amount.
    """
    step = 100 if currency in _TWO_OF_NONE else 10 if currency in _THREE else 1
    if not 0 < units <= AMOUNT_MINOR_MAX or units % step:
        raise Problem("Invalid amount", code="parameter_invalid_integer", param=param)
    if currency in _TWO_OF_NONE:
        return units // 100
    return units * 10 ** MINOR_DIGITS[currency] if currency in _NONE else units


def units_of(amount_minor: int, currency: str) -> int:
    """Write minor units in Stripe's unit."""
    if currency in _TWO_OF_NONE:
        return amount_minor * 100
    return amount_minor // 10 ** MINOR_DIGITS[currency] if currency in _NONE else amount_minor


def currency_of(params: Params, name: str) -> str:
    """Read a currency, which Stripe writes in lower case."""
    written = params.text(name)
    if written != written.lower() or written.upper() not in MINOR_DIGITS:
        raise Problem(f"Invalid currency: {written[:8]}", param=name)
    return written.upper()


def session_object(trade: Trade, url: str, *, with_intent: bool) -> dict[str, object]:
    """Write a Checkout Session.

    Args:
        trade: The trade behind it.
        url: The payer's page.
        with_intent: Whether its PaymentIntent stands in it whole.
    """
    kept = json.loads(trade.extra)
    paid, is_open = trade.status is TradeStatus.PAID, trade.status is TradeStatus.WAITING
    intent = intent_object(trade) if with_intent else f"pi_{trade.channel_trade_no}"
    return {
        "id": f"cs_test_{trade.channel_trade_no}",
        "object": "checkout.session",
        "amount_subtotal": units_of(trade.amount_minor, trade.currency),
        "amount_total": units_of(trade.amount_minor, trade.currency),
        "cancel_url": kept["cancel_url"] or None,
        "client_reference_id": kept["reference"] or None,
        "created": trade.opened_at_us // 1_000_000,
        "currency": trade.currency.lower(),
        "expires_at": trade.expires_at_s,
        "livemode": False,
        "metadata": kept["metadata"],
        "mode": "payment",
        "payment_intent": intent if paid else None,
        "payment_status": "paid" if paid else "unpaid",
        "status": "complete" if paid else "open" if is_open else "expired",
        "success_url": kept["success_url"],
        "ui_mode": "hosted_page",
        "url": url if is_open else None,
    }


def intent_object(trade: Trade) -> dict[str, object]:
    """Write the PaymentIntent of a session that was paid."""
    units = units_of(trade.amount_minor, trade.currency)
    paid = trade.status is TradeStatus.PAID
    return {
        "id": f"pi_{trade.channel_trade_no}",
        "object": "payment_intent",
        "amount": units,
        "amount_received": units if paid else 0,
        "created": (trade.paid_at_us or trade.opened_at_us) // 1_000_000,
        "currency": trade.currency.lower(),
        "latest_charge": f"ch_{trade.channel_trade_no}" if paid else None,
        "livemode": False,
        "metadata": json.loads(trade.extra)["intent_metadata"],
        "status": "succeeded" if paid else "requires_payment_method",
    }


_REFUND_WORDS: Final = {
    RefundStatus.PROCESSING: "pending",
    RefundStatus.REFUNDED: "succeeded",
    RefundStatus.FAILED: "failed",
}


def refund_object(refund: Refund) -> dict[str, object]:
    """Write a refund."""
    trade, kept = refund.trade, json.loads(refund.extra)
    written: dict[str, object] = {
        "id": f"re_{refund.channel_refund_no}",
        "object": "refund",
        "amount": units_of(refund.amount_minor, trade.currency),
        "charge": f"ch_{trade.channel_trade_no}",
        "created": refund.created_at_us // 1_000_000,
        "currency": trade.currency.lower(),
        "metadata": kept["metadata"],
        "payment_intent": f"pi_{trade.channel_trade_no}",
        "reason": kept["reason"],
        "status": _REFUND_WORDS[refund.status],
    }
    if refund.status is RefundStatus.FAILED:
        written["failure_reason"] = "expired_or_canceled_card"
    return written


def list_object(path: str, found: list[dict[str, object]], *, more: bool) -> dict[str, object]:
    """Write a page of a list."""
    return {"object": "list", "url": path, "has_more": more, "data": found}


def event_object(
    event_id: str, kind: str, about: Mapping[str, object], at_us: int
) -> dict[str, object]:
    """Write an event."""
    return {
        "id": f"evt_{event_id}",
        "object": "event",
        "api_version": API_VERSION,
        "created": at_us // 1_000_000,
        "data": {"object": about},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
    }


def report(rows: list[BillRow], columns: list[str]) -> bytes:
    """Write the itemized report of balance changes with the columns that were asked for."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        cells = _cells(row)
        writer.writerow([cells.get(column, "") for column in columns])
    return out.getvalue().encode()


def _cells(row: BillRow) -> dict[str, str]:
    kept, is_pay = json.loads(row.extra), row.kind == "PAY"
    at = datetime.fromtimestamp(row.at_us // 1_000_000, tz=UTC)
    amount = str(to_major(row.amount_minor if is_pay else -row.amount_minor, row.currency))
    source = f"ch_{row.channel_trade_no}" if is_pay else f"re_{row.channel_refund_no}"
    number = row.channel_trade_no if is_pay else row.channel_refund_no
    cells = {
        "balance_transaction_id": f"txn_{number}",
        "created_utc": f"{at:%Y-%m-%d %H:%M:%S}",
        "created": f"{at:%Y-%m-%d %H:%M:%S}",
        "currency": row.currency.lower(),
        "gross": amount,
        "fee": str(to_major(0, row.currency)),
        "net": amount,
        "reporting_category": "charge" if is_pay else "refund",
        "source_id": source,
        "description": row.subject,
        "customer_facing_amount": amount,
        "customer_facing_currency": row.currency.lower(),
        "charge_id": f"ch_{row.channel_trade_no}",
        "payment_intent_id": f"pi_{row.channel_trade_no}",
    }
    paid_with = kept["intent_metadata"]
    cells |= {f"payment_metadata[{name}]": value for name, value in paid_with.items()}
    if not is_pay:
        cells |= {f"refund_metadata[{name}]": value for name, value in kept["metadata"].items()}
    return cells
