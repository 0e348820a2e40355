"""Which days are worked in a country, from a table that ships; no table, no answer.

Whole countries only: a holiday of one province is none here. The table's first line says what it
was made from.
"""

from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Final

FIRST_YEAR: Final = 2015
LAST_YEAR: Final = 2030
WORKDAY, WEEKEND, HOLIDAY, ADJUSTED_WORKDAY = range(4)
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
FIRST_DAY: Final = date(FIRST_YEAR, 1, 1).toordinal() - _EPOCH_ORDINAL
_WEEK: Final = 7
_PATH: Final = Path(__file__).parent.parent / "data" / "holidays.txt"
# When wages commonly arrive: these days, and a month's last.
PAYDAYS: Final = frozenset({1, 5, 10, 15, 20, 25})


def day_kind(country: str, day: int) -> int | None:
    """Return 0 workday, 1 weekend, 2 public holiday, 3 workday in place of a weekend day.

    Args:
        country: ISO 3166-1 code.
        day: Days since 1970-01-01, of that country's calendar.

    Returns:
        None for countries and years that the table does not hold.

    Examples:
        >>> day_kind("CN", 20_509), day_kind("CN", 20_498), day_kind("XX", 20_509)
        (0, 3, None)
    """
    days = _table().get(country)
    place = day - FIRST_DAY
    return days[place] if days is not None and 0 <= place < len(days) else None


def month_day(day: int) -> int:
    """Return the day of the month, 1 to 31, of a day since 1970-01-01."""
    return date.fromordinal(_EPOCH_ORDINAL + day).day


def is_payday(day: int) -> bool:
    """Whether wages commonly arrive that day: see `PAYDAYS`."""
    return month_day(day) in PAYDAYS or month_day(day + 1) == 1


@cache
def _table() -> dict[str, bytes]:
    """Country -> one byte a day from `FIRST_DAY` on."""
    days: dict[str, bytearray] = {}
    for line in _PATH.read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        country, year, weekend, off, worked = line.split(" ")
        days.setdefault(country, bytearray()).extend(_year(int(year), weekend, off, worked))
    return {country: bytes(found) for country, found in days.items()}


def _year(year: int, weekend: str, off: str, worked: str) -> bytes:
    first = date(year, 1, 1)
    length = (date(year + 1, 1, 1) - first).days
    free = {int(digit) for digit in weekend}
    kinds = bytearray((first.weekday() + n) % _WEEK in free for n in range(length))
    for text, kind in ((off, HOLIDAY), (worked, ADJUSTED_WORKDAY)):
        for found in text.split(",") if text != "-" else ():
            day = date(year, int(found[:2]), int(found[2:]))
            kinds[(day - first) // timedelta(days=1)] = kind
    return bytes(kinds)
