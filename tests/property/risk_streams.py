"""Random streams of payments and verdicts: ties, late events, missing keys, huge amounts."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from risk.decision import Feedback
from risk.features.event import encode, encode_feedback
from risk.transaction import (
    Basket,
    Client,
    Device,
    Geo,
    Instrument,
    Payee,
    Payer,
    RiskContext,
    Transaction,
)

START_US = 1_700_000_000_000_000
SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that happens: a payment, or feedback on an earlier one."""

    moved_s: int
    names: tuple[int | None, ...]
    amount_minor: int
    degrees: tuple[float, float] | None
    feedback: Feedback | None
    about: int


names = st.one_of(st.none(), st.integers(0, 2))
acts = st.builds(
    Act,
    moved_s=st.one_of(
        st.sampled_from(
            [0, 0, 1, 59, 60, 61, 3_599, 3_600, 86_399, 86_400, 7 * 86_400, -5, -90_000]
        ),
        st.integers(0, 40 * 86_400),
    ),
    names=st.tuples(*[names] * 7),
    amount_minor=st.one_of(
        st.sampled_from([0, 1, 500, 501, 4_999_999, 10**9, 3 * 10**9, 10**15, 2**62]),
        st.integers(1, 100_000),
    ),
    degrees=st.one_of(st.none(), st.tuples(st.floats(-90, 90), st.floats(-180, 180))),
    feedback=st.one_of(st.none(), st.none(), st.none(), st.sampled_from(Feedback)),
    about=st.integers(0, 1_000),
)
streams = st.lists(acts, min_size=1, max_size=40)
# One user and few days: rows outgrow their small form and rings fill.
busy_streams = st.lists(
    st.builds(
        Act,
        moved_s=st.sampled_from([0, 1, 30, 299, 301, 3_600, 40_000, 86_400, 200_000]),
        names=st.tuples(*[st.just(0)] * 7),
        amount_minor=st.integers(0, 10_000),
        degrees=st.none(),
        feedback=st.one_of(st.none(), st.none(), st.sampled_from(Feedback)),
        about=st.integers(0, 1_000),
    ),
    min_size=20,
    max_size=90,
)


def _name(kind: str, number: int | None) -> str | None:
    return None if number is None else f"{kind}{number}"


def transaction_of(act: Act, number: int) -> Transaction:
    """The payment an act describes."""
    user, device, ip, card, merchant, payee, country = act.names
    lat, lon = act.degrees or (None, None)
    code = None if country is None else ("CN", "US", "DE")[country]
    return Transaction(
        event_id=f"T{number}",
        merchant_id=f"m{merchant}",
        amount_minor=act.amount_minor,
        currency="CNY",
        pay_type="alipay",
        context=RiskContext(
            payer=Payer(account_id=_name("u", user)),
            device=Device(device_id=_name("d", device)),
            client=Client(ip=_name("10.0.0.", ip), ip_country=code),
            instrument=Instrument(token=_name("c", card), issuer_country="CN"),
            payee=Payee(account_id=_name("u", payee)),
            geo=Geo(lat=lat, lon=lon),
            order=Basket(mcc=_name("58", merchant)),
        ),
    )


def events_of(stream: list[Act]) -> npt.NDArray[np.int64]:
    """The log of a stream: one vector an act; feedback before any payment is a payment."""
    rows: list[npt.NDArray[np.int64]] = []
    attempts: list[npt.NDArray[np.int64]] = []
    now_us = START_US
    for act in stream:
        now_us += act.moved_s * SECOND_US
        seq = len(rows) + 1
        if act.feedback is None or not attempts:
            rows.append(encode(transaction_of(act, seq), now_us, seq))
            attempts.append(rows[-1])
        else:
            about = attempts[act.about % len(attempts)]
            rows.append(encode_feedback(act.feedback, about, seq=seq, known_at_us=now_us))
    return np.stack(rows)
