"""Stripe: a hosted Checkout Session per payment, refunds, signed events, the itemized report.

Why Checkout and not a bare PaymentIntent: a session has an address of its own (`pay_url`), so no
card number ever comes near the gateway, and it can be expired, which its PaymentIntent can't.
Stripe can't be asked by our number; what makes each step safe to repeat is this:

- `pay` carries an idempotency key made of our number, so a repeat answers the same session.
- `close` without Stripe's number takes that same key with other parameters. Either the key was
  free and the number is dead from now on, or it was taken and the session is found by its
  `client_reference_id` and expired.
- `refund` carries a key of its own, and our number in the refund's metadata, by which it is found
  once the key is forgotten (after a day).

Source: docs.stripe.com/api (Checkout Sessions, Refunds, Report Runs, idempotency, webhooks).
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote

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
from gateway.channels.stripe_wire import (
    CLOCK_TOLERANCE_S,
    Answer,
    Wire,
    about_intent,
    about_refund,
    about_session,
    money,
    to_units,
)

REPORT_TYPE: Final = "balance_change_from_activity.itemized.3"
REPORT_COLUMNS: Final = (
    "balance_transaction_id",
    "created_utc",
    "currency",
    "gross",
    "fee",
    "net",
    "reporting_category",
    "source_id",
    "customer_facing_amount",
    "customer_facing_currency",
    "payment_intent_id",
    "payment_metadata[trade_no]",
    "refund_metadata[refund_no]",
)
_REPORT_POLL_S: Final = 1.0
_SESSION_GRACE_S: Final = 3_600  # Stripe wants half an hour at least, also of a late repeat.
_SESSION_AGE_MAX_S: Final = 86_340  # ... and at most a day, counted by a clock that isn't ours.
_SUBJECT_LENGTH_MAX: Final = 250
_REASON_LENGTH_MAX: Final = 500
_SESSIONS: Final = "/v1/checkout/sessions"


class StripeChannel:
    """The adapter to Stripe; see `gateway.channels.base.Channel` for what it promises."""

    kind = "stripe"
    poll_s = 0

    def __init__(self, name: str, wire: Wire, *, return_url: str) -> None:
        """Bind the adapter to one account.

        Args:
            name: Of the account.
            wire: Speaks for it.
            return_url: Where the payer goes if the merchant names no address.
        """
        self.name = name
        self._wire = wire
        self._return_url = return_url

    def link(self, request: PayRequest) -> ChannelReply | None:  # noqa: ARG002 - always asked
        return None

    async def pay(self, request: PayRequest, *, timeout_s: float) -> ChannelReply:
        trade_no = request.trade_no
        units = to_units(request.amount_minor, request.currency)
        if units is None:
            return ChannelReply(outcome=Outcome.REJECTED, trade_no=trade_no)
        form = _session_form(trade_no, units, request.currency, request.subject)
        newest_s = request.created_at_us // 1_000_000 + _SESSION_AGE_MAX_S
        form["expires_at"] = str(min(request.expires_at_s + _SESSION_GRACE_S, newest_s))
        form["success_url"] = form["cancel_url"] = request.return_url or self._return_url
        if request.challenge:
            form["payment_method_options[card][request_three_d_secure]"] = "challenge"
        answer = await self._wire.post(_SESSIONS, form, key=f"pay-{trade_no}", timeout_s=timeout_s)
        if answer is None or not answer.ok:
            return _no(answer, trade_no)
        session = answer.body
        session.same("client_reference_id", trade_no)
        amount_minor, currency = money(session, "amount_total")
        return ChannelReply(
            outcome=Outcome.ACCEPTED,
            trade_no=trade_no,
            channel_trade_no=session.text("id"),
            amount_minor=amount_minor,
            currency=currency,
            pay_url=session.text("url"),
            raw=session.raw,
        )

    async def query(self, trade: Trade, *, timeout_s: float) -> ChannelReply:
        number = trade.channel_trade_no
        if not number:  # Stripe can't be asked by our number; opening again is safe.
            return ChannelReply(outcome=Outcome.NOT_FOUND, trade_no=trade.trade_no)
        is_intent = number.startswith("pi_")
        path = f"/v1/payment_intents/{quote(number, safe='')}"
        if not is_intent:
            path = f"{_SESSIONS}/{quote(number, safe='')}?expand%5B%5D=payment_intent"
        answer = await self._wire.get(path, timeout_s=timeout_s)
        if answer is None:
            return ChannelReply(outcome=Outcome.UNKNOWN, trade_no=trade.trade_no)
        if not answer.ok:  # Stripe gave us this number: we ask for another account.
            raise ChannelProtocolError(f"stripe: {number} can't be read: {answer.http_status}")
        about = about_intent if is_intent else about_session
        return about(answer.body, trade.trade_no)

    async def close(self, trade: Trade, *, timeout_s: float) -> ChannelReply:
        number = trade.channel_trade_no
        if not number:
            found = await self._bury(trade, timeout_s)
            if found is None:
                return ChannelReply(outcome=Outcome.UNKNOWN, trade_no=trade.trade_no)
            number = found.text("id")
            if not number:
                return ChannelReply(outcome=Outcome.CLOSED, trade_no=trade.trade_no)
        if number.startswith("cs_"):
            path = f"{_SESSIONS}/{quote(number, safe='')}/expire"
            answer = await self._wire.post(path, {}, timeout_s=timeout_s)
            if answer is None:
                return ChannelReply(outcome=Outcome.UNKNOWN, trade_no=trade.trade_no)
            if answer.ok:
                return about_session(answer.body, trade.trade_no)
        known = await self.query(replace(trade, channel_trade_no=number), timeout_s=timeout_s)
        # Still waiting though it can't be expired: the payer acted, the bank hasn't answered.
        waits = known.outcome is Outcome.ACCEPTED
        return replace(known, outcome=Outcome.UNKNOWN) if waits else known

    async def _bury(self, trade: Trade, timeout_s: float) -> JsonObject | None:
        """Make sure that nothing is opened under our number any more.

        Returns:
            The session that must be expired; an empty object if there is none; None if unknown.
        """
        units = to_units(trade.amount_minor, trade.currency)
        if units is None:
            return JsonObject({})  # Such an amount was never opened.
        form = _session_form(trade.trade_no, units, trade.currency, "closed")
        form["success_url"] = self._return_url
        answer = await self._wire.post(
            _SESSIONS, form, key=f"pay-{trade.trade_no}", timeout_s=timeout_s
        )
        if answer is None:
            return None
        if answer.ok:
            return answer.body
        if not answer.key_is_taken:
            return JsonObject({})  # Refused for what it is, as an earlier one was.
        # If it isn't listed, that earlier one failed, or is late: nobody will hold its address.
        since_s = trade.created_at_us // 1_000_000 - CLOCK_TOLERANCE_S
        return await self._wire.find(
            f"{_SESSIONS}?created%5Bgte%5D={since_s}",
            lambda session: session.text("client_reference_id") == trade.trade_no,
            timeout_s=timeout_s,
        )

    async def refund(
        self, trade: Trade, refund: RefundRequest, *, timeout_s: float
    ) -> ChannelReply:
        trade_no, refund_no = trade.trade_no, refund.refund_no
        paid = await self._paid(trade, timeout_s)
        units = to_units(refund.amount_minor, refund.currency)
        if paid.outcome is not Outcome.PAID or units is None:
            is_definite = paid.outcome is not Outcome.UNKNOWN
            outcome = Outcome.REJECTED if is_definite else Outcome.UNKNOWN
            return ChannelReply(outcome=outcome, trade_no=trade_no, refund_no=refund_no)
        form = {
            "payment_intent": paid.channel_trade_no,
            "amount": str(units),
            "metadata[trade_no]": trade_no,
            "metadata[refund_no]": refund_no,
            "metadata[reason]": refund.reason[:_REASON_LENGTH_MAX],
        }
        answer = await self._wire.post(
            "/v1/refunds", form, key=f"refund-{refund_no}", timeout_s=timeout_s
        )
        if answer is not None and answer.ok:
            return about_refund(answer.body, trade_no, refund_no)
        if answer is not None and answer.key_is_taken:
            raise ChannelProtocolError(f"stripe: {refund_no} was asked for with other contents")
        return _no(answer, trade_no, refund_no)

    async def query_refund(
        self, trade: Trade, refund: RefundRequest, *, timeout_s: float
    ) -> ChannelReply:
        trade_no, refund_no = trade.trade_no, refund.refund_no
        if refund.channel_refund_no:
            path = f"/v1/refunds/{quote(refund.channel_refund_no, safe='')}"
            answer = await self._wire.get(path, timeout_s=timeout_s)
            if answer is None:
                return _no(answer, trade_no, refund_no)
            if not answer.ok:
                raise ChannelProtocolError(f"stripe: {refund_no} can't be read")
            return about_refund(answer.body, trade_no, refund_no)
        paid = await self._paid(trade, timeout_s)
        if paid.outcome is not Outcome.PAID:
            is_definite = paid.outcome is not Outcome.UNKNOWN
            outcome = Outcome.NOT_FOUND if is_definite else Outcome.UNKNOWN
            return ChannelReply(outcome=outcome, trade_no=trade_no, refund_no=refund_no)
        found = await self._wire.find(
            f"/v1/refunds?payment_intent={quote(paid.channel_trade_no, safe='')}",
            lambda each: each.part("metadata").text("refund_no") == refund_no,
            timeout_s=timeout_s,
        )
        if found is not None and found.holds("id"):
            return about_refund(found, trade_no, refund_no)
        outcome = Outcome.UNKNOWN if found is None else Outcome.NOT_FOUND
        return ChannelReply(outcome=outcome, trade_no=trade_no, refund_no=refund_no)

    async def _paid(self, trade: Trade, timeout_s: float) -> ChannelReply:
        """Return the payment with its PaymentIntent, which refunds are made of."""
        number = trade.channel_trade_no
        if number.startswith("pi_"):
            return ChannelReply(
                outcome=Outcome.PAID, trade_no=trade.trade_no, channel_trade_no=number
            )
        if not number:  # What was paid has a number; without it nothing can be said.
            return ChannelReply(outcome=Outcome.UNKNOWN, trade_no=trade.trade_no)
        return await self.query(trade, timeout_s=timeout_s)

    async def read_notification(self, notice: Notice, *, timeout_s: float) -> ChannelReply:  # noqa: ARG002 - signed
        event = self._wire.verified(notice)
        if not event.text("id") or event.text("object") != "event":
            raise ChannelProtocolError("stripe: not an event")
        about = event.part("data").part("object")
        metadata = about.part("metadata")
        trade_no = metadata.text("trade_no")
        match about.text("object"):
            case "checkout.session":
                told = about_session(about, about.text("client_reference_id"))
            case "refund":
                told = about_refund(about, trade_no, metadata.text("refund_no"))
            case _:
                told = ChannelReply(outcome=Outcome.ASK, trade_no=trade_no)
        # Events are unordered and may be old: only what is final is taken from them.
        is_final = told.outcome in (Outcome.PAID, Outcome.CLOSED, Outcome.REFUNDED)
        return replace(
            told,
            outcome=told.outcome if is_final else Outcome.ASK,
            event_id=event.text("id"),
            raw=notice.body,
        )

    def notification_answer(self, *, accepted: bool) -> NoticeAnswer:
        return NoticeAnswer(http_status=200 if accepted else 503)

    async def bill(self, day: str, *, timeout_s: float) -> bytes:
        first = datetime.combine(datetime.fromisoformat(day), datetime.min.time(), tzinfo=UTC)
        form = {
            "report_type": REPORT_TYPE,
            "parameters[interval_start]": str(int(first.timestamp())),
            "parameters[interval_end]": str(int((first + timedelta(days=1)).timestamp())),
            "parameters[timezone]": "Etc/UTC",
        }
        form |= {
            f"parameters[columns][{index}]": column for index, column in enumerate(REPORT_COLUMNS)
        }
        try:
            async with asyncio.timeout(timeout_s):
                # The key lets a later call take up the same run where this one had to leave it.
                answer = await self._wire.post(
                    "/v1/reporting/report_runs", form, key=f"bill-{day}", timeout_s=timeout_s
                )
                return await self._result(answer, day, timeout_s)
        except TimeoutError as error:
            raise ChannelProtocolError(f"stripe: the bill of {day} isn't made yet") from error

    async def _result(self, answer: Answer | None, day: str, timeout_s: float) -> bytes:
        while answer is not None and answer.ok:
            run = answer.body
            if run.text("status") == "succeeded":
                return await self._wire.file(run.part("result").text("id"), timeout_s=timeout_s)
            if run.text("status") != "pending":
                break
            path = f"/v1/reporting/report_runs/{quote(run.text('id'), safe='')}"
            answer = await self._wire.get(path, timeout_s=timeout_s)
            if answer is not None and answer.body.text("status") == "pending":
                await asyncio.sleep(_REPORT_POLL_S)
        raise ChannelProtocolError(f"stripe: no bill of {day}")


def _session_form(trade_no: str, units: int, currency: str, subject: str) -> dict[str, str]:
    return {
        "mode": "payment",
        "client_reference_id": trade_no,
        # Otherwise the payer may be charged another currency than the order's.
        "adaptive_pricing[enabled]": "false",
        "line_items[0][quantity]": "1",
        "line_items[0][price_data][currency]": currency.lower(),
        "line_items[0][price_data][unit_amount]": str(units),
        "line_items[0][price_data][product_data][name]": subject[:_SUBJECT_LENGTH_MAX],
        "metadata[trade_no]": trade_no,
        "payment_intent_data[metadata][trade_no]": trade_no,
    }


def _no(answer: Answer | None, trade_no: str, refund_no: str = "") -> ChannelReply:
    """Say that it was refused, or that nothing is known."""
    if answer is None:
        return ChannelReply(outcome=Outcome.UNKNOWN, trade_no=trade_no, refund_no=refund_no)
    return ChannelReply(
        outcome=Outcome.REJECTED, trade_no=trade_no, refund_no=refund_no, raw=answer.body.raw
    )


def _open(
    name: str,
    settings: Mapping[str, str],
    client: httpx.AsyncClient,
    clock_us: Callable[[], int],
) -> Channel:
    return StripeChannel(name, Wire(settings, client, clock_us), return_url=settings["return_url"])


ADAPTER: Final = Adapter(
    kind="stripe",
    pay_types=frozenset({"stripe"}),
    settings=(
        Setting(
            name="secret_key",
            meaning_en="Secret or restricted API key (sk_… or rk_…).",
            meaning_zh="API 密钥 (sk_… 或 rk_…)",
            secret=True,
        ),
        Setting(
            name="webhook_secret",
            meaning_en="Signing secret of the webhook endpoint (whsec_…).",
            meaning_zh="Webhook 签名密钥 (whsec_…)",
            secret=True,
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
            default="https://api.stripe.com",
        ),
        Setting(
            name="files_url",
            meaning_en="Where reports are downloaded.",
            meaning_zh="报表下载地址",
            default="https://files.stripe.com",
        ),
    ),
    open=_open,
)
