"""UnionPay's daily file (ZM): a zip of one GBK file of columns of fixed width, in fen.

The file names no year and has no totals: its name must be the clearing day's, every line must be
whole, and what guards it on its way is UnionPay's signature over the answer it came in.
"""

import io
import re
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from gateway.recon.formats.base import BillRefused, number
from gateway.recon.record import Kind, Record, Window

_BEIJING: Final = timezone(timedelta(hours=8))
_FILE_BYTES_MAX: Final = 1 << 28
_WIDTHS: Final = (
    *(3, 11, 11, 6, 10, 19, 12, 4, 2, 21, 2, 32, 2, 6, 10, 13, 13, 4, 15, 2, 2, 6, 2, 4, 32, 1),
    *(21, 15, 1, 15, 32, 13, 13, 8, 32, 13, 13, 12, 2, 1, 131),
)
_LINE_BYTES: Final = sum(_WIDTHS) + len(_WIDTHS) - 1
_NAME: Final = re.compile(r"(?:.*/)?INN([0-9]{6})88ZM_[0-9A-Za-z]{15}", re.ASCII)
_DIGITS: Final = re.compile(r"[0-9]+", re.ASCII)
_KINDS: Final = {"01": Kind.PAY, "04": Kind.REFUND, "31": Kind.REFUND}
_ORIGINAL_CHARS: Final = 32  # The reserved column begins with the refunded payment's number.


def read(file: bytes, window: Window) -> Iterator[Record]:
    """Read the file; see `gateway.recon.bills.read_bill`."""
    lines = _member(file, window).split(b"\r\n")
    if lines[-1] != b"":
        raise BillRefused(len(lines), "the last line isn't ended")
    rows = [_columns(line, at) for at, line in enumerate(lines[:-1], start=1)]
    paid = {row[9]: row[11] for row in rows if row[19] == "01"}
    for line_no, row in enumerate(rows, start=1):
        yield _record(row, line_no, window, paid)


def _member(file: bytes, window: Window) -> bytes:
    last = datetime.fromtimestamp(window.after_us // 1_000_000 - 1, tz=UTC).astimezone(_BEIJING)
    try:
        with zipfile.ZipFile(io.BytesIO(file)) as archive:
            named = [(each, _NAME.fullmatch(each.filename)) for each in archive.infolist()]
            found = [(each, match.group(1)) for each, match in named if match]
            if len(found) != 1:
                raise BillRefused(0, f"{len(found)} files of payments instead of one")
            if found[0][1] != f"{last:%y%m%d}":
                raise BillRefused(0, f"the file of another day: {found[0][1]}")
            if found[0][0].file_size > _FILE_BYTES_MAX:
                raise BillRefused(0, "larger than any file")
            return archive.read(found[0][0])
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, ValueError) as error:
        raise BillRefused(0, f"not a zip: {error!r:.80}") from error


def _columns(line: bytes, line_no: int) -> list[str]:
    if len(line) != _LINE_BYTES:
        raise BillRefused(line_no, f"{len(line)} bytes instead of {_LINE_BYTES}")
    columns, start = [], 0
    for width in _WIDTHS:
        end = start + width
        if line[end : end + 1] not in (b" ", b""):
            raise BillRefused(line_no, f"no space after byte {end}")
        try:
            columns.append(line[start:end].decode("gbk").strip())
        except UnicodeDecodeError as error:
            raise BillRefused(line_no, "not GBK") from error
        start = end + 1
    return columns


def _record(row: list[str], line_no: int, window: Window, paid: dict[str, str]) -> Record:
    kind = _KINDS.get(row[19])
    if kind is None:
        raise BillRefused(line_no, f"unknown 交易类型 {row[19][:4]!r}")
    if _DIGITS.fullmatch(row[6]) is None or int(row[6]) == 0:
        raise BillRefused(line_no, f"malformed amount {row[6][:24]!r}")
    ours, ref = number(row[11], line_no), number(row[9], line_no)
    at_us = _time_us(row[4], line_no, window)
    if kind is Kind.PAY:
        return Record(kind, ours, "", int(row[6]), "CNY", at_us, ref)
    # Older files don't name the refunded payment: it may stand in this one, else it is a break.
    original = row[40][:_ORIGINAL_CHARS].strip() or paid.get(row[26]) or row[26]
    return Record(kind, number(original, line_no), ours, int(row[6]), "CNY", at_us, ref)


def _time_us(written: str, line_no: int, window: Window) -> int:
    """Read month, day and time; the year is the one that puts them on the file's day."""
    for year in {_year(window.first_us), _year(window.after_us)}:
        try:
            at = datetime.strptime(f"{year}{written}", "%Y%m%d%H%M%S").replace(tzinfo=_BEIJING)
        except ValueError:
            continue
        at_us = int(at.timestamp()) * 1_000_000
        if window.holds(at_us):
            return at_us
    raise BillRefused(line_no, f"{written[:10]!r} isn't on the day of this file")


def _year(at_us: int) -> int:
    return datetime.fromtimestamp(at_us // 1_000_000, tz=UTC).astimezone(_BEIJING).year
