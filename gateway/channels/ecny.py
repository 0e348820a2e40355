"""e-CNY (数字人民币) through an operating bank: orders for scanning or for an app, SM2 over SM3.

What a bank's guide says is in `gateway.channels.ecny_bank`; see also `docs/CHANNELS.md`.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from functools import cached_property
from typing import Final, TypeVar
from urllib.parse import urlsplit

import httpx

from gateway import sm2
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
from gateway.channels.ecny_bank import (
    CMB,
    Fields,
    Profile,
    app_headers,
    check_signed,
    order_info,
    public_key,
    read_form,
    signed,
)
from gateway.channels.exchange import ask

_BEIJING: Final = timezone(timedelta(hours=8))
_NOTHING: Final[frozenset[str]] = frozenset()
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Answer:
    """A believable answer: its content, or the error's name."""

    fields: Fields
    error: str
    raw: bytes


class EcnyChannel:
    """A merchant's account at an operating bank; see `gateway.channels.base.Channel`."""

    kind = "ecny"
    poll_s = 0  # Notified; one that never came shows when the order is closed.

    def __init__(
        self,
        name: str,
        told: Mapping[str, str],
        client: httpx.AsyncClient,
        clock_us: Callable[[], int],
        profile: Profile = CMB,
    ) -> None:
        """Open the account.

        Args:
            name: Of the account.
            told: Its settings, see `ADAPTER`.
            client: Shared HTTP client; never closed here.
            clock_us: The time, microseconds since the epoch.
            profile: Whose guide is followed.

        Raises:
            ValueError: naming a setting that can't be.
        """
        self.name = name
        self._told = {setting.name: setting.default or "" for setting in _SETTINGS} | dict(told)
        self._base_url = told["base_url"].rstrip("/")
        self._merchant_no = told["merchant_no"]
        self._key = _read(
            "private_key_hex", lambda: sm2.PrivateKey.from_hex(told["private_key_hex"])
        )
        self._bank = _read("bank_public_key", lambda: public_key(told["bank_public_key"]))
        self._client = client
        self._clock_us = clock_us
        self._profile = profile

    def __repr__(self) -> str:  # No secret reaches a log through a repr.
        return f"EcnyChannel({self._base_url})"

    def link(self, request: PayRequest) -> ChannelReply | None:  # noqa: ARG002 - the bank makes the code
        return None

    async def pay(self, request: PayRequest, *, timeout_s: float) -> ChannelReply:
        if request.currency != "CNY":
            return ChannelReply(outcome=Outcome.REJECTED, trade_no=request.trade_no)
        expires = datetime.fromtimestamp(request.expires_at_s, tz=_BEIJING)
        content = {
            "orderId": request.trade_no,
            "notifyUrl": request.notify_url,
            "currencyCode": self._profile.currency,
            "transactionType": self._told["transaction_type"],
            "txnAmt": str(request.amount_minor),
            "terminalNo": self._told["terminal_no"],
            "terminalIp": self._told["terminal_ip"],
            "goodsName": self._goods_name(request),
            "tradePlace": self._told["trade_place"],
            "orderTimeExpire": f"{expires:%Y-%m-%dT%H:%M:%S}",
        }
        answer = await self._ask(self._profile.order, content, timeout_s)
        if isinstance(answer, Outcome) or answer.error:
            return ChannelReply(outcome=self._refused(answer), trade_no=request.trade_no)
        fields = answer.fields
        fields.same("orderId", request.trade_no)
        code = fields.text("qrCode") or fields.text("invokeUrl")
        if not code or not fields.text("cmbOrderId"):
            raise ChannelProtocolError("ecny: an order without a code or a number")
        return ChannelReply(
            outcome=Outcome.ACCEPTED,
            trade_no=request.trade_no,
            channel_trade_no=fields.text("cmbOrderId"),
            pay_url=code,
            prepay_id=order_info(fields.inner("context")),
            raw=answer.raw,
        )

    async def query(self, trade: Trade, *, timeout_s: float) -> ChannelReply:
        answer = await self._ask(self._profile.query, {"orderId": trade.trade_no}, timeout_s)
        if isinstance(answer, Outcome) or answer.error:
            outcome = self._not_found(answer, trade.created_at_us, self._profile.unpaid)
            return ChannelReply(outcome=outcome, trade_no=trade.trade_no)
        fields = answer.fields
        fields.same("orderId", trade.trade_no)
        fields.same("currencyCode", self._profile.currency)
        return ChannelReply(
            outcome=fields.word("tradeState", self._profile.payment_states),
            trade_no=trade.trade_no,
            channel_trade_no=fields.text("cmbOrderId"),
            amount_minor=fields.fen("txnAmt"),
            currency="CNY",
            raw=answer.raw,
        )

    async def close(self, trade: Trade, *, timeout_s: float) -> ChannelReply:
        content = {"origOrderId": trade.trade_no}
        answer = await self._ask(self._profile.close, content, timeout_s)
        outcome = Outcome.UNKNOWN
        if isinstance(answer, _Answer):
            if answer.error in self._profile.paid_already:
                outcome = Outcome.PAID
            elif answer.error in self._profile.no_such | self._profile.unpaid:
                outcome = Outcome.CLOSED  # Nobody has a code of an order that the bank hasn't.
            elif not answer.error:
                answer.fields.same("closeState", "C")
                outcome = Outcome.CLOSED
        return ChannelReply(outcome=outcome, trade_no=trade.trade_no)

    async def refund(
        self, trade: Trade, refund: RefundRequest, *, timeout_s: float
    ) -> ChannelReply:
        content = {
            "orderId": refund.refund_no,
            "origOrderId": trade.trade_no,
            "notifyUrl": refund.notify_url,
            "txnAmt": str(trade.amount_minor),
            "refundAmt": str(refund.amount_minor),
            "currencyCode": self._profile.currency,
            "refundReason": refund.reason[:256],
            # The notification names the refund alone; this brings the payment's number back.
            "mchReserved": trade.trade_no,
        }
        answer = await self._ask(self._profile.refund, content, timeout_s)
        if isinstance(answer, Outcome) or answer.error:
            return _about(self._refused(answer), trade, refund)
        return self._refund_reply(answer, "refundState", trade, refund)

    async def query_refund(
        self, trade: Trade, refund: RefundRequest, *, timeout_s: float
    ) -> ChannelReply:
        content = {"orderId": refund.refund_no}
        answer = await self._ask(self._profile.refund_query, content, timeout_s)
        if isinstance(answer, Outcome) or answer.error:
            return _about(self._not_found(answer, refund.created_at_us), trade, refund)
        return self._refund_reply(answer, "tradeState", trade, refund)

    async def read_notification(self, notice: Notice, *, timeout_s: float) -> ChannelReply:  # noqa: ARG002 - others ask
        message = read_form(notice.body)
        await self._verify(message)
        fields = Fields(message.get("biz_content", ""))
        fields.same("merId", self._merchant_no)
        fields.same("currencyCode", self._profile.currency)
        fields.same("payType", self._profile.pay_type)
        number = fields.text("cmbOrderId")
        if not number or not fields.text("orderId"):
            raise ChannelProtocolError("ecny: a notification of nothing")
        if "refundAmt" in fields.texts():
            return ChannelReply(
                outcome=Outcome.REFUNDED,
                trade_no=fields.text("mchReserved"),
                refund_no=fields.text("orderId"),
                channel_refund_no=number,
                amount_minor=fields.fen("refundAmt"),
                currency="CNY",
                event_id=f"REFUND:{number}",
                raw=notice.body,
            )
        return ChannelReply(
            outcome=Outcome.PAID,
            trade_no=fields.text("orderId"),
            channel_trade_no=number,
            amount_minor=fields.fen("txnAmt"),
            currency="CNY",
            event_id=f"PAY:{number}",
            raw=notice.body,
        )

    def notification_answer(self, *, accepted: bool) -> NoticeAnswer:
        body = self._thanks if accepted else self._again
        return NoticeAnswer(http_status=200, body=body, content_type="application/json")

    @cached_property
    def _thanks(self) -> bytes:
        return self._signed_answer("SUCCESS")

    @cached_property
    def _again(self) -> bytes:
        return self._signed_answer("FAIL")

    async def bill(self, day: str, *, timeout_s: float) -> bytes:
        wanted = date.fromisoformat(day).strftime("%Y%m%d")
        content = {"billDate": wanted, "billType": "zip"}
        answer = await self._ask(self._profile.statement, content, timeout_s, cashier=False)
        if isinstance(answer, Outcome) or answer.error:
            said = answer.error if isinstance(answer, _Answer) else "no answer"
            raise ChannelProtocolError(f"ecny: no statement of {day}: {said}")
        address = answer.fields.text("fileDownloadUrl")
        ours, theirs = urlsplit(self._base_url), urlsplit(address)
        if theirs.scheme != "https" and theirs[:2] != ours[:2]:
            raise ChannelProtocolError("ecny: the statement must come over https")
        file = await ask(self._client, "GET", address, timeout_s=timeout_s)
        if file is None or file.status_code != httpx.codes.OK:
            raise ChannelProtocolError(f"ecny: the statement of {day} can't be had now")
        return file.content

    def _goods_name(self, request: PayRequest) -> str:
        """Letters, digits and spaces of the subject: the bank refuses ``/``, ``=``, ``&`` etc."""
        plain = "".join(letter if letter.isalnum() else " " for letter in request.subject)
        return " ".join(plain.split())[: self._profile.goods_length_max] or request.trade_no

    async def _ask(
        self, path: str, content: Mapping[str, str], timeout_s: float, *, cashier: bool = True
    ) -> "_Answer | Outcome":
        """Send one signed request; UNKNOWN if there is nothing to read.

        Raises:
            ChannelProtocolError: if the answer isn't the bank's, or we asked wrongly.
        """
        sender = {"merId": self._merchant_no}
        if cashier:
            sender["userId"] = self._told["cashier_no"]
        inside = json.dumps({**sender, **content}, ensure_ascii=False, separators=(",", ":"))
        message = await asyncio.to_thread(
            signed, {**dict(self._profile.fixed), "biz_content": inside}, self._key, self._profile
        )
        response = await ask(
            self._client,
            "POST",
            self._base_url + path,
            timeout_s=timeout_s,
            content=json.dumps(message, ensure_ascii=False).encode(),
            headers=app_headers(
                self._told["app_id"],
                self._told["app_secret"],
                message["sign"],
                str(self._clock_us() // 1_000_000),
            ),
        )
        if response is None:
            return Outcome.UNKNOWN
        if response.status_code != httpx.codes.OK:
            raise ChannelProtocolError(f"ecny: HTTP {response.status_code}")
        answer = Fields(response.content).texts()
        await self._verify(answer)
        error = answer.get("errCode", "") or answer.get("respCode", "")
        if answer.get("returnCode") == answer.get("respCode") == "SUCCESS":
            fields = Fields(answer.get("biz_content", ""))
            fields.same("merId", self._merchant_no)
            return _Answer(fields, "", response.content)
        if error in self._profile.misasked or error in {"", "SUCCESS"}:
            raise ChannelProtocolError(f"ecny: refused our message: {error[:40]}")
        return _Answer(Fields(b"{}"), error, response.content)

    async def _verify(self, message: Mapping[str, str]) -> None:
        await asyncio.to_thread(check_signed, message, self._bank, self._profile)

    def _refused(self, answer: "_Answer | Outcome") -> Outcome:
        """An order or refund that wasn't made: for good, unless the bank says otherwise."""
        if isinstance(answer, Outcome) or answer.error in self._profile.not_known:
            return Outcome.UNKNOWN
        return Outcome.REJECTED

    def _not_found(
        self, answer: "_Answer | Outcome", made_at_us: int, waiting: frozenset[str] = _NOTHING
    ) -> Outcome:
        """A question without its answer: whatever isn't named means to ask again."""
        if isinstance(answer, Outcome):
            return answer
        if answer.error in waiting:
            return Outcome.ACCEPTED
        forgotten = self._clock_us() - made_at_us > self._profile.remembers_us
        found = answer.error not in self._profile.no_such
        return Outcome.UNKNOWN if found or forgotten else Outcome.NOT_FOUND

    def _refund_reply(
        self, answer: "_Answer", state: str, trade: Trade, refund: RefundRequest
    ) -> ChannelReply:
        fields = answer.fields
        fields.same("orderId", refund.refund_no)
        return ChannelReply(
            outcome=fields.word(state, self._profile.refund_states),
            trade_no=trade.trade_no,
            refund_no=refund.refund_no,
            channel_refund_no=fields.text("cmbOrderId"),
            amount_minor=fields.fen("refundAmt"),
            currency="CNY",
            raw=answer.raw,
        )

    def _signed_answer(self, code: str) -> bytes:
        message = {**dict(self._profile.fixed), "returnCode": "SUCCESS", "respCode": code}
        return json.dumps(signed(message, self._key, self._profile)).encode()


def _about(outcome: Outcome, trade: Trade, refund: RefundRequest) -> ChannelReply:
    return ChannelReply(outcome=outcome, trade_no=trade.trade_no, refund_no=refund.refund_no)


def _read(setting: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except ValueError as error:
        raise ValueError(f"{setting}: {error}") from error


def _open(
    name: str, told: Mapping[str, str], client: httpx.AsyncClient, clock_us: Callable[[], int]
) -> Channel:
    return EcnyChannel(name, told, client, clock_us)


_SETTINGS: Final = (
    Setting(name="base_url", meaning_en="The bank's address.", meaning_zh="银行接口地址"),
    Setting(name="app_id", meaning_en="APP ID the bank gave.", meaning_zh="APP ID"),
    Setting(name="app_secret", meaning_en="APP SECRET.", meaning_zh="APP SECRET", secret=True),
    Setting(name="merchant_no", meaning_en="Merchant number.", meaning_zh="商户号"),
    Setting(name="cashier_no", meaning_en="Cashier (userId).", meaning_zh="收银员编号"),
    Setting(
        name="private_key_hex",
        meaning_en="The merchant's SM2 private key, 64 hex digits.",
        meaning_zh="商户SM2私钥(64位十六进制)",
        secret=True,
    ),
    Setting(
        name="bank_public_key",
        meaning_en="The bank's SM2 public key, base64 of its DER.",
        meaning_zh="银行SM2公钥(ASN.1, base64)",
    ),
    Setting(
        name="trade_place",
        meaning_en="The shop's address, or its web address.",
        meaning_zh="交易地点或网络交易平台地址",
    ),
    Setting(
        name="transaction_type",
        meaning_en="TT01 code to scan, TT03 app, TT04 web page, TT13 mini program.",
        meaning_zh="交易类型: TT01扫码 TT03APP TT04H5 TT13小程序",
        default="TT01",
    ),
    Setting(
        name="terminal_no", meaning_en="Terminal.", meaning_zh="受理终端编号", default="00000001"
    ),
    Setting(
        name="terminal_ip",
        meaning_en="The terminal's IP address.",
        meaning_zh="受理终端IP",
        default="127.0.0.1",
    ),
)

ADAPTER: Final = Adapter(kind="ecny", pay_types=frozenset({"ecny"}), settings=_SETTINGS, open=_open)
