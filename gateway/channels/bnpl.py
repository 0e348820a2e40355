"""Instalments with Klarna: a hosted payment page, order management, settlements.

The page places and captures the order (`CAPTURE_ORDER`), so the payer's consent moves the money.
Every request that changes something carries an idempotency key made of our number; Klarna looks
at the key alone, so a repeat answers what the first one made, whatever it says.

Before it is paid, the channel's number is the page's (``hpp.<session id>``), afterwards Klarna's
order id. Callbacks aren't signed: their address holds a token that only we can make for this
payment, and all they do is make us ask.

Instalments in China (花呗) are Alipay's and go through `alipay`. Source: docs.klarna.com (Hosted
Payment Page, Klarna Payments, Order Management, Settlements).
"""

import asyncio
import hmac
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import parse_qs, quote, urlencode

import httpx

from gateway.channels.base import (
    Adapter,
    Channel,
    ChannelProtocolError,
    ChannelReply,
    Notice,
    NoticeAnswer,
    Outcome,
    PayRequest,
    RefundRequest,
    Setting,
    Trade,
)
from gateway.channels.bnpl_wire import Answer, Wire, refused
from gateway.channels.json_object import JsonObject

# What Klarna takes; all of them in their smallest unit, a hundredth.
_CURRENCIES: Final = frozenset(
    {
        *("AUD", "CAD", "CHF", "CZK", "DKK", "EUR", "GBP", "HUF", "MXN", "NOK", "NZD", "PLN"),
        *("RON", "SEK", "USD"),
    }
)
_PAGE: Final = "hpp."
_PAGE_LIFE_S: Final = 48 * 3_600
_SUBJECT_LENGTH_MAX: Final = 255
_PAGE_COUNT: Final = 500
_BODY_BYTES_MAX: Final = 65_536
_PAGES: Final = {
    **dict.fromkeys(("WAITING", "BACK", "IN_PROGRESS", "MANUAL_ID_CHECK"), Outcome.ACCEPTED),
    # The payer may still be let in again; the gateway disables the page when the order is over.
    **dict.fromkeys(("CANCELLED", "FAILED", "ERROR"), Outcome.ACCEPTED),
    "COMPLETED": Outcome.PAID,
    "DISABLED": Outcome.CLOSED,
}
_ORDERS: Final = {
    "AUTHORIZED": Outcome.ACCEPTED,  # Klarna still looks into it.
    "PART_CAPTURED": Outcome.ACCEPTED,
    "CAPTURED": Outcome.PAID,
    "CANCELLED": Outcome.CLOSED,
    "EXPIRED": Outcome.CLOSED,
    "CLOSED": Outcome.CLOSED,
}


class KlarnaChannel:
    """The adapter to Klarna; see `gateway.channels.base.Channel` for what it promises."""

    kind = "bnpl"
    poll_s = 0

    def __init__(
        self,
        name: str,
        wire: Wire,
        settings: Mapping[str, str],
        clock_us: Callable[[], int],
    ) -> None:
        """Bind the adapter to one account; see `ADAPTER` for the settings.

        Raises:
            ValueError: naming a setting that can't be.
        """
        try:
            self._callback_secret = bytes.fromhex(settings["callback_secret_hex"])
        except ValueError as error:
            raise ValueError("callback_secret_hex must be hex digits") from error
        for needed in ("purchase_country", "locale", "callback_secret_hex"):
            if not settings[needed]:
                raise ValueError(f"{needed} must not be empty")
        self.name = name
        self._wire = wire
        self._country, self._locale = settings["purchase_country"], settings["locale"]
        self._return_url = settings["return_url"]
        self._clock_us = clock_us

    def link(self, request: PayRequest) -> ChannelReply | None:  # noqa: ARG002 - always asked
        return None

    async def pay(self, request: PayRequest, *, timeout_s: float) -> ChannelReply:
        trade_no = request.trade_no
        page = await self._open(
            request,
            returns_to=request.return_url or self._return_url,
            told_at=self._told_at(request.notify_url, trade_no),
            timeout_s=timeout_s,
        )
        if page is None or not page.ok:
            return refused(page, trade_no)
        return ChannelReply(
            outcome=Outcome.ACCEPTED,
            trade_no=trade_no,
            channel_trade_no=_PAGE + page.body.text("session_id"),
            amount_minor=request.amount_minor,
            currency=request.currency,
            pay_url=page.body.text("redirect_url"),
            raw=page.body.raw,
        )

    async def _open(
        self, terms: PayRequest | Trade, *, returns_to: str, told_at: str, timeout_s: float
    ) -> Answer | None:
        """Open a payment session and its page, or get those that were opened before."""
        trade_no, amount_minor = terms.trade_no, terms.amount_minor
        if terms.currency not in _CURRENCIES:
            return Answer(httpx.codes.BAD_REQUEST, JsonObject({}))
        subject = terms.subject if isinstance(terms, PayRequest) else "closed"
        line = {
            "name": subject[:_SUBJECT_LENGTH_MAX],
            "quantity": 1,
            "unit_price": amount_minor,
            "total_amount": amount_minor,
            "tax_rate": 0,
            "total_tax_amount": 0,
        }
        session = {
            "intent": "buy",
            "purchase_country": self._country,
            "purchase_currency": terms.currency,
            "locale": self._locale,
            "order_amount": amount_minor,
            "order_tax_amount": 0,
            "order_lines": [line],
            "merchant_reference1": trade_no,
        }
        made = await self._wire.call(
            "POST", "/payments/v1/sessions", session, key=f"pay-{trade_no}", timeout_s=timeout_s
        )
        if made is None or not made.ok:
            return made
        number = quote(made.body.text("session_id"), safe="")
        urls = dict.fromkeys(("success", "cancel", "back", "failure", "error"), returns_to)
        page = {
            "payment_session_url": f"{self._wire.base_url}/payments/v1/sessions/{number}",
            "merchant_urls": urls | {"status_update": told_at} if told_at else urls,
            "options": {"place_order_mode": "CAPTURE_ORDER"},
        }
        return await self._wire.call(
            "POST", "/hpp/v1/sessions", page, key=f"page-{trade_no}", timeout_s=timeout_s
        )

    async def query(self, trade: Trade, *, timeout_s: float) -> ChannelReply:
        number = trade.channel_trade_no
        if not number:  # Klarna can't be asked by our number; opening again is safe.
            return ChannelReply(outcome=Outcome.NOT_FOUND, trade_no=trade.trade_no)
        if not number.startswith(_PAGE):
            return await self._order(trade, number, timeout_s)
        path = f"/hpp/v1/sessions/{quote(number.removeprefix(_PAGE), safe='')}"
        answer = await self._wire.call("GET", path, timeout_s=timeout_s)
        if answer is None:
            return ChannelReply(outcome=Outcome.UNKNOWN, trade_no=trade.trade_no)
        if not answer.ok:
            age_s = (self._clock_us() - trade.created_at_us) // 1_000_000
            if answer.http_status == httpx.codes.NOT_FOUND and age_s >= _PAGE_LIFE_S:
                return ChannelReply(outcome=Outcome.CLOSED, trade_no=trade.trade_no)
            raise ChannelProtocolError(f"klarna: a page can't be read: {answer.http_status}")
        outcome = answer.body.word("status", _PAGES)
        if outcome is Outcome.PAID:
            return await self._order(trade, answer.body.text("order_id"), timeout_s)
        return ChannelReply(
            outcome=outcome, trade_no=trade.trade_no, channel_trade_no=number, raw=answer.body.raw
        )

    async def _order(self, trade: Trade, number: str, timeout_s: float) -> ChannelReply:
        """Ask about an order that Klarna placed."""
        order = await self._order_body(number, timeout_s)
        if order is None:
            return ChannelReply(outcome=Outcome.UNKNOWN, trade_no=trade.trade_no)
        order.same("merchant_reference1", trade.trade_no)
        outcome, captured_minor = order.word("status", _ORDERS), order.number("captured_amount")
        if captured_minor and outcome is not Outcome.ACCEPTED:
            outcome = Outcome.PAID  # CLOSED is also said of what was captured and is done with.
        return ChannelReply(
            outcome=outcome,
            trade_no=trade.trade_no,
            channel_trade_no=order.text("order_id"),
            amount_minor=captured_minor or order.number("order_amount"),
            currency=order.text("purchase_currency"),
            raw=order.raw,
        )

    async def _order_body(self, number: str, timeout_s: float) -> JsonObject | None:
        path = f"/ordermanagement/v1/orders/{quote(number, safe='')}"
        answer = await self._wire.call("GET", path, timeout_s=timeout_s)
        if answer is None:
            return None
        if not answer.ok:
            raise ChannelProtocolError(f"klarna: an order can't be read: {answer.http_status}")
        return answer.body

    async def close(self, trade: Trade, *, timeout_s: float) -> ChannelReply:
        if not trade.channel_trade_no:
            page = await self._open(
                trade, returns_to=self._return_url, told_at="", timeout_s=timeout_s
            )
            if page is None or not page.ok:  # What can't be opened needs no closing.
                outcome = Outcome.UNKNOWN if page is None else Outcome.CLOSED
                return ChannelReply(outcome=outcome, trade_no=trade.trade_no)
            trade = replace(trade, channel_trade_no=_PAGE + page.body.text("session_id"))
        known = await self.query(trade, timeout_s=timeout_s)
        if known.outcome is not Outcome.ACCEPTED:
            return known
        number = known.channel_trade_no
        if number.startswith(_PAGE):
            path = f"/hpp/v1/sessions/{quote(number.removeprefix(_PAGE), safe='')}"
            answer = await self._wire.call("DELETE", path, timeout_s=timeout_s)
        else:  # Authorized, not captured: still to be called off.
            path = f"/ordermanagement/v1/orders/{quote(number, safe='')}/cancel"
            key = f"cancel-{trade.trade_no}"
            answer = await self._wire.call("POST", path, key=key, timeout_s=timeout_s)
        if answer is None:
            return ChannelReply(outcome=Outcome.UNKNOWN, trade_no=trade.trade_no)
        # Read again, whatever was said: the payer may have been faster.
        known = await self.query(replace(trade, channel_trade_no=number), timeout_s=timeout_s)
        waits = known.outcome is Outcome.ACCEPTED
        return replace(known, outcome=Outcome.UNKNOWN) if waits else known

    async def refund(
        self, trade: Trade, refund: RefundRequest, *, timeout_s: float
    ) -> ChannelReply:
        trade_no, refund_no = trade.trade_no, refund.refund_no
        paid = await self._paid(trade, timeout_s)
        if paid.outcome is not Outcome.PAID:
            is_definite = paid.outcome is not Outcome.UNKNOWN
            outcome = Outcome.REJECTED if is_definite else Outcome.UNKNOWN
            return ChannelReply(outcome=outcome, trade_no=trade_no, refund_no=refund_no)
        wanted = {
            "refunded_amount": refund.amount_minor,
            "reference": refund_no,
            "description": refund.reason[:_SUBJECT_LENGTH_MAX],
        }
        answer = await self._wire.call(
            "POST",
            f"/ordermanagement/v1/orders/{quote(paid.channel_trade_no, safe='')}/refunds",
            wanted,
            key=f"refund-{refund_no}",
            timeout_s=timeout_s,
        )
        if answer is None or not answer.ok:
            return refused(answer, trade_no, refund_no)
        # The key alone made it the same refund: read what it was for.
        return await self.query_refund(
            replace(trade, channel_trade_no=paid.channel_trade_no), refund, timeout_s=timeout_s
        )

    async def query_refund(
        self, trade: Trade, refund: RefundRequest, *, timeout_s: float
    ) -> ChannelReply:
        unfound = ChannelReply(
            outcome=Outcome.NOT_FOUND, trade_no=trade.trade_no, refund_no=refund.refund_no
        )
        paid = await self._paid(trade, timeout_s)
        if paid.outcome is not Outcome.PAID:
            is_definite = paid.outcome is not Outcome.UNKNOWN
            return unfound if is_definite else replace(unfound, outcome=Outcome.UNKNOWN)
        for each in JsonObject.read(paid.raw).parts("refunds"):
            if each.text("reference") == refund.refund_no:
                return replace(
                    unfound,
                    outcome=Outcome.REFUNDED,
                    channel_trade_no=paid.channel_trade_no,
                    channel_refund_no=each.text("refund_id"),
                    amount_minor=each.number("refunded_amount"),
                    currency=paid.currency,
                    raw=paid.raw,
                )
        return unfound

    async def _paid(self, trade: Trade, timeout_s: float) -> ChannelReply:
        """Ask about a payment that must have a number if it was paid."""
        if not trade.channel_trade_no:
            return ChannelReply(outcome=Outcome.UNKNOWN, trade_no=trade.trade_no)
        return await self.query(trade, timeout_s=timeout_s)

    def _token(self, trade_no: str) -> str:
        return hmac.digest(self._callback_secret, trade_no.encode(), "sha256").hex()

    def _told_at(self, notify_url: str, trade_no: str) -> str:
        query = urlencode({"trade_no": trade_no, "token": self._token(trade_no)})
        return f"{notify_url}?{query}"

    async def read_notification(self, notice: Notice, *, timeout_s: float) -> ChannelReply:  # noqa: ARG002 - token
        if len(notice.body) > _BODY_BYTES_MAX:
            raise ChannelProtocolError("klarna: notification is too large")
        query = parse_qs(notice.query)
        trade_no, token = (query.get(name, [""])[0] for name in ("trade_no", "token"))
        if not trade_no or not hmac.compare_digest(
            self._token(trade_no).encode(), token.encode("utf-8", "replace")
        ):
            raise ChannelProtocolError("klarna: the address holds no token of ours")
        event = JsonObject.read(notice.body)
        if not event.text("event_id"):
            raise ChannelProtocolError("klarna: an event without id")
        return ChannelReply(
            outcome=Outcome.ASK,
            trade_no=trade_no,
            event_id=event.text("event_id"),
            raw=notice.body,
        )

    def notification_answer(self, *, accepted: bool) -> NoticeAnswer:
        return NoticeAnswer(http_status=200 if accepted else 503)

    async def bill(self, day: str, *, timeout_s: float) -> bytes:
        """Download the settlement transactions: a JSON array of Klarna's pages, untouched.

        They can't be asked for by day; the reader takes those of `day` (UTC).
        """
        pages: list[bytes] = []
        offset, total = 0, 1
        try:
            async with asyncio.timeout(timeout_s):
                while offset < total:
                    path = f"/settlements/v1/transactions?size={_PAGE_COUNT}&offset={offset}"
                    answer = await self._wire.call("GET", path, timeout_s=timeout_s)
                    if answer is None or not answer.ok:
                        raise ChannelProtocolError(f"klarna: the bill of {day} can't be had now")
                    pages.append(answer.body.raw)
                    count = len(answer.body.parts("transactions"))
                    total = answer.body.part("pagination").number("total") if count else 0
                    offset += count
        except TimeoutError as error:
            raise ChannelProtocolError(f"klarna: the bill of {day} takes too long") from error
        return b"[" + b",".join(pages) + b"]"


def _open(
    name: str,
    settings: Mapping[str, str],
    client: httpx.AsyncClient,
    clock_us: Callable[[], int],
) -> Channel:
    return KlarnaChannel(name, Wire(settings, client), settings, clock_us)


ADAPTER: Final = Adapter(
    kind="bnpl",
    pay_types=frozenset({"bnpl"}),
    settings=(
        Setting(name="username", meaning_en="The API user.", meaning_zh="API 用户名"),
        Setting(name="password", meaning_en="Its password.", meaning_zh="API 密码", secret=True),
        Setting(
            name="callback_secret_hex",
            meaning_en="What the tokens in callback addresses are made with, hex.",
            meaning_zh="生成回调地址令牌的密钥(十六进制)",
            secret=True,
        ),
        Setting(
            name="purchase_country",
            meaning_en="Where the payers are, ISO 3166, e.g. DE.",
            meaning_zh="付款人所在国家, 如 DE",
        ),
        Setting(
            name="locale",
            meaning_en="The page's language, e.g. en-DE.",
            meaning_zh="页面语言, 如 en-DE",
        ),
        Setting(
            name="return_url",
            meaning_en="Where the payer goes if the merchant names no address.",
            meaning_zh="商户未指定时付款人返回的地址",
        ),
        Setting(
            name="base_url",
            meaning_en="Where the API lives; Europe's by default.",
            meaning_zh="接口地址, 默认欧洲区",
            default="https://api.klarna.com",
        ),
    ),
    open=_open,
)
