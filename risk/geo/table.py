"""A table of address ranges: where an address is and what kind of network it belongs to.

The file begins with two readable lines (what it is; where its data comes from, their date, their
licence and whom to credit) and goes on with deflated columns. A range lasts until the next one
begins, so a look-up is one bisection. Starts of IPv4 ranges are 32 bits; those of IPv6 are 64
bits, with the lower 64 beside them for the few ranges that begin inside a /64.
"""

import hashlib
import json
import os
import zlib
from array import array
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from risk.geo.address import address_of

Column = npt.NDArray[Any]  # Integers, little-endian.

MAGIC: Final = b"YUMEN-IP-TABLE 1\n"
HEADER_BYTES_MAX: Final = 65_536
PRIVATE, HOSTING, ANONYMOUS, TOR = 1, 2, 4, 8  # Bits of `Place.flags`.
FLAG_NAMES: Final = {PRIVATE: "private", HOSTING: "hosting", ANONYMOUS: "anonymous", TOR: "tor"}
SHIPPED: Final = Path(__file__).parent.parent / "data" / "ip.table"
FILE_NAME: Final = "ip.table"
_CACHE_COUNT: Final = 200_000
_CACHED_LENGTH: Final = 64
_LOW_64: Final = (1 << 64) - 1
_DTYPES: Final = frozenset({"<u1", "<u2", "<u4", "<u8", "<i4"})


class TableRefused(ValueError):
    """A file is no table of addresses, or a damaged one; says which and what to do."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(
            f"{path}: {problem}; make it anew with `yumen geo update`, or remove it to use the"
            " one that ships"
        )
        self.path = path
        self.problem = problem


class Place(NamedTuple):
    """What is known of an address.

    Attributes:
        country: ISO 3166-1 code of two letters, or None.
        flags: Bits `PRIVATE`, `HOSTING`, `ANONYMOUS`, `TOR`; None where there is no address.
        asn: Number of the network that announces it, 0 if not known.
        lat: Latitude in millionths of a degree, or None.
        lon: Longitude in millionths of a degree, or None.
    """

    country: str | None
    flags: int | None
    asn: int = 0
    lat: int | None = None
    lon: int | None = None


NOWHERE: Final = Place(None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """Where a table comes from.

    Attributes:
        source: Name of the data.
        date: Its date, ISO 8601.
        licence: Under which it may be used.
        attribution: Whom to credit, in words to be shown.
    """

    source: str
    date: str
    licence: str
    attribution: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The ranges of one IP version, in order; all columns have the same length.

    Attributes:
        start: First address of each range (IPv4), or its upper 64 bits (IPv6).
        low: Lower 64 bits of IPv6 starts; empty for IPv4.
        kind: Place in the list of kinds (country and flags).
        asn: Network numbers; empty if not known.
        place: Place in the list of positions plus 1, 0 for none; empty if not known.
    """

    start: Column
    low: Column
    kind: Column
    asn: Column
    place: Column


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """What a table's columns refer to.

    Attributes:
        kinds: Country (or None) and flags.
        positions: int32, shape ``(n, 2)``: latitude and longitude in millionths of a degree.
    """

    kinds: list[tuple[str | None, int]]
    positions: npt.NDArray[np.int32]


class IpTable:
    """Looks addresses up. Any thread may ask.

    Attributes:
        credit: Where the data comes from.
        version: Source, date and content: what a decision records.
        counts: Number of ranges by IP version.
    """

    def __init__(
        self, credit: Credit, columns: dict[int, Columns], lists: Lists, digest: str
    ) -> None:
        self.credit = credit
        self.version = f"{credit.source}-{credit.date}-{digest[:8]}"
        self.counts = {version: len(found.start) for version, found in columns.items()}
        self._columns = columns
        self._positions = lists.positions
        self._kinds = [Place(*kind) for kind in lists.kinds]
        self._v4 = _native("I", columns[4].start)
        self._v6 = _native("Q", columns[6].start)
        self._v6_low = _native("Q", columns[6].low)
        self._kind = {version: _native("H", found.kind) for version, found in columns.items()}
        self._known: dict[str, Place] = {}

    @property
    def countries(self) -> tuple[str, ...]:
        """The countries it knows, in order."""
        return tuple(sorted({kind.country for kind in self._kinds if kind.country}))

    def find(self, ip: str | None) -> Place:
        """Return where an address is; `NOWHERE` if the text is no address.

        Raises:
            TypeError: `ip` is no text at all.
        """
        if not ip:
            return NOWHERE
        found = self._known.get(ip)
        if found is None:
            found = self._look_up(ip)
            if len(ip) <= _CACHED_LENGTH:
                if len(self._known) >= _CACHE_COUNT:
                    self._known.clear()
                self._known[ip] = found
        return found

    def ranges_of(self, country: str, flags: int = 0) -> npt.NDArray[np.int64]:
        """Return a country's IPv4 ranges with just these flags: first, last + 1; ``(n, 2)``."""
        kinds = [n for n, kind in enumerate(self._kinds) if kind == Place(country, flags)]
        v4 = self._columns[4]
        starts = v4.start.astype(np.int64)
        return np.stack([starts, np.append(starts[1:], 1 << 32)], axis=1)[np.isin(v4.kind, kinds)]

    def _look_up(self, ip: str) -> Place:
        address = address_of(ip)
        if address is None:
            return NOWHERE
        version, number = address
        if version == 4:  # noqa: PLR2004 - IPv4
            row = bisect_right(self._v4, number) - 1
        else:
            high, low = number >> 64, number & _LOW_64
            row = bisect_right(self._v6, high) - 1
            while self._v6[row] == high and self._v6_low[row] > low:
                row -= 1
        place = self._kinds[self._kind[version][row]]
        found = self._columns[version]
        return self._in_full(place, found, row) if found.asn.size or found.place.size else place

    def _in_full(self, place: Place, found: Columns, row: int) -> Place:
        asn = int(found.asn[row]) if found.asn.size else 0
        number = int(found.place[row]) if found.place.size else 0
        lat, lon = (int(x) for x in self._positions[number - 1]) if number else (None, None)
        return Place(place.country, place.flags, asn, lat, lon)


def _native(code: str, column: Column) -> "array[int]":
    """As Python's own array, which bisects several times faster than numpy's."""
    native = array(code)
    native.frombytes(column.astype(f"=u{native.itemsize}").tobytes())
    return native


def _planes(column: Column) -> bytes:
    """Bytes of like significance together: they deflate to a third of what mixed ones do."""
    size = column.dtype.itemsize
    return column.view(np.uint8).reshape(-1, size).T.tobytes()


def write(path: Path, credit: Credit, columns: dict[int, Columns], lists: Lists) -> None:
    """Write a table to `path`, atomically.

    Args:
        path: Where to; its folder is made when needed.
        credit: Where the data comes from.
        columns: By IP version (4 and 6).
        lists: What the columns refer to.

    Raises:
        OSError: the disk refuses.
    """
    sections: list[list[object]] = []
    body = bytearray()

    def add(name: str, column: Column) -> None:
        data = zlib.compress(_planes(column), 9)
        sections.append([name, column.dtype.str.replace("|", "<"), len(column), len(data)])
        body.extend(data)

    for version, found in columns.items():
        for name in ("start", "low", "kind", "asn", "place"):
            column = getattr(found, name)
            if name == "start":
                column = np.diff(column, prepend=column.dtype.type(0))
            add(f"v{version}.{name}", np.ascontiguousarray(column))
    add("positions", np.ascontiguousarray(lists.positions.reshape(-1)))
    header = {
        "source": credit.source,
        "date": credit.date,
        "licence": credit.licence,
        "attribution": credit.attribution,
        "kinds": lists.kinds,
        "sha256": hashlib.sha256(body).hexdigest(),
        "sections": sections,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("wb") as file:
        file.write(MAGIC + json.dumps(header, ensure_ascii=False).encode() + b"\n" + bytes(body))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def load(path: Path) -> IpTable:
    """Read a table.

    Raises:
        TableRefused: it is no table, or damaged.
        OSError: it can't be read.
    """
    data = path.read_bytes()
    end = data.find(b"\n", len(MAGIC), HEADER_BYTES_MAX)
    if not data.startswith(MAGIC) or end < 0:
        raise TableRefused(path, "is no table of addresses")
    body = memoryview(data)[end + 1 :]
    digest = hashlib.sha256(body).hexdigest()
    try:
        header = json.loads(data[len(MAGIC) : end])
        intact = header["sha256"] == digest
        table = _table(header, body, digest) if intact else None
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise TableRefused(path, f"is damaged ({type(error).__name__}: {error})") from error
    if table is None:
        raise TableRefused(path, "is damaged (its checksum is another)")
    return table


def _table(header: dict[str, Any], body: memoryview, digest: str) -> IpTable:
    found = _sections(header["sections"], body)
    columns = {version: _columns(found, version) for version in (4, 6)}
    kinds = [(code, int(flags)) for code, flags in header["kinds"]]
    lists = Lists(kinds=kinds, positions=found["positions"].reshape(-1, 2))
    credit = Credit(**{name: str(header[name]) for name in Credit.__slots__})
    return IpTable(credit, columns, lists, digest)


def _sections(rows: list[tuple[str, str, int, int]], body: memoryview) -> dict[str, Column]:
    found: dict[str, Column] = {}
    at = 0
    for name, dtype, count, size in rows:
        if dtype not in _DTYPES:
            raise ValueError(f"a column of {dtype}")
        planes = np.frombuffer(zlib.decompress(body[at : at + size]), dtype=np.uint8)
        column = np.ascontiguousarray(planes.reshape(-1, count).T if count else planes)
        found[name] = column.view(dtype).reshape(-1)
        at += size
    return found


def _columns(found: dict[str, Column], version: int) -> Columns:
    start = found[f"v{version}.start"]
    parts = {name: found[f"v{version}.{name}"] for name in Columns.__slots__}
    parts["start"] = np.cumsum(start, dtype=start.dtype)
    columns = Columns(**parts)
    if not len(columns.start) or columns.start[0] != 0:
        raise ValueError("the first range does not begin at the first address")
    return columns


@lru_cache(maxsize=1)
def shipped() -> IpTable:
    """Return the table that ships with the product, read once.

    Raises:
        TableRefused: the installation is damaged.
    """
    return load(SHIPPED)


def newest(folder: Path) -> IpTable:
    """Return the operator's own table in `folder` if there is one, else the one that ships.

    Raises:
        TableRefused: the operator's table is damaged; it is not passed over in silence.
    """
    own = folder / FILE_NAME
    return load(own) if own.exists() else shipped()
