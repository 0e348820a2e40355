"""How the clients of the synthetic world look to a network: addresses, browsers, languages.

Addresses lie in ranges of the country they are meant to be in, drawn by seed from the table that
ships with the risk engine. They stand for nobody: no payer of this world exists, and nothing is
ever sent to them.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from models.synthetic.habits import Rows
from models.synthetic.population import (
    CITIES,
    MOBILE_IPS_PER_CITY,
    Ints,
    Population,
    label_bit,
)
from risk.geo import shipped
from risk.geo.table import HOSTING

_CHROMIUM = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0"
_IPHONE = "AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 SyntheticApp/1.0"
# User agent, Sec-CH-UA-Platform (browsers on iOS and macOS send none), mobile, screen, JA4; in
# the order of `population.PLATFORMS`, then what scripts use.
_CHROMIUM_JA4 = "t13d1516h2_8daaf6152771_b186095e22b6"
_SAFARI_JA4 = "t13d2014h2_a09f3c656075_14788d8d241b"
_SCRIPT_JA4 = "t13d190900_9dc949149365_97f8aa674fd9"
_A = f"{_CHROMIUM} Mobile Safari/537.36 SyntheticApp/1.0"
LOOKS: tuple[tuple[str, str | None, bool | None, str, str], ...] = (
    (f"Mozilla/5.0 (Linux; Android 15; A1) {_A}", "Android", True, "1080x2400", _CHROMIUM_JA4),
    (f"Mozilla/5.0 (Linux; Android 14; A2) {_A}", "Android", True, "1440x3200", _CHROMIUM_JA4),
    (f"Mozilla/5.0 (Linux; Android 13; A3) {_A}", "Android", True, "1080x2340", _CHROMIUM_JA4),
    (f"Mozilla/5.0 (Phone; OpenHarmony 5.0) {_A}", None, True, "1256x2760", _CHROMIUM_JA4),
    (f"Mozilla/5.0 (iPhone; CPU iPhone OS 19_0) {_IPHONE}", None, None, "1179x2556", _SAFARI_JA4),
    (f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_2) {_IPHONE}", None, None, "1170x2532", _SAFARI_JA4),
    (
        f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_CHROMIUM} Safari/537.36",
        *("Windows", False, "1920x1080", _CHROMIUM_JA4),
    ),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/19.0 Safari/605.1.15",
        *(None, None, "1440x900", _SAFARI_JA4),
    ),
    (
        f"Mozilla/5.0 (X11; Linux x86_64) {_CHROMIUM.replace('Chrome', 'HeadlessChrome')}",
        *("Linux", False, "800x600", _CHROMIUM_JA4),
    ),
    (
        f"Mozilla/5.0 (Linux; Android 14; A2) {_A}",
        *("Linux", False, "1920x1080", _SCRIPT_JA4),
    ),
)
_HEADLESS, _BORROWED = 8, 9  # Of `LOOKS`: a tool that says so, one that borrows a phone's name.
_LANGUAGES: dict[str, str] = {
    "CN": "zh-CN",
    "HK": "zh-HK",
    "TW": "zh-TW",
    "JP": "ja-JP",
    "SG": "en-SG",
    "TH": "th-TH",
    "GB": "en-GB",
    "DE": "de-DE",
    "US": "en-US",
    "AU": "en-AU",
}
LANGUAGES = (*dict.fromkeys(_LANGUAGES.values()), "ru-RU", "vi-VN", "id-ID")
_CROOKS_FOREIGN_PER_MILLE = 220
_BLOCK = 256  # Mobile gateways stand side by side.


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """What a network sees of each device, and every address there is.

    Attributes:
        language: Index into `LANGUAGES`, for each device.
        ips: Text of each address, numbered as in the population.
    """

    language: Ints
    ips: pa.Array


def looks(population: Population) -> Looks:
    """Dress the devices and addresses of a population; the same seed, the same dress."""
    return Looks(language=_languages(population), ips=pa.array(_addresses(population)))


def look_of(population: Population, rows: Rows) -> Ints:
    """Index into `LOOKS` for each payment: its device's, or a script's where one pays."""
    device = rows["device"]
    script = np.where(device % 3 > 0, _HEADLESS, _BORROWED)
    scripted = rows["labels"] & (label_bit("automation") | label_bit("headless")) > 0
    # Most scripts hide better than that.
    seen = scripted & (device % 5 < 3)  # noqa: PLR2004 - three in five
    found: Ints = np.where(seen, script, population.device_platform[device])
    return found


def _languages(population: Population) -> Ints:
    home = np.array([LANGUAGES.index(_LANGUAGES[city[1]]) for city in CITIES])
    device = np.arange(len(population.device_platform))
    owner = device % population.users.count
    language = home[population.users.city[owner]]
    crooks = device >= population.crooks_device_first
    foreign = crooks & (device * 7_919 % 1_000 < _CROOKS_FOREIGN_PER_MILLE)
    chosen: Ints = np.where(foreign, len(LANGUAGES) - 1 - device % 3, language)
    return chosen


def _addresses(population: Population) -> list[str]:
    """Households anywhere in their country, mobile gateways side by side, hosting where rented."""
    rng = np.random.default_rng([population.seed, 7])
    count = len(population.ip_city)
    number = np.arange(count)
    mobile = (number >= population.mobile_ip_first) & (number < population.hosting_ip_first)
    hosting = number >= population.hosting_ip_first
    country = np.array([city[1] for city in CITIES])[population.ip_city]
    address = np.zeros(count, dtype=np.int64)
    draw = rng.random(count)
    for code in np.unique(country).tolist():
        here = country == code
        address[here & ~hosting] = _drawn(code, 0, draw[here & ~hosting])
        address[here & hosting] = _drawn(code, HOSTING, draw[here & hosting])
    place = number[mobile] - population.mobile_ip_first
    first = address[mobile][place // MOBILE_IPS_PER_CITY * MOBILE_IPS_PER_CITY]
    address[mobile] = first // _BLOCK * _BLOCK + place % MOBILE_IPS_PER_CITY
    octets = [(address >> shift & 255).tolist() for shift in (24, 16, 8, 0)]
    return [f"{a}.{b}.{c}.{d}" for a, b, c, d in zip(*octets, strict=True)]


def _drawn(country: str, flags: int, draw: np.ndarray) -> Ints:
    """Addresses at these shares (0 to 1) of a country's space, whole blocks where they fit."""
    ranges = shipped().ranges_of(country, flags)
    wide = ranges[ranges[:, 1] - ranges[:, 0] >= _BLOCK]
    ends = np.cumsum(wide[:, 1] - wide[:, 0])
    place = (draw * ends[-1]).astype(np.int64)
    row = np.searchsorted(ends, place, side="right")
    found: Ints = wide[row, 1] - (ends[row] - place)
    return found
