"""Alipay's OpenAPI: signed links for page and wap payments, QR codes, queries, refunds, bills.

Written from Alipay's public documents; see `docs/CHANNELS.md`. Amounts are yuan with two decimals
and times are Beijing's.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Final
from urllib.parse import quote, urlencode

import httpx

from gateway.channels.alipay_wire import BEIJING, Fields, Wire
from gateway.channels.base import (
    Adapter,
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
from gateway.channels.exchange import ask
from gateway.domain.money import to_major

_SUBJECT_CHARS_MAX: Final = 256
_REASON_CHARS_MAX: Final = 256
# Alipay refuses these in a subject; their full-width forms read the same.
_SUBJECT_LETTERS: Final = str.maketrans("/=&", "／＝＆")
_LINKED: Final = {
    "page": ("alipay.trade.page.pay", "FAST_INSTANT_TRADE_PAY"),
    "wap": ("alipay.trade.wap.pay", "QUICK_WAP_WAY"),
}
_PRODUCTS: Final = (*_LINKED, "qr")
_OK: Final = "10000"
_BUSINESS: Final = "40004"
# Alipay says of these: the outcome is open, ask again or repeat the same request.
_OPEN_CODES: Final = frozenset({"20000", "10003"})
_OPEN_SUB_CODES: Final = frozenset(
    {
        "ACQ.SYSTEM_ERROR",
        "AQC.SYSTEM_ERROR",
        "aop.ACQ.SYSTEM_ERROR",
        "isp.unknow-error",
        "isp.unknown-error",
        "ACQ.REFUND_CHARGE_ERROR",
        "ACQ.TRADE_SETTLE_ERROR",
        "ACQ.TRADE_HAS_SUCCESS",  # To a question about opening: it is paid, so query.
    }
)
_NOT_EXIST: Final = "ACQ.TRADE_NOT_EXIST"
_TAKEN: Final = "ACQ.DISCORDANT_REPEAT_REQUEST"  # Something else was refunded under our number.


class AlipayChannel:
    """An application at Alipay; see `gateway.channels.base.Channel` for what it promises."""

    kind = "alipay"
    poll_s = 0

    def __init__(
        self,
        name: str,
        settings: Mapping[str, str],
        client: httpx.AsyncClient,
        clock_us: Callable[[], int],
    ) -> None:
        """See `ADAPTER` for the settings; ValueError names one that can't be."""
        self.name = name
        self._client = client
        told = {each.name: each.default for each in ADAPTER.settings if each.default is not None}
        told |= settings
        self._gateway_url = told["gateway_url"]
        self._app_id = told["app_id"]
        self._seller_id = told["seller_id"]
        self._product = told["product"]
        if self._product not in _PRODUCTS:
            raise ValueError(f"product must be one of {', '.join(_PRODUCTS)}")
        self._wire = Wire(told["app_id"], told["private_key"], told["alipay_public_key"], clock_us)

    def __repr__(self) -> str:  # The key never reaches a log through a repr.
        return f"AlipayChannel({self.name}, {self._app_id})"

    def link(self, request: PayRequest) -> ChannelReply | None:
        if self._product not in _LINKED or request.currency != "CNY":
            return None
        method, product_code = _LINKED[self._product]
        content = _order(request) | {"product_code": product_code}
        signed = self._wire.signed(method, content, request.notify_url, request.return_url)
        query = "&".join(f"{name}={_quoted(name, value)}" for name, value in signed.items())
        return ChannelReply(
            outcome=Outcome.ACCEPTED,
            trade_no=request.trade_no,
            amount_minor=request.amount_minor,
            currency=request.currency,
            pay_url=f"{self._gateway_url}?{query}",
        )

    async def pay(self, request: PayRequest, *, timeout_s: float) -> ChannelReply:
        if request.currency != "CNY":  # A yuan account takes nothing else.
            return ChannelReply(outcome=Outcome.REJECTED, trade_no=request.trade_no)
        linked = self.link(request)
        if linked is not None:
            return linked
        answer = await self._ask(
            "alipay.trade.precreate",
            _order(request),
            notify_url=request.notify_url,
            timeout_s=timeout_s,
        )
        if isinstance(answer, Outcome):
            return ChannelReply(outcome=_never_unheard(answer), trade_no=request.trade_no)
        answer.same("out_trade_no", request.trade_no)
        return ChannelReply(
            outcome=Outcome.ACCEPTED,
            trade_no=request.trade_no,
            amount_minor=request.amount_minor,
            currency=request.currency,
            pay_url=answer.text("qr_code"),
            raw=answer.raw,
        )

    async def query(self, trade: Trade, *, timeout_s: float) -> ChannelReply:
        about = {"out_trade_no": trade.trade_no}
        answer = await self._ask("alipay.trade.query", about, timeout_s=timeout_s)
        if isinstance(answer, Outcome):
            if answer is Outcome.REJECTED:
                raise ChannelProtocolError("alipay: refused a question")
            return ChannelReply(outcome=answer, trade_no=trade.trade_no)
        answer.same("out_trade_no", trade.trade_no)
        was_paid = answer.text("send_pay_date") != ""
        return ChannelReply(
            outcome=_payment_outcome(answer.text("trade_status"), was_paid=was_paid),
            trade_no=trade.trade_no,
            channel_trade_no=answer.text("trade_no"),
            amount_minor=answer.minor("total_amount"),
            currency="CNY",
            raw=answer.raw,
        )

    async def close(self, trade: Trade, *, timeout_s: float) -> ChannelReply:
        """Close an unpaid payment.

        A link nobody opened is unknown to Alipay and can't be closed; it is dead from its own
        `time_expire` on, and money that comes before is sent back as late.
        """
        about = {"out_trade_no": trade.trade_no}
        answer = await self._ask("alipay.trade.close", about, timeout_s=timeout_s)
        if answer is Outcome.REJECTED:  # Paid, or closed before: only the question tells.
            return await self.query(trade, timeout_s=timeout_s)
        if isinstance(answer, Outcome):
            outcome = Outcome.CLOSED if answer is Outcome.NOT_FOUND else answer
            return ChannelReply(outcome=outcome, trade_no=trade.trade_no)
        answer.same("out_trade_no", trade.trade_no)
        return ChannelReply(outcome=Outcome.CLOSED, trade_no=trade.trade_no, raw=answer.raw)

    async def refund(
        self, trade: Trade, refund: RefundRequest, *, timeout_s: float
    ) -> ChannelReply:
        content = {
            "out_trade_no": trade.trade_no,
            "out_request_no": refund.refund_no,
            "refund_amount": str(to_major(refund.amount_minor, refund.currency)),
            "refund_reason": refund.reason[:_REASON_CHARS_MAX],
        }
        answer = await self._ask("alipay.trade.refund", content, timeout_s=timeout_s)
        if isinstance(answer, Outcome):
            return _about_refund(trade, refund, _never_unheard(answer))
        answer.same("out_trade_no", trade.trade_no)
        # N: a repeat, or nothing moved yet. What is true of this number, only its query says.
        moved = answer.text("fund_change") == "Y"
        return _about_refund(
            trade, refund, Outcome.REFUNDED if moved else Outcome.ACCEPTED, answer.raw
        )

    async def query_refund(
        self, trade: Trade, refund: RefundRequest, *, timeout_s: float
    ) -> ChannelReply:
        about = {"out_trade_no": trade.trade_no, "out_request_no": refund.refund_no}
        answer = await self._ask("alipay.trade.fastpay.refund.query", about, timeout_s=timeout_s)
        if isinstance(answer, Outcome):
            if answer is Outcome.REJECTED:
                raise ChannelProtocolError("alipay: refused a question")
            return _about_refund(trade, refund, answer)
        if answer.text("refund_status") != "REFUND_SUCCESS":
            # Not made or not yet: asking for it again under the same number is safe.
            return _about_refund(trade, refund, Outcome.NOT_FOUND, answer.raw)
        answer.same("out_trade_no", trade.trade_no)
        answer.same("out_request_no", refund.refund_no)
        if answer.minor("refund_amount") != refund.amount_minor:
            raise ChannelProtocolError(f"alipay: another amount under {refund.refund_no}")
        return _about_refund(trade, refund, Outcome.REFUNDED, answer.raw)

    async def read_notification(self, notice: Notice, *, timeout_s: float) -> ChannelReply:  # noqa: ARG002 - others ask
        fields = self._wire.read_notice(notice.body)
        fields.same("app_id", self._app_id)
        if self._seller_id:
            fields.same("seller_id", self._seller_id)
        if not fields.text("notify_id") or not fields.text("out_trade_no"):
            raise ChannelProtocolError("alipay: notification without notify_id or out_trade_no")
        if fields.text("gmt_refund") or fields.text("out_biz_no"):
            # It tells the sum of all refunds, not this one's amount.
            outcome = Outcome.ASK
        else:
            was_paid = fields.text("gmt_payment") != ""
            outcome = _payment_outcome(fields.text("trade_status"), was_paid=was_paid)
        return ChannelReply(
            outcome=Outcome.ASK if outcome is Outcome.ACCEPTED else outcome,
            trade_no=fields.text("out_trade_no"),
            channel_trade_no=fields.text("trade_no"),
            refund_no=fields.text("out_biz_no"),
            amount_minor=fields.minor("total_amount"),
            currency="CNY",
            event_id=fields.text("notify_id"),
            raw=notice.body,
        )

    def notification_answer(self, *, accepted: bool) -> NoticeAnswer:
        return NoticeAnswer(http_status=200, body=b"success" if accepted else b"fail")

    async def bill(self, day: str, *, timeout_s: float) -> bytes:
        about = {"bill_type": "trade", "bill_date": day}
        method = "alipay.data.dataservice.bill.downloadurl.query"
        answer = await self._ask(method, about, timeout_s=timeout_s)
        if isinstance(answer, Outcome):
            raise ChannelProtocolError(f"alipay: no bill of {day}: {answer}")
        # The address is good for half a minute and carries its own authorisation.
        file = await ask(self._client, "GET", answer.text("bill_download_url"), timeout_s=timeout_s)
        if file is None or file.status_code != httpx.codes.OK:
            raise ChannelProtocolError(f"alipay: the bill of {day} can't be had now")
        return file.content

    async def _ask(
        self, method: str, content: Mapping[str, str], *, timeout_s: float, notify_url: str = ""
    ) -> Fields | Outcome:
        """Return the signed answer, or the outcome where there is nothing to read in it."""
        parameters = self._wire.signed(method, content, notify_url)
        body = parameters.pop("biz_content")
        response = await ask(
            self._client,
            "POST",
            f"{self._gateway_url}?{urlencode(parameters)}",
            content=urlencode({"biz_content": body}).encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded;charset=utf-8"},
            timeout_s=timeout_s,
        )
        if response is None:
            return Outcome.UNKNOWN
        answer = self._wire.read_answer(method, response.content)
        code, sub_code = answer.text("code"), answer.text("sub_code")
        if code == _OK:
            return answer
        if code in _OPEN_CODES or sub_code in _OPEN_SUB_CODES:
            return Outcome.UNKNOWN
        if code == _BUSINESS and sub_code != _TAKEN:
            return Outcome.NOT_FOUND if sub_code == _NOT_EXIST else Outcome.REJECTED
        # Our key, our application or our words are wrong: that says nothing about the payment.
        raise ChannelProtocolError(f"alipay: {code[:8]} {sub_code[:60]}")


def _order(request: PayRequest) -> dict[str, str]:
    expires = datetime.fromtimestamp(request.expires_at_s, tz=BEIJING)
    return {
        "out_trade_no": request.trade_no,
        "total_amount": str(to_major(request.amount_minor, request.currency)),
        "subject": request.subject.translate(_SUBJECT_LETTERS)[:_SUBJECT_CHARS_MAX],
        "time_expire": f"{expires:%Y-%m-%d %H:%M:%S}",
    }


def _quoted(name: str, value: str) -> str:
    return _quoted_address(value) if name == "notify_url" else quote(value, safe="")


@lru_cache(maxsize=256)
def _quoted_address(url: str) -> str:
    """Percent-encode an address that comes with every order and hardly ever changes."""
    return quote(url, safe="")


def _payment_outcome(status: str, *, was_paid: bool) -> Outcome:
    match status:
        case "WAIT_BUYER_PAY":
            return Outcome.ACCEPTED
        case "TRADE_SUCCESS" | "TRADE_FINISHED":
            return Outcome.PAID
        case "TRADE_CLOSED":  # Never paid, or paid and refunded in full.
            return Outcome.PAID if was_paid else Outcome.CLOSED
        case _:
            raise ChannelProtocolError(f"alipay: unknown trade_status {status[:40]!r}")


def _about_refund(
    trade: Trade, refund: RefundRequest, outcome: Outcome, raw: bytes = b""
) -> ChannelReply:
    return ChannelReply(
        outcome=outcome,
        trade_no=trade.trade_no,
        refund_no=refund.refund_no,
        amount_minor=refund.amount_minor if outcome is Outcome.REFUNDED else None,
        currency=refund.currency if outcome is Outcome.REFUNDED else "",
        raw=raw,
    )


def _never_unheard(outcome: Outcome) -> Outcome:
    """What Alipay doesn't know can't be opened or refunded by asking again."""
    return Outcome.REJECTED if outcome is Outcome.NOT_FOUND else outcome


ADAPTER: Final = Adapter(
    kind="alipay",
    pay_types=frozenset({"alipay"}),
    settings=(
        Setting(
            name="gateway_url",
            meaning_en="Alipay's gateway.",
            meaning_zh="支付宝网关地址",
            default="https://openapi.alipay.com/gateway.do",
        ),
        Setting(name="app_id", meaning_en="Application id.", meaning_zh="应用 APPID"),
        Setting(
            name="private_key",
            meaning_en="The application's RSA private key, PEM or base64.",
            meaning_zh="应用私钥 (PEM 或 Base64)",
            secret=True,
        ),
        Setting(
            name="alipay_public_key",
            meaning_en="Alipay's RSA public key, PEM or base64.",
            meaning_zh="支付宝公钥 (PEM 或 Base64)",
        ),
        Setting(
            name="seller_id",
            meaning_en="The merchant's own PID (2088...); if given, notifications must name it.",
            meaning_zh="商户 PID (2088 开头), 填写后校验通知",
            default="",
        ),
        Setting(
            name="product",
            meaning_en="page, wap or qr (precreate).",
            meaning_zh="产品: page 电脑网站, wap 手机网站, qr 当面付扫码",
            default="page",
        ),
    ),
    open=AlipayChannel,
)
