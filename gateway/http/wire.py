"""From the bytes of a request to its parameters, each with the literal text that was signed.

A signature covers text, so a number must keep its own digits: 10.0 and 10.00 are two requests.
An ordinary JSON reader loses that, and it also lets the last of two equal keys win, which is how
two readers of one body come to disagree. This one keeps the text and refuses what is ambiguous.
"""

import json
import re
from functools import lru_cache
from typing import Final, Literal, NoReturn
from urllib.parse import parse_qsl

from gateway.domain.errors import InvalidParameter

PARAM_COUNT_MAX: Final = 64
NAME_LENGTH_MAX: Final = 64
VALUE_LENGTH_MAX: Final = 16_384  # Characters; risk_context is the largest, fields narrow it.

# Every parameter that means something, in any of the three requests.
KNOWN_NAMES: Final = (
    "merchant_id",
    "out_trade_no",
    "total_amount",
    "currency",
    "subject",
    "body",
    "pay_type",
    "notify_url",
    "return_url",
    "risk_context",
    "refund_amount",
    "refund_reason",
    "out_refund_no",
    "timestamp",
    "sign_type",
)
_KNOWN = frozenset((*KNOWN_NAMES, "sign"))
# The canonical text joins by '&' without escaping (the specification's rule), so a value holding
# "&total_amount=1" would read as two parameters there. Such a value is refused by name.
_EMBEDDED = re.compile("&(" + "|".join(KNOWN_NAMES) + ")=")


class Number(str):
    """A JSON number by its literal text; a plain `str` is a JSON string or a form value."""

    __slots__ = ()


class Flag(str):
    """A JSON ``true`` or ``false`` by its literal text."""

    __slots__ = ()


# What a parameter may be: a string (str), a number (Number), a boolean (Flag) or null (None).
Value = str | None
_TRUE = Flag("true")
_FALSE = Flag("false")


def parse(content_type: str, body: bytes) -> dict[str, Value]:
    """Read the parameters of a request.

    Args:
        content_type: The header; ``application/json`` (also when empty) or
            ``application/x-www-form-urlencoded``, in UTF-8.
        body: The whole body; its size is the caller's to limit.

    Returns:
        Name to value. `str` is a string, `Number` and `Flag` keep the literal text of numbers and
        booleans, None is null.

    Raises:
        InvalidParameter: (1001) and nothing else, whatever the bytes: another content type,
            invalid UTF-8 or JSON, not an object, nested values, duplicate names, NaN, lone
            surrogates, too many or too long parameters, or a value that holds ``&name=`` of a
            known parameter.

    Examples:
        >>> parse("application/json", b'{"total_amount": 10.00, "subject": "tea"}')
        {'total_amount': '10.00', 'subject': 'tea'}
        >>> parse("application/x-www-form-urlencoded", b"subject=tea+%26+cake")
        {'subject': 'tea & cake'}
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise InvalidParameter("body", "is not valid UTF-8") from None
    found = _read_json(text) if _form_of(content_type) == "json" else _read_form(text)
    if len(found) > PARAM_COUNT_MAX:
        raise InvalidParameter("body", f"more than {PARAM_COUNT_MAX} parameters")
    params: dict[str, Value] = {}
    for name, value in found.items():
        if name not in _KNOWN:
            _check_name(name)
        if isinstance(value, str):
            if "&" in value or len(value) > VALUE_LENGTH_MAX:
                _check_value(name, value)
            params[name] = value
        else:
            params[name] = _not_text(name, value)
    return params


def _not_text(name: str, value: object) -> Value:
    if value is None:
        return None
    if isinstance(value, bool):
        return _TRUE if value else _FALSE
    raise InvalidParameter(_shown(name), "must not be an object or a list")


def _check_name(name: str) -> None:
    if not 0 < len(name) <= NAME_LENGTH_MAX:
        raise InvalidParameter("body", f"a name must have 1 to {NAME_LENGTH_MAX} characters")
    if "&" in name or "=" in name:
        raise InvalidParameter(_shown(name), "a name must not hold '&' or '='")


def _check_value(name: str, value: str) -> None:
    if len(value) > VALUE_LENGTH_MAX:
        raise InvalidParameter(_shown(name), f"longer than {VALUE_LENGTH_MAX} characters")
    embedded = _EMBEDDED.search(value)
    if embedded is not None:
        raise InvalidParameter(
            _shown(name), f"must not contain {embedded.group(0)!r}: ambiguous to sign"
        )


@lru_cache(maxsize=256)
def _form_of(content_type: str) -> Literal["json", "form"]:
    media_type, _, parameters = content_type.partition(";")
    charset = re.search(r"charset\s*=\s*\"?([^\s;\"]+)", parameters, re.IGNORECASE)
    if charset is not None and charset.group(1).lower() not in ("utf-8", "utf8"):
        raise InvalidParameter("content_type", "the charset must be UTF-8")
    match media_type.strip().lower():
        case "" | "application/json":
            return "json"
        case "application/x-www-form-urlencoded":
            return "form"
        case _:
            raise InvalidParameter(
                "content_type", "must be application/json or application/x-www-form-urlencoded"
            )


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise InvalidParameter(_shown(name), "given more than once")
            seen.add(name)
    return found


def _shown(name: str) -> str:
    """A stranger's parameter name, fit for an error message."""
    return name[:NAME_LENGTH_MAX].encode("ascii", "backslashreplace").decode()


def _refuse_constant(constant: str) -> NoReturn:
    raise InvalidParameter("body", f"{constant} is not a JSON number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_pairs,
    parse_float=Number,
    parse_int=Number,
    parse_constant=_refuse_constant,
)


def _read_json(text: str) -> dict[str, object]:
    try:
        found: object = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise InvalidParameter(
            "body", f"is not valid JSON: {error.msg} at character {error.pos}"
        ) from None
    except RecursionError:
        raise InvalidParameter("body", "is nested too deeply") from None
    if not isinstance(found, dict):
        raise InvalidParameter("body", "must be a JSON object")
    if "\\u" in text:  # Only an escape can bring half a character into decoded UTF-8.
        _refuse_half_characters(found)
    return found


def _refuse_half_characters(found: dict[str, object]) -> None:
    for name, value in found.items():
        try:
            name.encode()
            if isinstance(value, str):
                value.encode()
        except UnicodeEncodeError:
            raise InvalidParameter(_shown(name), "holds half a UTF-16 surrogate pair") from None


def _read_form(text: str) -> dict[str, object]:
    if text.startswith("{"):
        raise InvalidParameter("content_type", "must be application/json for a JSON body")
    try:
        pairs = parse_qsl(
            text,
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=PARAM_COUNT_MAX,
        )
    except UnicodeDecodeError:
        raise InvalidParameter("body", "is not valid UTF-8") from None
    except ValueError:
        raise InvalidParameter("body", "is not a valid form") from None
    return _pairs(list(pairs))
