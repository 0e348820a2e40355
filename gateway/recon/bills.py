"""Reads a channel's bill. A damaged file is refused whole, with the line and the reason.

Half a bill is worse than none: its missing rows would look like money the channel doesn't have.
So the file's own hash, header, counts and totals must all agree before a single row is believed.
"""

import csv
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway.domain.money import AMOUNT_MINOR_MAX, MINOR_DIGITS
from gateway.recon.record import Kind, Record, Window, window_of

_SANDBOX_FIRST: Final = re.compile(rb"#YUMEN-SANDBOX-BILL,1,sha256=([0-9a-f]{64})")
_SANDBOX_HEADER: Final = (
    "channel_trade_no",
    "trade_no",
    "kind",
    "refund_no",
    "amount",
    "currency",
    "fee",
    "time",
)
_TOTAL_FIELDS: Final = 6
_AMOUNT: Final = re.compile(r"(0|[1-9][0-9]{0,17})(?:\.([0-9]{1,3}))?", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9A-Za-z]{1,64}", re.ASCII)


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


@dataclass(frozen=True, slots=True)
class Bill:
    """A whole, believable bill of one day."""

    channel: str
    day: str
    sha256: str
    records: tuple[Record, ...]


Reader = Callable[[bytes, Window], Iterator[Record]]


def read_bill(channel: str, day: str, file: bytes) -> Bill:
    """Read a bill.

    Args:
        channel: Whose format it is.
        day: The business day asked for, YYYY-MM-DD; rows of another day are refused.
        file: The file as it came.

    Raises:
        BillRefused: if anything about it is wrong.
        ValueError: if `day` is no day.
    """
    reader = READERS.get(channel)
    if reader is None:
        raise BillRefused(0, f"no reader for the bills of {channel!r}")
    records = tuple(reader(file, window_of(channel, day)))
    return Bill(channel, day, hashlib.sha256(file).hexdigest(), records)


def _read_sandbox(file: bytes, window: Window) -> Iterator[Record]:
    first, _, rest = file.partition(b"\n")
    match = _SANDBOX_FIRST.fullmatch(first)
    if match is None:
        raise BillRefused(1, "not a sandbox bill of version 1")
    if match.group(1).decode() != hashlib.sha256(rest).hexdigest():
        raise BillRefused(1, "the hash doesn't fit the file: damaged or cut off")
    try:
        lines = rest.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise BillRefused(0, "not UTF-8") from error
    if lines[-1] != "":
        raise BillRefused(len(lines) + 1, "the last line isn't ended")
    if b"\r" in rest:
        raise BillRefused(0, "lines must be ended by a line feed alone")
    rows = csv.reader(lines[:-1], strict=True)
    try:
        yield from _sandbox_rows(rows, window)
    except csv.Error as error:
        raise BillRefused(rows.line_num + 1, f"not CSV: {error}") from error


def _sandbox_rows(rows: Iterator[list[str]], window: Window) -> Iterator[Record]:
    if tuple(next(rows, ())) != _SANDBOX_HEADER:
        raise BillRefused(2, "unknown header")
    totals: dict[str, list[int]] = {}
    claimed: dict[str, list[int]] = {}
    row_count, ended = 0, False
    for line_no, row in enumerate(rows, start=3):
        if ended:
            raise BillRefused(line_no, "text after #END")
        if row and row[0] == "#END":
            ended = True
            if row[1:] != [str(row_count)]:
                raise BillRefused(line_no, f"#END claims {row[1:]} rows, there are {row_count}")
        elif row and row[0] == "#SUMMARY":
            _read_totals(row, line_no, claimed)
        elif claimed:
            raise BillRefused(line_no, "a row after #SUMMARY")
        else:
            record = _sandbox_record(row, line_no, window)
            row_count += 1
            _add(totals, record)
            yield record
    if not ended:
        raise BillRefused(0, "no #END: cut off")
    if totals != claimed:
        raise BillRefused(0, f"the totals don't fit the rows: {claimed} claimed, {totals} found")


def _add(totals: dict[str, list[int]], record: Record) -> None:
    total = totals.setdefault(record.currency, [0, 0, 0, 0])
    first = 0 if record.kind == Kind.PAY else 2
    total[first] += 1
    total[first + 1] += record.amount_minor


def _read_totals(row: list[str], line_no: int, claimed: dict[str, list[int]]) -> None:
    if len(row) != 1 + _TOTAL_FIELDS or row[1] in claimed or row[1] not in MINOR_DIGITS:
        raise BillRefused(line_no, "malformed #SUMMARY")
    if not (row[2].isascii() and row[2].isdigit() and row[4].isascii() and row[4].isdigit()):
        raise BillRefused(line_no, "malformed count")
    currency = row[1]
    if _minor(row[6], currency, line_no) != 0:
        raise BillRefused(line_no, "the sandbox charges no fee")
    claimed[currency] = [
        int(row[2]),
        _minor(row[3], currency, line_no),
        int(row[4]),
        _minor(row[5], currency, line_no),
    ]


def _sandbox_record(row: list[str], line_no: int, window: Window) -> Record:
    if len(row) != len(_SANDBOX_HEADER):
        raise BillRefused(line_no, f"{len(row)} fields instead of {len(_SANDBOX_HEADER)}")
    channel_trade_no, trade_no, kind, refund_no, amount, currency, fee, time = row
    if kind not in (Kind.PAY, Kind.REFUND) or (kind == Kind.PAY) != (refund_no == ""):
        raise BillRefused(line_no, f"kind {kind[:20]!r} with refund_no {refund_no[:64]!r}")
    for number in (channel_trade_no, trade_no, refund_no or trade_no):
        if _NUMBER.fullmatch(number) is None:
            raise BillRefused(line_no, f"malformed number {number[:64]!r}")
    if currency not in MINOR_DIGITS:
        raise BillRefused(line_no, f"unknown currency {currency[:8]!r}")
    amount_minor = _minor(amount, currency, line_no)
    if not 0 < amount_minor <= AMOUNT_MINOR_MAX or _minor(fee, currency, line_no) != 0:
        raise BillRefused(line_no, "amount must be positive and fee zero")
    at_us = _time_us(time, line_no)
    if not window.holds(at_us):
        raise BillRefused(line_no, f"{time} isn't on the day of this bill")
    return Record(kind, trade_no, refund_no, amount_minor, currency, at_us, channel_trade_no)


def _minor(text: str, currency: str, line_no: int) -> int:
    """Read an amount with exactly the currency's decimals; zero is allowed."""
    match = _AMOUNT.fullmatch(text)
    if match is None or len(match.group(2) or "") != MINOR_DIGITS[currency]:
        raise BillRefused(line_no, f"malformed amount {text[:24]!r} {currency}")
    return int(match.group(1) + (match.group(2) or ""))


def _time_us(text: str, line_no: int) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise BillRefused(line_no, f"malformed time {text[:40]!r}") from error
    if at.tzinfo is None:
        raise BillRefused(line_no, f"time without zone {text[:40]!r}")
    return int(at.timestamp()) * 1_000_000 + at.microsecond


READERS: Final[dict[str, Reader]] = {"sandbox": _read_sandbox}
