"""The daily statement of an operating bank: a zip with one CSV.

Published by the bank (guide, sections 2.3 and 4.13): one zip a day, amounts in fen, times of
Beijing. Assumed, since the guide doesn't print the columns: everything `_HEADER` and below says.
"""

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway.domain.money import AMOUNT_MINOR_MAX
from gateway.recon.formats.base import NUMBER, BillRefused
from gateway.recon.record import Kind, Record, Window

_FILE_BYTES_MAX: Final = 256 * 1024 * 1024  # Unpacked: what a zip claims is not to be trusted.
_HEADER: Final = [
    "交易类型",
    "商户订单号",
    "平台订单号",
    "原商户订单号",
    "交易金额",
    "优惠金额",
    "手续费",
    "币种",
    "支付方式",
    "交易完成时间",
]
_KINDS: Final = {"收款": Kind.PAY, "退款": Kind.REFUND}
_FEN: Final = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
_TIME: Final = re.compile(r"[0-9]{14}", re.ASCII)
_FOOT_FIELDS: Final = 5


def read(file: bytes, window: Window) -> Iterator[Record]:
    """Read the file; see `gateway.recon.bills.read_bill`."""
    rows = csv.reader(io.StringIO(_unpacked(file), newline=""), strict=True)
    try:
        yield from _rows(rows, window)
    except csv.Error as error:
        raise BillRefused(rows.line_num, f"not CSV: {error}") from error


def _unpacked(file: bytes) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(file)) as archive:
            (entry,) = archive.infolist()
            if entry.file_size > _FILE_BYTES_MAX:
                raise BillRefused(0, "larger than any statement")
            return archive.read(entry).decode("utf-8-sig")
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
        raise BillRefused(0, f"not a zip with one UTF-8 file: {error}") from error


def _rows(rows: Iterator[list[str]], window: Window) -> Iterator[Record]:
    if next(rows, []) != _HEADER:
        raise BillRefused(1, "unknown header")
    sums, ended = {Kind.PAY: [0, 0], Kind.REFUND: [0, 0]}, False
    for line_no, row in enumerate(rows, start=2):
        if ended:
            raise BillRefused(line_no, "text after the totals")
        if row and row[0] == "合计":
            ended = True
            found = [str(each) for kind in (Kind.PAY, Kind.REFUND) for each in sums[kind]]
            if row[1:] != found:
                raise BillRefused(line_no, f"the totals don't fit: {row[1:_FOOT_FIELDS]}, {found}")
            continue
        record = _record(row, line_no, window)
        total = sums[Kind(record.kind)]
        total[0] += 1
        total[1] += record.amount_minor
        yield record
    if not ended:
        raise BillRefused(0, "no totals: cut off")


def _record(row: list[str], line_no: int, window: Window) -> Record:
    if len(row) != len(_HEADER):
        raise BillRefused(line_no, f"{len(row)} fields instead of {len(_HEADER)}")
    word, number, bank_no, original, amount, discount, fee, currency, pay_type, time = row
    kind = _KINDS.get(word)
    if kind is None or (kind is Kind.PAY) != (original == ""):
        raise BillRefused(line_no, f"kind {word[:20]!r} with original order {original[:40]!r}")
    for each in (number, bank_no, original or number):
        if NUMBER.fullmatch(each) is None:
            raise BillRefused(line_no, f"malformed number {each[:64]!r}")
    if (currency, pay_type) != ("156", "EC"):
        raise BillRefused(line_no, f"not e-CNY: {currency[:8]!r}, {pay_type[:8]!r}")
    if any(_FEN.fullmatch(each) is None for each in (amount, discount, fee)):
        raise BillRefused(line_no, "malformed amount")
    if not 0 < int(amount) <= AMOUNT_MINOR_MAX or int(discount) or int(fee):
        raise BillRefused(
            line_no, "amount must be positive; e-CNY knows no fee and no discount here"
        )
    at_us = _time_us(time, line_no)
    if not window.holds(at_us):
        raise BillRefused(line_no, f"{time} isn't on the day of this statement")
    if kind is Kind.PAY:
        return Record(kind, number, "", int(amount), "CNY", at_us, bank_no)
    return Record(kind, original, number, int(amount), "CNY", at_us, bank_no)


def _time_us(text: str, line_no: int) -> int:
    if _TIME.fullmatch(text) is None:
        raise BillRefused(line_no, f"malformed time {text[:40]!r}")
    try:
        local = datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError as error:
        raise BillRefused(line_no, f"malformed time {text[:40]!r}") from error
    return int((local - timedelta(hours=8)).timestamp()) * 1_000_000
