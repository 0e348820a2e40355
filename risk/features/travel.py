"""How far and how fast a person would have moved since the last position that can be trusted.

And how far from home: the square of a twentieth of a degree (about 5 km) a person pays from most
often. A position counts that is accurate to 50 km and not that of a tunnel.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from risk.compiled import kernel
from risk.features import event as ev
from risk.features import favourites
from risk.features import layout as at
from risk.features.vocabulary import LABEL_BIT
from risk.geo.table import ANONYMOUS, TOR

Ints = npt.NDArray[np.int64]
Marks = npt.NDArray[np.uint8]

LAT: Final = ev.INDEX["lat"]
LON: Final = ev.INDEX["lon"]
ACCURACY: Final = ev.INDEX["accuracy_m"]
LABELS: Final = ev.INDEX["risk_labels"]
LAT_BIT: Final = 1 << (LAT - ev.FIRST_CONTEXT)
LON_BIT: Final = 1 << (LON - ev.FIRST_CONTEXT)
FLAGS: Final = ev.INDEX["ip_flags"]
# The position is not the payer's: behind a VPN, a proxy or Tor, as sent or as looked up.
TUNNELS: Final = LABEL_BIT["vpn"] | LABEL_BIT["proxy"] | LABEL_BIT["tor"]
ANONYMOUS_FLAGS: Final = ANONYMOUS | TOR
CLOCK: Final = at.H["clock"]
ROW_LAT: Final = at.slot_of(at.USER, "lat")
ROW_LON: Final = at.slot_of(at.USER, "lon")
ROW_PLACE_AT: Final = at.slot_of(at.USER, "place_at")
ROW_HOME: Final = at.slot_of(at.USER, "home")
ACCURATE_M: Final = 50_000
CELL: Final = 50_000  # Of a square, in millionths of a degree.
CELL_BITS: Final = 13
LEAST_VISITS: Final = 3  # Payments from which a home can be spoken of.
TRAVEL_LEAST_US: Final = 60_000_000
METRES_A_DEGREE: Final = 111_195
# cos of 0 to 90 degrees in millionths, rounded: integers, so no library's last bit matters.
COSINES: Final = np.rint(np.cos(np.deg2rad(np.arange(91))) * 1_000_000).astype(np.int64)


@kernel
def metres_between(lat: int, lon: int, other_lat: int, other_lon: int) -> int:
    """Distance of two places given in millionths of a degree, in metres.

    Equirectangular, with the cosine of the mean latitude from a table of whole degrees: within
    1 % below 1,000 km at usual latitudes, too long near the poles, the same bits everywhere.
    """
    across = abs(lon - other_lon)
    across = min(across, 360_000_000 - across)
    mean_degree = min(abs(lat + other_lat) // 2_000_000, 90)
    high = float(lat - other_lat)
    wide = float(across) * float(COSINES[mean_degree]) / 1_000_000.0
    return int(np.sqrt(high * high + wide * wide) * METRES_A_DEGREE / 1_000_000.0)


@kernel
def _is_trusted(event: Ints) -> bool:
    """Whether an event says where its payer is, and can be believed."""
    both = LAT_BIT | LON_BIT
    if event[ev.PRESENCE] & both != both or event[ACCURACY] > ACCURATE_M:
        return False
    return bool(event[LABELS] & TUNNELS == 0 and event[FLAGS] & ANONYMOUS_FLAGS == 0)


@kernel
def _square_of(lat: int, lon: int) -> int:
    """Number the square a position is in, from 1."""
    row = (lat + 90_000_000) // CELL + 1
    return int(row << CELL_BITS | (lon + 180_000_000) // CELL)


@kernel
def read(arena: Ints, base: int, event: Ints, cells: Ints, marks: Marks) -> None:
    """How far and how fast the user would have moved since the last known position, and home."""
    if base == 0 or arena[base + ROW_PLACE_AT] == 0 or not _is_trusted(event):
        return
    home = arena[base + ROW_HOME]
    best = favourites.favourite(arena, home)
    if best != 0 and arena[home + favourites.NOTED] >= LEAST_VISITS:
        lat = ((arena[best] >> CELL_BITS) - 1) * CELL + CELL // 2 - 90_000_000
        lon = (arena[best] & (1 << CELL_BITS) - 1) * CELL + CELL // 2 - 180_000_000
        cells[at.TRAVEL_AT + 3] = metres_between(event[LAT], event[LON], lat, lon)
        marks[at.TRAVEL_AT + 3] = 1
    passed_us = event[ev.AT_US] - arena[base + ROW_PLACE_AT]
    if passed_us < 0:
        return
    metres = metres_between(event[LAT], event[LON], arena[base + ROW_LAT], arena[base + ROW_LON])
    cells[at.TRAVEL_AT] = metres
    cells[at.TRAVEL_AT + 1] = passed_us // 1_000_000
    marks[at.TRAVEL_AT] = 1
    marks[at.TRAVEL_AT + 1] = 1
    if passed_us > TRAVEL_LEAST_US:
        cells[at.TRAVEL_AT + 2] = metres * 3_600 // (passed_us // 1_000_000)
        marks[at.TRAVEL_AT + 2] = 1


@kernel
def move(arena: Ints, meta: Ints, user: int, event: Ints) -> None:
    """Keep where the user is, if the event says so and can be believed."""
    if _is_trusted(event):
        arena[user + ROW_LAT] = event[LAT]
        arena[user + ROW_LON] = event[LON]
        arena[user + ROW_PLACE_AT] = max(event[ev.AT_US], 1)
        square = _square_of(event[LAT], event[LON])
        favourites.note(arena, meta, user + ROW_HOME, square, arena[user + CLOCK])
