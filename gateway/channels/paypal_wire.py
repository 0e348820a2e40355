"""How PayPal's requests are made and its answers read; what is asked, and when, is in `paypal`."""

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

import httpx

from gateway.channels.base import ChannelProtocolError, ChannelReply, Outcome
from gateway.channels.exchange import ask
from gateway.channels.json_object import JsonObject
from gateway.domain.money import AMOUNT_MINOR_MAX, MINOR_DIGITS

CLOSED: Final = "closed:"  # In front of our number in an order that must never be captured.

# What PayPal takes (developer.paypal.com/reference/currency-codes), with the decimals it writes;
# HUF and TWD have none there, though ISO 4217 gives them two.
_DECIMALS: Final[dict[str, int]] = {
    **dict.fromkeys(("HUF", "JPY", "TWD"), 0),
    **dict.fromkeys(
        (
            *("AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "ILS", "MXN"),
            *("MYR", "NOK", "NZD", "PHP", "PLN", "SEK", "SGD", "THB", "USD"),
        ),
        2,
    ),
}
_VALUE: Final = re.compile(r"(0|[1-9][0-9]{0,15})(?:\.([0-9]{1,3}))?", re.ASCII)

_SUBJECT_LENGTH_MAX: Final = 127
_TOKEN_MARGIN_S: Final = 60

_ORDER_STATUSES: Final = {
    "CREATED": Outcome.ACCEPTED,
    "SAVED": Outcome.ACCEPTED,
    "PAYER_ACTION_REQUIRED": Outcome.ACCEPTED,
    "APPROVED": Outcome.ACCEPTED,
    "VOIDED": Outcome.CLOSED,
}
_CAPTURE_STATUSES: Final = {
    "COMPLETED": Outcome.PAID,
    "PARTIALLY_REFUNDED": Outcome.PAID,
    "REFUNDED": Outcome.PAID,
    "PENDING": Outcome.ACCEPTED,
    "DECLINED": Outcome.CLOSED,
    "FAILED": Outcome.CLOSED,
}
_REFUND_STATUSES: Final = {
    "COMPLETED": Outcome.REFUNDED,
    "PENDING": Outcome.ACCEPTED,
    "FAILED": Outcome.REJECTED,
    "CANCELLED": Outcome.REJECTED,
}


def to_value(amount_minor: int, currency: str) -> str | None:
    """Write an amount as PayPal does; None if it can't express it.

    Examples:
        >>> to_value(1230, "USD"), to_value(50000, "HUF"), to_value(500, "JPY")
        ('12.30', '500', '500')
        >>> to_value(50050, "HUF") is None, to_value(1, "KWD") is None
        (True, True)
    """
    decimals = _DECIMALS.get(currency)
    if decimals is None:
        return None
    dropped = MINOR_DIGITS[currency] - decimals
    whole_step: int = 10**dropped
    if amount_minor % whole_step:
        return None
    digits = str(amount_minor // whole_step).zfill(decimals + 1)
    return f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits


def money(body: JsonObject, name: str = "amount") -> tuple[int, str]:
    """Return an amount of an object, minor units, and its currency."""
    amount = body.part(name)
    currency, value = amount.text("currency_code"), amount.text("value")
    found = _VALUE.fullmatch(value)
    if currency not in _DECIMALS or found is None:
        raise ChannelProtocolError(f"paypal: no amount: {value[:24]!r} {currency[:8]!r}")
    fraction, digits = found.group(2) or "", MINOR_DIGITS[currency]
    if fraction[digits:].strip("0"):
        raise ChannelProtocolError(f"paypal: {value[:24]} isn't a whole amount of {currency}")
    amount_minor = int(found.group(1) + fraction[:digits].ljust(digits, "0"))
    if amount_minor > AMOUNT_MINOR_MAX:
        raise ChannelProtocolError(f"paypal: {value[:24]} is too much")
    return amount_minor, currency


@dataclass(frozen=True, slots=True)
class Answer:
    """What PayPal answered: an object, or why it refused."""

    http_status: int
    body: JsonObject

    @property
    def ok(self) -> bool:
        """Whether the body is what was asked for."""
        return httpx.codes.is_success(self.http_status)

    def refused_for(self, issue: str) -> bool:
        """Whether an issue is among the reasons of a refusal."""
        return any(each.text("issue") == issue for each in self.body.parts("details"))


class Wire:
    """Speaks for one account."""

    def __init__(
        self, settings: Mapping[str, str], client: httpx.AsyncClient, clock_us: Callable[[], int]
    ) -> None:
        """Take the account's keys and addresses.

        Raises:
            ValueError: naming a setting that can't be.
        """
        for name in ("client_id", "client_secret"):
            if not settings[name] or not settings[name].isascii():
                raise ValueError(f"{name} must not be empty")
        pair = f"{settings['client_id']}:{settings['client_secret']}"
        self._basic = base64.b64encode(pair.encode()).decode()
        self._base_url = settings["base_url"].rstrip("/")
        self._client = client
        self._clock_us = clock_us
        self._token = ("", 0)  # With the second from which it isn't used any more.

    async def call(
        self,
        method: str,
        path: str,
        payload: bytes = b"",
        *,
        request_id: str = "",
        timeout_s: float,
    ) -> Answer | None:
        """Ask, or have something done once for each request id; None if nothing is known of it.

        Raises:
            ChannelProtocolError: if the account is refused, or the answer is unreadable.
        """
        send = (method, path, payload, request_id, timeout_s)
        response = await self._send(*send)
        if response is not None and response.status_code == httpx.codes.UNAUTHORIZED:
            self._token = ("", 0)  # Withdrawn before its time; nothing was done.
            response = await self._send(*send)
        if response is None or response.status_code == httpx.codes.CONFLICT:
            return None  # A conflict: the same request is under way.
        return _answer(response)

    async def _send(
        self, method: str, path: str, payload: bytes, request_id: str, timeout_s: float
    ) -> httpx.Response | None:
        token = await self._access_token(timeout_s)
        if token is None:
            return None
        headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Prefer": "return=representation",
        }
        if request_id:
            headers["PayPal-Request-Id"] = request_id
        return await ask(
            self._client,
            method,
            self._base_url + path,
            timeout_s=timeout_s,
            content=payload,
            headers=headers,
        )

    async def _access_token(self, timeout_s: float) -> str | None:
        now_s = self._clock_us() // 1_000_000
        token, until_s = self._token
        if now_s < until_s:
            return token
        response = await ask(
            self._client,
            "POST",
            f"{self._base_url}/v1/oauth2/token",
            timeout_s=timeout_s,
            content=urlencode({"grant_type": "client_credentials"}).encode(),
            headers={
                "Authorization": f"Basic {self._basic}",
                "Content-Type": "application/x-www-form-urlencoded",
            },
        )
        if response is None:
            return None
        given = _answer(response).body
        token = given.text("access_token")
        if not token or given.text("token_type").lower() != "bearer":
            raise ChannelProtocolError("paypal: no access token")
        self._token = (token, now_s + given.number("expires_in") - _TOKEN_MARGIN_S)
        return token


def _answer(response: httpx.Response) -> Answer:
    if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise ChannelProtocolError(f"paypal: refuses our account: {response.status_code}")
    body = JsonObject.read(response.content) if response.content else JsonObject({})
    return Answer(response.status_code, body)


def unit_of(
    trade_no: str, amount_minor: int, currency: str, subject: str
) -> dict[str, object] | None:
    """Say what is paid for; None if PayPal can't express the amount."""
    value = to_value(amount_minor, currency)
    if value is None:
        return None
    return {
        "reference_id": "default",
        "custom_id": trade_no,
        "invoice_id": trade_no,
        "description": subject[:_SUBJECT_LENGTH_MAX],
        "amount": {"currency_code": currency, "value": value},
    }


def order_of(unit: Mapping[str, object], returns_to: str, landing: str) -> dict[str, object]:
    """Say what an order is: one unit, paid with PayPal, captured when we say so."""
    shown = {
        "return_url": returns_to,
        "cancel_url": returns_to,
        "user_action": "PAY_NOW",
        "shipping_preference": "NO_SHIPPING",
        "landing_page": landing,
    }
    return {
        "intent": "CAPTURE",
        "purchase_units": [unit],
        "payment_source": {"paypal": {"experience_context": shown}},
    }


def payments(order: JsonObject) -> JsonObject:
    """Return the captures and refunds of an order's only unit."""
    return _unit(order).part("payments")


def _unit(order: JsonObject) -> JsonObject:
    units = order.parts("purchase_units")
    if len(units) != 1:
        raise ChannelProtocolError(f"paypal: an order with {len(units)} units isn't ours")
    return units[0]


def about_order(order: JsonObject, trade_no: str) -> ChannelReply:
    """Read an order; one that carries our mark of being over is closed unless it was captured."""
    unit = _unit(order)
    custom_id = unit.text("custom_id")
    if custom_id.removeprefix(CLOSED) != trade_no:
        raise ChannelProtocolError(f"paypal: speaks of another payment than {trade_no}")
    if order.text("status") == "COMPLETED":
        captures = payments(order).parts("captures")
        if len(captures) != 1:
            raise ChannelProtocolError(f"paypal: {trade_no} has {len(captures)} captures")
        outcome = captures[0].word("status", _CAPTURE_STATUSES)
        amount_minor, currency = money(captures[0])
    else:
        outcome = order.word("status", _ORDER_STATUSES)
        if custom_id.startswith(CLOSED):
            outcome = Outcome.CLOSED
        amount_minor, currency = money(unit)
    return ChannelReply(
        outcome=outcome,
        trade_no=trade_no,
        channel_trade_no=order.text("id"),
        amount_minor=amount_minor,
        currency=currency,
        raw=order.raw,
    )


def about_refund(refund: JsonObject, trade_no: str, refund_no: str) -> ChannelReply:
    """Read a refund."""
    refund.same("custom_id", f"{trade_no}:{refund_no}")
    amount_minor, currency = money(refund)
    return ChannelReply(
        outcome=refund.word("status", _REFUND_STATUSES),
        trade_no=trade_no,
        refund_no=refund_no,
        channel_refund_no=refund.text("id"),
        amount_minor=amount_minor,
        currency=currency,
        raw=refund.raw,
    )


def refused(answer: Answer | None, trade_no: str, refund_no: str = "") -> ChannelReply:
    """Say that it was refused, or that nothing is known."""
    if answer is None:
        return ChannelReply(outcome=Outcome.UNKNOWN, trade_no=trade_no, refund_no=refund_no)
    return ChannelReply(
        outcome=Outcome.REJECTED, trade_no=trade_no, refund_no=refund_no, raw=answer.body.raw
    )


def as_json(value: object) -> bytes:
    """Write a request's body."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
