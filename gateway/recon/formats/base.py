"""What every reader of bills needs: the refusal, exact amounts and times."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final

from gateway.domain.money import MINOR_DIGITS
from gateway.recon.record import Record, Window

_AMOUNT: Final = re.compile(r"(0|[1-9][0-9]{0,17})(?:\.([0-9]{1,8}))?", re.ASCII)
NUMBER: Final = re.compile(r"[0-9A-Za-z]{1,64}", re.ASCII)
# What other systems on the same account may have made; ours are letters and digits.
_ANY_NUMBER: Final = re.compile(r"[0-9A-Za-z_\-|*@]{1,64}", re.ASCII)


class BillRefused(Exception):
    """The file can't be believed; nothing of it was used.

    Attributes:
        line_no: Where, counted from 1; 0 if it is the file as a whole.
        reason: What is wrong.
    """

    def __init__(self, line_no: int, reason: str) -> None:
        super().__init__(f"bill refused, line {line_no}: {reason}" if line_no else reason)
        self.line_no = line_no
        self.reason = reason


Reader = Callable[[bytes, Window], Iterator[Record]]


def minor(text: str, currency: str, line_no: int) -> int:
    """Read an amount with exactly the currency's decimals; zero is allowed."""
    match = _AMOUNT.fullmatch(text)
    if match is None or len(match.group(2) or "") != MINOR_DIGITS[currency]:
        raise BillRefused(line_no, f"malformed amount {text[:24]!r} {currency}")
    return int(match.group(1) + (match.group(2) or ""))


def number(text: str, line_no: int) -> str:
    """Read a trade's or refund's number, ours or that of another system on the same account."""
    if _ANY_NUMBER.fullmatch(text) is None:
        raise BillRefused(line_no, f"malformed number {text[:64]!r}")
    return text


def time_us(text: str, line_no: int) -> int:
    """Read a time with its zone, microseconds since the epoch."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise BillRefused(line_no, f"malformed time {text[:40]!r}") from error
    if at.tzinfo is None:
        raise BillRefused(line_no, f"time without zone {text[:40]!r}")
    return int(at.timestamp()) * 1_000_000 + at.microsecond
