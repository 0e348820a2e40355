"""The background job ties whom the inline graph would tie, and writes what changed, once."""

import numpy as np
import numpy.typing as npt
import pytest

from risk import Feedback, RiskContext, Transaction
from risk.communities import RENEW_US, WINDOW_US, Refresh, Row, Window, refresh
from risk.features.event import encode, encode_attributes, encode_feedback
from risk.features.identity import identify
from risk.transaction import Device, Instrument, Payee, Payer

DAY_US = 86_400_000_000
NOW_US = 20_000 * DAY_US
Ints = npt.NDArray[np.int64]


def payment(
    days_ago: float,
    user: str,
    device: str | None = None,
    card: str | None = None,
    payee: str | None = None,
    seq: int = 1,
) -> Ints:
    context = RiskContext(
        payer=Payer(account_id=user),
        device=Device(device_id=device),
        instrument=Instrument(token=card),
        payee=Payee(account_id=payee),
    )
    return encode(
        Transaction(
            event_id="T",
            merchant_id="m",
            amount_minor=100,
            currency="CNY",
            pay_type="alipay",
            context=context,
        ),
        NOW_US - int(days_ago * DAY_US),
        seq,
    )


def users_of(device: str, *users: str, days: int = 2) -> list[Ints]:
    return [payment(1 + day, user, device=device) for day in range(days) for user in users]


def look(events: list[Ints], now_us: int = NOW_US) -> Refresh:
    window = Window(now_us)
    window.add(np.stack(events))
    return refresh(window)


def rows(found: Refresh) -> dict[int, Row]:
    return {row.user: row for row in found.rows}


def test_users_of_one_device_on_two_days_are_a_community() -> None:
    found = look(users_of("d", "a", "b", "c"))

    assert set(rows(found)) == {identify("user", name) for name in "abc"}
    assert len({row.community for row in found.rows}) == 1
    assert {(row.core, row.pagerank_ppm) for row in found.rows} == {(2, 1_000_000)}
    assert (found.users, found.edges, found.communities, found.largest) == (3, 3, 1, 3)


@pytest.mark.parametrize(
    "events",
    [
        users_of("d", "a", "b"),
        users_of("d", "a", "b", "c", days=1),
        users_of("kiosk", *"abcdef"),
        [payment(day, user, payee="shop") for day in (1, 2) for user in "abc"],
        [payment(day, "firm", payee=f"u{n}") for day in (1, 2) for n in range(60)]
        + [payment(3, f"u{n}") for n in range(60)],
        [payment(40 + day, user, device="d") for day in (0, 1) for user in "abc"],
    ],
    ids=["a pair", "one day", "a kiosk", "a shop", "an employer", "long ago"],
)
def test_what_ties_nobody(events: list[Ints]) -> None:
    assert look(events).rows == ()


def test_two_shared_attributes_tie_on_one_day() -> None:
    found = look([payment(1, user, device="d", card="k") for user in "abc"])
    alone = look([payment(1, user, device="d", payee="p") for user in "abc"])

    assert found.largest == alone.largest == 3


def test_money_sent_twice_ties_its_accounts() -> None:
    steps = [("a", "b"), ("b", "c"), ("c", "a")]
    found = look([payment(day, one, payee=other) for day in (1, 2) for one, other in steps])

    assert found.largest == 3


def test_the_order_of_payments_changes_nothing() -> None:
    events = users_of("d", *"abc") + users_of("e", *"cxy") + users_of("f", *"pqr", days=3)
    rng = np.random.default_rng(3)
    first = look(events)
    for _ in range(5):
        assert look([events[place] for place in rng.permutation(len(events))]) == first


def test_parts_of_the_log_make_one_window() -> None:
    events = users_of("d", *"abc")
    window = Window(NOW_US)
    window.add(np.zeros((0, events[0].size), dtype=np.int64))
    for event in events:
        window.add(event[None])

    assert refresh(window) == look(events)


def test_a_fraud_counts_from_the_event_that_made_it_known() -> None:
    events = users_of("d", *"abc")
    label = encode_feedback(Feedback.FRAUD, events[0], seq=9, known_at_us=NOW_US - 5)
    good = encode_feedback(Feedback.GENUINE, events[1], seq=10, known_at_us=NOW_US - 5)

    assert {row.community_fraud_ppm for row in look(events).rows} == {0}
    assert {row.community_fraud_ppm for row in look([*events, label, good]).rows} == {333_333}


def written(found: Refresh, at_us: int) -> list[Ints]:
    return [
        encode_attributes(row.user, row.attributes(), seq=50, at_us=at_us, ref_seq=found.ref_seq)
        for row in found.rows
    ]


def test_a_row_is_written_when_it_is_new_changed_or_old() -> None:
    events = users_of("d", *"abc")
    table = written(look(events), NOW_US - DAY_US)
    label = encode_feedback(Feedback.FRAUD, events[0], seq=90, known_at_us=NOW_US - 5)

    assert look(events + table).rows == ()
    assert len(look([*events, *table, label]).rows) == 3
    old = written(look(events), NOW_US - RENEW_US - 1)
    assert len(look(events + old).rows) == 3


def test_who_has_left_gets_an_empty_row_once() -> None:
    events = users_of("d", *"abc")
    table = written(look(events), NOW_US)
    later_us = NOW_US + WINDOW_US - 60 * 1_000_000
    found = look(events + table, later_us)

    assert rows(found) == {
        identify("user", name): Row(user=identify("user", name)) for name in "abc"
    }
    assert look(events + table + written(found, later_us), later_us).rows == ()
