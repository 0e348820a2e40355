"""How people of the synthetic world pay when nothing is wrong: when, where, how much, how typed.

Everyone has habits (hours, shops, a device, a way of typing) and breaks them now and then: trips,
new phones, presents, a VPN. Without those exceptions fraud would be trivial to see and a model's
figures would mean nothing.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.synthetic.population import (
    CITIES,
    MOBILE_IPS_PER_CITY,
    PAYEES_PER_MERCHANT,
    Floats,
    Ints,
    Population,
    coin,
    label_bit,
)

Rows = dict[str, NDArray[Any]]

US_PER_HOUR = 3_600_000_000
US_PER_DAY = 24 * US_PER_HOUR
FUNDING = ("debit", "credit", "prepaid", "wallet")
ATTESTATIONS = ("none", "failed", "basic", "strong")
PASTED = ("card_number", "name", "otp", "password")
PAY_TYPES = ("alipay", "wechat", "unionpay")
CHINA_TIME_US = 8 * US_PER_HOUR  # The world's rhythm follows China Standard Time.
CANDIDATES_COUNT = 3
AWAY_PER_MILLE = 40
ROUNDING_MINOR = np.array([1] * 12 + [100] * 7 + [1_000])  # To the fen, yuan, ten yuan.

# Share of a day's payments by hour of China Standard Time, and of a week's by weekday.
HOUR_WEIGHTS = np.array(
    [
        *(1.2, 0.7, 0.4, 0.3, 0.3, 0.5, 1.2, 2.6, 3.8, 4.4, 4.8, 5.6),
        *(6.2, 5.2, 4.6, 4.6, 4.8, 5.6, 6.6, 7.4, 7.8, 6.8, 4.6, 2.6),
    ]
)
WEEKDAY_WEIGHTS = np.array([0.95, 0.93, 0.94, 0.98, 1.08, 1.14, 1.08])  # Monday first.


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A stretch of time in a world.

    Attributes:
        population: Who lives there.
        rng: Where all chance comes from.
        origin_us: When the world began: accounts are as old as the population says at this time.
        start_us: First moment of the stretch, Unix microseconds.
        end_us: End of the stretch, exclusive.
    """

    population: Population
    rng: np.random.Generator
    origin_us: int
    start_us: int
    end_us: int


def moments(scene: Scene, count: int) -> Ints:
    """Draw `count` times in the daily and weekly rhythm, unsorted, in Unix microseconds."""
    slots_count = max(1, -(-(scene.end_us - scene.start_us) // US_PER_HOUR))
    edges = np.linspace(scene.start_us, scene.end_us, slots_count + 1)
    middle_us = ((edges[:-1] + edges[1:]) / 2).astype(np.int64) + CHINA_TIME_US
    weekday = (middle_us // US_PER_DAY + 3) % 7  # The epoch was a Thursday.
    weights = HOUR_WEIGHTS[middle_us // US_PER_HOUR % 24] * WEEKDAY_WEIGHTS[weekday]
    cumulative = np.cumsum(weights / weights.sum())
    slot = np.minimum(np.searchsorted(cumulative, scene.rng.random(count)), slots_count - 1)
    at_us = edges[slot] + scene.rng.random(count) * (edges[1] - edges[0])
    bounded: Ints = np.minimum(at_us.astype(np.int64), scene.end_us - 1)
    return bounded


def payers(scene: Scene, at_us: Ints) -> Ints:
    """Who pays at each of these times: active people more often, at the hours they keep."""
    users, rng = scene.population.users, scene.rng
    draws = rng.random((CANDIDATES_COUNT, len(at_us)))
    candidates = np.minimum(np.searchsorted(users.activity_cumulative, draws), users.count - 1)
    hour = (at_us + CHINA_TIME_US) % US_PER_DAY / US_PER_HOUR
    off_hours = np.abs(hour - users.busiest_hour[candidates])
    off_hours = np.minimum(off_hours, 24.0 - off_hours)  # A clock is a circle.
    weights = 0.04 + 1.0 / (1.0 + (off_hours / 2.5) ** 4)
    cumulative = np.cumsum(weights, axis=0)
    pick = (rng.random(len(at_us)) * cumulative[-1] > cumulative).sum(axis=0)
    chosen: Ints = candidates[np.minimum(pick, CANDIDATES_COUNT - 1), np.arange(len(at_us))]
    return chosen


def shops(scene: Scene, user: Ints) -> Ints:
    """Where each of them buys: three times in four at a favourite."""
    population, rng = scene.population, scene.rng
    count = len(user)
    choice = (rng.random(count) ** 1.7 * population.users.favourites.shape[1]).astype(np.int64)
    favourite = population.users.favourites[user, choice]
    cumulative = population.merchants.popularity_cumulative
    anywhere = np.minimum(
        np.searchsorted(cumulative, rng.random(count)), population.merchants.count - 1
    )
    chosen: Ints = np.where(coin(rng, count, 0.75), favourite, anywhere)
    return chosen


def fill(scene: Scene, at_us: Ints, user: Ints, merchant: Ints) -> Rows:
    """All that an honest payment of this user at this shop would show; one row each."""
    rows: Rows = {"at_us": at_us, "user": user, "merchant": merchant}
    rows["kind"] = np.zeros(len(user), dtype=np.int64)
    _money(scene, rows)
    _things(scene, rows)
    _place(scene, rows)
    _account(scene, rows)
    _typing(scene, rows)
    return rows


def ticket_minor(scene: Scene, merchant: Ints, user: Ints) -> Ints:
    """An ordinary amount of this payer at this shop, in fen, often a round one."""
    merchants, rng = scene.population.merchants, scene.rng
    spread = merchants.ticket_spread[merchant] * rng.standard_normal(len(user))
    spend = scene.population.users.spend_log[user]
    amount = np.exp(merchants.ticket_log[merchant] + spread + spend).astype(np.int64) + 100
    unit = ROUNDING_MINOR[rng.integers(0, len(ROUNDING_MINOR), len(user))]
    rounded: Ints = np.minimum((amount + unit - 1) // unit * unit, 20_000_000)
    return rounded


def travelling_city(scene: Scene, user: Ints, at_us: Ints) -> Ints:
    """The city a user is in: home, or somewhere else in about one week of twenty-five."""
    week = (at_us // (7 * US_PER_DAY)).astype(np.int64)
    scramble = (user * 2_654_435_761 + week * 40_503 + scene.population.seed * 97) & 0xFFFF_FFFF
    scramble = (scramble ^ (scramble >> 15)) * 2_246_822_519 & 0xFFFF_FFFF
    away = scramble % 1_000 < AWAY_PER_MILLE
    elsewhere = (scramble >> 12) % len(CITIES)
    city: Ints = np.where(away, elsewhere, scene.population.users.city[user])
    return city


def _money(scene: Scene, rows: Rows) -> None:
    rng, merchant, user = scene.rng, rows["merchant"], rows["user"]
    count = len(user)
    rows["amount_minor"] = ticket_minor(scene, merchant, user)
    pay_type = (user % 3 + coin(rng, count, 0.15)) % len(PAY_TYPES)
    rows["pay_type"] = pay_type.astype(np.int64)
    habitual = (user * 7 + merchant) % PAYEES_PER_MERCHANT
    till = np.where(coin(rng, count, 0.8), habitual, rng.integers(0, PAYEES_PER_MERCHANT, count))
    rows["payee"] = merchant * PAYEES_PER_MERCHANT + till
    coupon = coin(rng, count, 0.08)
    rows["coupon_minor"] = np.where(coupon, rng.integers(1, 30, count) * 100, 0)
    rows["items"] = 1 + (rng.random(count) ** 3 * 8).astype(np.int64)


def _things(scene: Scene, rows: Rows) -> None:
    population, rng, user = scene.population, scene.rng, rows["user"]
    users, count = population.users, len(rows["user"])
    second = users.second_device[user]
    other = (second >= 0) & coin(rng, count, 0.22)
    device = np.where(other, second, user)
    second = users.second_card[user]
    other = (second >= 0) & coin(rng, count, 0.3)
    rows["card"] = np.where(other, second, user)
    rows["device"] = device
    labels = population.device_labels[device]
    for name, share in (("vpn", 0.02), ("proxy", 0.006), ("screen_share", 0.002)):
        labels = labels | coin(rng, count, share) * label_bit(name)
    rows["labels"] = labels
    attestation = np.array([2, 3, 2, 3, 3, 3, 0, 0])[population.device_platform[device]]
    rows["attestation"] = np.where(labels & label_bit("rooted") > 0, 1, attestation)


def _place(scene: Scene, rows: Rows) -> None:
    population, rng, user = scene.population, scene.rng, rows["user"]
    count = len(user)
    city = travelling_city(scene, user, rows["at_us"])
    centre = np.array([row[2:4] for row in CITIES])[city]
    wobble = rng.standard_normal((2, count)) * 0.012
    rows["city"] = city
    rows["lat"] = centre[:, 0] + population.users.lat_offset[user] + wobble[0]
    rows["lon"] = centre[:, 1] + population.users.lon_offset[user] + wobble[1]
    rows["accuracy_m"] = (12.0 + rng.random(count) ** 2 * 400.0).astype(np.int64)
    mobile = coin(rng, count, 0.4) | (city != population.users.city[user])
    gateway = city * MOBILE_IPS_PER_CITY + rng.integers(0, MOBILE_IPS_PER_CITY, count)
    rows["ip"] = np.where(
        mobile, population.mobile_ip_first + gateway, population.users.household[user]
    )
    rows["tz_offset_min"] = np.array([row[4] for row in CITIES])[city]
    rows["has_gps"] = population.merchants.sends_gps[rows["merchant"]] & coin(rng, count, 0.85)
    rows["ship"] = np.where(coin(rng, count, 0.9), population.users.household[user], user)


def _account(scene: Scene, rows: Rows) -> None:
    users, rng, user = scene.population.users, scene.rng, rows["user"]
    count, at_ms = len(user), rows["at_us"] // 1000
    created_us = scene.origin_us - users.age_days[user] * US_PER_DAY
    # An account of the live stream's future is at least minutes old when it first pays.
    rows["created_at_ms"] = np.minimum((created_us // 1000).astype(np.int64), at_ms - 300_000)
    since_change_ms = (rng.random(count) ** 2 * 300 + 0.05) * (US_PER_DAY // 1000)
    changed_ms = (at_ms - since_change_ms).astype(np.int64)
    rows["password_changed_at_ms"] = np.maximum(changed_ms, rows["created_at_ms"])
    rows["login_failures_1h"] = coin(rng, count, 0.035).astype(np.int64)
    rows["otp_failures_1h"] = coin(rng, count, 0.03).astype(np.int64)
    since_contact_ms = (rng.random(count, dtype=np.float32) ** 2 * 500 + 0.1) * 86_400_000.0
    rows["contact_changed_at_ms"] = np.maximum(
        (at_ms - since_contact_ms).astype(np.int64), rows["created_at_ms"]
    )
    rows["purchases_6m"] = rng.poisson(np.minimum(users.age_days[user], 180.0) / 22.0)
    rows["ship_used_at_ms"] = np.maximum(at_ms - 43 * since_contact_ms.astype(np.int64) // 50, 0)
    added_share = (rows["card"] * 37 + user * 11) % 89 / 100.0
    added_ms = rows["created_at_ms"] + (at_ms - rows["created_at_ms"]) * added_share
    rows["card_added_at_ms"] = added_ms.astype(np.int64)
    visit_ms = 20_000 + rng.exponential(240_000.0, count)
    rows["login_at_ms"] = (at_ms - visit_ms).astype(np.int64)
    rows["pages"] = 1 + rng.poisson(5.0, count)
    rows["page_kinds"] = 1 + rng.integers(0, 5, count)
    rows["attested_at_ms"] = at_ms - rng.integers(300, 40_000, count)
    drift_ms = rng.normal(0.0, 900.0, count) + coin(rng, count, 0.004) * 3_600_000.0
    rows["clock_at_ms"] = at_ms + drift_ms.astype(np.int64)


def _typing(scene: Scene, rows: Rows) -> None:
    rng, user = scene.rng, rows["user"]
    count = len(user)
    typed(scene, rows, typist=user)
    rows["has_behavior"] = scene.population.merchants.sends_behavior[rows["merchant"]]
    pastes = rng.random((len(PASTED), count)) < np.array([[0.02], [0.01], [0.05], [0.05]])
    rows["pasted"] = (pastes * np.array([[1], [2], [4], [8]])).sum(axis=0)
    rows["straightness"] = (0.55 + 0.18 * rng.standard_normal(count)).clip(0.05, 1.0)
    rows["pressure_var"] = rng.gamma(2.0, 0.02, count)
    rows["motion"] = rng.gamma(2.0, 0.4, count)
    rows["on_call"] = coin(rng, count, 0.015)
    rows["turns"] = rng.poisson(9.0, count)
    rows["still_clicks"] = coin(rng, count, 0.05).astype(np.int64)
    rows["dwell_iqr_ms"] = (rows["dwell_ms"] * (0.25 + 0.25 * rng.random(count))).astype(np.int64)


def typed(scene: Scene, rows: Rows, *, typist: Ints) -> None:
    """Set the typing of `rows` to the habits of `typist`, who may be someone else."""
    users, rng = scene.population.users, scene.rng
    noise = rng.standard_normal((4, len(typist)))
    rows["form_ms"] = np.exp(users.form_log_ms[typist] + 0.3 * noise[0]).astype(np.int64)
    rows["first_input_ms"] = (600 + rows["form_ms"] * 0.12).astype(np.int64)
    rows["dwell_ms"] = (users.dwell_ms[typist] * (1 + 0.08 * noise[1])).astype(np.int64)
    flight = users.flight_ms[typist] * (1 + 0.12 * noise[2])
    rows["flight_ms"] = flight.astype(np.int64)
    rows["flight_iqr_ms"] = (flight * (0.5 + 0.1 * noise[3])).clip(5.0).astype(np.int64)


def centres(city: Ints) -> tuple[Floats, Floats]:
    """Latitude and longitude of these cities' centres, in degrees."""
    centre = np.array([row[2:4] for row in CITIES])[city]
    return centre[:, 0], centre[:, 1]
