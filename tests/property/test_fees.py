"""Fees are exact: never more than the payment, and given back whole with the whole payment."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.fees import PPM, Terms, fee_minor, returned_minor

amounts_minor = st.integers(1, 10**15)
tariffs = st.builds(Terms, ppm=st.integers(0, PPM), fixed_minor=st.integers(0, 10**6))


@given(amount_minor=amounts_minor, terms=tariffs)
def test_a_fee_is_the_rounded_share_and_never_above_the_payment(
    amount_minor: int, terms: Terms
) -> None:
    charged_minor = fee_minor(amount_minor, terms)

    assert 0 <= charged_minor <= amount_minor
    if charged_minor < amount_minor:
        # Half up: within half a minor unit of the exact share.
        exact_by_ppm = amount_minor * terms.ppm
        assert -PPM < 2 * (exact_by_ppm - (charged_minor - terms.fixed_minor) * PPM) <= PPM


@given(
    paid_minor=amounts_minor,
    terms=tariffs,
    cuts=st.lists(st.floats(0, 1), max_size=12),
)
def test_any_partial_refunds_together_give_back_exactly_the_fee(
    paid_minor: int, terms: Terms, cuts: list[float]
) -> None:
    charged_minor = fee_minor(paid_minor, terms)
    steps = sorted({min(paid_minor, int(cut * paid_minor)) for cut in cuts} | {paid_minor})
    given_back_minor = 0
    for refunded_minor in steps:
        back_minor = returned_minor(charged_minor, paid_minor, refunded_minor) - given_back_minor
        assert back_minor >= 0
        given_back_minor += back_minor
        assert given_back_minor <= charged_minor

    assert given_back_minor == charged_minor
