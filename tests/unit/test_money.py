"""Amounts: exact or refused."""

from decimal import Decimal

import pytest

from gateway.domain.errors import InvalidParameter
from gateway.domain.money import AMOUNT_MINOR_MAX, check_plain, parse_minor, to_major

REFUSED = (
    *("", "0", "0.00", "-1", "+1", "1e3", "1E3", ".5", "5.", "01", "1.230", "1,000", " 1", "1 "),
    *("NaN", "Infinity", "1.2.3", "\uff11\uff12", "\u0661", "0x10", "1_000", "1.23\n"),
    *("10000000000000.01", "9" * 17, "9" * 400),
)


@pytest.mark.parametrize(
    ("text", "currency", "amount_minor"),
    [
        ("12.30", "CNY", 1230),
        ("12.3", "CNY", 1230),
        ("12", "CNY", 1200),
        ("0.01", "CNY", 1),
        ("500", "JPY", 500),
        ("1.234", "KWD", 1234),
        ("10000000000000.00", "CNY", AMOUNT_MINOR_MAX),
    ],
)
def test_an_amount_becomes_minor_units(text: str, currency: str, amount_minor: int) -> None:
    assert parse_minor(text, currency) == amount_minor


@pytest.mark.parametrize(
    "text",
    REFUSED,
)
def test_anything_but_a_plain_exact_decimal_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        parse_minor(text, "CNY")

    assert refused.value.field == "total_amount"


def test_a_currency_without_decimals_takes_none() -> None:
    with pytest.raises(InvalidParameter, match="JPY has 0 decimals"):
        parse_minor("1.0", "JPY")


def test_an_unknown_currency_is_named() -> None:
    with pytest.raises(InvalidParameter) as refused:
        parse_minor("1", "XYZ")

    assert refused.value.field == "currency"


@pytest.mark.parametrize("text", ["0", "0.00", "-1", "1e5", ""])
def test_a_refund_amount_is_refused_before_its_currency_is_known(text: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        check_plain(text, field="refund_amount")

    assert refused.value.field == "refund_amount"


def test_minor_units_are_written_with_the_currencys_decimals() -> None:
    written = [str(to_major(1230, code)) for code in ("CNY", "JPY", "KWD")]

    assert written == ["12.30", "1230", "1.230"]
    assert to_major(-5, "CNY") == Decimal("-0.05")
    assert str(to_major(0, "CNY")) == "0.00"
