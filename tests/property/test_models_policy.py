"""The thresholds cost no more than any other rising ones on the same payments."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.policy import Costs, Thresholds, choose, expected_costs

payments = st.lists(
    st.tuples(st.integers(0, 100).map(lambda percent: percent / 100), st.integers(1, 10**6)),
    min_size=1,
    max_size=25,
)
cuts = st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)).map(sorted)


def total_cost(rows: list[tuple[float, int]], thresholds: Thresholds) -> float:
    total = 0.0
    for probability, amount_minor in rows:
        outcome = sum(
            probability >= at
            for at in (thresholds.challenge_at, thresholds.review_at, thresholds.decline_at)
        )
        by_outcome = expected_costs(
            np.array([probability]), np.array([float(amount_minor)]), Costs()
        )
        total += float(by_outcome[outcome, 0])
    return total


@given(rows=payments, other=cuts)
def test_no_other_thresholds_are_cheaper(rows: list[tuple[float, int]], other: list[float]) -> None:
    chosen = choose(
        np.array([probability for probability, _ in rows]),
        np.array([float(amount_minor) for _, amount_minor in rows]),
    )

    # A payment exactly at 1.0 meets every threshold, also one that was to catch nobody.
    rows = [row for row in rows if row[0] < 1.0]
    rival = Thresholds(challenge_at=other[0], review_at=other[1], decline_at=other[2])
    assert total_cost(rows, chosen) <= total_cost(rows, rival) * (1 + 1e-9) + 1e-6
