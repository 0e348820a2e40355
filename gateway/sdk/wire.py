"""What both clients share: requests as bytes, answers and notifications as verified text.

Everything here is arithmetic on values; the clients add nothing but the sending.
"""

import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

from gateway.sdk.answers import Notification
from gateway.sdk.errors import BY_CODE, NotAuthentic, Refused
from gateway.sdk.signature import Credentials

SUCCESS_ANSWER = "success"  # What the page behind notify_url answers once it has acted.
FAIL_ANSWER = "fail"  # Anything else makes the gateway try again later.
NUMBER_LENGTH_MIN = 32
NUMBER_LENGTH_MAX = 64
_UNSIGNED_CODES = frozenset({"1001", "1002", "1006"})
_RANDOM_LENGTH_MIN = 16
_TIME_FORMAT = "%Y%m%d%H%M%S"
_TIME_LENGTH = 14

# The signed text joins by '&' unescaped; the gateway refuses a value that could be read as two.
_EMBEDDED = re.compile(
    "&(merchant_id|out_trade_no|total_amount|currency|subject|body|pay_type|notify_url|return_url"
    "|risk_context|refund_amount|refund_reason|out_refund_no|timestamp|sign_type)="
)

Amount = Decimal | int | str


def new_out_trade_no(merchant_id: str, at_s: float) -> str:
    """Make an order number as the API recommends: merchant id, time, random; 32 to 64 characters.

    Args:
        merchant_id: 1 to 32 letters, digits, ``_`` or ``-``.
        at_s: Unix time, seconds; written as UTC.

    Examples:
        >>> new_out_trade_no("M1001", 1_700_000_000)[:19]
        'M100120231114221320'
    """
    at = datetime.fromtimestamp(at_s, tz=UTC).strftime(_TIME_FORMAT)
    random_length = max(_RANDOM_LENGTH_MIN, NUMBER_LENGTH_MIN - len(merchant_id) - _TIME_LENGTH)
    random_text = secrets.token_hex(random_length)[:random_length].upper()
    return f"{merchant_id}{at}{random_text}"[:NUMBER_LENGTH_MAX]


def amount_text(amount: Amount) -> str:
    """Write an amount as it is signed.

    Raises:
        TypeError: if it is a float, which can't hold most amounts exactly.

    Examples:
        >>> amount_text(Decimal("12.30")), amount_text(5)
        ('12.30', '5')
    """
    if isinstance(amount, bool) or not isinstance(amount, Decimal | int | str):
        raise TypeError(f"an amount must be a Decimal, an int or a str, not {type(amount)}")
    return f"{amount:f}" if isinstance(amount, Decimal) else str(amount)


@dataclass(frozen=True, slots=True)
class Wire:
    """One merchant's side of the protocol.

    Attributes:
        merchant_id: Who sends.
        credentials: How it signs and verifies.
        clock: Unix time in seconds.
    """

    merchant_id: str
    credentials: Credentials
    clock: Callable[[], float]

    def now_ms(self) -> int:
        """The time, milliseconds since the epoch."""
        return int(self.clock() * 1000)

    def request(self, params: Mapping[str, str]) -> bytes:
        """Sign `params` and write them as a request's body.

        Raises:
            ValueError: if a value holds ``&name=`` of a parameter, which could be read as two.
        """
        for name, value in params.items():
            if _EMBEDDED.search(value):
                raise ValueError(f"{name} must not contain '&<parameter>=': ambiguous to sign")
        sent = {name: value for name, value in params.items() if value}
        sent["merchant_id"] = self.merchant_id
        sent["timestamp"] = str(self.now_ms())
        sent["sign"] = self.credentials.sign(sent)
        return json.dumps(sent, ensure_ascii=False).encode()

    def answer(self, http_status: int, body: bytes) -> dict[str, str]:
        """Verify and read an answer.

        Raises:
            Refused: in one of its kinds, if the gateway said no.
            NotAuthentic: if it is no answer of the gateway's, or not signed by it.
        """
        answer = _read_json(body)
        verified = self.credentials.verify(answer, answer.get("sign", ""))
        code = answer.get("error_code", "")
        # Only who is not known yet, or not listened to, is answered without a signature.
        unsigned = "sign" not in answer and code in _UNSIGNED_CODES
        if answer.get("code") == "FAIL" and (verified or unsigned):
            kind = BY_CODE.get(code, Refused)
            raise kind(answer, http_status, verified=verified)
        if not verified or answer.get("code") != "SUCCESS":
            raise NotAuthentic(f"HTTP {http_status}: not an answer signed by the gateway")
        return answer

    def notification(self, body: bytes, content_type: str, window_s: float) -> Notification:
        """Verify and read a notification.

        Args:
            body: As it came.
            content_type: As it came; JSON unless it names a form.
            window_s: How far its timestamp may be from our clock, in seconds.

        Raises:
            NotAuthentic: if any of it is wrong.
        """
        is_form = content_type.lower().startswith("application/x-www-form-urlencoded")
        params = _read_form(body) if is_form else _read_json(body)
        if not self.credentials.verify(params, params.get("sign", "")):
            raise NotAuthentic("the notification is not signed by the gateway")
        if params.get("merchant_id") != self.merchant_id:
            raise NotAuthentic("the notification is for another merchant")
        signed_at = params.get("timestamp", "")
        if not signed_at.isdecimal() or abs(int(signed_at) - self.now_ms()) > window_s * 1000:
            raise NotAuthentic("the notification is too old, or this machine's clock is wrong")
        return Notification.read(params)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found or isinstance(value, dict | list):
            raise ValueError(f"{name} is given twice or nested")
        if value is None:
            continue
        found[name] = value if isinstance(value, str) else str(value).lower()
    return found


def _read_json(body: bytes) -> dict[str, str]:
    try:
        # Numbers by their literal text: that is what was signed.
        found = json.loads(body.decode(), object_pairs_hook=_unique, parse_int=str, parse_float=str)
        "".join(f"{name}{value}" for name, value in found.items()).encode()
    except (ValueError, AttributeError, RecursionError):
        raise NotAuthentic("not a flat JSON object") from None
    return dict(found)


def _read_form(body: bytes) -> dict[str, str]:
    try:
        return _unique(
            list(
                parse_qsl(
                    body.decode(), keep_blank_values=True, strict_parsing=True, errors="strict"
                )
            )
        )
    except ValueError:
        raise NotAuthentic("not a form") from None
