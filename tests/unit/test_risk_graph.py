"""Rings join those who share strong attributes, and nobody who shares a campus."""

import networkx as nx
import numpy as np
import pytest

from risk import Engine, Feedback, RiskContext, Transaction, rings
from risk.decision import Decision
from risk.features import layout, memory
from risk.features.catalogue import PLACES
from risk.features.travel import metres_between
from risk.transaction import Client, Device, Geo, Instrument, Payee, Payer
from tests.fakes import still_ns

DAY_US = 86_400_000_000
START_US = 19_680 * DAY_US  # The first day of an epoch of 15 days.


def pay(
    engine: Engine,
    day: float,
    user: str,
    device: str | None = None,
    card: str | None = None,
    payee: str | None = None,
    geo: Geo | None = None,
    labels: tuple[str, ...] | None = None,
) -> Decision:
    context = RiskContext(
        payer=Payer(account_id=user),
        device=Device(device_id=device, risk_labels=labels),
        instrument=Instrument(token=card),
        payee=Payee(account_id=payee),
        client=Client(ip="10.0.0.1"),
        geo=geo or Geo(),
    )
    transaction = Transaction(
        event_id="T",
        merchant_id="m",
        amount_minor=100,
        currency="CNY",
        pay_type="alipay",
        context=context,
    )
    return engine.assess(transaction, START_US + int(day * DAY_US))


def read(decision: Decision, name: str) -> float:
    return float(np.frombuffer(decision.features)[PLACES[name]])


def test_rings_are_the_components_networkx_finds() -> None:
    rng = np.random.default_rng(4)
    count = 120
    width = layout.ROW_WIDTHS[layout.USER] + 1
    arena = np.zeros((2 * count + 1) * (width + memory.EPOCH_WORDS), dtype=np.int64)
    meta = np.zeros(memory.META_WIDTH, dtype=np.int64)
    meta[memory.USED] = (2 * count + 1) * width
    for place in range(count, 2 * count):
        arena[place * width - 1] = layout.DEVICE
    oracle: nx.Graph[int] = nx.Graph()
    for user, other in rng.integers(1, count, size=(100, 2)).tolist():
        left, right = user * width, (count + other) * width
        rings.join(arena, meta, left, right, 1_312, START_US)
        oracle.add_edge(left, right)

    for component in nx.connected_components(oracle):
        nodes = {int(arena[base + rings.NODES_AT[arena[base - 1]]]) for base in component}
        roots = {rings.root_of(arena, node, 1_312) for node in nodes}
        assert len(roots) == 1
        node = roots.pop() + 1_312 % 2 * layout.NODE_WIDTH
        assert arena[node + rings.NODES] == len(component)
        assert arena[node + rings.USERS] == sum(base < count * width for base in component)


def test_users_of_one_device_on_two_days_are_a_ring() -> None:
    engine = Engine(clock_ns=still_ns)
    for day in (0.0, 1.0):
        for user in ("a", "b", "c"):
            last = pay(engine, day, user, device="d")
    assert read(last, "graph_ring_users") == 2
    assert read(pay(engine, 1.1, "a", device="d"), "graph_ring_users") == 3
    assert read(pay(engine, 1.2, "z", device="other"), "graph_ring_users") == 1


def test_one_shared_device_on_one_day_makes_no_ring() -> None:
    engine = Engine(clock_ns=still_ns)
    pay(engine, 0.0, "a", device="d")
    pay(engine, 0.1, "b", device="d")

    assert read(pay(engine, 0.2, "a", device="d"), "graph_ring_users") == 1


def test_two_shared_strong_attributes_make_a_ring_at_once() -> None:
    engine = Engine(clock_ns=still_ns)
    pay(engine, 0.0, "a", device="d", card="k")
    pay(engine, 0.1, "b", device="d", card="k")

    assert read(pay(engine, 0.2, "a", device="d", card="k"), "graph_ring_users") == 2


def test_a_hub_links_nobody_and_says_so() -> None:
    engine = Engine(clock_ns=still_ns)
    for day in (0.0, 1.0, 2.0):
        for number in range(30):
            last = pay(engine, day + number / 100, f"u{number}", device="kiosk")

    assert read(last, "graph_hub") == 1
    assert read(last, "graph_ring_users") == 1


def test_a_shared_network_and_merchant_link_nobody() -> None:
    engine = Engine(clock_ns=still_ns)
    for day in (0.0, 1.0, 2.0):
        for number in range(40):
            last = pay(engine, day + number / 100, f"u{number}", device=f"d{number}")

    assert read(last, "graph_ring_users") == 1


def test_known_fraud_shows_in_the_ring_and_at_the_neighbours() -> None:
    engine = Engine(clock_ns=still_ns)
    bad = pay(engine, 0.0, "a", device="d", card="k")
    pay(engine, 0.1, "b", device="d", card="k")
    engine.record(
        Feedback.FRAUD,
        attempt=bad.event.payload,
        trade_no="T",
        known_at_us=START_US + DAY_US // 5,
    )
    seen = pay(engine, 0.3, "b", device="d", card="k")

    assert read(seen, "graph_ring_fraud") == 1
    assert read(seen, "graph_neighbour_fraud_share") == 1
    assert read(seen, "graph_ring_joined_24h") == 1


@pytest.mark.parametrize(("day", "size"), [(14.0, 2), (16.0, 2), (29.0, 2), (31.0, 1)])
def test_a_ring_fades_after_the_epoch_that_follows_it(day: float, size: int) -> None:
    engine = Engine(clock_ns=still_ns)
    pay(engine, 0.0, "a", device="d", card="k")
    pay(engine, 0.1, "b", device="d", card="k")

    assert read(pay(engine, day, "a"), "graph_ring_users") == size


def test_money_that_comes_back_is_seen() -> None:
    engine = Engine(clock_ns=still_ns)
    pay(engine, 0.0, "a", payee="b")

    assert read(pay(engine, 0.5, "b", payee="a"), "graph_mutual") == 1
    assert read(pay(engine, 0.6, "b", payee="c"), "graph_mutual") == 0


def test_a_full_set_forgets_the_member_not_seen_for_longest() -> None:
    engine = Engine(clock_ns=still_ns)
    for number in range(17):
        pay(engine, number / 100, "a", device=f"d{number}")

    assert read(pay(engine, 0.5, "a", device="d1"), "device_known_to_user") == 1
    assert read(pay(engine, 0.6, "a", device="d0"), "device_known_to_user") == 0
    assert read(pay(engine, 0.7, "a", device="d1"), "user_devices_30d") == 16


SHANGHAI, LONDON = Geo(lat=31.23, lon=121.47), Geo(lat=51.51, lon=-0.13)


def test_travel_faster_than_an_airliner_is_measured() -> None:
    engine = Engine(clock_ns=still_ns)
    pay(engine, 0.0, "a", geo=SHANGHAI)
    seen = pay(engine, 2 / 24, "a", geo=LONDON)

    assert read(seen, "geo_speed_kmh") > 4_000
    assert "impossible_travel" in seen.rule_hits


@pytest.mark.parametrize(
    ("geo", "labels"), [(Geo(lat=51.5, lon=0.0, accuracy_m=90_000.0), None), (LONDON, ("vpn",))]
)
def test_a_position_that_proves_nothing_is_no_travel(
    geo: Geo, labels: tuple[str, ...] | None
) -> None:
    engine = Engine(clock_ns=still_ns)
    pay(engine, 0.0, "a", geo=SHANGHAI)

    assert np.isnan(read(pay(engine, 0.1, "a", geo=geo, labels=labels), "geo_speed_kmh"))


@pytest.mark.parametrize(
    ("one", "other", "km"),
    [
        ((31.23, 121.47), (39.90, 116.40), 1_068),
        ((51.51, -0.13), (48.86, 2.35), 344),
        ((0.0, 179.9), (0.0, -179.9), 22.2),
        ((10.0, 20.0), (10.0, 20.0), 0),
    ],
)
def test_distances_are_right_within_two_percent(
    one: tuple[float, float], other: tuple[float, float], km: float
) -> None:
    degrees = [round(value * 1_000_000) for value in (*one, *other)]

    assert metres_between(*degrees) / 1_000 == pytest.approx(km, rel=0.02)
