"""The bill of the house's own sandbox: see `docs/CHANNELS.md`, section 4."""

import csv
import hashlib
import re
from collections.abc import Iterator
from typing import Final

from gateway.domain.money import AMOUNT_MINOR_MAX, MINOR_DIGITS
from gateway.recon.formats.base import NUMBER, BillRefused, minor, time_us
from gateway.recon.record import Kind, Record, Window

_FIRST: Final = re.compile(rb"#YUMEN-SANDBOX-BILL,1,sha256=([0-9a-f]{64})")
_HEADER: Final = (
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


def read(file: bytes, window: Window) -> Iterator[Record]:
    """Read the file; see `gateway.recon.bills.read_bill`."""
    first, _, rest = file.partition(b"\n")
    match = _FIRST.fullmatch(first)
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
        yield from _rows(rows, window)
    except csv.Error as error:
        raise BillRefused(rows.line_num + 1, f"not CSV: {error}") from error


def _rows(rows: Iterator[list[str]], window: Window) -> Iterator[Record]:
    if tuple(next(rows, ())) != _HEADER:
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
            record = _record(row, line_no, window)
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
    if minor(row[6], currency, line_no) != 0:
        raise BillRefused(line_no, "the sandbox charges no fee")
    claimed[currency] = [
        int(row[2]),
        minor(row[3], currency, line_no),
        int(row[4]),
        minor(row[5], currency, line_no),
    ]


def _record(row: list[str], line_no: int, window: Window) -> Record:
    if len(row) != len(_HEADER):
        raise BillRefused(line_no, f"{len(row)} fields instead of {len(_HEADER)}")
    channel_trade_no, trade_no, kind, refund_no, amount, currency, fee, time = row
    if kind not in (Kind.PAY, Kind.REFUND) or (kind == Kind.PAY) != (refund_no == ""):
        raise BillRefused(line_no, f"kind {kind[:20]!r} with refund_no {refund_no[:64]!r}")
    for number in (channel_trade_no, trade_no, refund_no or trade_no):
        if NUMBER.fullmatch(number) is None:
            raise BillRefused(line_no, f"malformed number {number[:64]!r}")
    if currency not in MINOR_DIGITS:
        raise BillRefused(line_no, f"unknown currency {currency[:8]!r}")
    amount_minor = minor(amount, currency, line_no)
    if not 0 < amount_minor <= AMOUNT_MINOR_MAX or minor(fee, currency, line_no) != 0:
        raise BillRefused(line_no, "amount must be positive and fee zero")
    at_us = time_us(time, line_no)
    if not window.holds(at_us):
        raise BillRefused(line_no, f"{time} isn't on the day of this bill")
    return Record(kind, trade_no, refund_no, amount_minor, currency, at_us, channel_trade_no)
