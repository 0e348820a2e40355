"""The gateway's numbers and the merchants' own."""

import re

import pytest

from gateway.domain.errors import InvalidParameter
from gateway.domain.numbers import check_out_trade_no, new_number, utc_text

NOW_US = 1_700_000_000_123_456


def test_a_number_fits_the_narrowest_channel() -> None:
    numbers = {new_number(prefix, NOW_US) for prefix in ("T", "R", "D", "E")}

    assert all(re.fullmatch(r"[0-9A-Z]{8,32}", number) for number in numbers)


def test_numbers_of_one_moment_differ() -> None:
    assert len({new_number("T", NOW_US) for _ in range(1000)}) == 1000


def test_numbers_sort_by_time() -> None:
    numbers = [new_number("T", NOW_US + step) for step in (0, 1, 31, 32, 10**6, 10**12)]

    assert numbers == sorted(numbers)


@pytest.mark.parametrize("number", ["1", "M1001202410281234567890ABCDEF", "a-b_C", "x" * 64])
def test_a_merchants_number_is_taken_as_it_is(number: str) -> None:
    assert check_out_trade_no(number) == number


@pytest.mark.parametrize(
    "number", ["", "x" * 65, "a b", "a/b", "\u8ba2\u5355", "a\n", "\uff11", "a'b"]
)
def test_anything_else_is_no_order_number(number: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        check_out_trade_no(number, field="out_refund_no")

    assert refused.value.field == "out_refund_no"


def test_a_time_is_written_in_utc_to_the_millisecond() -> None:
    assert utc_text(NOW_US) == "2023-11-14T22:13:20.123Z"
    assert utc_text(0) == "1970-01-01T00:00:00.000Z"
