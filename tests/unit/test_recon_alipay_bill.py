"""Alipay's bill is read whole or refused whole."""

import io
import zipfile
from collections.abc import Callable

import pytest

from gateway.recon.bills import BillRefused, read_bill
from gateway.sandbox.bill import BillRow
from gateway.sandbox.protocols.alipay_bill import write

DAY = "2025-11-22"
AT_US = 1_763_800_000_000_000  # 2025-11-22T16:26:40+08:00


def row(kind: str = "PAY", **changes: object) -> BillRow:
    known: dict[str, object] = {
        "channel_trade_no": "2025112222001400001",
        "trade_no": "T0000000001",
        "kind": kind,
        "refund_no": "R0000000001" if kind == "REFUND" else "",
        "amount_minor": 12_30,
        "currency": "CNY",
        "at_us": AT_US,
        "trade_paid_at_us": AT_US,
        "subject": '茶, \t一 & "二"',
    }
    return BillRow(**(known | changes))  # type: ignore[arg-type]  # Names and types are the row's own.


def test_commas_in_a_name_move_no_column() -> None:
    file = write([row(), row("REFUND", amount_minor=2_30)], DAY, AT_US)

    paid, refunded = read_bill("alipay", DAY, file).records

    assert paid == ("PAY", "T0000000001", "", 12_30, "CNY", AT_US, "2025112222001400001")
    assert refunded[:4] == ("REFUND", "T0000000001", "R0000000001", 2_30)


def test_an_empty_day_is_a_bill_without_records() -> None:
    assert read_bill("alipay", DAY, write([], DAY, AT_US)).records == ()


def edited(edit: Callable[[str], str]) -> bytes:
    """The bill with its details changed."""
    with zipfile.ZipFile(io.BytesIO(write([row(), row("REFUND")], DAY, AT_US))) as archive:
        files = {info: archive.read(info).decode("gbk") for info in archive.infolist()}
    changed = io.BytesIO()
    with zipfile.ZipFile(changed, "w") as archive:
        for info, text in files.items():
            name = info.filename.encode("cp437").decode("gbk")
            archive.writestr(name, edit(text).encode("gbk"))
    return changed.getvalue()


def test_a_zip_with_flagged_names_is_read_too() -> None:
    assert len(read_bill("alipay", DAY, edited(lambda text: text)).records) == 2


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("T0000000001", "T00 0000001", "malformed number"),
        (",12.30,12.30,", ",12.31,12.31,", "totals don't fit"),
        (",12.30,12.30,", ",12.3,12.30,", "malformed amount"),
        (",-12.30,", ",12.30,", "a REFUND of 12.30"),
        ("商家实收共12.30元", "商家实收共12.31元", "totals don't fit"),
        ("#交易合计：1笔", "#交易合计：2笔", "totals don't fit"),
        ("#退款合计", "#退款", "no total of REFUND"),
        ("业务明细列表结束", "业务明细", "a remark among the rows"),
        ("业务明细列表-", "业务", "no 业务明细列表"),
        ("服务费（元）", "服务费(元)", "unknown header"),
        (",退款,", ",退票,", "unknown kind of business"),
        ("2025-11-22 16", "2025-11-23 16", "isn't on the day"),
        ("2025-11-22 16", "2025-13-22 16", "malformed time"),
        ("2025-11-22 16:26:40,2025-11-22", "2025-11-22", "fields instead of 25"),
        ("#支付宝业务明细查询", "#支付宝业务查询", "not a bill of Alipay's"),
    ],
)
def test_a_damaged_bill_is_refused_by_name(old: str, new: str, reason: str) -> None:
    with pytest.raises(BillRefused, match=reason):
        read_bill("alipay", DAY, edited(lambda text: text.replace(old, new)))


@pytest.mark.parametrize("cut", [0, 10, 400, 900])
def test_a_cut_off_or_missing_zip_is_refused(cut: int) -> None:
    with pytest.raises(BillRefused):
        read_bill("alipay", DAY, write([row()], DAY, AT_US)[:cut])
