"""UnionPay's ACP 5.1.0 on UnionPay's side: whose request it is, and what it signs.

Answers are not encoded: names and values as they are, joined by ampersands, the certificate with
its line feeds included. Notices are forms.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from functools import cached_property
from typing import Final
from urllib.parse import parse_qsl, urlencode

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from gateway.sandbox.certificates import certificate, pem_of
from gateway.sandbox.keys import Keys
from gateway.sandbox.trades import Refusal

MER_ID: Final = "777290058110097"
SIGNER: Final = "00040000:SIGN"
_ROOT: Final = "unionpay.root"
_MIDDLE: Final = "unionpay.middle"
ZONE: Final = timezone(timedelta(hours=8))
_TIME: Final = re.compile(r"20[0-9]{12}", re.ASCII)
_PATTERNS: Final = {
    "txnType": r"[0-9]{2}",
    "txnSubType": r"[0-9]{2}",
    "bizType": r"[0-9]{6}",
    "orderId": r"[0-9A-Za-z]{8,32}",
    "txnTime": _TIME.pattern,
}


class Problem(Exception):
    """A request that fails, in UnionPay's words."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message


_REFUSALS: Final = {
    "TRADE_NOT_FOUND": Problem("35", "原交易不存在或状态不正确[3500001]"),
    "TRADE_NOT_PAID": Problem("35", "原交易不存在或状态不正确[3500002]"),
    "TRADE_CONFLICT": Problem("12", "重复交易[1200001]"),
    "TRADE_CLOSED": Problem("42", "交易超过规定支付时间[4200001]"),
    "REFUND_EXCEEDS_PAID": Problem("36", "与原交易信息不符, 退货金额超过可退金额[3600001]"),
    "REFUND_CONFLICT": Problem("12", "重复交易[1200002]"),
}


def problem_of(refusal: Refusal) -> Problem:
    """Say a refusal of the sandbox in UnionPay's words."""
    return _REFUSALS.get(refusal.code) or Problem("10", f"报文格式错误: {refusal.message_zh}")


class Wire:
    """Verifies as UnionPay what the sandbox's one merchant sends, and signs as UnionPay."""

    def __init__(self, keys: Keys) -> None:
        """Bind the keys; certificates are issued when they are first needed."""
        self._keys = keys

    @cached_property
    def chain(self) -> tuple[x509.Certificate, x509.Certificate]:
        """UnionPay's root, and the authority between it and the signing certificate."""
        root = certificate(self._keys, _ROOT, "Sandbox root CA", is_authority=True)
        middle = certificate(self._keys, _MIDDLE, "Sandbox OCA", issuer=_ROOT, is_authority=True)
        return root, middle

    @cached_property
    def signing(self) -> x509.Certificate:
        """The certificate that comes with every answer."""
        return self._issued("unionpay.sign", f"041@Z12@{SIGNER}@00000001")

    @cached_property
    def merchant(self) -> x509.Certificate:
        """The merchant's certificate, issued by the same authority."""
        return self._issued("unionpay.merchant", f"041@8310000000083040@{MER_ID}@00000001")

    def _issued(self, name: str, common_name: str) -> x509.Certificate:
        _ = self.chain  # The authority must be there before it can issue.
        return certificate(self._keys, name, common_name, issuer=_MIDDLE)

    @property
    def secret(self) -> str:
        """What both sides hold for methods 11 and 12."""
        return self._keys.secret_hex("unionpay.secret")

    def read(self, body: bytes) -> dict[str, str]:
        """Read and verify a request.

        Raises:
            Problem: (10, 11, 13, 31) if it isn't the merchant's, or not as agreed.
        """
        try:
            pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict")
        except ValueError:
            raise Problem("10", "报文格式错误[1000001]") from None
        fields = dict(pairs)
        for name, value in {"version": "5.1.0", "encoding": "utf-8", "accessType": "0"}.items():
            if fields.get(name, "").lower() != value:
                raise Problem("10", f"报文格式错误: {name}[1000002]")
        if fields.get("merId") != MER_ID:
            raise Problem("31", "商户状态不正确[3100001]")
        for name, pattern in _PATTERNS.items():
            if name in fields and re.fullmatch(pattern, fields[name], re.ASCII) is None:
                raise Problem("10", f"报文格式错误: {name}[1000003]")
        if not self._is_signed(fields):
            raise Problem("11", "验证签名失败[1100001]")
        return fields

    def _is_signed(self, fields: Mapping[str, str]) -> bool:
        method, text = fields.get("signMethod", ""), _text(fields)
        if method in ("11", "12"):
            given = fields.get("signature", "").lower().encode()
            return hmac.compare_digest(self._hashed(method, text).encode(), given)
        if method != "01" or fields.get("certId") != str(self.merchant.serial_number):
            return False
        try:
            signature = base64.b64decode(fields.get("signature", ""), validate=True)
            self._keys.rsa("unionpay.merchant").public_key().verify(
                signature, _hex("11", text).encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except (ValueError, InvalidSignature):
            return False
        return True

    def _hashed(self, method: str, text: bytes) -> str:
        return _hex(method, text + b"&" + _hex(method, self.secret.encode()).encode())

    def signed(
        self, fields: Mapping[str, str], method: str, *, valid: bool = True
    ) -> dict[str, str]:
        """Sign a message by the method the merchant uses; `valid` False does it wrongly."""
        whole = {name: value for name, value in fields.items() if value}
        whole |= {"version": "5.1.0", "encoding": "utf-8", "accessType": "0", "merId": MER_ID}
        whole["signMethod"] = method
        if method == "01":
            whole["signPubKeyCert"] = pem_of(self.signing)
        text = _text(whole) + (b"" if valid else b"&")
        if method != "01":
            return whole | {"signature": self._hashed(method, text)}
        signature = self._keys.rsa("unionpay.sign").sign(
            _hex("11", text).encode(), padding.PKCS1v15(), hashes.SHA256()
        )
        return whole | {"signature": base64.b64encode(signature).decode()}

    def answer(self, fields: Mapping[str, str], method: str) -> bytes:
        """Write a signed answer, unencoded."""
        signed = self.signed(fields, method if method in ("11", "12") else "01")
        return "&".join(f"{name}={value}" for name, value in signed.items()).encode()

    def notification(self, fields: Mapping[str, str], method: str, *, valid: bool) -> bytes:
        """Write a signed notification, a form."""
        return urlencode(self.signed(fields, method, valid=valid)).encode()


def _text(fields: Mapping[str, str]) -> bytes:
    names = sorted(name for name, value in fields.items() if value and name != "signature")
    return "&".join(f"{name}={fields[name]}" for name in names).encode()


def _hex(method: str, data: bytes) -> str:
    if method == "11":
        return hashlib.sha256(data).hexdigest()
    digest = hashes.Hash(hashes.SM3())
    digest.update(data)
    return digest.finalize().hex()


def beijing(at_us: int) -> str:
    """Write a time as UnionPay does, yyyyMMddHHmmss."""
    return f"{datetime.fromtimestamp(at_us // 1_000_000, tz=UTC).astimezone(ZONE):%Y%m%d%H%M%S}"


def epoch_s(written: str) -> int:
    """Read a time of UnionPay's, seconds since the epoch."""
    try:
        return int(datetime.strptime(written, "%Y%m%d%H%M%S").replace(tzinfo=ZONE).timestamp())
    except ValueError:
        raise Problem("10", "报文格式错误: 时间[1000004]") from None
