"""How the synthetic world's payers are robbed: seven kinds of fraud, each with its usual traces.

A campaign (one gang, some minutes to some days) has a strength, and every trace shows only with a
probability that grows with it: a careful gang uses the victim's city, types at a human pace and
pays ordinary amounts. That, and `first_party` fraud which shows nothing at all, keeps a model's
figures on this world below 1.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.synthetic.habits import (
    US_PER_DAY,
    US_PER_HOUR,
    Rows,
    Scene,
    centres,
    fill,
    moments,
    payers,
    shops,
    ticket_minor,
    typed,
)
from models.synthetic.population import (
    CATEGORIES,
    CITIES,
    MOBILE_IPS_PER_CITY,
    PAYEES_PER_MERCHANT,
    Floats,
    Ints,
    label_bit,
)

Mask = NDArray[np.bool_]
US_PER_MINUTE = 60_000_000
RESALE_MCCS = ("5732", "5944", "6540")
CITY_TZ_MIN = np.array([city[4] for city in CITIES])
FOREIGN_CITIES = np.array([number for number, city in enumerate(CITIES) if city[1] != "CN"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """The rows of many campaigns of one kind.

    Attributes:
        scene: Where and when.
        campaign: For each row, the number of its campaign.
        strength: For each row, its campaign's openness: scales the chance of every trace.
        at_us: When each row happens.
    """

    scene: Scene
    campaign: Ints
    strength: Floats
    at_us: Ints

    @property
    def count(self) -> int:
        """Number of rows."""
        return len(self.campaign)

    def trace(self, share: float) -> Mask:
        """Rows that show a trace which strong campaigns show with probability `share`."""
        shown: Mask = self.scene.rng.random(self.count) < share * self.strength
        return shown

    def per_campaign(self, low: int, high: int) -> Ints:
        """One number in low..high-1 for each campaign, spread over its rows."""
        campaigns = int(self.campaign[-1]) + 1 if self.count else 0
        drawn: Ints = self.scene.rng.integers(low, high, campaigns)[self.campaign]
        return drawn

    def one_of(self, pool: Ints, size: int) -> Ints:
        """For each row one of the `size` members that its campaign drew from `pool`."""
        campaigns = int(self.campaign[-1]) + 1 if self.count else 0
        members = pool[self.scene.rng.integers(0, len(pool), (campaigns, size))]
        chosen: Ints = members[self.campaign, self.scene.rng.integers(0, size, self.count)]
        return chosen


def wave(scene: Scene, count: int, mean_size: float, lasts_us: int) -> Wave:
    """Lay `count` rows into campaigns of `mean_size` rows that last `lasts_us` at most."""
    rng = scene.rng
    sizes = 1 + rng.poisson(mean_size - 1.0, count)
    campaign = np.searchsorted(np.cumsum(sizes), np.arange(count), side="right")
    campaigns = int(campaign[-1]) + 1 if count else 0
    span_us = scene.end_us - scene.start_us
    lasts_us = min(lasts_us, span_us // 2)
    # Early enough to end within the scene: else fraud would pile up at its last moment.
    room_ratio = 1.0 - lasts_us / span_us
    begin_us = scene.start_us + (moments(scene, campaigns) - scene.start_us) * room_ratio
    at_us = begin_us[campaign] + rng.random(count) ** 1.5 * lasts_us
    strength = 0.2 + 0.9 * rng.beta(2.0, 1.6, campaigns)
    return Wave(
        scene=scene,
        campaign=campaign,
        strength=strength[campaign],
        at_us=np.minimum(at_us.astype(np.int64), scene.end_us - 1),
    )


def card_testing(scene: Scene, honest: Rows, count: int) -> Rows:
    """One machine tries many stolen cards, a few yuan each, where goods are digital."""
    del honest
    raid = wave(scene, count, 11.0, 15 * US_PER_MINUTE)
    population, rng = scene.population, scene.rng
    rows = fill(
        scene,
        raid.at_us,
        raid.one_of(_fresh(scene), 3),
        raid.one_of(population.merchants.stored_value, 1),
    )
    cards = np.arange(population.stolen_card_first, len(population.card_city))
    rows["card"] = cards[rng.integers(0, len(cards), count)]
    rows["device"] = raid.one_of(_crooks_devices(scene), 2)
    small = rng.integers(100, 2_500, count)
    rows["amount_minor"] = np.where(raid.trace(0.85), small, rows["amount_minor"])
    _use_hosting(raid, rows, raid.trace(0.7))
    _label(rows, raid.trace(0.35), "automation")
    typed(scene, rows, typist=raid.one_of(_fresh(scene), 1))
    hurried = raid.trace(0.6)
    rows["form_ms"] = np.where(hurried, rows["form_ms"] // 6 + 300, rows["form_ms"])
    rows["pasted"] = np.where(raid.trace(0.7), rows["pasted"] | 1, rows["pasted"])
    rows["turns"] = np.where(hurried, rows["turns"] // 5, rows["turns"])
    rows["still_clicks"] += hurried * rng.integers(0, 3, count)
    rows["login_failures_1h"] += raid.trace(0.3)
    rows["otp_failures_1h"] += raid.trace(0.3)
    return rows


def account_takeover(scene: Scene, honest: Rows, count: int) -> Rows:
    """Somebody else is in the account: another hand, often another device and city."""
    del honest
    raid = wave(scene, count, 2.4, 2 * US_PER_HOUR)
    rng = scene.rng
    victim = payers(scene, raid.at_us)[np.searchsorted(raid.campaign, raid.campaign)]
    resale = _merchants_of(scene, RESALE_MCCS)
    shop = np.where(raid.trace(0.6), raid.one_of(resale, 1), shops(scene, victim))
    rows = fill(scene, raid.at_us, victim, shop)
    remote = raid.per_campaign(0, 4) == 0  # The victim is talked into it, on the own device.
    rows["device"] = np.where(remote, rows["device"], raid.one_of(_crooks_devices(scene), 1))
    _label(rows, remote & raid.trace(0.6), "remote_control")
    rows["on_call"] = rows["on_call"] | (remote & raid.trace(0.7))
    away = ~remote & raid.trace(0.5)
    _move(raid, rows, away, raid.per_campaign(0, len(CITIES)))
    _use_hosting(raid, rows, ~remote & raid.trace(0.35))
    typed(scene, rows, typist=np.where(remote, victim, raid.one_of(_fresh(scene), 1)))
    dearer = 1.0 + 3.5 * rng.random(count) * raid.strength
    rows["amount_minor"] = (rows["amount_minor"] * dearer).astype(np.int64)
    minutes_ms = rng.integers(3 * 60_000, 36 * 3_600_000, count)
    changed = rows["at_us"] // 1000 - minutes_ms
    rows["password_changed_at_ms"] = np.where(
        raid.trace(0.5), changed, rows["password_changed_at_ms"]
    )
    rows["contact_changed_at_ms"] = np.where(
        raid.trace(0.35), changed, rows["contact_changed_at_ms"]
    )
    rows["login_failures_1h"] += raid.trace(0.45) * rng.integers(1, 5, count)
    rows["otp_failures_1h"] += raid.trace(0.3) * rng.integers(1, 4, count)
    elsewhere = raid.trace(0.5)
    rows["ship"] = np.where(elsewhere, raid.one_of(_fresh(scene), 1), rows["ship"])
    rows["ship_used_at_ms"] = np.where(
        elsewhere, rows["at_us"] // 1000 - 1000, rows["ship_used_at_ms"]
    )
    rows["pages"] = np.where(raid.trace(0.5), 1 + rows["pages"] // 3, rows["pages"])
    return rows


def device_farm(scene: Scene, honest: Rows, count: int) -> Rows:
    """A few devices, often emulators, play many young accounts that collect discounts."""
    del honest
    raid = wave(scene, count, 15.0, 10 * US_PER_HOUR)
    population, rng = scene.population, scene.rng
    shop = raid.one_of(np.arange(population.merchants.count), 2)
    rows = fill(scene, raid.at_us, raid.one_of(_fresh(scene), 14), shop)
    rows["device"] = raid.one_of(_crooks_devices(scene), 3)
    emulated = raid.trace(0.5)
    _label(rows, emulated, "emulator")
    _label(rows, raid.trace(0.25), "cloned_app")
    rows["attestation"] = np.where(emulated, 1, rows["attestation"])
    rows["coupon_minor"] = np.where(
        raid.trace(0.75), rng.integers(10, 60, count) * 100, rows["coupon_minor"]
    )
    house = raid.one_of(np.arange(population.mobile_ip_first), 1)
    rows["ip"] = np.where(raid.trace(0.7), house, rows["ip"])
    rows["motion"] = np.where(emulated, 0.0, rows["motion"])
    rows["clock_at_ms"] += emulated * raid.per_campaign(-90, 90) * 60_000
    rows["pressure_var"] = np.where(emulated, 0.0, rows["pressure_var"])
    typed(scene, rows, typist=raid.one_of(_fresh(scene), 2))
    return rows


def impossible_travel(scene: Scene, honest: Rows, count: int) -> Rows:
    """Minutes after an honest payment, the same account and card pay a continent away."""
    rng = scene.rng
    base = rng.integers(0, len(honest["at_us"]), count)
    raid = wave(scene, count, 1.0, US_PER_HOUR)
    room_us = np.minimum(scene.end_us - honest["at_us"][base], 90 * US_PER_MINUTE)
    at_us = honest["at_us"][base] + (rng.random(count) * room_us).astype(np.int64)
    user = honest["user"][base]
    rows = fill(scene, np.minimum(at_us, scene.end_us - 1), user, shops(scene, user))
    rows["card"] = honest["card"][base]
    far = np.where(raid.trace(0.8), rng.choice(FOREIGN_CITIES, count), rng.integers(0, 14, count))
    _move(raid, rows, np.ones(count, dtype=np.bool_), far)
    rows["has_gps"] = raid.trace(0.75)
    crooks = raid.one_of(_crooks_devices(scene), 1)
    rows["device"] = np.where(raid.trace(0.7), crooks, rows["device"])
    dearer = 1.0 + 2.0 * rng.random(count) * raid.strength
    rows["amount_minor"] = (rows["amount_minor"] * dearer).astype(np.int64)
    return rows


def merchant_collusion(scene: Scene, honest: Rows, count: int) -> Rows:
    """A seller and a club of payers turn credit into cash: round, repeated, at odd hours."""
    del honest
    raid = wave(scene, count, 14.0, 3 * US_PER_DAY)
    population = scene.population
    rows = fill(
        scene,
        raid.at_us,
        raid.one_of(np.arange(population.users.count - population.users.fresh_count), 7),
        raid.one_of(population.merchants.colluding, 1),
    )
    steady = raid.per_campaign(4, 40) * 10_000
    rows["amount_minor"] = np.where(raid.trace(0.75), steady, 2 * rows["amount_minor"])
    till = raid.per_campaign(0, PAYEES_PER_MERCHANT)
    rows["payee"] = rows["merchant"] * PAYEES_PER_MERCHANT + till
    hurried = raid.trace(0.5)
    rows["form_ms"] = np.where(hurried, rows["form_ms"] // 4 + 500, rows["form_ms"])
    house = raid.one_of(np.arange(population.mobile_ip_first), 1)
    rows["ip"] = np.where(raid.trace(0.35), house, rows["ip"])
    return rows


def cash_out_ring(scene: Scene, honest: Rows, count: int) -> Rows:
    """Mules with shared phones and cards push money out, each time just under a limit."""
    del honest
    raid = wave(scene, count, 17.0, 36 * US_PER_HOUR)
    population, rng = scene.population, scene.rng
    ordinary = np.arange(population.users.count)
    mule = np.where(raid.trace(0.5), raid.one_of(_fresh(scene), 5), raid.one_of(ordinary, 4))
    rows = fill(scene, raid.at_us, mule, raid.one_of(_merchants_of(scene, RESALE_MCCS), 2))
    shared = raid.trace(0.75)
    rows["device"] = np.where(shared, raid.one_of(_crooks_devices(scene), 2), rows["device"])
    cards = np.arange(population.stolen_card_first, len(population.card_city))
    rows["card"] = np.where(raid.trace(0.7), raid.one_of(cards, 4), rows["card"])
    limit = np.array([200_000, 500_000, 1_000_000, 5_000_000])[raid.per_campaign(0, 4)]
    under = (limit * (1.0 - 0.002 - 0.05 * rng.random(count))).astype(np.int64)
    rows["amount_minor"] = np.where(raid.trace(0.7), under // 100 * 100, rows["amount_minor"])
    till = raid.per_campaign(0, PAYEES_PER_MERCHANT)
    rows["payee"] = rows["merchant"] * PAYEES_PER_MERCHANT + till
    _use_hosting(raid, rows, raid.trace(0.25))
    return rows


def first_party(scene: Scene, honest: Rows, count: int) -> Rows:
    """The payer disputes an honest payment: nothing to see beforehand but a liking for it."""
    del honest
    raid = wave(scene, count, 1.0, US_PER_HOUR)
    user = payers(scene, raid.at_us)
    rows = fill(scene, raid.at_us, user, shops(scene, user))
    rows["amount_minor"] = rows["amount_minor"] + ticket_minor(scene, rows["merchant"], user)
    return rows


# Kind, share of all fraud, how it is done. The order gives `kind` in the rows: 1, 2, 3, …
KINDS: tuple[tuple[str, float, Callable[[Scene, Rows, int], Rows]], ...] = (
    ("card_testing", 0.22, card_testing),
    ("account_takeover", 0.21, account_takeover),
    ("device_farm", 0.17, device_farm),
    ("impossible_travel", 0.11, impossible_travel),
    ("merchant_collusion", 0.12, merchant_collusion),
    ("cash_out_ring", 0.14, cash_out_ring),
    ("first_party", 0.03, first_party),
)
KIND_NAMES = ("", *(kind[0] for kind in KINDS))


def plant(scene: Scene, honest: Rows, count: int) -> list[Rows]:
    """Commit `count` frauds of all kinds in a scene whose honest payments are `honest`."""
    planted = []
    left = count
    for number, (_, share, commit) in enumerate(KINDS, start=1):
        size = left if number == len(KINDS) else min(left, round(count * share))
        left -= size
        if size:
            rows = commit(scene, honest, size)
            rows["kind"] = np.full(size, number, dtype=np.int64)
            planted.append(rows)
    return planted


def _fresh(scene: Scene) -> Ints:
    users = scene.population.users
    return np.arange(users.count - users.fresh_count, users.count)


def _crooks_devices(scene: Scene) -> Ints:
    population = scene.population
    return np.arange(population.crooks_device_first, len(population.device_platform))


def _merchants_of(scene: Scene, mccs: tuple[str, ...]) -> Ints:
    wanted = np.array([row[0] in mccs for row in CATEGORIES])
    return np.flatnonzero(wanted[scene.population.merchants.category])


def _label(rows: Rows, where: Mask, name: str) -> None:
    rows["labels"] = rows["labels"] | where * label_bit(name)


def _use_hosting(raid: Wave, rows: Rows, where: Mask) -> None:
    population = raid.scene.population
    hosting = np.arange(population.hosting_ip_first, len(population.ip_city))
    rows["ip"] = np.where(where, raid.one_of(hosting, 1), rows["ip"])


def _move(raid: Wave, rows: Rows, where: Mask, city: Ints) -> None:
    """Put some rows into another city, with a mobile address of that city."""
    rng, population = raid.scene.rng, raid.scene.population
    lat, lon = centres(city)
    wobble = rng.standard_normal((2, raid.count)) * 0.05
    gateway = city * MOBILE_IPS_PER_CITY + rng.integers(0, MOBILE_IPS_PER_CITY, raid.count)
    rows["city"] = np.where(where, city, rows["city"])
    rows["lat"] = np.where(where, lat + wobble[0], rows["lat"])
    rows["lon"] = np.where(where, lon + wobble[1], rows["lon"])
    rows["ip"] = np.where(where, population.mobile_ip_first + gateway, rows["ip"])
    rows["tz_offset_min"] = np.where(where, CITY_TZ_MIN[city], rows["tz_offset_min"])
