"""UnionPay's online gateway (ACP 5.1.0): posted forms, app numbers, refunds, notices, files.

Written from UnionPay's public interface documents; see `docs/CHANNELS.md`. Amounts are integers of
fen, times are Beijing's, and a payment is named by our number together with its time.
"""

import base64
import zlib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Final
from urllib.parse import urlencode

import httpx

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
from gateway.channels.unionpay_wire import CertificateSeal, Fields, SecretSeal, Wire

_BEIJING: Final = timezone(timedelta(hours=8))
_YUAN: Final = "156"
_FILE_BYTES_MAX: Final = 1 << 28
_DESCRIPTION_CHARS_MAX: Final = 32
_PRODUCTS: Final = ("page", "app")
_METHODS: Final = ("01", "11", "12")
# So long, at most, a payment may be unknown to the question after it was made.
_SETTLING_US: Final = 300_000_000
_DONE: Final = frozenset({"00", "A6"})
_UNDER_WAY: Final = frozenset({"03", "04", "05"})
_OPEN: Final = _UNDER_WAY | {
    "02",
    "06",
    "37",
    "39",
}  # Closed for now, busy, too often: again later.
_NOT_FOUND: Final = "34"
_REPEATED: Final = "12"
# Malformed, wrongly signed, no such merchant or right: that says nothing about the payment.
_OURS: Final = frozenset({"10", "11", "13", "31", "32", "43"})
_PAY: Final = {"txnType": "01", "txnSubType": "01", "bizType": "000201", "currencyCode": _YUAN}


class UnionPayChannel:
    """A merchant at UnionPay; see `gateway.channels.base.Channel` for what it promises."""

    kind = "unionpay"
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
        self._clock_us = clock_us
        told = {each.name: each.default for each in ADAPTER.settings if each.default is not None}
        told |= settings
        method = told["sign_method"]
        if told["product"] not in _PRODUCTS or method not in _METHODS:
            raise ValueError(f"product is of {_PRODUCTS}, sign_method of {_METHODS}")
        self._base_url, self._file_url = told["base_url"].rstrip("/"), told["file_url"]
        self._mer_id, self._product = told["mer_id"], told["product"]
        seal = (
            CertificateSeal(told, clock_us)
            if method == "01"
            else SecretSeal(method, told["secret"])
        )
        self._wire = Wire(told["mer_id"], method, seal)

    def __repr__(self) -> str:  # No key ever reaches a log through a repr.
        return f"UnionPayChannel({self.name}, {self._mer_id})"

    def link(self, request: PayRequest) -> ChannelReply | None:
        if self._product != "page" or request.currency != "CNY":
            return None
        return ChannelReply(
            outcome=Outcome.ACCEPTED,
            trade_no=request.trade_no,
            amount_minor=request.amount_minor,
            currency=request.currency,
            pay_url=f"{self._base_url}/gateway/api/frontTransReq.do",
            form=self._wire.signed(_order(request, channel_type="07")),
        )

    async def pay(self, request: PayRequest, *, timeout_s: float) -> ChannelReply:
        if request.currency != "CNY":
            return ChannelReply(outcome=Outcome.REJECTED, trade_no=request.trade_no)
        linked = self.link(request)
        if linked is not None:
            return linked
        answer = await self._ask("appTransReq", _order(request, channel_type="08"), timeout_s)
        if answer is None:
            return ChannelReply(outcome=Outcome.UNKNOWN, trade_no=request.trade_no)
        if answer.text("respCode") != "00":
            return ChannelReply(outcome=_refusal(answer), trade_no=request.trade_no)
        answer.same("orderId", request.trade_no)
        return ChannelReply(
            outcome=Outcome.ACCEPTED,
            trade_no=request.trade_no,
            amount_minor=request.amount_minor,
            currency=request.currency,
            prepay_id=answer.text("tn"),
            raw=answer.raw,
        )

    async def query(self, trade: Trade, *, timeout_s: float) -> ChannelReply:
        """Ask about a payment; unpaid some minutes after its time-out, it is dead.

        UnionPay itself then still says that it waits, or that it never heard of it, and gives back
        by itself what is paid all the same.
        """
        answer = await self._look_up(trade.trade_no, trade.created_at_us, timeout_s)
        if answer is Outcome.UNKNOWN:
            return ChannelReply(outcome=answer, trade_no=trade.trade_no)
        if isinstance(answer, Fields):
            answer.same("txnType", "01")
            if answer.text("origRespCode") in _DONE:
                return ChannelReply(
                    outcome=Outcome.PAID,
                    trade_no=trade.trade_no,
                    channel_trade_no=answer.text("queryId"),
                    amount_minor=answer.fen("txnAmt"),
                    currency=_currency(answer),
                    raw=answer.raw,
                )
        over_at_us = trade.expires_at_s * 1_000_000 + _SETTLING_US
        if trade.expires_at_s and self._clock_us() >= over_at_us:
            return ChannelReply(outcome=Outcome.CLOSED, trade_no=trade.trade_no)
        # An attempt that failed is no end: the payer may try another card until the time-out.
        waiting = Outcome.ACCEPTED if isinstance(answer, Fields) else answer
        return ChannelReply(outcome=waiting, trade_no=trade.trade_no)

    async def close(self, trade: Trade, *, timeout_s: float) -> ChannelReply:
        """Say whether a payment is dead: UnionPay has no close, only the time-out it was given."""
        known = await self.query(trade, timeout_s=timeout_s)
        if known.outcome in {Outcome.PAID, Outcome.CLOSED}:
            return known
        return ChannelReply(outcome=Outcome.UNKNOWN, trade_no=trade.trade_no)

    async def refund(
        self, trade: Trade, refund: RefundRequest, *, timeout_s: float
    ) -> ChannelReply:
        number = trade.channel_trade_no
        if not number:
            known = await self.query(trade, timeout_s=timeout_s)
            if known.outcome is not Outcome.PAID:
                gone = known.outcome in {Outcome.NOT_FOUND, Outcome.CLOSED}
                return _about(trade, refund, Outcome.REJECTED if gone else Outcome.UNKNOWN)
            number = known.channel_trade_no
        wanted = {
            "txnType": "04",
            "txnSubType": "00",
            "bizType": "000201",
            "channelType": "07",
            "orderId": refund.refund_no,
            "txnTime": _time(refund.created_at_us),
            "origQryId": number,
            "txnAmt": str(refund.amount_minor),
            "backUrl": refund.notify_url,
            "reqReserved": trade.trade_no,  # Comes back: a notice doesn't name the payment.
        }
        answer = await self._ask("backTransReq", wanted, timeout_s)
        if answer is None:
            return _about(trade, refund, Outcome.UNKNOWN)
        if answer.text("respCode") in {"00", _REPEATED}:  # Taken on; the question tells the end.
            return _about(trade, refund, Outcome.ACCEPTED, answer)
        return _about(trade, refund, _refusal(answer))

    async def query_refund(
        self, trade: Trade, refund: RefundRequest, *, timeout_s: float
    ) -> ChannelReply:
        answer = await self._look_up(refund.refund_no, refund.created_at_us, timeout_s)
        if isinstance(answer, Outcome):
            return _about(trade, refund, answer)
        answer.same("txnType", "04")
        if answer.fen("txnAmt") != refund.amount_minor:
            raise ChannelProtocolError(f"unionpay: another amount under {refund.refund_no}")
        code = answer.text("origRespCode")
        if code in _DONE:
            return _about(trade, refund, Outcome.REFUNDED, answer)
        outcome = Outcome.ACCEPTED if code in _UNDER_WAY else Outcome.REJECTED
        return _about(trade, refund, outcome, answer)

    async def read_notification(self, notice: Notice, *, timeout_s: float) -> ChannelReply:  # noqa: ARG002 - others ask
        told = self._wire.read_notice(notice.body)
        told.same("merId", self._mer_id)
        kind, code = told.text("txnType"), told.text("respCode")
        is_refund = kind == "04"
        if kind not in {"01", "04"} or not told.text("queryId") or not told.text("orderId"):
            raise ChannelProtocolError(f"unionpay: a notification of txnType {kind[:4]!r}")
        done = Outcome.REFUNDED if is_refund else Outcome.PAID
        return ChannelReply(
            # A6 is a success with a flaw, anything else no success: the question tells.
            outcome=done if code == "00" else Outcome.ASK,
            trade_no=told.text("reqReserved") if is_refund else told.text("orderId"),
            channel_trade_no=told.text("origQryId" if is_refund else "queryId"),
            refund_no=told.text("orderId") if is_refund else "",
            channel_refund_no=told.text("queryId") if is_refund else "",
            amount_minor=told.fen("txnAmt"),
            currency=_currency(told),
            event_id=f"{kind}{told.text('queryId')}{code}",
            raw=notice.body,
        )

    def notification_answer(self, *, accepted: bool) -> NoticeAnswer:
        return NoticeAnswer(http_status=200 if accepted else 500, body=b"ok" if accepted else b"")

    async def bill(self, day: str, *, timeout_s: float) -> bytes:
        wanted = {
            "txnType": "76",
            "txnSubType": "01",
            "bizType": "000000",
            "txnTime": _time(self._clock_us()),
            "settleDate": day[5:].replace("-", ""),
            "fileType": "00",
        }
        answer = await self._post(self._file_url, wanted, timeout_s)
        if answer is None or answer.text("respCode") != "00":
            why = "no answer" if answer is None else answer.text("respCode")
            raise ChannelProtocolError(f"unionpay: no file of {day}: {why[:8]}")
        answer.same("settleDate", wanted["settleDate"])
        unzip = zlib.decompressobj()
        try:
            packed = base64.b64decode(answer.text("fileContent"), validate=True)
            file = unzip.decompress(packed, _FILE_BYTES_MAX)
        except (ValueError, zlib.error) as error:
            raise ChannelProtocolError(f"unionpay: the file of {day} is damaged") from error
        if not unzip.eof:
            raise ChannelProtocolError(f"unionpay: the file of {day} is cut off or too large")
        return file

    async def _look_up(self, number: str, at_us: int, timeout_s: float) -> Fields | Outcome:
        """Return what is known of a payment or refund, or that nothing is."""
        about = {
            "txnType": "00",
            "txnSubType": "00",
            "bizType": "000000",
            "orderId": number,
            "txnTime": _time(at_us),
        }
        answer = await self._ask("queryTrans", about, timeout_s)
        if answer is None:
            return Outcome.UNKNOWN
        code = answer.text("respCode")
        if code == _NOT_FOUND:
            return Outcome.NOT_FOUND
        if code in _OPEN:
            return Outcome.UNKNOWN
        if code not in _DONE:
            raise ChannelProtocolError(f"unionpay: refused a question: {code[:8]}")
        answer.same("orderId", number)
        answer.same("txnTime", about["txnTime"])
        return answer

    async def _ask(self, verb: str, fields: Mapping[str, str], timeout_s: float) -> Fields | None:
        url = f"{self._base_url}/gateway/api/{verb}.do"
        answer = await self._post(url, fields, timeout_s)
        if answer is not None and answer.text("respCode") in _OURS:
            said = f"{answer.text('respCode')} {answer.text('respMsg')[:60]}"
            raise ChannelProtocolError(f"unionpay: {said}")
        return answer

    async def _post(self, url: str, fields: Mapping[str, str], timeout_s: float) -> Fields | None:
        """Return the verified answer; None if nothing is known about what became of it."""
        response = await ask(
            self._client,
            "POST",
            url,
            content=urlencode(self._wire.signed(fields)).encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded;charset=UTF-8"},
            timeout_s=timeout_s,
        )
        if response is None:
            return None
        if response.status_code != httpx.codes.OK:
            raise ChannelProtocolError(f"unionpay: HTTP {response.status_code}")
        answer = self._wire.read_answer(response.content)
        answer.same("merId", self._mer_id)
        return answer


def _time(at_us: int) -> str:
    return f"{datetime.fromtimestamp(at_us // 1_000_000, tz=_BEIJING):%Y%m%d%H%M%S}"


def _order(request: PayRequest, *, channel_type: str) -> dict[str, str]:
    # What splits a message must not stand in a value.
    plain = request.subject.translate(str.maketrans("", "", "&={}[]"))
    return _PAY | {
        "channelType": channel_type,
        "orderId": request.trade_no,
        "txnTime": _time(request.created_at_us),
        "txnAmt": str(request.amount_minor),
        "orderDesc": plain[:_DESCRIPTION_CHARS_MAX],
        "payTimeout": _time(request.expires_at_s * 1_000_000),
        "frontUrl": request.return_url,
        "backUrl": request.notify_url,
    }


def _currency(fields: Fields) -> str:
    fields.same("currencyCode", _YUAN)
    return "CNY"


def _refusal(answer: Fields) -> Outcome:
    return Outcome.UNKNOWN if answer.text("respCode") in _OPEN else Outcome.REJECTED


def _about(
    trade: Trade, refund: RefundRequest, outcome: Outcome, answer: Fields | None = None
) -> ChannelReply:
    done = outcome is Outcome.REFUNDED
    return ChannelReply(
        outcome=outcome,
        trade_no=trade.trade_no,
        refund_no=refund.refund_no,
        channel_refund_no=answer.text("queryId") if answer and done else "",
        amount_minor=refund.amount_minor if done else None,
        currency=refund.currency if done else "",
        raw=answer.raw if answer else b"",
    )


def _setting(name: str, en: str, zh: str, default: str | None = None, **kept: bool) -> Setting:
    return Setting(name=name, meaning_en=en, meaning_zh=zh, default=default, **kept)


ADAPTER: Final = Adapter(
    kind="unionpay",
    pay_types=frozenset({"unionpay"}),
    settings=(
        _setting("mer_id", "Merchant number, 15 digits.", "商户号, 15 位"),
        _setting(
            "sign_method",
            "01 (certificates), 11 (SHA-256) or 12 (SM3) with a secret.",
            "签名方法: 01 证书, 11 SHA-256 密钥, 12 SM3 密钥",
            "01",
        ),
        _setting("private_key", "The merchant's RSA key, PEM.", "商户私钥 (PEM)", "", secret=True),
        _setting("certificate", "The merchant's certificate, PEM.", "商户证书 (PEM)", ""),
        _setting("root_certificate", "UnionPay's root, PEM.", "银联根证书 (PEM)", ""),
        _setting("middle_certificate", "UnionPay's middle, PEM.", "银联中级证书 (PEM)", ""),
        _setting(
            "signer",
            "The company in the signing certificate's name; 00040000:SIGN in UnionPay's tests.",
            "签名证书中的公司名",
            "中国银联股份有限公司",
        ),
        _setting("secret", "For methods 11 and 12.", "对称密钥 (11, 12)", "", secret=True),
        _setting("product", "page or app.", "产品: page 网关支付, app 手机控件", "page"),
        _setting("base_url", "Where the gateway lives.", "网关地址", "https://gateway.95516.com"),
        _setting("file_url", "Where files are.", "文件下载地址", "https://filedownload.95516.com/"),
    ),
    open=UnionPayChannel,
)
