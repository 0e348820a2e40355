"""What each request must hold: from parameters as they came to a command, or a 1001 that says why.

The wire's types are judged here and nowhere else. A field the specification calls String must be
one (a number or `true` is refused, not converted), amounts are judged by their literal text, and
an empty or null value counts as not sent, exactly as the signature counts it.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

import msgspec

from gateway.domain.errors import BadSignature, InvalidParameter
from gateway.domain.money import check_plain, parse_minor
from gateway.domain.numbers import check_out_trade_no
from gateway.domain.order import PayType
from gateway.domain.urls import URL_LENGTH_MAX, check_url
from gateway.http.wire import Flag, Number, Value
from gateway.payments.commands import CreateCommand, QueryCommand, RefundCommand
from gateway.signing import canonical
from risk.transaction import EMPTY_CONTEXT, RiskContext

__all__ = [
    "CreateCommand",
    "Envelope",
    "QueryCommand",
    "RefundCommand",
    "check_fresh",
    "read_create",
    "read_envelope",
    "read_query",
    "read_refund",
]

SUBJECT_LENGTH_MAX: Final = 256
BODY_LENGTH_MAX: Final = 512
REASON_LENGTH_MAX: Final = 256
ACCOUNT_LENGTH_MAX: Final = 128
RISK_CONTEXT_LENGTH_MAX: Final = 16_384
SIGN_LENGTH_MAX: Final = 2_048
AMOUNT_LENGTH_MAX: Final = 32
DEFAULT_CURRENCY: Final = "CNY"

Params = dict[str, Value]

_MERCHANT_ID = re.compile(r"[A-Za-z0-9_-]{1,32}", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3,4}", re.ASCII)
_TIMESTAMP = re.compile(r"[0-9]{10}(?:[0-9]{3})?", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,9}", re.ASCII)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROL_BUT_LINES = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_PAY_TYPES: Final = {pay_type.value: pay_type for pay_type in PayType}
_MS_PER_S: Final = 1_000
_SECONDS_DIGITS: Final = 10
# A repeat says the same again at another time, perhaps with another key.
_SAID_ANEW: Final = ("timestamp", "sign_type")
_RISK_CONTEXT = msgspec.json.Decoder(RiskContext)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What every request carries around its content: who, when, and the proof.

    Attributes:
        merchant_id: Who claims to send it.
        timestamp_ms: When it was signed, milliseconds since the epoch.
        sign: The signature as sent.
    """

    merchant_id: str
    timestamp_ms: int
    sign: str


def read_envelope(params: Params) -> Envelope:
    """Read what is needed to find out who sends a request.

    Raises:
        InvalidParameter: (1001) naming the field that is missing or malformed.
    """
    return Envelope(
        merchant_id=_merchant_id(params),
        timestamp_ms=_timestamp_ms(params),
        sign=_text(params, "sign", SIGN_LENGTH_MAX),
    )


def check_fresh(timestamp_ms: int, now_us: int, window_s: int) -> None:
    """Refuse a request that was signed too long ago or too far in the future.

    Args:
        timestamp_ms: From the request, milliseconds since the epoch.
        now_us: Our clock, microseconds since the epoch.
        window_s: How far the two may be apart, either way, in seconds; the edge is inside.

    Raises:
        BadSignature: (1002) otherwise.
    """
    if abs(timestamp_ms * 1_000 - now_us) > window_s * 1_000_000:
        raise BadSignature(f"the timestamp is more than {window_s} s away from our clock")


def read_create(params: Params, *, sandbox_mode: bool = False) -> CreateCommand:
    """Read an authenticated create request.

    Args:
        params: As `gateway.http.wire.parse` gives them.
        sandbox_mode: Allow a notify_url and a return_url on loopback and private addresses.

    Raises:
        InvalidParameter: (1001) naming the first field that is missing or wrong.
    """
    merchant_id = _merchant_id(params)
    out_trade_no = check_out_trade_no(_text(params, "out_trade_no"))
    currency = _text(params, "currency", required=False) or DEFAULT_CURRENCY
    if _CURRENCY.fullmatch(currency) is None:
        raise InvalidParameter(
            "currency", "must be an ISO 4217 code of three capital letters, or USDC"
        )
    amount_minor = parse_minor(_amount_text(params, "total_amount"), currency)
    pay_type = _PAY_TYPES.get(_text(params, "pay_type"))
    if pay_type is None:
        raise InvalidParameter("pay_type", "must be one of " + ", ".join(_PAY_TYPES))
    return_url = _text(params, "return_url", URL_LENGTH_MAX, required=False)
    if return_url:
        check_url(return_url, field="return_url", sandbox_mode=sandbox_mode)
    return CreateCommand(
        merchant_id=merchant_id,
        out_trade_no=out_trade_no,
        amount_minor=amount_minor,
        currency=currency,
        subject=_line(params, "subject", SUBJECT_LENGTH_MAX),
        pay_type=pay_type,
        notify_url=check_url(
            _text(params, "notify_url", URL_LENGTH_MAX),
            field="notify_url",
            sandbox_mode=sandbox_mode,
        ),
        body=_lines(params, "body", BODY_LENGTH_MAX),
        return_url=return_url,
        risk_context=_risk_context(params),
        request_sha256=_said(params),
    )


def read_query(params: Params) -> QueryCommand:
    """Read an authenticated query request.

    Raises:
        InvalidParameter: (1001) naming the first field that is missing or wrong.
    """
    return QueryCommand(
        merchant_id=_merchant_id(params),
        out_trade_no=check_out_trade_no(_text(params, "out_trade_no")),
    )


def read_refund(params: Params) -> RefundCommand:
    """Read an authenticated refund request.

    Raises:
        InvalidParameter: (1001) naming the first field that is missing or wrong.
    """
    merchant_id = _merchant_id(params)
    out_trade_no = check_out_trade_no(_text(params, "out_trade_no"))
    amount = check_plain(_amount_text(params, "refund_amount"), field="refund_amount")
    reason = _line(params, "refund_reason", REASON_LENGTH_MAX)
    number = _text(params, "out_refund_no", required=False)
    if number:
        check_out_trade_no(number, field="out_refund_no")
    else:
        number = "~" + hashlib.sha256(canonical(params).encode()).hexdigest()
    return RefundCommand(
        merchant_id=merchant_id,
        out_trade_no=out_trade_no,
        refund_amount=amount,
        refund_reason=reason,
        out_refund_no=number,
        refund_account=_text(params, "refund_account", ACCOUNT_LENGTH_MAX, required=False),
        request_sha256=_said(params),
    )


def optional_text(params: Params, field: str, length_max: int = 64) -> str:
    """Read a field that may be left out; '' then.

    Raises:
        InvalidParameter: (1001) it is no text or too long.
    """
    return _text(params, field, length_max, required=False)


def optional_number(params: Params, field: str, default: int) -> int:
    """Read a whole number of at most nine digits that may be left out.

    Raises:
        InvalidParameter: (1001) otherwise.
    """
    if not params.get(field):
        return default
    text = _plain(params, field, AMOUNT_LENGTH_MAX)
    if _WHOLE.fullmatch(text) is None:
        raise InvalidParameter(field, "must be a whole number")
    return int(text)


def optional_time_ms(params: Params, field: str, default_ms: int) -> int:
    """Read a time, seconds or milliseconds since the epoch, that may be left out.

    Raises:
        InvalidParameter: (1001) otherwise.
    """
    return _time_ms(params, field) if params.get(field) else default_ms


def _said(params: Params) -> bytes:
    text = canonical(params)
    for name in _SAID_ANEW:
        # merchant_id sorts before both, and `wire.parse` lets neither stand inside a value.
        value = params.get(name)
        if value:
            text = text.replace(f"&{name}={value}", "", 1)
    return hashlib.sha256(text.encode()).digest()


def _text(params: Params, field: str, length_max: int = 64, *, required: bool = True) -> str:
    value = params.get(field)
    if not value:
        if required:
            raise InvalidParameter(field, "is required")
        return ""
    if type(value) is not str:
        raise InvalidParameter(field, "must be a string")
    if len(value) > length_max:
        raise InvalidParameter(field, f"longer than {length_max} characters")
    return value


def _line(params: Params, field: str, length_max: int) -> str:
    text = _text(params, field, length_max)
    if not text.isprintable() and _CONTROL.search(text) is not None:
        raise InvalidParameter(field, "must not hold control characters")
    return text


def _lines(params: Params, field: str, length_max: int) -> str:
    text = _text(params, field, length_max, required=False)
    if not text.isprintable() and _CONTROL_BUT_LINES.search(text) is not None:
        raise InvalidParameter(field, "must not hold control characters")
    return text


def _merchant_id(params: Params) -> str:
    text = _text(params, "merchant_id")
    if _MERCHANT_ID.fullmatch(text) is None:
        raise InvalidParameter("merchant_id", "must be 1 to 32 letters, digits, '_' or '-'")
    return text


def _plain(params: Params, field: str, length_max: int) -> str:
    """A number's literal text, whether it came as a JSON number or as a string."""
    value = params.get(field)
    if not value:
        raise InvalidParameter(field, "is required")
    if isinstance(value, Flag):
        raise InvalidParameter(field, "must be a number")
    if len(value) > length_max:
        raise InvalidParameter(field, f"longer than {length_max} characters")
    return str(value) if isinstance(value, Number) else value


def _amount_text(params: Params, field: str) -> str:
    return _plain(params, field, AMOUNT_LENGTH_MAX)


def _timestamp_ms(params: Params) -> int:
    return _time_ms(params, "timestamp")


def _time_ms(params: Params, field: str) -> int:
    text = _plain(params, field, AMOUNT_LENGTH_MAX)
    if _TIMESTAMP.fullmatch(text) is None:
        raise InvalidParameter(field, "must be seconds (10 digits) or milliseconds (13)")
    return int(text) * _MS_PER_S if len(text) == _SECONDS_DIGITS else int(text)


def _risk_context(params: Params) -> RiskContext:
    text = _text(params, "risk_context", RISK_CONTEXT_LENGTH_MAX, required=False)
    if not text:
        return EMPTY_CONTEXT
    try:
        return _RISK_CONTEXT.decode(text)
    except msgspec.DecodeError as error:  # ValidationError, which names the path, is one.
        raise InvalidParameter("risk_context", str(error)) from None
    except RecursionError:
        raise InvalidParameter("risk_context", "is nested too deeply") from None
    except UnicodeEncodeError:
        raise InvalidParameter("risk_context", "holds half a UTF-16 surrogate pair") from None
