"""Which clocks a country keeps: minutes east of UTC, from a table that ships."""

from pathlib import Path
from typing import Final, NamedTuple

_PATH: Final = Path(__file__).parent.parent / "data" / "zones.txt"


class Zone(NamedTuple):
    """A country's clocks in minutes east of UTC.

    Attributes:
        usual_min: Standard time where most of it lives.
        least_min: The westernmost, summer or winter.
        most_min: The easternmost, summer or winter.
    """

    usual_min: int
    least_min: int
    most_min: int


def _read() -> dict[str, Zone]:
    rows = [line.split(" ") for line in _PATH.read_text("utf-8").splitlines()]
    return {row[0]: Zone(*(int(number) for number in row[1:])) for row in rows if row[0] != "#"}


ZONES: Final = _read()


def gap_min(country: str, offset_min: int) -> int | None:
    """Return how far a clock is from all clocks of a country, 0 if it may be one of them.

    Examples:
        >>> gap_min("US", -480), gap_min("US", 480), gap_min("CN", 540), gap_min("XX", 0)
        (0, 720, 60, None)
    """
    zone = ZONES.get(country)
    if zone is None:
        return None
    return max(zone.least_min - offset_min, offset_min - zone.most_min, 0)
