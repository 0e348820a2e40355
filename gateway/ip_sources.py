"""Collections of address ranges that others publish, as `risk.geo.build` takes them.

MMDB files (MaxMind's format; GeoLite2, GeoIP2, DB-IP and others use it) are read with the
`maxminddb` package, an optional dependency: ``pip install 'yumen[geo]'``. Comma-separated ranges
(``first,last,country`` or ``first,last,asn,name``, addresses or numbers) need nothing.
"""

import csv
import ipaddress
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gateway.refusal import Refused
from risk.geo.build import VERSIONS, Facts, Merged, Range, overlay
from risk.geo.table import ANONYMOUS, HOSTING, TOR

if TYPE_CHECKING:
    from maxminddb import Reader

# Networks that rent out machines: no payer sits behind such an address, a script or a proxy does.
# Left out on purpose: networks that also carry people (Cloudflare and Akamai relay private
# browsing, Google's own network its phones).
HOSTING_NETWORKS: Final = frozenset(
    (
        *(16509, 14618, 396982, 8075, 31898, 14061, 16276, 24940, 63949, 20473),
        *(37963, 45102, 132203, 45090, 136907, 55990, 59019, 38365, 59077, 135377),
        *(60781, 28753, 394380, 133752, 51167, 9009, 36352, 46606, 26496, 12876),
        *(197540, 29802, 53667, 8560, 47583, 40676, 55286, 23470, 21859, 49981),
        *(60068, 212238, 202425, 136787, 209854, 147049, 39351, 62240, 16125, 35916),
        *(8100, 25820, 54290, 46562, 32244, 19318, 30083, 33387, 24961, 29066),
        *(199524, 48282, 50340, 49505, 9123, 197695, 58061, 210644, 54825, 20860),
        *(42708, 50673, 57043, 63473, 58065, 204957, 45753, 63199, 9370, 9371),
    )
)
_FLAGS: Final = {
    "is_hosting_provider": HOSTING,
    "is_anonymous": ANONYMOUS,
    "is_anonymous_proxy": ANONYMOUS,
    "is_anonymous_vpn": ANONYMOUS,
    "is_public_proxy": ANONYMOUS,
    "is_residential_proxy": ANONYMOUS,
    "is_tor_exit_node": TOR | ANONYMOUS,
}
_MILLION: Final = 1_000_000


class Named(NamedTuple):
    """What a file says of itself; empty where it says nothing."""

    source: str
    date: str


def described(path: Path) -> Named:
    """Return the name and the day of some data, as far as the file says so itself.

    Raises:
        Refused: it is an .mmdb file and can't be read.
    """
    if path.suffix != ".mmdb":
        return Named(path.stem, "")
    with _database(path) as database:
        metadata = database.metadata()
        day = datetime.fromtimestamp(metadata.build_epoch, UTC).date().isoformat()
        return Named("-".join(metadata.database_type.lower().split()) or path.stem, day)


def is_date(text: str) -> bool:
    """Whether a text is a day as YYYY-MM-DD."""
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def merged(paths: list[Path]) -> dict[int, Merged]:
    """Return the ranges of some files laid over each other; an earlier file has the word.

    Raises:
        Refused: a file can't be read as a collection of ranges.
    """
    read = [_ranges(path) for path in paths]
    return {version: overlay(version, [found[version] for found in read]) for version in VERSIONS}


def _ranges(path: Path) -> dict[int, list[Range]]:
    found: dict[int, list[Range]] = {version: [] for version in VERSIONS}
    read = _mmdb if path.suffix == ".mmdb" else _rows
    try:
        for version, one in read(path):
            found[version].append(one)
    except (OSError, ValueError, IndexError) as error:
        raise Refused(f"{path} holds no address ranges: {error}") from error
    return found


def _rows(path: Path) -> Iterator[tuple[int, Range]]:
    """Comma-separated ranges: three columns are a country's, four a network's.

    Of networks only the kind is kept: numbers of all of them would triple the table.
    """
    with path.open(newline="", encoding="utf-8") as file:
        for first, last, said, *name in csv.reader(file):
            facts = _kind_of(said) if name else _facts_of(said)
            if facts is not None:
                start, version = _number(first)
                yield version, Range(start, _number(last)[0], facts)


def _number(text: str) -> tuple[int, int]:
    """Number and version; a plain number is IPv6 if IPv4 has none so large."""
    if text.isdigit():
        number = int(text)
        return number, 4 if number < 1 << 32 else 6
    address = ipaddress.ip_address(text)
    return int(address), address.version


@cache
def _kind_of(asn: str) -> Facts | None:
    return Facts(flags=HOSTING) if int(asn) in HOSTING_NETWORKS else None


@cache
def _facts_of(code: str) -> Facts:
    return Facts(country=_country(code))


def _country(code: object) -> str | None:
    known = isinstance(code, str) and len(code) == 2 and code.isalpha() and code.isascii()  # noqa: PLR2004 - ISO 3166-1
    return str(code).upper() if known else None


@contextmanager
def _database(path: Path) -> "Iterator[Reader]":
    try:
        import maxminddb
    except ImportError:
        raise Refused("reading .mmdb needs maxminddb: pip install 'yumen[geo]'") from None
    try:
        with maxminddb.open_database(path) as database:
            yield database
    except (OSError, maxminddb.InvalidDatabaseError) as error:
        raise Refused(f"{path} can't be read: {error}") from error


def _mmdb(path: Path) -> Iterator[tuple[int, Range]]:
    with _database(path) as database:
        for network, record in database:
            if isinstance(record, Mapping):
                version, first, last = _placed(network)
                yield version, Range(first, last, facts_of(record))


def _placed(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> tuple[int, int, int]:
    """Version, first and last; IPv4 stands at the very beginning of an MMDB's IPv6 tree."""
    first, last = int(network.network_address), int(network.broadcast_address)
    return (4 if last < 1 << 32 else 6), first, last


def facts_of(record: Mapping[str, Any]) -> Facts:
    """Return what an MMDB record says, in the words of any of the usual publishers."""
    traits = record.get("traits")
    words = {**record, **traits} if isinstance(traits, Mapping) else dict(record)
    asn = words.get("autonomous_system_number") or words.get("asn")
    number = asn if isinstance(asn, int) else None
    flags = HOSTING if number in HOSTING_NETWORKS else 0
    for name, bit in _FLAGS.items():
        flags |= bit if words.get(name) is True else 0
    return Facts(_country_of(words), flags, number, _position(words))


def _country_of(words: Mapping[str, Any]) -> str | None:
    for name in ("country", "registered_country"):
        found = words.get(name)
        code = found.get("iso_code") if isinstance(found, Mapping) else found
        if _country(code):
            return _country(code)
    return _country(words.get("country_code"))


def _position(words: Mapping[str, Any]) -> tuple[int, int] | None:
    found = words.get("location")
    place = found if isinstance(found, Mapping) else words
    lat, lon = place.get("latitude"), place.get("longitude")
    if not isinstance(lat, int | float) or not isinstance(lon, int | float):
        return None
    return (round(lat * _MILLION), round(lon * _MILLION)) if abs(lat) <= 90 else None  # noqa: PLR2004 - degrees
