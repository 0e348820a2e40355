"""UnionPay's file is read whole or refused whole."""

import io
import zipfile
from collections.abc import Callable

import pytest

from gateway.recon.bills import BillRefused, read_bill
from gateway.recon.record import day_of
from gateway.sandbox.bill import BillRow
from gateway.sandbox.protocols.unionpay_bill import write

DAY = "2025-11-22"
AT_US = 1_763_800_000_000_000  # 2025-11-22T16:26:40+08:00
IDS = {
    ("T0000000001", ""): "442511221626401234567",
    ("T0000000001", "R0000000001"): "442511221626407654321",
}


def row(kind: str = "PAY", **changes: object) -> BillRow:
    known: dict[str, object] = {
        "channel_trade_no": "SB1",
        "trade_no": "T0000000001",
        "kind": kind,
        "refund_no": "R0000000001" if kind == "REFUND" else "",
        "amount_minor": 12_30,
        "currency": "CNY",
        "at_us": AT_US,
    }
    return BillRow(**(known | changes))  # type: ignore[arg-type]  # Names and types are the row's own.


def edited(
    edit: Callable[[str], str], *, rows: list[BillRow] | None = None, name: str = ""
) -> bytes:
    """The file with its lines changed, and perhaps its name."""
    whole = write(rows or [row(), row("REFUND", amount_minor=2_30)], DAY, IDS)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        (info,) = archive.infolist()
        text = archive.read(info).decode("gbk")
    changed = io.BytesIO()
    with zipfile.ZipFile(changed, "w") as archive:
        archive.writestr(name or info.filename, edit(text).encode("gbk"))
    return changed.getvalue()


def test_columns_of_fixed_width_become_records() -> None:
    paid, refunded = read_bill("unionpay", DAY, edited(lambda text: text)).records

    assert paid == ("PAY", "T0000000001", "", 12_30, "CNY", AT_US, "442511221626401234567")
    assert refunded[:4] == ("REFUND", "T0000000001", "R0000000001", 2_30)


def test_an_older_file_names_the_refunded_payment_by_its_own_line() -> None:
    def older(text: str) -> str:
        paid, refunded, _ = text.split("\r\n")
        return f"{paid}\r\n{refunded[:-131]}{' ' * 131}\r\n"

    records = read_bill("unionpay", DAY, edited(older)).records
    assert [record.trade_no for record in records] == ["T0000000001", "T0000000001"]


def test_a_clearing_day_begins_in_the_evening_before() -> None:
    evening_us = AT_US + (6 * 60 + 40) * 60 * 1_000_000  # 23:06 in Beijing.
    assert day_of("unionpay", evening_us) == "2025-11-23"
    with pytest.raises(BillRefused, match="isn't on the day"):
        read_bill("unionpay", DAY, edited(lambda text: text, rows=[row(at_us=evening_us)]))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("000000001230", "00000000123x", "malformed amount"),
        ("000000001230", "000000000000", "malformed amount"),
        ("T0000000001", "T00 0000001", "malformed number"),
        ("1122162640", "1123162640", "isn't on the day"),
        ("1122162640", "1322162640", "isn't on the day"),
        ("S22 ", "S22", "bytes instead of"),
        ("S22 ", "S22x", "no space after"),
        (" 01 01 000201", " 99 01 000201", "unknown 交易类型"),
        ("\r\nS30", "S30", "bytes instead of"),
    ],
)
def test_a_damaged_file_is_refused_by_name(old: str, new: str, reason: str) -> None:
    with pytest.raises(BillRefused, match=reason):
        read_bill("unionpay", DAY, edited(lambda text: text.replace(old, new)))


def test_the_file_of_another_day_or_no_file_is_refused() -> None:
    for name, reason in (
        ("INN25112188ZM_777290058110097", "another day"),
        ("INN25112288ZME_777290058110097", "0 files"),
    ):
        with pytest.raises(BillRefused, match=reason):
            read_bill("unionpay", DAY, edited(lambda text: text, name=name))
    with pytest.raises(BillRefused, match="isn't ended"):
        read_bill("unionpay", DAY, edited(lambda text: text[:-2]))
    with pytest.raises(BillRefused, match="not a zip"):
        read_bill("unionpay", DAY, b"PK")
