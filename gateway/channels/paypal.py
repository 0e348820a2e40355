"""PayPal Orders v2: an order the payer approves, a capture that we make, refunds, signed webhooks.

Money moves only when the order is captured, and `query` is what captures it once the payer has
approved. An order can be captured once only, whatever is repeated.

PayPal has no call that cancels an order, so `close` writes into the order itself that it is over
(its `custom_id`): such an order is never captured, by whoever asks, whatever the payer does.

Our numbers travel as `custom_id`: ``<trade_no>`` on orders, ``<trade_no>:<refund_no>`` on refunds.
They come back in answers, webhooks and reports. `invoice_id` makes PayPal itself refuse a second
payment of one trade.

Source: developer.paypal.com/docs/api (Orders v2, Payments v2, Transaction Search, Webhooks).
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote, urlencode

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
from gateway.channels.json_object import JsonObject
from gateway.channels.paypal_webhook import Verifier
from gateway.channels.paypal_wire import (
    CLOSED,
    Answer,
    Wire,
    about_order,
    about_refund,
    as_json,
    money,
    order_of,
    payments,
    refused,
    to_value,
    unit_of,
)

_ORDERS: Final = "/v2/checkout/orders"
_UNAPPROVED_LIFE_S: Final = 3 * 3_600  # Then PayPal forgets an order that nobody approved.
_REASON_LENGTH_MAX: Final = 255
_PAGE_COUNT: Final = 500


class PayPalChannel:
    """The adapter to PayPal; see `gateway.channels.base.Channel` for what it promises."""

    kind = "paypal"
    poll_s = 0

    def __init__(
        self,
        name: str,
        wire: Wire,
        verifier: Verifier,
        *,
        return_url: str,
        clock_us: Callable[[], int],
    ) -> None:
        """Bind the adapter to one account.

        Args:
            name: Of the account.
            wire: Speaks for it.
            verifier: Says which webhooks are PayPal's.
            return_url: Where the payer goes if the merchant names no address.
            clock_us: The time, microseconds since the epoch.
        """
        self.name = name
        self._wire = wire
        self._verifier = verifier
        self._return_url = return_url
        self._clock_us = clock_us

    def link(self, request: PayRequest) -> ChannelReply | None:  # noqa: ARG002 - always asked
        return None

    async def pay(self, request: PayRequest, *, timeout_s: float) -> ChannelReply:
        trade_no = request.trade_no
        returns_to = request.return_url or self._return_url
        landing = "LOGIN" if request.challenge else "NO_PREFERENCE"
        unit = unit_of(trade_no, request.amount_minor, request.currency, request.subject)
        if unit is None:
            return ChannelReply(outcome=Outcome.REJECTED, trade_no=trade_no)
        wanted = order_of(unit, returns_to, landing)
        answer = await self._create(trade_no, wanted, timeout_s)
        if answer is None or not answer.ok:
            return refused(answer, trade_no)
        order = answer.body
        known = about_order(order, trade_no)
        links = {link.text("rel"): link.text("href") for link in order.parts("links")}
        is_dead = known.outcome is Outcome.CLOSED
        return replace(
            known,
            # What was paid in the meantime is learned by asking; this only opens.
            outcome=Outcome.REJECTED if is_dead else Outcome.ACCEPTED,
            pay_url=links.get("payer-action") or links.get("approve", ""),
        )

    async def _create(
        self, trade_no: str, order: Mapping[str, object], timeout_s: float
    ) -> Answer | None:
        return await self._wire.call(
            "POST", _ORDERS, as_json(order), request_id=f"pay-{trade_no}", timeout_s=timeout_s
        )

    async def query(self, trade: Trade, *, timeout_s: float) -> ChannelReply:
        if not trade.channel_trade_no:  # PayPal can't be asked by our number; opening is safe.
            return ChannelReply(outcome=Outcome.NOT_FOUND, trade_no=trade.trade_no)
        found = await self._order(trade, timeout_s)
        if isinstance(found, ChannelReply):
            return found
        known = about_order(found, trade.trade_no)
        if found.text("status") != "APPROVED" or known.outcome is not Outcome.ACCEPTED:
            return known
        return await self._capture(trade, found, timeout_s)

    async def _order(self, trade: Trade, timeout_s: float) -> JsonObject | ChannelReply:
        """Return the order, or what is known if it can't be read."""
        path = f"{_ORDERS}/{quote(trade.channel_trade_no, safe='')}"
        answer = await self._wire.call("GET", path, timeout_s=timeout_s)
        if answer is None:
            return ChannelReply(outcome=Outcome.UNKNOWN, trade_no=trade.trade_no)
        if answer.ok:
            return answer.body
        age_s = (self._clock_us() - trade.created_at_us) // 1_000_000
        if answer.http_status == httpx.codes.NOT_FOUND and age_s >= _UNAPPROVED_LIFE_S:
            return ChannelReply(outcome=Outcome.CLOSED, trade_no=trade.trade_no)
        raise ChannelProtocolError(f"paypal: an order can't be read: {answer.http_status}")

    async def _capture(self, trade: Trade, order: JsonObject, timeout_s: float) -> ChannelReply:
        """Take the money of an approved order; each approval is captured once."""
        number = trade.channel_trade_no
        answer = await self._wire.call(
            "POST",
            f"{_ORDERS}/{quote(number, safe='')}/capture",
            b"{}",
            request_id=f"capture-{number}-{order.text('update_time')}"[:108],
            timeout_s=timeout_s,
        )
        if answer is None:
            return ChannelReply(outcome=Outcome.UNKNOWN, trade_no=trade.trade_no)
        if answer.ok:
            return about_order(answer.body, trade.trade_no)
        if answer.refused_for("ORDER_ALREADY_CAPTURED"):
            found = await self._order(trade, timeout_s)
            return found if isinstance(found, ChannelReply) else about_order(found, trade.trade_no)
        if answer.refused_for("DUPLICATE_INVOICE_ID"):
            raise ChannelProtocolError(f"paypal: {trade.trade_no} was paid by another order")
        # Declined: the payer may choose another way to pay until the order's time is over.
        return ChannelReply(
            outcome=Outcome.ACCEPTED, trade_no=trade.trade_no, channel_trade_no=number
        )

    async def close(self, trade: Trade, *, timeout_s: float) -> ChannelReply:
        if not trade.channel_trade_no:
            number = await self._bury(trade, timeout_s)
            if number is None:
                return ChannelReply(outcome=Outcome.UNKNOWN, trade_no=trade.trade_no)
            if not number:
                return ChannelReply(outcome=Outcome.CLOSED, trade_no=trade.trade_no)
            trade = replace(trade, channel_trade_no=number)
        # Whoever approved in time has paid: then the question takes the money.
        known = await self.query(trade, timeout_s=timeout_s)
        if known.outcome is not Outcome.ACCEPTED:
            return known
        patch = {
            "op": "replace",
            "path": "/purchase_units/@reference_id=='default'/custom_id",
            "value": CLOSED + trade.trade_no,
        }
        path = f"{_ORDERS}/{quote(trade.channel_trade_no, safe='')}"
        answer = await self._wire.call("PATCH", path, as_json([patch]), timeout_s=timeout_s)
        if answer is None:
            return ChannelReply(outcome=Outcome.UNKNOWN, trade_no=trade.trade_no)
        # Read again, whatever was said: a capture may have been faster.
        found = await self._order(trade, timeout_s)
        if isinstance(found, ChannelReply):
            return found
        known = about_order(found, trade.trade_no)
        waits = known.outcome is Outcome.ACCEPTED
        return replace(known, outcome=Outcome.UNKNOWN) if waits else known

    async def _bury(self, trade: Trade, timeout_s: float) -> str | None:
        """Open the order if it isn't open, as one that is never captured.

        Returns:
            PayPal's number of it; '' if there is none; None if unknown.
        """
        unit = unit_of(trade.trade_no, trade.amount_minor, trade.currency, "closed")
        if unit is None:
            return ""  # Such an amount was never opened.
        dead = unit | {"custom_id": CLOSED + trade.trade_no}
        order = order_of(dead, self._return_url, "NO_PREFERENCE")
        answer = await self._create(trade.trade_no, order, timeout_s)
        if answer is None:
            return None
        return answer.body.text("id") if answer.ok else ""

    async def refund(
        self, trade: Trade, refund: RefundRequest, *, timeout_s: float
    ) -> ChannelReply:
        trade_no, refund_no = trade.trade_no, refund.refund_no
        capture = await self._captured(trade, timeout_s)
        if isinstance(capture, ChannelReply):
            return replace(capture, refund_no=refund_no)
        value = to_value(refund.amount_minor, refund.currency)
        if not capture or value is None:
            return ChannelReply(outcome=Outcome.REJECTED, trade_no=trade_no, refund_no=refund_no)
        wanted = {
            "amount": {"currency_code": refund.currency, "value": value},
            "custom_id": f"{trade_no}:{refund_no}",
            "invoice_id": refund_no,
            "note_to_payer": refund.reason[:_REASON_LENGTH_MAX],
        }
        answer = await self._wire.call(
            "POST",
            f"/v2/payments/captures/{quote(capture, safe='')}/refund",
            as_json(wanted),
            request_id=f"refund-{refund_no}",
            timeout_s=timeout_s,
        )
        if answer is not None and answer.ok:
            return about_refund(answer.body, trade_no, refund_no)
        return refused(answer, trade_no, refund_no)

    async def _captured(self, trade: Trade, timeout_s: float) -> str | ChannelReply:
        """Return the number of the capture; '' if nothing was captured; or that it's unknown."""
        if not trade.channel_trade_no:  # What was paid has a number.
            return ChannelReply(outcome=Outcome.UNKNOWN, trade_no=trade.trade_no)
        found = await self._order(trade, timeout_s)
        if isinstance(found, ChannelReply):
            is_gone = found.outcome is Outcome.CLOSED
            return "" if is_gone else found
        captures = payments(found).parts("captures")
        return captures[0].text("id") if captures else ""

    async def query_refund(
        self, trade: Trade, refund: RefundRequest, *, timeout_s: float
    ) -> ChannelReply:
        trade_no, refund_no = trade.trade_no, refund.refund_no
        unfound = ChannelReply(outcome=Outcome.NOT_FOUND, trade_no=trade_no, refund_no=refund_no)
        if refund.channel_refund_no:
            path = f"/v2/payments/refunds/{quote(refund.channel_refund_no, safe='')}"
            answer = await self._wire.call("GET", path, timeout_s=timeout_s)
            if answer is None:
                return replace(unfound, outcome=Outcome.UNKNOWN)
            if not answer.ok:
                raise ChannelProtocolError(f"paypal: {refund_no} can't be read")
            return about_refund(answer.body, trade_no, refund_no)
        if not trade.channel_trade_no:
            return unfound
        found = await self._order(trade, timeout_s)
        if isinstance(found, ChannelReply):
            is_gone = found.outcome is Outcome.CLOSED
            return unfound if is_gone else replace(unfound, outcome=found.outcome)
        for each in payments(found).parts("refunds"):
            if each.text("custom_id") == f"{trade_no}:{refund_no}":
                return about_refund(each, trade_no, refund_no)
        return unfound

    async def read_notification(self, notice: Notice, *, timeout_s: float) -> ChannelReply:
        event = await self._verifier.verified(notice, timeout_s=timeout_s)
        if not event.text("id"):
            raise ChannelProtocolError("paypal: an event without id")
        about, kind = event.part("resource"), event.text("event_type")
        if kind.startswith("CHECKOUT.ORDER."):
            numbers = about.parts("purchase_units")[0] if about.parts("purchase_units") else about
        else:
            numbers = about
        trade_no, _, refund_no = numbers.text("custom_id").removeprefix(CLOSED).partition(":")
        told = ChannelReply(outcome=Outcome.ASK, trade_no=trade_no, refund_no=refund_no)
        if kind == "PAYMENT.CAPTURE.COMPLETED" and about.text("status") == "COMPLETED":
            amount_minor, currency = money(about)
            order = about.part("supplementary_data").part("related_ids").text("order_id")
            told = replace(
                told,
                outcome=Outcome.PAID,
                channel_trade_no=order,
                amount_minor=amount_minor,
                currency=currency,
            )
        elif kind == "PAYMENT.CAPTURE.REFUNDED" and about.text("status") == "COMPLETED":
            told = about_refund(about, trade_no, refund_no)
        return replace(told, event_id=event.text("id"), raw=notice.body)

    def notification_answer(self, *, accepted: bool) -> NoticeAnswer:
        return NoticeAnswer(http_status=200 if accepted else 503)

    async def bill(self, day: str, *, timeout_s: float) -> bytes:
        """Download the transactions of `day` (UTC): a JSON array of PayPal's pages, untouched."""
        first = datetime.combine(datetime.fromisoformat(day), datetime.min.time(), tzinfo=UTC)
        after = first + timedelta(days=1)
        pages: list[bytes] = []
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    page = await self._page(first, after, len(pages) + 1, timeout_s)
                    pages.append(page.raw)
                    if len(pages) >= page.number("total_pages"):
                        return b"[" + b",".join(pages) + b"]"
        except TimeoutError as error:
            raise ChannelProtocolError(f"paypal: the bill of {day} takes too long") from error

    async def _page(
        self, first: datetime, after: datetime, number: int, timeout_s: float
    ) -> JsonObject:
        query = urlencode(
            {
                "start_date": f"{first:%Y-%m-%dT%H:%M:%SZ}",
                "end_date": f"{after - timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}",
                "fields": "transaction_info",
                "page_size": _PAGE_COUNT,
                "page": number,
            }
        )
        path = f"/v1/reporting/transactions?{query}"
        answer = await self._wire.call("GET", path, timeout_s=timeout_s)
        if answer is None or not answer.ok:
            raise ChannelProtocolError(f"paypal: page {number} of the bill can't be had now")
        known_until = datetime.fromisoformat(answer.body.text("last_refreshed_datetime"))
        is_over = self._clock_us() >= after.timestamp() * 1_000_000
        if is_over and known_until < after:  # It is up to three hours late.
            raise ChannelProtocolError("paypal: the bill isn't complete yet")
        return answer.body


def _open(
    name: str,
    settings: Mapping[str, str],
    client: httpx.AsyncClient,
    clock_us: Callable[[], int],
) -> Channel:
    return PayPalChannel(
        name,
        Wire(settings, client, clock_us),
        Verifier(settings, client, clock_us),
        return_url=settings["return_url"],
        clock_us=clock_us,
    )


ADAPTER: Final = Adapter(
    kind="paypal",
    pay_types=frozenset({"paypal"}),
    settings=(
        Setting(name="client_id", meaning_en="The app's client id.", meaning_zh="应用 Client ID"),
        Setting(
            name="client_secret",
            meaning_en="The app's secret.",
            meaning_zh="应用密钥",
            secret=True,
        ),
        Setting(
            name="webhook_id",
            meaning_en="Id of the webhook whose address is ours; part of every signature.",
            meaning_zh="Webhook ID, 参与验签",
        ),
        Setting(
            name="return_url",
            meaning_en="Where the payer goes if the merchant names no address.",
            meaning_zh="商户未指定时付款人返回的地址",
        ),
        Setting(
            name="base_url",
            meaning_en="Where the API lives.",
            meaning_zh="接口地址",
            default="https://api-m.paypal.com",
        ),
        Setting(
            name="certificates_url",
            meaning_en="Where PayPal keeps its certificates; no other address is asked.",
            meaning_zh="Webhook 签名证书的唯一可信地址",
            default="https://api.paypal.com/v1/notifications/certs/",
        ),
        Setting(
            name="roots_pem",
            meaning_en="Roots (PEM) the certificate must lead to; empty: those of the machine.",
            meaning_zh="信任的根证书 (PEM), 空则用系统的",
            default="",
        ),
    ),
    open=_open,
)
