"""Make the tables of clocks and holidays that ship: for maintainers, once a year.

Reads three packages that nothing else here needs: `tzdata` (clocks; public domain), `holidays`
(MIT) and `chinesecalendar` (MIT; the State Council's yearly notice, adjusted workdays included).
China's days of a year without a notice are the statutory ones of `holidays`, unadjusted.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from importlib import metadata, resources
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from gateway.refusal import Refused
from risk.geo.calendar import FIRST_YEAR, LAST_YEAR

COUNTRIES: Final = (
    "AE AT AU BE BR CA CH CN CZ DE DK ES FI FR GB HK ID IE IN IT JP KR MO MX MY NL NO NZ PH PL PT"
    " RU SA SE SG TH TR TW US VN ZA"
)
# Where the first zone of a country is not where most of it lives.
_USUAL: Final = {
    "AU": "Australia/Sydney",
    "BR": "America/Sao_Paulo",
    "CA": "America/Toronto",
    "CD": "Africa/Kinshasa",
    "CL": "America/Santiago",
    "FM": "Pacific/Chuuk",
    "ID": "Asia/Jakarta",
    "KI": "Pacific/Tarawa",
    "KZ": "Asia/Almaty",
    "MX": "America/Mexico_City",
    "RU": "Europe/Moscow",
    "US": "America/New_York",
}
_WEEK: Final = 7


def write(folder: Path) -> list[Path]:
    """Write ``zones.txt`` and ``holidays.txt`` to a folder and return their paths.

    Raises:
        Refused: one of the packages is not there.
    """
    try:
        zones, holidays = list(_zones()), list(_holidays())
    except ImportError as error:
        raise Refused(f"{error}: pip install tzdata holidays chinesecalendar") from error
    paths = []
    for name, packages, lines in (
        ("zones", ("tzdata",), zones),
        ("holidays", ("holidays", "chinesecalendar"), holidays),
    ):
        made = ", ".join(f"{package} {metadata.version(package)}" for package in packages)
        path = folder / f"{name}.txt"
        path.write_text(f"# {name}: {made}; by `yumen geo facts`\n" + "\n".join(lines) + "\n")
        paths.append(path)
    return paths


def _zones() -> Iterator[str]:
    """``CC usual least most``: minutes east of UTC, winter and summer time taken together."""
    text = resources.files("tzdata").joinpath("zoneinfo/zone.tab").read_text("utf-8")
    zones: dict[str, list[str]] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            country, _, zone = line.split("\t")[:3]
            zones.setdefault(country, []).append(zone)
    for country, names in sorted(zones.items()):
        offsets = {minutes for name in names for minutes in _offsets_min(name)}
        usual_min = min(_offsets_min(_USUAL.get(country, names[0])))
        yield f"{country} {usual_min} {min(offsets)} {max(offsets)}"


def _offsets_min(zone: str) -> set[int]:
    """Standard and summer offsets of a zone; the lesser is standard (Ireland's law aside)."""
    found = set()
    for month in range(1, 13):
        moment = datetime(LAST_YEAR - 4, month, 15, tzinfo=UTC).astimezone(ZoneInfo(zone))
        found.add(int((moment.utcoffset() or timedelta()).total_seconds()) // 60)
    return found


def _holidays() -> Iterator[str]:
    """``CC year weekend holidays workdays``: weekdays from 0 Monday; days as MMDD; ``-`` none."""
    import holidays

    for country in COUNTRIES.split():
        found: Any = holidays.country_holidays(country, years=range(FIRST_YEAR, LAST_YEAR + 1))
        for year in range(FIRST_YEAR, LAST_YEAR + 1):
            off, worked = set(found), set(found.weekend_workdays)
            notice = _notice(year) if country == "CN" else None
            off, worked = notice or (off, worked)
            weekend = _weekend(found, year)
            yield f"{country} {year} {weekend} {_days(off, year)} {_days(worked, year)}"


def _notice(year: int) -> tuple[set[date], set[date]] | None:
    """China's holidays and adjusted workdays, if that year's notice is known."""
    from chinese_calendar import constants

    off = {day for day in constants.holidays if day.year == year}
    worked = {day for day in constants.workdays if day.year == year}
    return (off, worked) if off else None


def _weekend(found: Any, year: int) -> str:  # noqa: ANN401 - the package has no types
    middle = date(year, 7, 1)
    days = [middle + timedelta(days=n) for n in range(_WEEK)]
    return "".join(str(n) for n in sorted(d.weekday() for d in days if found.is_weekend(d)))


def _days(days: set[date], year: int) -> str:
    return ",".join(f"{day:%m%d}" for day in sorted(days) if day.year == year) or "-"
