"""WeChat Pay's API v3: native codes, app, JSAPI and H5, refunds, notifications, bills.

Written from WeChat Pay's public documents; see `docs/CHANNELS.md`. Amounts are integers of fen.
Signatures, certificates and ciphers are in `wechat_wire`.
"""

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Final

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
from gateway.channels.json_object import JsonObject
from gateway.channels.wechat_wire import RsaSuite, Seal, Sm2Suite, Suite, Verify, Wire, serial

_BEIJING: Final = timezone(timedelta(hours=8))
_BODY_BYTES_MAX: Final = 65_536
_BILL_BYTES_MAX: Final = 1 << 28
_REFETCH_US: Final = 60_000_000  # So often, at most, a forged serial makes us look for new keys.
_DESCRIPTION_CHARS_MAX: Final = 127
_REASON_CHARS_MAX: Final = 80
_PRODUCTS: Final = ("native", "app", "jsapi", "h5")
_SUITES: Final[dict[str, Callable[[bytes, bytes], Suite]]] = {"RSA": RsaSuite, "SM2": Sm2Suite}
_PAYMENTS: Final = {
    "NOTPAY": Outcome.ACCEPTED,
    "USERPAYING": Outcome.ACCEPTED,
    "ACCEPT": Outcome.ACCEPTED,
    "PAYERROR": Outcome.ACCEPTED,  # This attempt failed; another may follow.
    "SUCCESS": Outcome.PAID,
    "REFUND": Outcome.PAID,  # It had a refund, perhaps of a part: refunds are facts of their own.
    "CLOSED": Outcome.CLOSED,
    "REVOKED": Outcome.CLOSED,
}
_REFUNDS: Final = {
    "SUCCESS": Outcome.REFUNDED,
    "PROCESSING": Outcome.ACCEPTED,
    "ABNORMAL": Outcome.ACCEPTED,  # The payer's account can't take it; a person must help.
    "CLOSED": Outcome.REJECTED,
}
_EVENTS: Final = frozenset(
    {"TRANSACTION.SUCCESS", "REFUND.SUCCESS", "REFUND.ABNORMAL", "REFUND.CLOSED"}
)
_NOT_FOUND: Final = frozenset({"ORDER_NOT_EXIST", "RESOURCE_NOT_EXISTS"})
# Refusals that say our keys, accounts or rights are wrong, and nothing about the payment.
_OURS: Final = frozenset({"SIGN_ERROR", "NO_AUTH", "MCH_NOT_EXISTS", "APPID_MCHID_NOT_MATCH"})
_OPEN: Final = frozenset({"SYSTEM_ERROR", "BIZERR_NEED_RETRY", "FREQUENCY_LIMITED", "USER_PAYING"})


class WeChatChannel:
    """A merchant at WeChat Pay; see `gateway.channels.base.Channel` for what it promises."""

    kind = "wechat"
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
        if told["product"] not in _PRODUCTS or told["algorithm"] not in _SUITES:
            raise ValueError(f"product is of {_PRODUCTS}, algorithm of {tuple(_SUITES)}")
        self._base_url = told["base_url"].rstrip("/")
        self._app_id, self._mch_id = told["app_id"], told["mch_id"]
        self._product = told["product"]
        api_key = told["apiv3_key"].encode()
        suite = _SUITES[told["algorithm"]](told["private_key"].encode(), api_key)
        self._wire = Wire(told["mch_id"], told["serial_no"], api_key, suite, clock_us)
        self._keys: dict[str, Verify] = {}
        self._key_id = told["wechatpay_public_key_id"]
        if (self._key_id == "") != (told["wechatpay_public_key"] == ""):
            raise ValueError("wechatpay_public_key and wechatpay_public_key_id belong together")
        if self._key_id:
            self._keys[serial(self._key_id)] = suite.verifier(told["wechatpay_public_key"].encode())
        elif told["algorithm"] != "RSA":
            raise ValueError("wechatpay_public_key is needed with SM2")
        self._fetched_at_us = -_REFETCH_US

    def __repr__(self) -> str:  # No key ever reaches a log through a repr.
        return f"WeChatChannel({self.name}, {self._mch_id})"

    def link(self, request: PayRequest) -> ChannelReply | None:  # noqa: ARG002 - always asked
        return None

    async def pay(self, request: PayRequest, *, timeout_s: float) -> ChannelReply:
        order = self._order(request)
        if order is None:
            return ChannelReply(outcome=Outcome.REJECTED, trade_no=request.trade_no)
        path = f"/v3/pay/transactions/{self._product}"
        answer = await self._ask("POST", path, order, timeout_s=timeout_s)
        if isinstance(answer, Outcome):
            return ChannelReply(outcome=_refused_for_good(answer), trade_no=request.trade_no)
        prepay_id = answer.text("prepay_id")
        return ChannelReply(
            outcome=Outcome.ACCEPTED,
            trade_no=request.trade_no,
            amount_minor=request.amount_minor,
            currency=request.currency,
            pay_url=answer.text("code_url") or answer.text("h5_url"),
            form=self._wire.invocation(self._app_id, prepay_id) if prepay_id else {},
            prepay_id=prepay_id,
            raw=answer.raw,
        )

    async def query(self, trade: Trade, *, timeout_s: float) -> ChannelReply:
        path = f"/v3/pay/transactions/out-trade-no/{trade.trade_no}?mchid={self._mch_id}"
        answer = await self._ask("GET", path, timeout_s=timeout_s)
        if isinstance(answer, Outcome):
            if answer is Outcome.REJECTED:
                raise ChannelProtocolError("wechat: refused a question")
            return ChannelReply(outcome=answer, trade_no=trade.trade_no)
        answer.same("out_trade_no", trade.trade_no)
        return self._about_payment(answer)

    async def close(self, trade: Trade, *, timeout_s: float) -> ChannelReply:
        """Close an unpaid order; one that WeChat never heard of has no code anybody could scan."""
        path = f"/v3/pay/transactions/out-trade-no/{trade.trade_no}/close"
        answer = await self._ask("POST", path, {"mchid": self._mch_id}, timeout_s=timeout_s)
        if answer is Outcome.REJECTED:  # Paid, or closed before: only the question tells.
            return await self.query(trade, timeout_s=timeout_s)
        if answer is Outcome.UNKNOWN:
            return ChannelReply(outcome=Outcome.UNKNOWN, trade_no=trade.trade_no)
        return ChannelReply(outcome=Outcome.CLOSED, trade_no=trade.trade_no)

    async def refund(
        self, trade: Trade, refund: RefundRequest, *, timeout_s: float
    ) -> ChannelReply:
        wanted = {
            "out_trade_no": trade.trade_no,
            "out_refund_no": refund.refund_no,
            "notify_url": refund.notify_url,
            "amount": {
                "refund": refund.amount_minor,
                "total": trade.amount_minor,
                "currency": refund.currency,
            },
        }
        if refund.reason:
            wanted["reason"] = refund.reason[:_REASON_CHARS_MAX]
        path = "/v3/refund/domestic/refunds"
        answer = await self._ask("POST", path, wanted, timeout_s=timeout_s)
        if isinstance(answer, Outcome):
            return _without_detail(trade, refund, _refused_for_good(answer))
        return _about_refund(trade, refund, answer)

    async def query_refund(
        self, trade: Trade, refund: RefundRequest, *, timeout_s: float
    ) -> ChannelReply:
        path = f"/v3/refund/domestic/refunds/{refund.refund_no}"
        answer = await self._ask("GET", path, timeout_s=timeout_s)
        if isinstance(answer, Outcome):
            if answer is Outcome.REJECTED:
                raise ChannelProtocolError("wechat: refused a question")
            return _without_detail(trade, refund, answer)
        return _about_refund(trade, refund, answer)

    async def read_notification(self, notice: Notice, *, timeout_s: float) -> ChannelReply:
        if len(notice.body) > _BODY_BYTES_MAX:
            raise ChannelProtocolError("wechat: notification is too large")
        await self._check(notice.headers, notice.body, timeout_s)
        told = JsonObject.read(notice.body)
        event, event_id = told.text("event_type"), told.text("id")
        told.same("resource_type", "encrypt-resource")
        if event not in _EVENTS or not event_id:
            raise ChannelProtocolError(f"wechat: unknown event {event[:40]!r}")
        fact = JsonObject.read(self._wire.opened(told.part("resource")))
        fact.same("mchid", self._mch_id)
        if event == "TRANSACTION.SUCCESS":
            fact.same("appid", self._app_id)
            fact.same("trade_state", "SUCCESS")
            return replace(self._about_payment(fact), event_id=event_id, raw=notice.body)
        done = event == "REFUND.SUCCESS"
        if done:
            fact.same("refund_status", "SUCCESS")
        return ChannelReply(
            outcome=Outcome.REFUNDED if done else Outcome.ASK,
            trade_no=fact.text("out_trade_no"),
            channel_trade_no=fact.text("transaction_id"),
            refund_no=fact.text("out_refund_no"),
            channel_refund_no=fact.text("refund_id"),
            amount_minor=fact.part("amount").number("refund"),
            currency="CNY",
            event_id=event_id,
            raw=notice.body,
        )

    def notification_answer(self, *, accepted: bool) -> NoticeAnswer:
        if accepted:
            return NoticeAnswer(http_status=204)
        said = json.dumps({"code": "FAIL", "message": "失败"}, ensure_ascii=False).encode()
        return NoticeAnswer(http_status=500, body=said, content_type="application/json")

    async def bill(self, day: str, *, timeout_s: float) -> bytes:
        path = f"/v3/bill/tradebill?bill_date={day}&bill_type=ALL&tar_type=GZIP"
        answer = await self._ask("GET", path, timeout_s=timeout_s)
        if isinstance(answer, Outcome):
            raise ChannelProtocolError(f"wechat: no bill of {day}: {answer}")
        answer.same("hash_type", "SHA1")
        # The file itself isn't signed: its hash stands in the signed answer.
        response = await self._send("GET", answer.text("download_url"), b"", timeout_s)
        if response is None or response.status_code != httpx.codes.OK:
            raise ChannelProtocolError(f"wechat: the bill of {day} can't be had now")
        unzipped = _gunzip(response.content)
        digest = hashlib.sha1(unzipped, usedforsecurity=False).hexdigest()  # The protocol's choice.
        if digest != answer.text("hash_value").lower():
            raise ChannelProtocolError(f"wechat: the bill of {day} doesn't have its hash")
        return response.content

    def _order(self, request: PayRequest) -> dict[str, object] | None:
        """Return the order to open, or None if this payer can't be served."""
        if request.currency != "CNY":
            return None
        expires = datetime.fromtimestamp(request.expires_at_s, tz=_BEIJING)
        order: dict[str, object] = {
            "appid": self._app_id,
            "mchid": self._mch_id,
            "description": request.subject[:_DESCRIPTION_CHARS_MAX],
            "out_trade_no": request.trade_no,
            "time_expire": expires.isoformat(),
            "notify_url": request.notify_url,
            "amount": {"total": request.amount_minor, "currency": request.currency},
        }
        if self._product == "jsapi":
            order["payer"] = {"openid": request.payer_id}
        if self._product == "h5":
            order["scene_info"] = {"payer_client_ip": request.payer_ip, "h5_info": {"type": "Wap"}}
        needed = {"jsapi": request.payer_id, "h5": request.payer_ip}
        return order if needed.get(self._product, "none") else None

    def _about_payment(self, fields: JsonObject) -> ChannelReply:
        fields.same("mchid", self._mch_id)
        amount = fields.part("amount")
        return ChannelReply(
            outcome=fields.word("trade_state", _PAYMENTS),
            trade_no=fields.text("out_trade_no"),
            channel_trade_no=fields.text("transaction_id"),
            amount_minor=amount.number("total") if amount.holds("total") else None,
            currency=amount.text("currency") or "CNY",
            raw=fields.raw,
        )

    async def _check(self, headers: Mapping[str, str], body: bytes, timeout_s: float) -> None:
        seal = Seal.of(headers, self._wire.suite.scheme)
        verify = self._keys.get(serial(seal.serial))
        if verify is None and not self._key_id:
            await self._fetch_keys(timeout_s)
            verify = self._keys.get(serial(seal.serial))
        if verify is None:
            raise ChannelProtocolError("wechat: signed with a key we don't know")
        seal.check(verify, body, self._clock_us())

    async def _fetch_keys(self, timeout_s: float) -> None:
        """Learn the platform certificates: the APIv3 key vouches for them, then they for it."""
        if self._clock_us() - self._fetched_at_us < _REFETCH_US:
            return
        self._fetched_at_us = self._clock_us()
        url = f"{self._base_url}/v3/certificates"
        response = await self._send("GET", url, b"", timeout_s)
        if response is None or response.status_code != httpx.codes.OK:
            self._fetched_at_us = -_REFETCH_US
            return
        keys = self._wire.certificates(JsonObject.read(response.content))
        seal = Seal.of(response.headers, self._wire.suite.scheme)
        verify = keys.get(serial(seal.serial))
        if verify is None:
            raise ChannelProtocolError("wechat: certificates signed by none of them")
        seal.check(verify, response.content, self._clock_us())
        self._keys = keys

    async def _send(
        self, method: str, url: str, body: bytes, timeout_s: float
    ) -> httpx.Response | None:
        """Send one signed request; what is signed is the path below the base address."""
        below = url.startswith(f"{self._base_url}/")
        target = url[len(self._base_url) :] if below else httpx.URL(url).raw_path.decode()
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "Authorization": self._wire.authorization(method, target, body),
            **({"Wechatpay-Serial": self._key_id} if self._key_id else {}),
        }
        return await ask(
            self._client, method, url, content=body, headers=headers, timeout_s=timeout_s
        )

    async def _ask(
        self, method: str, path: str, said: object = None, *, timeout_s: float
    ) -> JsonObject | Outcome:
        """Return the signed answer, or the outcome where there is nothing to read in it."""
        body = b"" if said is None else json.dumps(said, ensure_ascii=False).encode()
        response = await self._send(method, self._base_url + path, body, timeout_s)
        if response is None:
            return Outcome.UNKNOWN
        if response.is_success or "wechatpay-signature" in response.headers:
            # WeChat's own clients verify no refusal; where one is signed, we do.
            await self._check(response.headers, response.content, timeout_s)
        if response.status_code == httpx.codes.NO_CONTENT:
            return JsonObject({})
        answer = JsonObject.read(response.content)
        if response.status_code == httpx.codes.OK:
            return answer
        code = answer.text("code")
        if code in _OPEN:
            return Outcome.UNKNOWN
        if code in _OURS or response.status_code == httpx.codes.UNAUTHORIZED:
            raise ChannelProtocolError(f"wechat: {response.status_code} {code[:40]}")
        return Outcome.NOT_FOUND if code in _NOT_FOUND else Outcome.REJECTED


def _gunzip(file: bytes) -> bytes:
    unzip = zlib.decompressobj(wbits=31)
    try:
        text = unzip.decompress(file, _BILL_BYTES_MAX)
    except zlib.error as error:
        raise ChannelProtocolError("wechat: the bill is no gzip") from error
    if not unzip.eof:
        raise ChannelProtocolError("wechat: the bill is cut off, or larger than any bill")
    return text


def _about_refund(trade: Trade, refund: RefundRequest, answer: JsonObject) -> ChannelReply:
    answer.same("out_trade_no", trade.trade_no)
    answer.same("out_refund_no", refund.refund_no)
    amount_minor = answer.part("amount").number("refund")
    if amount_minor != refund.amount_minor:
        raise ChannelProtocolError(f"wechat: another amount under {refund.refund_no}")
    return ChannelReply(
        outcome=answer.word("status", _REFUNDS),
        trade_no=trade.trade_no,
        channel_trade_no=answer.text("transaction_id"),
        refund_no=refund.refund_no,
        channel_refund_no=answer.text("refund_id"),
        amount_minor=amount_minor,
        currency=answer.part("amount").text("currency") or "CNY",
        raw=answer.raw,
    )


def _without_detail(trade: Trade, refund: RefundRequest, outcome: Outcome) -> ChannelReply:
    return ChannelReply(outcome=outcome, trade_no=trade.trade_no, refund_no=refund.refund_no)


def _refused_for_good(outcome: Outcome) -> Outcome:
    """What WeChat doesn't know can't be refunded, now or later."""
    return Outcome.REJECTED if outcome is Outcome.NOT_FOUND else outcome


def _setting(name: str, en: str, zh: str, default: str | None = None, **kept: bool) -> Setting:
    return Setting(name=name, meaning_en=en, meaning_zh=zh, default=default, **kept)


ADAPTER: Final = Adapter(
    kind="wechat",
    pay_types=frozenset({"wechat"}),
    settings=(
        _setting("mch_id", "Merchant id.", "商户号"),
        _setting("app_id", "Application id.", "公众账号或应用 ID"),
        _setting("serial_no", "Serial number of the merchant's certificate.", "商户证书序列号"),
        _setting("private_key", "The merchant's private key, PEM.", "商户私钥 (PEM)", secret=True),
        _setting("apiv3_key", "APIv3 key, 32 characters.", "APIv3 密钥, 32 个字符", secret=True),
        _setting(
            "wechatpay_public_key",
            "WeChat Pay's public key, PEM; without it platform certificates are fetched.",
            "微信支付公钥 (PEM), 不填则下载平台证书",
            "",
        ),
        _setting("wechatpay_public_key_id", "Its id, PUB_KEY_ID_...", "微信支付公钥 ID", ""),
        _setting(
            "product", "native, app, jsapi or h5.", "产品: native, app, jsapi 或 h5", "native"
        ),
        _setting("algorithm", "RSA, or SM2 (national).", "签名算法: RSA 或 SM2 (国密)", "RSA"),
        _setting("base_url", "Where the API lives.", "接口地址", "https://api.mch.weixin.qq.com"),
    ),
    open=WeChatChannel,
)
