"""Who lives in the synthetic world: drawn once from a seed, shared by history and live stream.

Sharing matters: a model trained on the synthetic history should meet the same payers, devices
and shops in the demo's live stream. Everything is a numpy array indexed by entity number; text is
made only when a table is written.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Name, country, latitude, longitude (degrees), minutes east of UTC, weight.
CITIES: tuple[tuple[str, str, float, float, int, float], ...] = (
    ("Beijing", "CN", 39.904, 116.407, 480, 10.0),
    ("Shanghai", "CN", 31.230, 121.474, 480, 11.0),
    ("Guangzhou", "CN", 23.129, 113.264, 480, 8.0),
    ("Shenzhen", "CN", 22.543, 114.058, 480, 8.0),
    ("Chengdu", "CN", 30.573, 104.067, 480, 7.0),
    ("Hangzhou", "CN", 30.274, 120.155, 480, 6.0),
    ("Wuhan", "CN", 30.593, 114.306, 480, 5.0),
    ("Xi'an", "CN", 34.342, 108.940, 480, 5.0),
    ("Chongqing", "CN", 29.563, 106.551, 480, 5.0),
    ("Nanjing", "CN", 32.060, 118.797, 480, 4.0),
    ("Shenyang", "CN", 41.806, 123.432, 480, 3.0),
    ("Kunming", "CN", 25.038, 102.718, 480, 3.0),
    ("Urumqi", "CN", 43.826, 87.617, 480, 1.5),
    ("Dunhuang", "CN", 40.142, 94.662, 480, 0.5),
    ("Hong Kong", "HK", 22.320, 114.170, 480, 2.0),
    ("Taipei", "TW", 25.033, 121.565, 480, 1.0),
    ("Tokyo", "JP", 35.677, 139.650, 540, 0.8),
    ("Singapore", "SG", 1.352, 103.820, 480, 0.8),
    ("Bangkok", "TH", 13.756, 100.502, 420, 0.5),
    ("London", "GB", 51.507, -0.128, 0, 0.4),
    ("Frankfurt", "DE", 50.110, 8.682, 60, 0.3),
    ("New York", "US", 40.713, -74.006, -300, 0.4),
    ("Los Angeles", "US", 34.052, -118.244, -480, 0.4),
    ("Sydney", "AU", -33.869, 151.209, 600, 0.3),
)

# Merchant category code, median ticket in yuan, spread (log), digital, busiest hour, weight.
CATEGORIES: tuple[tuple[str, float, float, bool, float, float], ...] = (
    ("5411", 68.0, 0.7, False, 18.0, 10.0),
    ("5812", 95.0, 0.6, False, 19.0, 9.0),
    ("5814", 28.0, 0.5, False, 12.5, 9.0),
    ("4121", 26.0, 0.6, True, 18.5, 8.0),
    ("5691", 190.0, 0.7, False, 20.5, 6.0),
    ("5311", 240.0, 0.8, False, 16.0, 5.0),
    ("4814", 50.0, 0.5, True, 11.0, 4.0),
    ("5816", 60.0, 1.0, True, 22.0, 5.0),
    ("5541", 290.0, 0.3, False, 9.0, 4.0),
    ("7011", 480.0, 0.6, True, 21.0, 3.0),
    ("4511", 1300.0, 0.6, True, 14.0, 2.0),
    ("5732", 1600.0, 0.9, False, 20.0, 3.0),
    ("8299", 900.0, 0.8, True, 20.0, 2.0),
    ("5944", 2600.0, 0.8, False, 15.0, 1.0),
    ("6540", 300.0, 0.8, True, 21.0, 2.0),
)
MCCS_STORED_VALUE = ("5816", "6540", "4814")  # What stolen cards are tried out on.

LABELS: tuple[str, ...] = (
    "emulator",
    "vm",
    "rooted",
    "hooked",
    "debugger",
    "cloned_app",
    "repackaged",
    "mock_location",
    "vpn",
    "proxy",
    "screen_share",
    "remote_control",
    "clock_skew",
    "factory_reset",
    "automation",
    "headless",
)

USERS_MIN = 50
MERCHANTS_MIN = 20
FAVOURITES_COUNT = 6
PAYEES_PER_MERCHANT = 6
MOBILE_IPS_PER_CITY = 240
PLATFORMS: tuple[tuple[str, str], ...] = (
    ("Android 15", "Synthetic A1"),
    ("Android 14", "Synthetic A2"),
    ("Android 13", "Synthetic A3"),
    ("HarmonyOS 5", "Synthetic H1"),
    ("iOS 19", "Synthetic I1"),
    ("iOS 18", "Synthetic I2"),
    ("Windows 11", "Synthetic W1"),
    ("macOS 16", "Synthetic M1"),
)
PLATFORM_WEIGHTS = np.array([0.2, 0.18, 0.1, 0.14, 0.16, 0.12, 0.07, 0.03])


def label_bit(name: str) -> int:
    """The bit of a device's risk label in the masks of this world.

    Examples:
        >>> label_bit("rooted")
        4
    """
    return 1 << LABELS.index(name)


def coin(rng: np.random.Generator, count: int, share: float) -> NDArray[np.bool_]:
    """`count` independent draws that are true with probability `share`."""
    drawn: NDArray[np.bool_] = rng.random(count, dtype=np.float32) < share
    return drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Merchants:
    """Sellers; index = merchant number. Amounts are natural logarithms of fen."""

    category: Ints
    ticket_log: Floats
    ticket_spread: Floats
    busiest_hour: Floats
    popularity_cumulative: Floats
    sends_behavior: NDArray[np.bool_]
    sends_gps: NDArray[np.bool_]
    stored_value: Ints
    colluding: Ints

    @property
    def count(self) -> int:
        """How many sellers there are."""
        return len(self.category)


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """Payers; index = user number. The last `fresh_count` are young accounts, mostly of crooks."""

    fresh_count: int
    city: Ints
    lat_offset: Floats
    lon_offset: Floats
    busiest_hour: Floats
    spend_log: Floats
    activity_cumulative: Floats
    age_days: Floats
    kyc_level: Ints
    household: Ints
    second_device: Ints
    second_card: Ints
    favourites: Ints
    dwell_ms: Floats
    flight_ms: Floats
    form_log_ms: Floats

    @property
    def count(self) -> int:
        """How many payers there are, young accounts included."""
        return len(self.city)


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """The whole synthetic world at rest.

    Attributes:
        seed: What it was drawn from.
        users: Payers.
        merchants: Sellers.
        device_platform: Index into `PLATFORMS`, for each device. Devices 0..users are each
            user's own, the next as many their second ones, the rest belong to crooks.
        device_labels: Bit mask over `LABELS` of what is permanently odd about a device.
        card_city: City of the issuer, for each card; numbered as devices are.
        card_funding: Index into `habits.FUNDING`.
        ip_city: City, for each address: households, then mobile gateways, then hosting.
        mobile_ip_first: Number of the first mobile gateway's address.
        hosting_ip_first: Number of the first hosting address.
    """

    seed: int
    users: Users
    merchants: Merchants
    device_platform: Ints
    device_labels: Ints
    card_city: Ints
    card_funding: Ints
    ip_city: Ints
    mobile_ip_first: int
    hosting_ip_first: int

    @property
    def crooks_device_first(self) -> int:
        """Number of the first device that belongs to crooks."""
        return 2 * self.users.count

    @property
    def stolen_card_first(self) -> int:
        """Number of the first card that no payer of this world owns."""
        return 2 * self.users.count


def build(seed: int, *, users_count: int, merchants_count: int = 240) -> Population:
    """Draw a world.

    Args:
        seed: Same seed and counts, same world, on every machine with the same numpy.
        users_count: Ordinary payers, at least 50; a tenth as many young accounts are added.
        merchants_count: Sellers, at least 20.

    Raises:
        ValueError: if a count is too small for every kind of fraud to find its victims.
    """
    if users_count < USERS_MIN or merchants_count < MERCHANTS_MIN:
        raise ValueError(
            f"needs {USERS_MIN} users and {MERCHANTS_MIN} merchants at least, "
            f"was {users_count} and {merchants_count}"
        )
    rng = np.random.default_rng([seed, 1])
    merchants = _merchants(rng, merchants_count)
    users = _users(rng, users_count, merchants)
    devices_count = 2 * users.count + max(400, users_count // 10)
    cards_count = 2 * users.count + max(2_000, users_count // 2)
    households_count = int(users.household.max()) + 1
    household_city = np.zeros(households_count, dtype=np.int64)
    household_city[users.household] = users.city
    mobile_city = np.repeat(np.arange(len(CITIES)), MOBILE_IPS_PER_CITY)
    hosting_city = _cities(rng, 400)
    return Population(
        seed=seed,
        users=users,
        merchants=merchants,
        device_platform=rng.choice(len(PLATFORMS), devices_count, p=PLATFORM_WEIGHTS),
        device_labels=_standing_labels(rng, devices_count),
        card_city=np.concatenate(
            [users.city, users.city, _cities(rng, cards_count - 2 * users.count)]
        ),
        card_funding=rng.choice(4, cards_count, p=[0.55, 0.25, 0.05, 0.15]),
        ip_city=np.concatenate([household_city, mobile_city, hosting_city]),
        mobile_ip_first=households_count,
        hosting_ip_first=households_count + len(mobile_city),
    )


def _cities(rng: np.random.Generator, count: int) -> Ints:
    weights = np.array([city[5] for city in CITIES])
    return rng.choice(len(CITIES), count, p=weights / weights.sum())


def _standing_labels(rng: np.random.Generator, count: int) -> Ints:
    """What is odd about honest devices too."""
    labels = np.zeros(count, dtype=np.int64)
    for name, share in (
        ("emulator", 0.002),
        ("rooted", 0.015),
        ("vpn", 0.03),
        ("factory_reset", 0.01),
    ):
        labels |= coin(rng, count, share) * label_bit(name)
    return labels


def _merchants(rng: np.random.Generator, count: int) -> Merchants:
    weights = np.array([category[5] for category in CATEGORIES])
    category = rng.choice(len(CATEGORIES), count, p=weights / weights.sum())
    # Every category that a fraud needs has at least two sellers, whatever the draw.
    category[: 2 * len(CATEGORIES)] = np.arange(2 * len(CATEGORIES))[:count] % len(CATEGORIES)
    median_fen = np.array([row[1] for row in CATEGORIES])[category] * 100.0
    popularity = 1.0 / np.arange(1, count + 1) ** 0.8
    rng.shuffle(popularity)
    stored_value = [row[0] in MCCS_STORED_VALUE for row in CATEGORIES]
    return Merchants(
        category=category,
        ticket_log=np.log(median_fen) + rng.normal(0.0, 0.35, count),
        ticket_spread=np.array([row[2] for row in CATEGORIES])[category],
        busiest_hour=np.array([row[4] for row in CATEGORIES])[category],
        popularity_cumulative=np.cumsum(popularity / popularity.sum()),
        sends_behavior=coin(rng, count, 0.75),
        sends_gps=coin(rng, count, 0.6),
        stored_value=np.flatnonzero(np.array(stored_value)[category]),
        colluding=rng.choice(count, max(2, count // 40), replace=False),
    )


def _users(rng: np.random.Generator, ordinary_count: int, merchants: Merchants) -> Users:
    fresh_count = max(120, ordinary_count // 10)
    count = ordinary_count + fresh_count
    activity = rng.lognormal(0.0, 0.9, count)
    activity[ordinary_count:] *= 0.1
    age_days = 20.0 + rng.exponential(700.0, count)
    young = coin(rng, count, 0.08)
    young[ordinary_count:] = True
    age_days[young] = rng.exponential(9.0, int(young.sum()))
    busiest = np.where(coin(rng, count, 0.55), 20.0, 12.5) + rng.normal(0.0, 1.8, count)
    owls = coin(rng, count, 0.05)
    busiest[owls] = 1.0 + rng.normal(0.0, 1.5, int(owls.sum()))
    favourite_draws = rng.random((count, FAVOURITES_COUNT))
    popularity = merchants.popularity_cumulative
    household = rng.integers(0, max(1, int(count * 0.6)), count)
    city = _cities(rng, count)[household]  # People under one roof live in one city.
    return Users(
        fresh_count=fresh_count,
        city=city,
        lat_offset=rng.normal(0.0, 0.07, count),
        lon_offset=rng.normal(0.0, 0.08, count),
        busiest_hour=busiest % 24.0,
        spend_log=rng.normal(0.0, 0.45, count),
        activity_cumulative=np.cumsum(activity / activity.sum()),
        age_days=age_days,
        kyc_level=rng.choice(4, count, p=[0.04, 0.16, 0.6, 0.2]),
        household=household,
        second_device=_second_things(rng, count, household, 0.35),
        second_card=_second_things(rng, count, household, 0.45),
        favourites=np.minimum(
            np.searchsorted(popularity, favourite_draws), merchants.count - 1
        ).astype(np.int64),
        dwell_ms=rng.normal(95.0, 17.0, count).clip(45.0, 180.0),
        flight_ms=rng.normal(165.0, 42.0, count).clip(60.0, 400.0),
        form_log_ms=rng.normal(np.log(21_000.0), 0.4, count),
    )


def _second_things(rng: np.random.Generator, count: int, household: Ints, share: float) -> Ints:
    """The second device or card: an own one, a family member's (one in ten), or none (-1)."""
    second = np.where(coin(rng, count, share), np.arange(count) + count, -1)
    by_household = np.argsort(household, kind="stable")
    neighbour = np.empty(count, dtype=np.int64)
    neighbour[by_household] = np.roll(by_household, 1)
    same_roof = household[neighbour] == household
    borrows = same_roof & coin(rng, count, 0.25)
    return np.where(borrows, neighbour, second)
