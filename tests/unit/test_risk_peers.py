"""Who acts alike, what is met most often, and what an amount looks like."""

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk import Engine, Feedback, RiskContext, Transaction
from risk.decision import Decision
from risk.features import favourites, finish, memory
from risk.features import layout as at
from risk.features.catalogue import PLACES
from risk.features.event import AMOUNT, FIRST_KEY
from risk.features.windows import bucket_of
from risk.state.store import MemoryStateStore
from risk.transaction import Basket, Client, Device, Geo, Instrument, Payee, Payer
from tests.fakes import still_ns
from tests.property.test_risk_rows import payments

SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
DAY_US = 24 * HOUR_US
START_US = 1_750_000_000 * SECOND_US


def pay(
    engine: Engine,
    at_us: int,
    user: str | None = None,
    *,
    merchant: str = "m",
    amount_minor: int = 10_000,
    payee: str | None = None,
    card: str | None = None,
    device: Device | None = None,
    geo: Geo | None = None,
    ip: str | None = None,
    mcc: str | None = None,
    pay_type: str = "alipay",
    currency: str = "CNY",
    order_no: str = "",
) -> Decision:
    context = RiskContext(
        payer=Payer(account_id=user),
        payee=Payee(account_id=payee),
        instrument=Instrument(token=card),
        device=device or Device(),
        geo=geo or Geo(),
        client=Client(ip=ip),
        order=Basket(mcc=mcc),
    )
    payment = Transaction(
        event_id="T",
        merchant_id=merchant,
        amount_minor=amount_minor,
        currency=currency,
        pay_type=pay_type,
        context=context,
        order_no=order_no,
    )
    return engine.assess(payment, START_US + at_us)


def read(decision: Decision, name: str) -> float:
    return float(np.frombuffer(decision.features)[PLACES[name]])


@pytest.fixture(scope="module")
def shared() -> Engine:
    """One engine for tests that share no entity."""
    return Engine(clock_ns=still_ns)


def test_others_who_pay_alike_in_one_minute_are_counted_once_each(shared: Engine) -> None:
    pay(shared, 0, "far", payee="alike")
    for second, user, amount_minor in (
        (40, "a", 10_000),
        (41, "a", 11_000),  # The same payer again.
        (42, "b", 12_000),
        (43, "c", 90_000),  # Another amount.
    ):
        pay(shared, second * SECOND_US, user, payee="alike", amount_minor=amount_minor)
    pay(shared, 44 * SECOND_US, "d", payee="alike", currency="USD")
    seen = pay(shared, 65 * SECOND_US, "b", payee="alike")
    later = pay(shared, 100 * SECOND_US, "z", payee="alike")

    assert read(seen, "time_alike_payers_1m") == 1  # "a"; not itself, nor who paid long ago.
    assert read(later, "time_alike_payers_1m") == 2  # "b" twice, once just now; "a" at second 41.


def test_a_payee_of_many_still_shows_who_pays_alike(shared: Engine) -> None:
    for number in range(60):
        seen = pay(shared, DAY_US + number * SECOND_US, f"top{number}", payee="till")

    assert read(seen, "graph_hub_payee") == 1
    assert read(seen, "time_alike_payers_1m") == 16


def test_money_a_busy_shop_gives_back_is_no_circle(shared: Engine) -> None:
    for number in range(60):
        pay(shared, 2 * DAY_US + number * SECOND_US, f"guest{number}", payee="shop")
    back = pay(shared, 2 * DAY_US + HOUR_US, "shop", payee="guest59")

    assert read(back, "graph_circle_of_2") == 0


def test_devices_of_one_make_up_on_one_network_are_look_alikes(shared: Engine) -> None:
    for number in range(4):
        device = Device(device_id=f"farm{number}", fp_hash="same")
        seen = pay(shared, 3 * DAY_US + number, "f", device=device, ip=f"192.0.2.{number}")
    elsewhere = pay(
        shared, 3 * DAY_US + 9, "f", device=Device(device_id="x", fp_hash="same"), ip="198.51.100.1"
    )
    other = pay(
        shared, 3 * DAY_US + 10, "f", device=Device(device_id="y", fp_hash="own"), ip="192.0.2.9"
    )

    assert read(seen, "device_look_alikes_24h") == 3
    assert read(elsewhere, "device_look_alikes_24h") == 0
    assert read(other, "device_look_alikes_24h") == 0


def test_merchants_that_share_their_cards_overlap_and_a_large_one_does_not(
    shared: Engine,
) -> None:
    at_us = 4 * DAY_US
    for turn in range(8):
        for number in range(10):
            card, at_us = f"pair{number}", at_us + 1
            pay(shared, at_us, card=card, merchant=("left", "right")[turn % 2])
    for number in range(200):  # Everybody goes to the market; few of them come from the kiosk.
        at_us += 1
        pay(shared, at_us, card=f"all{number}", merchant=f"small{number % 20}")
        pay(shared, at_us, card=f"all{number}", merchant="market")
    for number in range(0, 200, 10):
        at_us += 1
        pay(shared, at_us, card=f"all{number}", merchant="kiosk")

    assert read(pay(shared, at_us, merchant="left"), "merchant_companion_share") == 1.0
    assert read(pay(shared, at_us, merchant="kiosk"), "merchant_companion_share") == 0.0
    assert np.isnan(read(pay(shared, at_us, merchant="new"), "merchant_companion_share"))


def test_device_card_and_payee_of_known_fraud_are_counted(shared: Engine) -> None:
    device = Device(device_id="bad")
    at_us = 5 * DAY_US
    bad = pay(shared, at_us, "g", device=device, card="bad", payee="bad")
    shared.record(
        Feedback.FRAUD,
        attempt=bad.event.payload,
        trade_no="T",
        known_at_us=START_US + at_us + HOUR_US,
    )

    for known, seen in (
        (3, pay(shared, at_us + DAY_US, "h", device=device, card="bad", payee="bad")),
        (1, pay(shared, at_us + DAY_US, "h", device=device, card="good", payee="good")),
        (0, pay(shared, at_us + 40 * DAY_US, "h", device=device)),
    ):
        assert read(seen, "graph_bad_attributes") == known


def test_home_is_where_one_mostly_pays_from(shared: Engine) -> None:
    at_us = 6 * DAY_US
    shanghai, beijing = Geo(lat=31.23, lon=121.47), Geo(lat=39.90, lon=116.40)
    for place in (shanghai, beijing, shanghai, shanghai):
        at_us += DAY_US
        seen = pay(shared, at_us, "home", geo=place)
    away = pay(shared, at_us + DAY_US, "home", geo=beijing)
    tunnel = Device(risk_labels=("tor",))
    hidden = pay(shared, at_us + DAY_US, "home", geo=beijing, device=tunnel)

    assert read(seen, "geo_home_km") < 5
    assert read(away, "geo_home_km") == pytest.approx(1_068, rel=0.02)
    assert np.isnan(read(hidden, "geo_home_km"))


def test_what_a_person_has_not_used_before_is_new(shared: Engine) -> None:
    at_us = 7 * DAY_US
    pay(shared, at_us, "w", pay_type="alipay")
    pay(shared, at_us, "w", pay_type="wechat")
    seen = pay(shared, at_us + 1, "w", pay_type="alipay", currency="USD")

    assert read(seen, "behaviour_user_pay_types_1h") == 2
    assert read(seen, "amount_currency_known_to_user") == 0
    assert read(pay(shared, at_us + 2, "w"), "amount_currency_known_to_user") == 1


def test_money_that_stays_an_hour_is_measured(shared: Engine) -> None:
    pay(shared, 8 * DAY_US, "sender", payee="mule")
    onward = pay(shared, 8 * DAY_US + HOUR_US, "mule", payee="boss")

    assert read(onward, "graph_held_s") == 3_600


def test_tiny_payments_before_a_large_one_are_seen(shared: Engine) -> None:
    at_us = 9 * DAY_US
    for number in range(20):
        pay(shared, at_us + number, "t", amount_minor=20_000)
    for number in range(2):
        pay(shared, at_us + DAY_US + number, "t", amount_minor=100)

    large = pay(shared, at_us + DAY_US + 9, "t", amount_minor=900_000)
    usual = pay(shared, at_us + DAY_US + 10, "t", amount_minor=20_000)
    assert read(large, "amount_user_micro_then_large") == 1
    assert read(usual, "amount_user_micro_then_large") == 0


def test_a_merchants_amounts_that_move_are_measured_in_doublings(shared: Engine) -> None:
    at_us = 10 * DAY_US
    for number in range(200):
        seen = pay(shared, at_us + number, merchant="steady", mcc="steady", amount_minor=1_000)
    assert read(seen, "merchant_ticket_shift") == 0
    for number in range(64):
        pay(shared, at_us + 300 + number, merchant="steady", mcc="steady", amount_minor=8_000)
    seen = pay(shared, at_us + 400, merchant="steady", mcc="steady", amount_minor=8_000)
    # 64 of 264 payments moved three doublings; the other 200 are the long run's.
    assert read(seen, "merchant_ticket_shift") == pytest.approx(3 * 200 / 264, abs=0.001)
    assert np.isnan(read(pay(shared, at_us + 401, merchant="fresh"), "merchant_ticket_shift"))


def test_a_merchant_that_jumps_while_its_trade_does_not_stands_out(shared: Engine) -> None:
    at_us = 20 * DAY_US
    for day in range(20):
        for merchant in ("calm", "jumping"):
            pay(shared, at_us + day * DAY_US, merchant=merchant, mcc="trade")
    for number in range(40):
        pay(shared, at_us + 20 * DAY_US + number, merchant="jumping", mcc="trade")
    jump = pay(shared, at_us + 20 * DAY_US + 99, merchant="jumping", mcc="trade")
    calm = pay(shared, at_us + 20 * DAY_US + 99, merchant="calm", mcc="trade")

    assert read(jump, "merchant_volume_jump_of_trade") > 1
    assert read(calm, "merchant_volume_jump_of_trade") < 0.2


def test_few_who_come_often_and_new_cards_are_shares(shared: Engine) -> None:
    at_us = 50 * DAY_US
    for number in range(30):
        pay(shared, at_us + number, f"own{number % 5}", card=f"k{number % 5}", merchant="club")
    for number in range(10):
        pay(shared, at_us + DAY_US + number, f"g{number}", card=f"g{number}", merchant="club")
    seen = pay(shared, at_us + DAY_US + 20, "own0", card="k0", merchant="club")
    again = pay(shared, at_us + DAY_US + 21, "own1", card="k1", merchant="club")

    assert read(seen, "merchant_top5_share") == 30 / 40
    assert read(seen, "merchant_new_card_share_24h") == pytest.approx(10 / 15)
    assert read(again, "merchant_new_user_share_24h") == pytest.approx(10 / 15)


@pytest.mark.parametrize(("nonce", "bound"), [("O7", 1.0), ("O8", 0.0), (None, np.nan)])
def test_an_attestation_made_for_another_order_is_not_bound(
    shared: Engine, nonce: str | None, bound: float
) -> None:
    device = Device(attestation="strong", attestation_nonce=nonce)
    seen = pay(shared, 60 * DAY_US, device=device, order_no="O7")

    assert repr(read(seen, "device_attestation_bound")) == repr(float(bound))


def test_the_hash_of_the_order_number_binds_too(shared: Engine) -> None:
    nonce = hashlib.sha256(b"O7").hexdigest()
    device = Device(attestation_nonce=nonce)

    assert read(pay(shared, 60 * DAY_US, device=device, order_no="O7"), "device_attestation_bound")


@pytest.mark.parametrize(
    ("amount", "found"),
    [
        (88_800, True),
        (66_600, True),
        (6_660, True),
        (111, True),
        (11, False),
        (8_880_001, False),
        (12_300, False),
        (0, False),
        (1_000_000, False),
    ],
)
def test_repeated_digits(amount: int, found: bool) -> None:
    assert finish.repeated(amount) is found


@given(things=st.lists(st.integers(1, 9), min_size=1, max_size=200))
def test_whatever_is_more_than_a_fifth_is_kept_and_never_counted_too_often(
    things: list[int],
) -> None:
    arena = np.zeros(64, dtype=np.int64)
    meta = np.zeros(memory.META_WIDTH, dtype=np.int64)
    meta[memory.USED] = 8
    for thing in things:
        favourites.note(arena, meta, 1, thing, START_US)

    for thing, times in Counter(things).items():
        kept = favourites.times_of(arena, int(arena[1]), thing)
        assert times - len(things) / 5 <= kept <= times
    assert arena[arena[1] + favourites.NOTED] == len(things)


def test_favourites_halve_with_every_month() -> None:
    arena = np.zeros(64, dtype=np.int64)
    meta = np.zeros(memory.META_WIDTH, dtype=np.int64)
    meta[memory.USED] = 8
    for _ in range(9):
        favourites.note(arena, meta, 1, 5, START_US)
    favourites.note(arena, meta, 1, 6, START_US + 30 * DAY_US)
    block = int(arena[1])

    assert [favourites.times_of(arena, block, thing) for thing in (5, 6)] == [4, 1]
    favourites.note(arena, meta, 1, 6, START_US + 9_000 * DAY_US)
    assert arena[favourites.favourite(arena, block)] == 6


def test_a_ring_counts_its_amounts_by_bucket_as_they_come_and_go() -> None:
    store = MemoryStateStore()
    events = payments(np.full(150, 7), np.arange(150) // 60)
    rng = np.random.default_rng(3)
    events[:, AMOUNT] = rng.integers(0, 1 << 31, 150)
    events[:, FIRST_KEY + at.MERCHANT] = 9
    store.apply(events)
    row = memory.find(store._table, 9)
    block = int(store._arena[row + at.H["windows"]])
    recent = store._arena[block + at.RECENT_AT : block + at.RECENT_AT + at.HISTOGRAM]

    expected = np.bincount([bucket_of(int(a)) for a in events[-64:, AMOUNT]], minlength=32)
    assert recent.tolist() == expected.tolist()
