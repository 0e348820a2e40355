"""Alipay's wire on Alipay's side: whose call it is, and answers and notifications as it signs them.

Strict as the real gateway: parameters come in the query, the body or both; every non-empty one but
`sign` is signed; an error of the caller is an answer of its own with HTTP 200.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Final
from urllib.parse import parse_qsl, urlencode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from gateway.domain.money import AMOUNT_MINOR_MAX
from gateway.sandbox.keys import Keys
from gateway.sandbox.trades import Event, Refusal, Trade, TradeStatus

APP_ID: Final = "2021000100000001"
SELLER_ID: Final = "2088000000000001"
BUYER_ID: Final = "2088000000000002"
BUYER_LOGON_ID: Final = "san***@sandbox.test"
_ZONE: Final = timezone(timedelta(hours=8))
_TIME: Final = re.compile(r"[0-9]{4}(-[0-9]{2}){2} [0-9]{2}(:[0-9]{2}){2}", re.ASCII)
_YUAN: Final = re.compile(r"(0|[1-9][0-9]{0,8})(?:\.([0-9]{1,2}))?", re.ASCII)


class Problem(Exception):
    """A call that fails, in Alipay's words."""

    def __init__(self, code: str, msg: str, sub_code: str, sub_msg: str) -> None:
        super().__init__(f"{code} {sub_code}")
        self.answer = {"code": code, "msg": msg, "sub_code": sub_code, "sub_msg": sub_msg}


def invalid(sub_code: str, sub_msg: str) -> Problem:
    """Make the refusal of a call that isn't as agreed (40002)."""
    return Problem("40002", "Invalid Arguments", sub_code, sub_msg)


def failed(sub_code: str, sub_msg: str) -> Problem:
    """Make the refusal of what can't be done (40004)."""
    return Problem("40004", "Business Failed", sub_code, sub_msg)


_REFUSALS: Final = {
    "TRADE_NOT_FOUND": failed("ACQ.TRADE_NOT_EXIST", "交易不存在"),
    "TRADE_CONFLICT": failed("ACQ.CONTEXT_INCONSISTENT", "交易信息被篡改"),
    "TRADE_CLOSED": failed("ACQ.TRADE_HAS_CLOSE", "交易已经关闭"),
    "TRADE_NOT_PAID": failed("ACQ.TRADE_STATUS_ERROR", "交易状态不合法"),
    "REFUND_EXCEEDS_PAID": failed("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "退款金额超限"),
    "REFUND_CONFLICT": failed("ACQ.DISCORDANT_REPEAT_REQUEST", "不一致的请求"),
}


def problem_of(refusal: Refusal) -> Problem:
    """Say a refusal of the sandbox in Alipay's words."""
    return _REFUSALS.get(refusal.code) or failed("ACQ.INVALID_PARAMETER", refusal.message_zh)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call whose signature was good: who calls is known, what he asks isn't yet.

    Attributes:
        content: The `biz_content`.
        notify_url: Where notifications go; may be empty.
        return_url: Where the payer's browser goes afterwards; may be empty.
        base_url: Where the caller found the sandbox.
    """

    content: Mapping[str, object]
    notify_url: str = ""
    return_url: str = ""
    base_url: str = ""

    def text(self, name: str, *, longest: int, needed: bool = True) -> str:
        """Return a field of text, or refuse the call."""
        value = self.content.get(name, "")
        if not isinstance(value, str) or len(value) > longest or (needed and not value):
            raise failed("ACQ.INVALID_PARAMETER", f"参数无效: {name}")
        return value

    def minor(self, name: str) -> int:
        """Return an amount of yuan, written as text or as a number, in fen."""
        value = self.content.get(name)
        written = json.dumps(value) if isinstance(value, int | float) else value
        found = _YUAN.fullmatch(written) if isinstance(written, str) else None
        if found is None:
            raise failed("ACQ.INVALID_PARAMETER", f"参数无效: {name}")
        amount_minor = int(found.group(1)) * 100 + int((found.group(2) or "").ljust(2, "0"))
        if not 0 < amount_minor <= AMOUNT_MINOR_MAX:
            raise failed("ACQ.INVALID_PARAMETER", f"参数无效: {name}")
        return amount_minor

    def expires_at_s(self, now_us: int, default_s: int) -> int:
        """Return when the trade dies by itself, seconds since the epoch."""
        written = self.text("time_expire", longest=19, needed=False)
        if not written:
            return now_us // 1_000_000 + default_s
        try:
            at = datetime.strptime(written, "%Y-%m-%d %H:%M:%S").replace(tzinfo=_ZONE)
        except ValueError:
            raise failed("ACQ.INVALID_PARAMETER", "参数无效: time_expire") from None
        return int(at.timestamp())


class Wire:
    """Verifies as Alipay what the sandbox's one application sends, and signs as Alipay."""

    def __init__(self, keys: Keys) -> None:
        """Read both sides' keys."""
        self._app_key = keys.rsa("alipay.app").public_key()
        self._key = keys.rsa("alipay.platform")

    def check(self, parameters: Mapping[str, str], base_url: str) -> Call:
        """Verify a call and read its content.

        Raises:
            Problem: in the order in which the real gateway looks.
        """
        if not parameters.get("method"):
            raise Problem("40001", "Missing Arguments", "isv.missing-method", "缺少方法名参数")
        if parameters.get("app_id") != APP_ID:
            raise invalid("isv.invalid-app-id", "无效的AppID参数")
        if not parameters.get("sign"):
            raise Problem("40001", "Missing Arguments", "isv.missing-signature", "缺少签名参数")
        if parameters.get("sign_type") != "RSA2":
            raise invalid("isv.invalid-signature-type", "无效的签名类型")
        if parameters.get("charset", "").lower() != "utf-8":
            raise invalid("isv.invalid-charset", "无效的字符集")
        if _TIME.fullmatch(parameters.get("timestamp", "")) is None:
            raise invalid("isv.invalid-timestamp", "无效的时间戳参数")
        if parameters.get("version") != "1.0":
            raise invalid("isv.invalid-version", "无效的版本")
        self._verify(parameters)
        try:
            content: object = json.loads(parameters.get("biz_content", ""))
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise invalid("isv.invalid-parameter", "biz_content 不是 JSON 对象")
        return Call(
            content=content,
            notify_url=parameters.get("notify_url", ""),
            return_url=parameters.get("return_url", ""),
            base_url=base_url,
        )

    def _verify(self, parameters: Mapping[str, str]) -> None:
        pairs = sorted((name, value) for name, value in parameters.items() if value)
        signed = "&".join(f"{name}={value}" for name, value in pairs if name != "sign")
        try:
            signature = base64.b64decode(parameters["sign"], validate=True)
            self._app_key.verify(signature, signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        except (ValueError, InvalidSignature):
            raise invalid(
                "isv.invalid-signature", "验签出错, 请确认签名内容与应用公钥一致"
            ) from None

    def answer(self, method: str, fields: Mapping[str, object]) -> bytes:
        """Write a signed answer: the inner object's bytes are what is signed, slashes escaped."""
        inner = _json(fields)
        name = f"{method.replace('.', '_')}_response"
        return f'{{"{name}":{inner},"sign":"{self._sign(inner)}"}}'.encode()

    def unsigned(self, method: str, problem: Problem) -> bytes:
        """Write the answer to somebody unknown, which can't be signed for him."""
        name = f"{method.replace('.', '_')}_response" if method else "error_response"
        return f'{{"{name}":{_json(problem.answer)}}}'.encode()

    def notification(self, fields: Mapping[str, str], *, valid: bool) -> bytes:
        """Write a signed notification as a form; `valid` False signs it wrongly on purpose."""
        signed = "&".join(f"{name}={fields[name]}" for name in sorted(fields) if fields[name])
        sign = self._sign(signed if valid else f"{signed}&")
        return urlencode({**fields, "sign": sign, "sign_type": "RSA2"}).encode()

    def _sign(self, text: str) -> str:
        signature = self._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return base64.b64encode(signature).decode()


def parameters_of(query: bytes, body: bytes) -> dict[str, str]:
    """Merge what stands in the address and in the form; a name given twice counts once, last."""
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict")
        pairs += parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        raise invalid("isv.invalid-parameter", "参数不是 UTF-8 表单") from None
    return dict(pairs)


def yuan(amount_minor: int) -> str:
    """Write fen as yuan with two decimals."""
    sign, rest = ("-" if amount_minor < 0 else ""), abs(amount_minor)
    return f"{sign}{rest // 100}.{rest % 100:02d}"


def beijing(at_us: int) -> str:
    """Write a time as Alipay does."""
    return f"{datetime.fromtimestamp(at_us // 1_000_000, tz=_ZONE):%Y-%m-%d %H:%M:%S}"


def status_of(trade: Trade) -> str:
    """Say where a trade stands: one that was refunded in full reads as closed."""
    if trade.status is TradeStatus.WAITING:
        return "WAIT_BUYER_PAY"
    whole = trade.refunded_minor == trade.amount_minor
    return "TRADE_CLOSED" if trade.status is TradeStatus.CLOSED or whole else "TRADE_SUCCESS"


def notice_of(event: Event, refunded_minor: int) -> dict[str, str]:
    """Return a notification's fields, unsigned.

    Args:
        event: What happened.
        refunded_minor: The sum of all refunds of the trade so far, in fen.
    """
    trade, at = event.trade, beijing(event.at_us)
    total = yuan(event.amount_minor if event.event == "PAID" else trade.amount_minor)
    fields = {
        "app_id": APP_ID,
        "auth_app_id": APP_ID,
        "charset": "utf-8",
        "version": "1.0",
        # The number that all tries of one notification share.
        "notify_id": hashlib.sha256(f"alipay:{event.event_id}".encode()).hexdigest()[:34],
        "notify_type": "trade_status_sync",
        "notify_time": at,
        "trade_no": trade.channel_trade_no,
        "out_trade_no": trade.trade_no,
        "trade_status": status_of(trade),
        "total_amount": total,
        "subject": trade.subject,
        "seller_id": SELLER_ID,
        "buyer_id": BUYER_ID,
        "gmt_create": beijing(trade.opened_at_us),
    }
    if trade.paid_at_us is not None:
        fund = {"amount": total, "fundChannel": "ALIPAYACCOUNT"}
        fields |= {
            "gmt_payment": beijing(trade.paid_at_us),
            "receipt_amount": total,
            "buyer_pay_amount": total,
            "invoice_amount": total,
            "point_amount": "0.00",
            "fund_bill_list": json.dumps([fund], separators=(",", ":")),
        }
    if event.event == "CLOSED":
        fields["gmt_close"] = at
    if event.event == "REFUNDED":
        fields |= {
            "out_biz_no": event.refund_no,
            "refund_fee": yuan(refunded_minor),
            "gmt_refund": f"{at}.{event.at_us // 1000 % 1000:03d}",
        }
    return fields


def _json(fields: Mapping[str, object]) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).replace("/", "\\/")
