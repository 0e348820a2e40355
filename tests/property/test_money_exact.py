"""Conversion is exact both ways, or refused; never rounded."""

from decimal import Decimal, localcontext

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.domain.errors import InvalidParameter
from gateway.domain.money import AMOUNT_MINOR_MAX, MINOR_DIGITS, parse_minor, to_major

currencies = st.sampled_from(sorted(MINOR_DIGITS))


@given(st.integers(1, AMOUNT_MINOR_MAX), currencies)
def test_minor_units_survive_the_round_trip(amount_minor: int, currency: str) -> None:
    assert parse_minor(str(to_major(amount_minor, currency)), currency) == amount_minor


@given(st.decimals(allow_nan=False, allow_infinity=False, places=None), currencies)
@example(Decimal("1.2300000000000000000000000000000000001"), "CNY")
@example(Decimal("0.001"), "CNY")
@example(Decimal("1E+3"), "CNY")
def test_what_is_accepted_is_worth_exactly_what_was_written(amount: Decimal, currency: str) -> None:
    text = f"{amount:f}"
    try:
        amount_minor = parse_minor(text, currency)
    except InvalidParameter:
        return
    with localcontext(prec=1000):
        assert to_major(amount_minor, currency) == amount


@given(st.text(max_size=24), currencies)
def test_any_text_is_an_amount_or_refused(text: str, currency: str) -> None:
    try:
        amount_minor = parse_minor(text, currency)
    except InvalidParameter:
        return
    assert 0 < amount_minor <= AMOUNT_MINOR_MAX
    assert set(text) <= set("0123456789.")
