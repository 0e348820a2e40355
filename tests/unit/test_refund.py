"""Refunds never exceed what was paid."""

import pytest

from gateway.domain.errors import InsufficientBalance
from gateway.domain.refund import RefundState, refund_state, reserve


@pytest.mark.parametrize(
    ("paid_minor", "reserved_minor", "amount_minor", "after_minor"),
    [(1000, 0, 1, 1), (1000, 0, 1000, 1000), (1000, 999, 1, 1000)],
)
def test_what_is_left_may_be_refunded(
    paid_minor: int, reserved_minor: int, amount_minor: int, after_minor: int
) -> None:
    assert reserve(paid_minor, reserved_minor, amount_minor) == after_minor


@pytest.mark.parametrize(
    ("paid_minor", "reserved_minor", "amount_minor"),
    [(1000, 0, 1001), (1000, 1000, 1), (0, 0, 1), (1000, 0, 0), (1000, 500, -1)],
)
def test_more_than_is_left_is_refused(
    paid_minor: int, reserved_minor: int, amount_minor: int
) -> None:
    with pytest.raises(InsufficientBalance):
        reserve(paid_minor, reserved_minor, amount_minor)


def test_the_state_says_none_partial_or_full() -> None:
    found = [refund_state(1000, minor) for minor in (0, 1, 999, 1000)]

    assert found == [RefundState.NONE, RefundState.PARTIAL, RefundState.PARTIAL, RefundState.FULL]
