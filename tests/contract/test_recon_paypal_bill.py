"""PayPal's transactions as a bill: what counts, and what is refused whole."""

import json
from typing import Any

import pytest

from gateway.recon.bills import BillRefused, read_bill

KIND, DAY = "paypal", "2025-11-22"


def info(number: str, code: str, value: str, **changes: Any) -> dict[str, Any]:
    known = {
        "transaction_id": number,
        "transaction_event_code": code,
        "transaction_initiation_date": "2025-11-22T08:26:40+0000",
        "transaction_amount": {"currency_code": "EUR", "value": value},
        "transaction_status": "S",
        "custom_field": "T0000000001",
    }
    return {"transaction_info": known | changes}


def page(*details: Any, **changes: Any) -> dict[str, Any]:
    known = {"transaction_details": details, "page": 1, "total_pages": 1}
    return known | {"total_items": len(details)} | changes


def bill(*pages: Any) -> bytes:
    return json.dumps(pages).encode()


def test_the_reader_knows_what_moves_money_and_what_does_not() -> None:
    file = bill(
        page(
            info("A", "T0006", "12.30"),
            info("B", "T1107", "-2.30", custom_field="T0000000001:R1"),
            info("C", "T1107", "-1.00", custom_field="", paypal_reference_id="A"),
            info("D", "T1201", "-12.30"),
            info("E", "T0400", "-99.00"),
            info("F", "T0006", "5.00", transaction_status="P"),
            info("G", "T0006", "5.00", transaction_status="D"),
            info("H", "T0006", "7.00", transaction_status="V", custom_field=""),
            info("I", "T0000", "-3.00", custom_field=""),
            info("A", "T0700", "-12.30"),
        )
    )

    assert [record[:5] for record in read_bill(KIND, DAY, file).records] == [
        ("PAY", "T0000000001", "", 12_30, "EUR"),
        ("REFUND", "T0000000001", "R1", 2_30, "EUR"),
        ("REFUND", "A", "C", 1_00, "EUR"),
        ("REFUND", "T0000000001", "D", 12_30, "EUR"),  # Under PayPal's number: shows as a break.
        ("PAY", "H", "", 7_00, "EUR"),
        ("REFUND", "I", "I", 3_00, "EUR"),
    ]


GOOD = info("A", "T0006", "12.30")


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"{}",
        b"[]",
        b"[1]",
        bill(page(GOOD))[:-1],
        bill(page(GOOD, total_items=2)),
        bill(page(GOOD, total_pages=2)),
        bill(page(GOOD, page=2)),
        bill(page(GOOD), page(GOOD)),
        bill(page(info("", "T0006", "12.30"))),
        bill(page(info("A", "X", "12.30"))),
        bill(page(info("A", "T0006", "12.30", transaction_status="Z"))),
        bill(page(info("A", "T0006", "12.305"))),
        bill(page(info("A", "T0006", "0.00"))),
        bill(page(info("A", "T0006", "１.00"))),
        bill(page(info("A", "T0006", "1.00", custom_field=7))),
        bill(page(info("A", "T0006", "1.00", transaction_amount=None))),
        bill(page(info("A", "T0006", "1.00", transaction_initiation_date="2025-11-21T00:00:00Z"))),
        bill(page(info("A", "T0006", "1.00", transaction_initiation_date="2025-11-22T00:00:00"))),
        bill({"page": 1, "total_pages": 1, "total_items": 0}),
    ],
)
def test_a_damaged_bill_is_refused_whole(file: bytes) -> None:
    with pytest.raises(BillRefused):
        read_bill(KIND, DAY, file)


def test_an_empty_day_is_a_bill_and_a_row_that_stands_twice_is_seen_twice() -> None:
    assert read_bill(KIND, DAY, bill(page())).records == ()
    assert len(read_bill(KIND, DAY, bill(page(GOOD, GOOD))).records) == 2
