"""Alipay's daily bill: a zip of GBK files, whose details must agree with their own totals."""

import io
import re
import zipfile
from collections.abc import Iterator
from typing import Final

from gateway.recon.formats.base import BillRefused, number, time_us
from gateway.recon.record import Kind, Record, Window

_FILE_BYTES_MAX: Final = 1 << 28
_UTF8_NAME: Final = 0x800  # Of a member's flags; Alipay's names are GBK and don't set it.
_COLUMNS: Final = (
    *("支付宝交易号", "商户订单号", "业务类型", "商品名称", "创建时间", "完成时间", "门店编号"),
    *("门店名称", "操作员", "终端号", "对方账户", "订单金额（元）", "商家实收（元）"),
    *("支付宝红包（元）", "集分宝（元）", "支付宝优惠（元）", "商家优惠（元）", "券核销金额（元）"),
    *("券名称", "商家红包消费金额（元）", "卡消费金额（元）", "退款批次号/请求号", "服务费（元）"),
    *("分润（元）", "备注"),
)
_KINDS: Final = {"交易": Kind.PAY, "退款": Kind.REFUND}
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}", re.ASCII)
_YUAN: Final = re.compile(r"(-?)(0|[1-9][0-9]{0,14})\.([0-9]{2})", re.ASCII)
_PAID: Final = re.compile(r"#交易合计：([0-9]+)笔，商家实收共(-?[0-9.]+)元.*")
_REFUNDED: Final = re.compile(r"#退款合计：([0-9]+)笔，商家实收退款共(-?[0-9.]+)元.*")


def read(file: bytes, window: Window) -> Iterator[Record]:
    """Read the file; see `gateway.recon.bills.read_bill`."""
    lines = _details(file)
    if not lines[0].startswith("#支付宝业务明细查询"):
        raise BillRefused(1, "not a bill of Alipay's")
    start = _after(lines, "业务明细列表-")
    if tuple(lines[start].split(",")) != _COLUMNS:
        raise BillRefused(start + 1, "unknown header")
    counts = {Kind.PAY: 0, Kind.REFUND: 0}
    received_fen = {Kind.PAY: 0, Kind.REFUND: 0}
    for at in range(start + 1, len(lines)):
        line_no = at + 1
        if lines[at].startswith("#"):
            _check_totals(lines[at:], line_no, counts, received_fen)
            return
        cells = _cells(lines[at], line_no)
        record = _record(cells, line_no, window)
        counts[Kind(record.kind)] += 1
        received_fen[Kind(record.kind)] += _fen(cells[12], line_no)
        yield record
    raise BillRefused(0, "no end of the list: cut off")


def _details(file: bytes) -> list[str]:
    try:
        with zipfile.ZipFile(io.BytesIO(file)) as archive:
            found = [each for each in archive.infolist() if _name(each).endswith("业务明细.csv")]
            if len(found) != 1:
                raise BillRefused(0, f"{len(found)} files of details instead of one")
            if found[0].file_size > _FILE_BYTES_MAX:
                raise BillRefused(0, "larger than any bill")
            text = archive.read(found[0]).decode("gbk")
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, ValueError) as error:
        raise BillRefused(0, f"not a zip of GBK text: {error!r:.80}") from error
    return [line.rstrip("\r") for line in text.split("\n")]


def _name(member: zipfile.ZipInfo) -> str:
    if member.flag_bits & _UTF8_NAME:
        return member.filename
    return member.filename.encode("cp437").decode("gbk", "replace")


def _after(lines: list[str], mark: str) -> int:
    for at, line in enumerate(lines[:-1]):
        if line.startswith("#") and mark in line:
            return at + 1
    raise BillRefused(0, f"no {mark}")


def _cells(line: str, line_no: int) -> list[str]:
    """Split a row; a comma in the goods' name or in the remark is not quoted."""
    parts = line.split(",")
    surplus = len(parts) - len(_COLUMNS)
    for inside in range(surplus + 1):
        times = parts[4 + inside : 6 + inside]
        if all(_TIME.fullmatch(each.strip()) for each in times):
            row = [*parts[:3], ",".join(parts[3 : 4 + inside]), *parts[4 + inside :]]
            row = [*row[:24], ",".join(row[24:])]
            return [cell.strip() for cell in row]
    raise BillRefused(line_no, f"{len(parts)} fields instead of {len(_COLUMNS)}")


def _record(cells: list[str], line_no: int, window: Window) -> Record:
    kind = _KINDS.get(cells[2])
    if kind is None:
        raise BillRefused(line_no, f"unknown kind of business {cells[2][:20]!r}")
    refund_no = number(cells[21], line_no) if kind is Kind.REFUND else ""
    amount_fen = _fen(cells[11], line_no)
    if (amount_fen > 0) != (kind is Kind.PAY) or amount_fen == 0:
        raise BillRefused(line_no, f"a {kind} of {cells[11]}")
    at_us = time_us(f"{cells[5]}+08:00", line_no)
    if not window.holds(at_us):
        raise BillRefused(line_no, f"{cells[5]} isn't on the day of this bill")
    trade_no, ref = number(cells[1], line_no), number(cells[0], line_no)
    return Record(kind, trade_no, refund_no, abs(amount_fen), "CNY", at_us, ref)


def _fen(text: str, line_no: int) -> int:
    found = _YUAN.fullmatch(text)
    if found is None:
        raise BillRefused(line_no, f"malformed amount {text[:24]!r}")
    sign, yuan, fen = found.groups()
    return int(f"{sign}{yuan}{fen}")


def _check_totals(
    tail: list[str], line_no: int, counts: dict[Kind, int], received_fen: dict[Kind, int]
) -> None:
    if "业务明细列表结束" not in tail[0]:
        raise BillRefused(line_no, "a remark among the rows")
    for kind, pattern in ((Kind.PAY, _PAID), (Kind.REFUND, _REFUNDED)):
        found = [match for match in map(pattern.fullmatch, tail) if match]
        if len(found) != 1:
            raise BillRefused(0, f"no total of {kind}")
        claimed = (int(found[0].group(1)), _fen(found[0].group(2), line_no))
        if claimed != (counts[kind], received_fen[kind]):
            raise BillRefused(
                0,
                f"the totals don't fit the rows: {claimed} claimed of {kind}, "
                f"{(counts[kind], received_fen[kind])} found",
            )
