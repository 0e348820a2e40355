"""WeChat Pay's daily bill (ALL): gzip of UTF-8, cells behind backticks, totals in the last line."""

import re
import zlib
from collections.abc import Iterator
from typing import Final

from gateway.recon.formats.base import BillRefused, number, time_us
from gateway.recon.record import Kind, Record, Window

_FILE_BYTES_MAX: Final = 1 << 28
_COLUMNS: Final = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,"
    "付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,"
    "退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注"
)
_TOTALS: Final = (
    "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
)
_COLUMN_COUNT: Final = 27
_TOTAL_COUNT: Final = 7
_YUAN: Final = re.compile(r"(-?)(0|[1-9][0-9]{0,14})\.([0-9]{2})", re.ASCII)
_KINDS: Final = {"SUCCESS": Kind.PAY, "REFUND": Kind.REFUND, "REVOKED": Kind.REFUND}


def read(file: bytes, window: Window) -> Iterator[Record]:
    """Read the file; see `gateway.recon.bills.read_bill`."""
    lines = _lines(file)
    if lines[0] != _COLUMNS:
        raise BillRefused(1, "unknown header")
    if _TOTALS not in lines:
        raise BillRefused(0, "no totals: cut off")
    end = lines.index(_TOTALS)
    found = [0, 0, 0]  # Rows, ordered and asked back in fen.
    for line_no, line in enumerate(lines[1:end], start=2):
        cells = _cells(line, _COLUMN_COUNT, line_no)
        record = _record(cells, line_no, window)
        found[0] += 1
        found[1] += _fen(cells[24], line_no)
        found[2] += _fen(cells[25], line_no)
        if record is not None:
            yield record
    _check_totals(lines[end + 1 :], end + 2, found)


def _lines(file: bytes) -> list[str]:
    unzip = zlib.decompressobj(wbits=31)
    try:
        text = unzip.decompress(file, _FILE_BYTES_MAX).decode("utf-8-sig")
    except (zlib.error, UnicodeDecodeError) as error:
        raise BillRefused(0, f"not a gzip of UTF-8: {error!r:.80}") from error
    if not unzip.eof or unzip.unused_data:
        raise BillRefused(0, "the gzip is cut off, or followed by something else")
    return text.replace("\r\n", "\n").removesuffix("\n").split("\n")


def _cells(line: str, count: int, line_no: int) -> list[str]:
    """Split at a comma and a backtick: a comma alone may stand in a goods' name."""
    cells = line.removeprefix("`").split(",`")
    if not line.startswith("`") or len(cells) != count:
        raise BillRefused(line_no, f"{len(cells)} fields instead of {count}")
    return cells


def _record(cells: list[str], line_no: int, window: Window) -> Record | None:
    kind = _KINDS.get(cells[9])
    if kind is None:
        raise BillRefused(line_no, f"unknown 交易状态 {cells[9][:20]!r}")
    if kind is Kind.REFUND and cells[19] not in ("SUCCESS", ""):
        return None  # Under way or failed: nothing moved on this day.
    if cells[11] != "CNY":
        raise BillRefused(line_no, f"unknown currency {cells[11][:8]!r}")
    amount_fen = abs(_fen(cells[24] if kind is Kind.PAY else cells[25], line_no))
    if amount_fen == 0:
        raise BillRefused(line_no, f"a {kind} of nothing")
    at_us = time_us(f"{cells[0]}+08:00", line_no)
    if not window.holds(at_us):
        raise BillRefused(line_no, f"{cells[0]} isn't on the day of this bill")
    refund_no = number(cells[15], line_no) if kind is Kind.REFUND else ""
    trade_no, ref = number(cells[6], line_no), number(cells[5], line_no)
    return Record(kind, trade_no, refund_no, amount_fen, "CNY", at_us, ref)


def _fen(text: str, line_no: int) -> int:
    found = _YUAN.fullmatch(text)
    if found is None:
        raise BillRefused(line_no, f"malformed amount {text[:24]!r}")
    sign, yuan, fen = found.groups()
    return int(f"{sign}{yuan}{fen}")


def _check_totals(rest: list[str], line_no: int, found: list[int]) -> None:
    if len(rest) != 1:
        raise BillRefused(line_no, f"{len(rest)} lines of totals instead of one")
    cells = _cells(rest[0], _TOTAL_COUNT, line_no)
    if not (cells[0].isascii() and cells[0].isdigit()):
        raise BillRefused(line_no, f"malformed count {cells[0][:24]!r}")
    claimed = [int(cells[0]), _fen(cells[5], line_no), _fen(cells[6], line_no)]
    if claimed != found:
        raise BillRefused(0, f"the totals don't fit the rows: {claimed} claimed, {found} found")
