"""A bill is read whole or refused whole, with the line and the reason."""

import hashlib

import pytest

from gateway.recon.bills import BillRefused, read_bill
from gateway.recon.record import Record, window_of

DAY = "2025-11-22"
HEADER = "channel_trade_no,trade_no,kind,refund_no,amount,currency,fee,time"
PAID = "SB1,T0000001,PAY,,12.30,CNY,0.00,2025-11-22T16:26:40.123+08:00"
REFUNDED = "SB1,T0000001,REFUND,R0000001,2.30,CNY,0.00,2025-11-22T00:00:00.000+08:00"
YEN = "SB2,T0000002,PAY,,500,JPY,0,2025-11-22T23:59:59.999+08:00"
TOTALS = ("#SUMMARY,CNY,1,12.30,1,2.30,0.00", "#SUMMARY,JPY,1,500,0,0,0")
GOOD = (HEADER, PAID, REFUNDED, YEN, *TOTALS, "#END,3")


def bill_file(*lines: str, newline: str = "\n") -> bytes:
    body = "".join(line + newline for line in lines).encode()
    return f"#YUMEN-SANDBOX-BILL,1,sha256={hashlib.sha256(body).hexdigest()}\n".encode() + body


def test_a_sound_bill_is_read_to_the_minor_unit() -> None:
    bill = read_bill("sandbox", DAY, bill_file(*GOOD))

    paid_at_us = 1_763_800_000_123_000
    assert bill.records == (
        Record("PAY", "T0000001", "", 1230, "CNY", paid_at_us, "SB1"),
        Record(
            "REFUND", "T0000001", "R0000001", 230, "CNY", window_of("sandbox", DAY).first_us, "SB1"
        ),
        Record(
            "PAY", "T0000002", "", 500, "JPY", window_of("sandbox", DAY).after_us - 1_000, "SB2"
        ),
    )
    assert bill.sha256 == hashlib.sha256(bill_file(*GOOD)).hexdigest()


def test_a_day_without_business_has_an_empty_bill() -> None:
    assert read_bill("sandbox", DAY, bill_file(HEADER, "#END,0")).records == ()


def test_a_changed_byte_anywhere_is_refused() -> None:
    file = bill_file(*GOOD)

    for place in range(len(file)):
        changed = file[:place] + bytes([file[place] ^ 1]) + file[place + 1 :]
        with pytest.raises(BillRefused):
            read_bill("sandbox", DAY, changed)


def test_a_file_cut_anywhere_is_refused() -> None:
    file = bill_file(*GOOD)

    for length in range(len(file)):
        with pytest.raises(BillRefused):
            read_bill("sandbox", DAY, file[:length])


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ((HEADER.replace("amount", "sum"), *GOOD[1:]), "line 2: unknown header"),
        ((), "line 2: unknown header"),
        (GOOD[:-1], "no #END"),
        ((*GOOD, "more"), "line 9: text after #END"),
        ((*GOOD[:-1], "#END,4"), "#END claims"),
        ((HEADER, PAID, *TOTALS, "#END,1"), "the totals don't fit"),
        ((HEADER, PAID, TOTALS[0], PAID, "#END,2"), "line 5: a row after #SUMMARY"),
        ((HEADER, PAID, TOTALS[0], TOTALS[0], "#END,1"), "line 5: malformed #SUMMARY"),
        ((HEADER, PAID, "#SUMMARY,CNY,1,12.30,0,0.00,0.01", "#END,1"), "no fee"),
        ((HEADER, PAID, "#SUMMARY,CNY,١,12.30,0,0.00,0.00", "#END,1"), "malformed count"),
        ((HEADER, PAID + ",", "#END,1"), "line 3: 9 fields instead of 8"),
        ((HEADER, "", "#END,0"), "line 3: 0 fields"),
        ((HEADER, PAID.replace("12.30", "12.3"), "#END,1"), "malformed amount"),
        ((HEADER, PAID.replace("12.30", "-12.30"), "#END,1"), "malformed amount"),
        ((HEADER, PAID.replace("12.30", "1e3"), "#END,1"), "malformed amount"),
        ((HEADER, PAID.replace("12.30", "0.00"), "#END,1"), "amount must be positive"),
        ((HEADER, PAID.replace("CNY", "XXX"), "#END,1"), "unknown currency"),
        ((HEADER, PAID.replace("PAY", "GIFT"), "#END,1"), "kind 'GIFT'"),
        ((HEADER, PAID.replace("PAY,,", "PAY,R1,"), "#END,1"), "kind 'PAY' with refund_no"),
        ((HEADER, PAID.replace("T0000001", "T 1"), "#END,1"), "malformed number"),
        ((HEADER, PAID.replace("2025-11-22T", "2025-11-21T"), "#END,1"), "isn't on the day"),
        ((HEADER, PAID.replace("+08:00", ""), "#END,1"), "time without zone"),
        ((HEADER, PAID.replace("2025-11-22T", "22.11."), "#END,1"), "malformed time"),
        ((HEADER, PAID.replace("SB1", 'SB"1'), 'a"b,"', "#END,1"), "line"),
    ],
)
def test_what_contradicts_itself_is_refused_by_line_and_reason(
    lines: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(BillRefused, match=reason):
        read_bill("sandbox", DAY, bill_file(*lines))


def test_lines_ended_the_wrong_way_are_refused() -> None:
    with pytest.raises(BillRefused):
        read_bill("sandbox", DAY, bill_file(*GOOD, newline="\r\n"))


def test_an_unknown_channel_has_no_reader() -> None:
    with pytest.raises(BillRefused, match="no reader for the bills of 'nobank'"):
        read_bill("nobank", DAY, b"")


@pytest.mark.parametrize("day", ["20251122", "2025-11-31", "today", ""])
def test_a_day_must_be_one(day: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_bill("sandbox", day, bill_file(*GOOD))
