"""WeChat Pay's bill is read whole or refused whole."""

import gzip
from collections.abc import Callable

import pytest

from gateway.recon.bills import BillRefused, read_bill
from gateway.sandbox.bill import BillRow
from gateway.sandbox.protocols.wechat_bill import write, zipped

DAY = "2025-11-22"
AT_US = 1_763_800_000_000_000  # 2025-11-22T16:26:40+08:00


def row(kind: str = "PAY", **changes: object) -> BillRow:
    known: dict[str, object] = {
        "channel_trade_no": "4200000001",
        "trade_no": "T0000000001",
        "kind": kind,
        "refund_no": "R0000000001" if kind == "REFUND" else "",
        "channel_refund_no": "5030000001" if kind == "REFUND" else "",
        "amount_minor": 12_30,
        "currency": "CNY",
        "at_us": AT_US,
        "subject": '茶, 一 & "二`',
    }
    return BillRow(**(known | changes))  # type: ignore[arg-type]  # Names and types are the row's own.


def edited(edit: Callable[[str], str]) -> bytes:
    return zipped(edit(write([row(), row("REFUND", amount_minor=2_30)]).decode()).encode())


def test_commas_and_backticks_in_a_name_move_no_column() -> None:
    paid, refunded = read_bill("wechat", DAY, edited(lambda text: text)).records

    assert paid == ("PAY", "T0000000001", "", 12_30, "CNY", AT_US, "4200000001")
    assert refunded[:4] == ("REFUND", "T0000000001", "R0000000001", 2_30)


def test_a_refund_under_way_moves_nothing_yet() -> None:
    file = edited(lambda text: text.replace("`ORIGINAL,`SUCCESS", "`ORIGINAL,`PROCESSING"))

    assert [record.kind for record in read_bill("wechat", DAY, file).records] == ["PAY"]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("费率备注", "备注", "unknown header"),
        ("`T0000000001", "`T00 0000001", "malformed number"),
        ("`12.30,`0.00,`\r\n", "`12.31,`0.00,`\r\n", "totals don't fit"),
        ("`12.30,`0.00,`\r\n", "`12.3,`0.00,`\r\n", "malformed amount"),
        ("\r\n`2,", "\r\n`3,", "totals don't fit"),
        ("\r\n`2,", "\r\n`two,", "malformed count"),
        ("总交易单数", "总单数", "no totals"),
        (",`SUCCESS,`OTHERS", ",`WON,`OTHERS", "unknown 交易状态"),
        (",`CNY,", ",`USD,", "unknown currency"),
        ("`2025-11-22", "`2025-11-21", "isn't on the day"),
        ("`2025-11-22", "`2025-11-32", "malformed time"),
        ("`0.60%,", "", "26 fields"),
        ("\r\n`2025", "\r\n2025", "fields instead of"),
    ],
)
def test_a_damaged_bill_is_refused_by_name(old: str, new: str, reason: str) -> None:
    with pytest.raises(BillRefused, match=reason):
        read_bill("wechat", DAY, edited(lambda text: text.replace(old, new)))


def test_a_zip_that_is_cut_off_or_continued_is_refused() -> None:
    file = edited(lambda text: text)
    for damaged in (
        b"",
        file[:-1],
        file[:40],
        file + gzip.compress(b"more"),
        gzip.decompress(file),
    ):
        with pytest.raises(BillRefused):
            read_bill("wechat", DAY, damaged)
