"""WeChat Pay's API v3 on WeChat's side: whose request it is, and answers and notices as signed.

What is signed is the path below the sandbox's address with its query, as a merchant's client sees
it. Errors have an HTTP status and a code of WeChat's own.
"""

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import cached_property
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.sandbox.certificates import certificate, pem_of
from gateway.sandbox.keys import Keys
from gateway.sandbox.trades import Event, Refund, RefundStatus, Refusal, Trade, TradeStatus

MCH_ID: Final = "1900000109"
APP_ID: Final = "wx8888888888888888"
PAYER_OPENID: Final = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"
SCHEME: Final = "WECHATPAY2-SHA256-RSA2048"
PUBLIC_KEY_ID: Final = "PUB_KEY_ID_0119000001092025112200000000000001"
_CLOCK_TOLERANCE_S: Final = 300
_ZONE: Final = timezone(timedelta(hours=8))
_PART: Final = re.compile(r'([a-z_]+)="([^"]*)"', re.ASCII)
_NONCE: Final = re.compile(r"[0-9A-Za-z]{1,32}", re.ASCII)
_DIGITS: Final = re.compile(r"[0-9]{1,12}", re.ASCII)


class Problem(Exception):
    """A request that fails, in WeChat's words."""

    def __init__(self, http_status: int, code: str, message: str) -> None:
        super().__init__(f"{http_status} {code}")
        self.http_status = http_status
        self.code = code
        self.message = message


def bad(field: str) -> Problem:
    """Make the refusal of a malformed field."""
    return Problem(400, "PARAM_ERROR", f"参数错误: {field}")


_REFUSALS: Final = {
    "TRADE_NOT_FOUND": Problem(404, "ORDER_NOT_EXIST", "订单不存在"),
    "TRADE_CONFLICT": Problem(400, "INVALID_REQUEST", "商户订单号重复, 参数与首次请求不一致"),
    "TRADE_CLOSED": Problem(400, "ORDER_CLOSED", "订单已关闭"),
    "TRADE_NOT_PAID": Problem(400, "INVALID_REQUEST", "订单未支付"),
    "REFUND_NOT_FOUND": Problem(404, "RESOURCE_NOT_EXISTS", "退款单不存在"),
    "REFUND_EXCEEDS_PAID": Problem(400, "INVALID_REQUEST", "申请退款金额超过可退金额"),
    "REFUND_CONFLICT": Problem(400, "INVALID_REQUEST", "退款单号重复, 参数与首次请求不一致"),
}


def problem_of(refusal: Refusal) -> Problem:
    """Say a refusal of the sandbox in WeChat's words."""
    return _REFUSALS.get(refusal.code) or Problem(400, "PARAM_ERROR", refusal.message_zh)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request whose signature was good."""

    body: Mapping[str, object]
    by_public_key: bool  # The merchant expects answers under the public key, not a certificate.

    def text(self, name: str, pattern: str, *, inside: Mapping[str, object] | None = None) -> str:
        """Return a field of text that fits a pattern, or refuse the request."""
        value = (self.body if inside is None else inside).get(name)
        if not isinstance(value, str) or re.fullmatch(pattern, value, re.DOTALL) is None:
            raise bad(name)
        return value

    def fen(self, name: str, inside: Mapping[str, object]) -> int:
        """Return an amount: a positive integer of fen."""
        value = inside.get(name)
        if type(value) is not int or not 0 < value <= 10**12:
            raise bad(f"amount.{name}")
        return value

    def part(self, name: str) -> Mapping[str, object]:
        """Return an object in a field."""
        value = self.body.get(name)
        if not isinstance(value, dict):
            raise bad(name)
        return value

    def expires_at_s(self, now_us: int) -> int:
        """Return when the order dies by itself, seconds since the epoch; two hours by default."""
        written = self.body.get("time_expire")
        if written is None:
            return now_us // 1_000_000 + 7_200
        try:
            at = datetime.fromisoformat(str(written))
        except ValueError:
            raise bad("time_expire") from None
        if at.tzinfo is None:
            raise bad("time_expire")
        return int(at.timestamp())


class Wire:
    """Verifies as WeChat Pay what the sandbox's one merchant sends, and signs as WeChat Pay."""

    def __init__(self, keys: Keys, clock_us: Callable[[], int]) -> None:
        """Bind the keys and the clock."""
        self._keys = keys
        self._clock_us = clock_us

    @cached_property
    def merchant(self) -> x509.Certificate:
        """The merchant's certificate."""
        return certificate(self._keys, "wechat.merchant", "Sandbox merchant")

    @cached_property
    def platform(self) -> x509.Certificate:
        """WeChat Pay's certificate."""
        return certificate(self._keys, "wechat.platform", "Tenpay.com sign (sandbox)")

    @property
    def _api_key(self) -> bytes:
        return api_key(self._keys).encode()

    def check(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Asked:
        """Verify a request and read its body.

        Raises:
            Problem: (401 SIGN_ERROR) if it isn't the merchant's; (400) if it is no JSON object.
        """
        scheme, _, rest = headers.get("authorization", "").partition(" ")
        parts = dict(_PART.findall(rest))
        nonce, timestamp = parts.get("nonce_str", ""), parts.get("timestamp", "")
        if scheme != SCHEME or parts.get("mchid") != MCH_ID:
            raise Problem(401, "SIGN_ERROR", "Http头Authorization认证类型或商户号不正确")
        if parts.get("serial_no", "").upper() != f"{self.merchant.serial_number:X}":
            raise Problem(401, "SIGN_ERROR", "商户证书序列号有误")
        if _NONCE.fullmatch(nonce) is None or _DIGITS.fullmatch(timestamp) is None:
            raise Problem(401, "SIGN_ERROR", "Http头Authorization值格式错误")
        if abs(self._clock_us() // 1_000_000 - int(timestamp)) > _CLOCK_TOLERANCE_S:
            raise Problem(401, "SIGN_ERROR", "Http头Authorization中的timestamp与发起请求的时间不符")
        message = f"{method}\n{target}\n{timestamp}\n{nonce}\n".encode() + body + b"\n"
        try:
            signature = base64.b64decode(parts.get("signature", ""), validate=True)
            self._keys.rsa("wechat.merchant").public_key().verify(
                signature, message, padding.PKCS1v15(), hashes.SHA256()
            )
        except (ValueError, InvalidSignature):
            raise Problem(401, "SIGN_ERROR", "签名错误, 请检查后再试") from None
        return Asked(_object(body), self._expects(headers.get("wechatpay-serial", "")))

    def _expects(self, serial: str) -> bool:
        if serial and serial not in (PUBLIC_KEY_ID, f"{self.platform.serial_number:X}"):
            raise Problem(400, "PARAM_ERROR", "Wechatpay-Serial 不正确")
        return serial == PUBLIC_KEY_ID

    def seal(self, body: bytes, *, by_public_key: bool, valid: bool = True) -> dict[str, str]:
        """Make the headers that sign an answer or a notification."""
        timestamp = str(self._clock_us() // 1_000_000)
        nonce = secrets.token_hex(16)
        message = f"{timestamp}\n{nonce}\n".encode() + body + (b"\n" if valid else b"")
        name = "wechat.public" if by_public_key else "wechat.platform"
        signature = self._keys.rsa(name).sign(message, padding.PKCS1v15(), hashes.SHA256())
        serial = PUBLIC_KEY_ID if by_public_key else f"{self.platform.serial_number:X}"
        return {
            "Wechatpay-Timestamp": timestamp,
            "Wechatpay-Nonce": nonce,
            "Wechatpay-Serial": serial,
            "Wechatpay-Signature": base64.b64encode(signature).decode(),
            "Wechatpay-Signature-Type": SCHEME,
        }

    def sealed(self, text: bytes, associated: str) -> dict[str, str]:
        """Encrypt to the merchant under the APIv3 key."""
        nonce = secrets.token_hex(6)
        cipher = AESGCM(self._api_key).encrypt(nonce.encode(), text, associated.encode())
        return {
            "algorithm": "AEAD_AES_256_GCM",
            "nonce": nonce,
            "associated_data": associated,
            "ciphertext": base64.b64encode(cipher).decode(),
        }

    def certificates(self) -> dict[str, object]:
        """Answer with the platform's certificate, encrypted to the merchant."""
        return {
            "data": [
                {
                    "serial_no": f"{self.platform.serial_number:X}",
                    "effective_time": self.platform.not_valid_before_utc.isoformat(),
                    "expire_time": self.platform.not_valid_after_utc.isoformat(),
                    "encrypt_certificate": self.sealed(
                        pem_of(self.platform).encode(), "certificate"
                    ),
                }
            ]
        }


def api_key(keys: Keys) -> str:
    """Return the APIv3 key, 32 characters."""
    return keys.secret_hex("wechat.apiv3", length_bytes=16)


def _object(body: bytes) -> Mapping[str, object]:
    if not body:
        return {}
    try:
        parsed: object = json.loads(body)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise Problem(400, "PARAM_ERROR", "请求体不是 JSON 对象")
    return parsed


def rfc3339(at_us: int) -> str:
    """Write a time as WeChat Pay does."""
    return datetime.fromtimestamp(at_us // 1_000_000, tz=UTC).astimezone(_ZONE).isoformat()


def transaction(trade: Trade, total_minor: int) -> dict[str, object]:
    """Write an order as an answer or a notification, unpaid ones without the payer's part."""
    fields: dict[str, object] = {
        "appid": APP_ID,
        "mchid": MCH_ID,
        "out_trade_no": trade.trade_no,
        "attach": "",
        "amount": {"total": total_minor, "currency": trade.currency},
    }
    match trade.status:
        case TradeStatus.WAITING:
            return fields | {"trade_state": "NOTPAY", "trade_state_desc": "订单未支付"}
        case TradeStatus.CLOSED:
            return fields | {"trade_state": "CLOSED", "trade_state_desc": "订单已关闭"}
        case TradeStatus.PAID:
            refunded = trade.refunded_minor > 0
            return fields | {
                "trade_state": "REFUND" if refunded else "SUCCESS",
                "trade_state_desc": "转入退款" if refunded else "支付成功",
                "trade_type": trade.pay_type,
                "transaction_id": trade.channel_trade_no,
                "bank_type": "OTHERS",
                "success_time": rfc3339(trade.paid_at_us or trade.opened_at_us),
                "payer": {"openid": PAYER_OPENID},
                "amount": {
                    "total": total_minor,
                    "payer_total": total_minor,
                    "currency": trade.currency,
                    "payer_currency": trade.currency,
                },
            }


def refund_answer(refund: Refund) -> dict[str, object]:
    """Write a refund as an answer."""
    trade = refund.trade
    done = refund.status is RefundStatus.REFUNDED
    fields: dict[str, object] = {
        "refund_id": refund.channel_refund_no,
        "out_refund_no": refund.refund_no,
        "transaction_id": trade.channel_trade_no,
        "out_trade_no": trade.trade_no,
        "channel": "ORIGINAL",
        "user_received_account": "支付用户零钱",
        "create_time": rfc3339(refund.created_at_us),
        "status": "SUCCESS" if done else "PROCESSING",
        "funds_account": "AVAILABLE",
        "amount": {
            "total": trade.amount_minor,
            "refund": refund.amount_minor,
            "payer_total": trade.amount_minor,
            "payer_refund": refund.amount_minor,
            "settlement_total": trade.amount_minor,
            "settlement_refund": refund.amount_minor,
            "discount_refund": 0,
            "currency": trade.currency,
        },
    }
    return fields | ({"success_time": rfc3339(refund.refunded_at_us or 0)} if done else {})


def refund_notice(event: Event, refund_id: str) -> dict[str, object]:
    """Write what a notification of a refund holds."""
    trade = event.trade
    return {
        "mchid": MCH_ID,
        "out_trade_no": trade.trade_no,
        "transaction_id": trade.channel_trade_no,
        "out_refund_no": event.refund_no,
        "refund_id": refund_id,
        "refund_status": "SUCCESS",
        "success_time": rfc3339(event.at_us),
        "user_received_account": "支付用户零钱",
        "amount": {
            "total": trade.amount_minor,
            "refund": event.amount_minor,
            "payer_total": trade.amount_minor,
            "payer_refund": event.amount_minor,
        },
    }


def notice_id(event_id: str) -> str:
    """Make the number that all tries of one notification share."""
    digest = hashlib.sha256(f"wechat:{event_id}".encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"
