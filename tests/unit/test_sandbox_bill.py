"""The sandbox's bill proves itself, and injected faults leave it sound but different."""

import hashlib

import pytest

from gateway.sandbox.bill import BillRow, day_bounds_us, with_faults, write
from gateway.sandbox.faults import FaultDice, Faults
from gateway.sandbox.trades import Refusal

ROWS = [
    BillRow(f"SB{number}", f"T{number}", "PAY", "", 100 + number, "CNY", 1_763_800_000_000_000)
    for number in range(50)
]


def test_the_file_names_the_hash_of_all_that_follows() -> None:
    first, _, rest = write(ROWS).partition(b"\n")

    assert first == b"#YUMEN-SANDBOX-BILL,1,sha256=" + hashlib.sha256(rest).hexdigest().encode()
    assert rest.endswith(b"#SUMMARY,CNY,50,62.25,0,0.00,0.00\n#END,50\n")


@pytest.mark.parametrize(
    ("fault", "count", "total_minor"),
    [
        (Faults(bill_missing_ratio=1.0), 0, 0),
        (Faults(bill_wrong_amount_ratio=1.0), 50, 6_225 + 50),
        (Faults(bill_duplicate_ratio=1.0), 100, 2 * 6_225),
    ],
)
def test_a_faulty_bill_has_other_rows(fault: Faults, count: int, total_minor: int) -> None:
    faulty = with_faults(ROWS, FaultDice(fault))

    assert (len(faulty), sum(row.amount_minor for row in faulty)) == (count, total_minor)


def test_a_business_day_begins_at_midnight_in_china() -> None:
    first_us, after_us = day_bounds_us("1970-01-02")

    assert (first_us, after_us - first_us) == (57_600_000_000, 86_400_000_000)
    with pytest.raises(Refusal, match="YYYY-MM-DD"):
        day_bounds_us("9999-12-31T")
