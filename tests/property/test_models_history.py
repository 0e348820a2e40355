"""What becomes known later never changes what was known before: point in time, for any history."""

from itertools import accumulate

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.dataset import PastPayment, from_events, from_history
from risk.transaction import Device, Payer, RiskContext, Transaction

MINUTE_US = 60_000_000

moves = st.lists(
    st.tuples(
        st.integers(0, 40),  # Minutes since the last payment.
        st.integers(0, 3),  # Payer.
        st.integers(1, 10**7),  # Amount.
        st.sampled_from([None, True, False]),
        st.integers(0, 200),  # Minutes until the label is known.
    ),
    min_size=2,
    max_size=30,
)


def build(
    rows: list[tuple[int, int, int, bool | None, int]], labels_until_us: int
) -> list[PastPayment]:
    times_us = accumulate(minutes * MINUTE_US for minutes, *_ in rows)
    history = []
    for number, (at_us, (_, payer, amount_minor, fraud, delay)) in enumerate(
        zip(times_us, rows, strict=True)
    ):
        known_at_us = at_us + delay * MINUTE_US
        known = fraud is not None and known_at_us <= labels_until_us
        history.append(
            PastPayment(
                transaction=Transaction(
                    event_id=str(number),
                    merchant_id="M",
                    amount_minor=amount_minor,
                    currency="CNY",
                    pay_type="wechat",
                    context=RiskContext(
                        payer=Payer(account_id=f"U{payer}"),
                        device=Device(device_id=f"D{payer % 2}"),
                    ),
                ),
                at_us=at_us,
                is_fraud=fraud if known else None,
                label_known_at_us=known_at_us if known else None,
            )
        )
    return history


@settings(deadline=None)
@given(rows=moves, share=st.floats(0, 1))
def test_labels_and_payments_of_the_future_change_no_earlier_row(
    rows: list[tuple[int, int, int, bool | None, int]], share: float
) -> None:
    end_us = sum(minutes for minutes, *_ in rows) * MINUTE_US
    now_us = int(end_us * share)
    everything = from_events(from_history(build(rows, 10**15)), unlabelled="genuine")
    known_now = from_events(from_history(build(rows, now_us)), unlabelled="genuine")
    early = everything.at_us < now_us

    assert everything.x[early].tobytes() == known_now.x[early].tobytes()


@settings(deadline=None)
@given(rows=moves, share=st.floats(0, 1))
def test_a_set_as_of_a_moment_is_the_set_of_the_log_cut_there(
    rows: list[tuple[int, int, int, bool | None, int]], share: float
) -> None:
    end_us = sum(minutes for minutes, *_ in rows) * MINUTE_US
    now_us = int(end_us * share)
    whole = from_history(build(rows, 10**15))
    as_of = from_events(whole, known_by_us=now_us)
    cut = from_events(whole[whole[:, 2] <= now_us])

    assert np.array_equal(as_of.seq, cut.seq)
    assert as_of.x.tobytes() == cut.x.tobytes()
    assert np.array_equal(as_of.y, cut.y)
