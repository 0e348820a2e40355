"""The bank's side of e-CNY messages: verify what the merchant sent, sign what the bank says.

Written from the guide to China Merchants Bank's acquiring platform and from `docs/CHANNELS.md`;
the adapter on the other side shares no code with it.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from gateway.sandbox import sm2
from gateway.sandbox.keys import Keys
from gateway.sandbox.trades import Refusal, Trade

NAME: Final = "ecny"
MERCHANT_NO: Final = "308999170120FWM"
CASHIER_NO: Final = "N003109945"
APP_ID: Final = "5f5d1e9a-0a32-4a2f-9b0e-59e9d2a4c7a1"
CREDITOR: Final = "C1030844001009"  # The receiving operator's code; made up.
ENVELOPE_SERIAL: Final = "4017352842"  # Of the certificate the envelope is for; made up.
BEIJING: Final = timezone(timedelta(hours=8))
_TOLERANCE_S: Final = 300
_HEAD: Final = {"encoding": "UTF-8", "signMethod": "02", "version": "0.0.1"}
_ASKED: Final = frozenset({*_HEAD, "biz_content", "sign"})
_NUMBER: Final = re.compile(r"[0-9A-Za-z]{1,32}", re.ASCII)
_AMOUNT: Final = re.compile(r"[1-9][0-9]{0,12}", re.ASCII)
_EXPIRY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}", re.ASCII)
_DIGITS: Final = re.compile(r"[0-9]{1,12}", re.ASCII)


class Misasked(Exception):
    """The message is wrong, not the order: answered with returnCode FAIL."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Bank:
    """The bank's keys, and those it knows of its one merchant."""

    def __init__(self, keys: Keys, clock_us: Callable[[], int]) -> None:
        """Take the keys; the clock tells the time in microseconds since the epoch."""
        self._secret = secret_of(keys, "ecny.bank")
        self._merchant = sm2.public_of(secret_of(keys, "ecny.merchant"))
        self._wallet = sm2.public_of(secret_of(keys, "ecny.wallet"))
        self._app_secret = keys.secret_hex("ecny.app")
        self._clock_us = clock_us

    def read(self, headers: Mapping[str, str], body: bytes) -> "Asked":
        """Verify a request and return its content.

        Raises:
            Misasked: if it isn't the merchant's, or not as the guide has it.
        """
        message = _object(body)
        texts = {name: value for name, value in message.items() if isinstance(value, str)}
        if set(texts) != _ASKED or len(texts) != len(message):
            raise Misasked("UNDEFINED_PRAM", "有不能识别的参数")
        for name, wanted in _HEAD.items():
            if texts[name] != wanted:
                raise Misasked(f"{name.upper()}_ERROR", f"{name}错误")
        self._check_app(headers, texts["sign"])
        try:
            signature = base64.b64decode(texts["sign"], validate=True)
        except binascii.Error as error:
            raise Misasked("SIGN_ERROR", "签名错误") from error
        if not sm2.verify(self._merchant, _text(texts), signature):
            raise Misasked("SIGN_ERROR", "签名错误")
        asked = Asked(_object(texts["biz_content"].encode()))
        if asked.text("merId", 32) != MERCHANT_NO:
            raise Misasked("MERID_NOT_EXIST", "商户号不存在")
        return asked

    def _check_app(self, headers: Mapping[str, str], sign: str) -> None:
        timestamp = headers.get("timestamp", "")
        text = (
            f"appid={APP_ID}&secret={self._app_secret}&sign={sign}&timestamp={timestamp}".encode()
        )
        expected = hashlib.md5(text).hexdigest()  # noqa: S324 - the bank's choice.
        known = headers.get("appid", "") == APP_ID and _DIGITS.fullmatch(timestamp)
        given = headers.get("apisign", "").encode()
        if not known or not hmac.compare_digest(expected.encode(), given):
            raise Misasked("SIGN_ERROR", "APP ID校验失败")
        if abs(self._clock_us() // 1_000_000 - int(timestamp)) > _TOLERANCE_S:
            raise Misasked("SIGN_ERROR", "时间戳已过期")

    def say(self, fields: Mapping[str, str], content: Mapping[str, object] | None) -> bytes:
        """Write a signed answer: its fields, and its content as the text of a JSON object."""
        message = {**_HEAD, **fields}
        if content is not None:
            message["biz_content"] = json.dumps(content, ensure_ascii=False)
        return json.dumps(self.signed(message), ensure_ascii=False).encode()

    def signed(self, message: Mapping[str, str]) -> dict[str, str]:
        """Sign a message and add the signature."""
        signature = sm2.sign(self._secret, _text(message))
        return {**message, "sign": base64.b64encode(signature).decode()}

    def notification(self, content: str, *, valid: bool) -> dict[str, str]:
        """Make a notification's fields; `valid` False signs it wrongly on purpose."""
        message = self.signed({**_HEAD, "biz_content": content})
        if not valid:
            message["sign"] = self.signed({**_HEAD, "biz_content": content + " "})["sign"]
        return message

    def acknowledges(self, body: bytes) -> bool:
        """Say whether the merchant's signed answer acknowledges a notification."""
        try:
            message = {name: str(value) for name, value in _object(body).items()}
            signature = base64.b64decode(message.get("sign", ""), validate=True)
        except (Misasked, binascii.Error):
            return False
        fine = message.get("returnCode") == message.get("respCode") == "SUCCESS"
        return fine and sm2.verify(self._merchant, _text(message), signature)

    def envelope(self, trade: Trade) -> dict[str, str]:
        """Put an order into the digital envelope that the wallet's side opens.

        Published: a fresh SM4 key encrypts (CBC, zero IV, PKCS #7), SM2 encrypts the key. What
        stands inside is between bank and wallet, and assumed.
        """
        inside = json.dumps(
            {
                "orderNo": trade.channel_trade_no,
                "merchantNo": MERCHANT_NO,
                "amount": str(trade.amount_minor),
                "currency": "156",
            }
        ).encode()
        key, padder = secrets.token_bytes(16), PKCS7(128).padder()
        cipher = Cipher(SM4(key), CBC(bytes(16))).encryptor()
        hidden = cipher.update(padder.update(inside) + padder.finalize()) + cipher.finalize()
        return {
            "cdtrPtyId": CREDITOR,
            "mrchntNo": MERCHANT_NO,
            "encryptKey": base64.b64encode(sm2.seal(self._wallet, key)).decode(),
            "encryptInfo": base64.b64encode(hidden).decode(),
            "ncrptnSN": ENVELOPE_SERIAL,
        }

    def ticket(self, day: str) -> str:
        """Make what lets the holder download one day's statement."""
        return hmac.digest(self._app_secret.encode(), day.encode(), "sha256").hex()


class Asked:
    """The content of a verified request; a field that isn't as in the guide is refused."""

    def __init__(self, content: Mapping[str, object]) -> None:
        self._content = content

    def text(self, name: str, length_max: int, *, required: bool = True) -> str:
        """Return a text.

        Raises:
            Misasked: if it is missing, empty or too long.
        """
        value = self._content.get(name)
        if value is None and not required:
            return ""
        if not isinstance(value, str) or not 0 < len(value) <= length_max:
            raise Misasked(f"{name.upper()}_NOT_LAWFUL", f"{name}字段内容非法")
        return value

    def _like(self, name: str, form: re.Pattern[str]) -> str:
        value = self.text(name, 32)
        if form.fullmatch(value) is None:
            raise Misasked(f"{name.upper()}_NOT_LAWFUL", f"{name}字段内容非法")
        return value

    def number(self, name: str) -> str:
        """Return an order's number."""
        return self._like(name, _NUMBER)

    def fen(self, name: str) -> int:
        """Return a positive amount in fen."""
        return int(self._like(name, _AMOUNT))

    def fixed(self, name: str, *values: str) -> str:
        """Return a field that must be one of a few values."""
        value = self.text(name, 32)
        if value not in values:
            raise Misasked(f"{name.upper()}_NOT_LAWFUL", f"{name}字段内容非法")
        return value

    def expiry_s(self, name: str) -> int:
        """Return a time of Beijing as Unix time, seconds."""
        value = self._like(name, _EXPIRY)
        try:
            return int(datetime.fromisoformat(value).replace(tzinfo=BEIJING).timestamp())
        except ValueError as error:
            raise Misasked(f"{name.upper()}_NOT_LAWFUL", f"{name}字段内容非法") from error


# What the sandbox refuses, in the bank's words.
_ERRORS: Final = {
    "TRADE_NOT_FOUND": "CMBORDERID_NOT_EXIST",
    "REFUND_NOT_FOUND": "CMBORDERID_NOT_EXIST",
    "TRADE_CONFLICT": "ORDERID_DUPLICATION",
    "REFUND_CONFLICT": "ORDERID_DUPLICATION",
    "TRADE_CLOSED": "ORDERID_INVALID",
    "TRADE_NOT_PAID": "TRADESTATE_NOT_LAWFUL",
    "REFUND_EXCEEDS_PAID": "NOT_ENOUGH",
}


def refused(refusal: Refusal) -> dict[str, str]:
    """Write a refusal as the fields of an answer."""
    return {
        "returnCode": "SUCCESS",
        "respCode": "FAIL",
        "errCode": _ERRORS.get(refusal.code, refusal.code),
        "respMsg": refusal.message_zh,
    }


def beijing(at_us: int) -> str:
    """Write a time as yyyyMMddHHmmss of Beijing."""
    return f"{datetime.fromtimestamp(at_us // 1_000_000, tz=BEIJING):%Y%m%d%H%M%S}"


def secret_of(keys: Keys, name: str) -> int:
    """Return an SM2 private key, made on first use."""
    return int(keys.kept(f"{name}.sm2", _new_secret_hex), 16)


def _new_secret_hex() -> bytes:
    return f"{sm2.new_secret():064x}".encode()


def account(keys: Keys, base_url: str) -> dict[str, str]:
    """Return what the merchant is told when it signs up."""
    bank = sm2.spki_of(sm2.public_of(secret_of(keys, "ecny.bank")))
    return {
        "base_url": f"{base_url}/ecny",
        "app_id": APP_ID,
        "app_secret": keys.secret_hex("ecny.app"),
        "merchant_no": MERCHANT_NO,
        "cashier_no": CASHIER_NO,
        "private_key_hex": f"{secret_of(keys, 'ecny.merchant'):064x}",
        "bank_public_key": base64.b64encode(bank).decode(),
        "trade_place": "https://shop.example",
    }


def _text(message: Mapping[str, str]) -> bytes:
    pairs = sorted((name, value) for name, value in message.items() if name != "sign")
    return "&".join(map("=".join, pairs)).encode()


def _object(body: bytes) -> dict[str, object]:
    try:
        parsed: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Misasked("JSON_FORMAT_ERROR", "JSON格式错误") from error
    if not isinstance(parsed, dict):
        raise Misasked("JSON_FORMAT_ERROR", "JSON格式错误")
    return parsed
