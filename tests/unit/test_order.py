"""The transition table, whole."""

import itertools

import pytest

from gateway.domain.errors import IllegalTransition
from gateway.domain.order import TRANSITIONS, Status, advance

# The specification's table, row by row.
ALLOWED = {
    ("CREATED", "WAIT_PAY"),
    ("CREATED", "CLOSED"),
    ("WAIT_PAY", "SUCCESS"),
    ("WAIT_PAY", "CLOSED"),
    ("WAIT_PAY", "REFUND"),
    ("SUCCESS", "REFUND"),
    ("SUCCESS", "CLOSED"),
}


@pytest.mark.parametrize(("start", "target"), list(itertools.product(Status, Status)))
def test_each_pair_of_statuses_is_allowed_or_refused_as_specified(
    start: Status, target: Status
) -> None:
    if (start.value, target.value) in ALLOWED:
        assert advance(start, target) is target
    else:
        with pytest.raises(IllegalTransition) as refused:
            advance(start, target)
        assert (refused.value.status, refused.value.target) == (start, target)


def test_every_status_has_a_row() -> None:
    assert set(TRANSITIONS) == set(Status)


def test_every_status_can_be_reached() -> None:
    reached = {Status.CREATED}
    for _ in Status:
        reached |= {target for start in reached for target in TRANSITIONS[start]}

    assert reached == set(Status)


def test_an_end_has_no_way_out() -> None:
    ends = {status for status, targets in TRANSITIONS.items() if not targets}

    assert ends == {Status.REFUND, Status.CLOSED}
