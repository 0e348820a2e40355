"""The gateway's own numbers: short, alphanumeric, sortable by time, never guessable.

A trade number doubles as the channel's order number, so it keeps to the narrowest channel's
rule: 8 to 32 letters and digits (UnionPay and WeChat Pay; the merchant's own number of up to
64 characters is never passed on).
"""

import secrets
from datetime import UTC, datetime

from gateway.domain.errors import InvalidParameter

_SAFE_NUMBER = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-")
OUT_TRADE_NO_LENGTH_MAX = 64


def new_number(prefix: str, now_us: int) -> str:
    """Make a number: one letter, 14 hex digits of time, 16 random ones (64 bits); 31 in all.

    Args:
        prefix: What it numbers: ``T`` trade, ``R`` refund, ``D`` decision, ``E`` event.
        now_us: The time, microseconds since the epoch; numbers sort by it.

    Examples:
        >>> new_number("T", 1_700_000_000_000_000)[:15]
        'T060A24181E4000'
    """
    return f"{prefix}{now_us:014X}{secrets.token_hex(8).upper()}"


def check_out_trade_no(number: str, *, field: str = "out_trade_no") -> str:
    """Return a merchant's own number if it is one: 1 to 64 letters, digits, ``_`` or ``-``.

    Raises:
        InvalidParameter: (1001) otherwise.
    """
    if not 1 <= len(number) <= OUT_TRADE_NO_LENGTH_MAX or not _SAFE_NUMBER.issuperset(number):
        raise InvalidParameter(field, "must be 1 to 64 letters, digits, '_' or '-'")
    return number


def utc_text(at_us: int) -> str:
    """Write a time as ``YYYY-MM-DDTHH:MM:SS.mmmZ`` (UTC).

    Examples:
        >>> utc_text(1_700_000_000_123_456)
        '2023-11-14T22:13:20.123Z'
    """
    at = datetime.fromtimestamp(at_us // 1_000_000, tz=UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_us // 1000 % 1000:03d}Z"
