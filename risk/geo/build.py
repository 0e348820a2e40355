"""Make a table of addresses from ranges that someone else collected.

Several sources may speak about one address (a country here, the kind of network there): their
ranges are laid over each other, and neighbours that say the same become one range.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from risk.geo.address import special_ranges
from risk.geo.table import PRIVATE, Column, Columns, Credit, Lists, write

VERSIONS: Final = (4, 6)
_BITS: Final = {4: 32, 6: 128}
_LOW_64: Final = (1 << 64) - 1


class Facts(NamedTuple):
    """What a source says of a range; None where it says nothing."""

    country: str | None = None
    flags: int | None = None
    asn: int | None = None
    position: tuple[int, int] | None = None  # Latitude, longitude in millionths of a degree.


class Range(NamedTuple):
    """Addresses `first` to `last`, both included, and what is said of them."""

    first: int
    last: int
    facts: Facts


class Overlap(ValueError):
    """Two ranges of one source share addresses, or one ends before it begins."""


_SILENT: Final = Facts()
_SPECIAL: Final = Facts(flags=PRIVATE)
Merged = list[tuple[int, Facts]]


class _Layer:
    """One source's ranges, walked once from the first address to the last."""

    def __init__(self, ranges: Iterable[Range]) -> None:
        self.ranges = list(ranges)
        self._row = -1
        last = -1
        for found in self.ranges:
            if found.first <= last or found.last < found.first:
                raise Overlap(f"a range begins at {found.first}, the one before ends at {last}")
            last = found.last

    def at(self, address: int) -> Facts:
        while self._row + 1 < len(self.ranges) and self.ranges[self._row + 1].first <= address:
            self._row += 1
        inside = self._row >= 0 and address <= self.ranges[self._row].last
        return self.ranges[self._row].facts if inside else _SILENT


def overlay(version: int, sources: Iterable[Iterable[Range]]) -> Merged:
    """Return (first address, facts) of the merged ranges, from address 0 on, without gaps.

    An earlier source has the word where two say different things; flags add up. Special addresses
    (private, reserved, multicast) are in no country, whatever a source says.

    Args:
        version: 4 or 6.
        sources: Each sorted by address, its ranges apart from each other.

    Raises:
        Overlap: a source contradicts itself.
    """
    special = _Layer(Range(*pair, _SPECIAL) for pair in special_ranges(version))
    layers = [_Layer(source) for source in sources]
    edges = {0}
    for layer in (special, *layers):
        edges.update(found.first for found in layer.ranges)
        edges.update(found.last + 1 for found in layer.ranges)
    merged: Merged = []
    for first in sorted(edge for edge in edges if edge < 1 << _BITS[version]):
        reserved = special.at(first)
        facts = reserved if reserved.flags else _joined([layer.at(first) for layer in layers])
        if not merged or merged[-1][1] != facts:
            merged.append((first, facts))
    return merged


def _joined(said: list[Facts]) -> Facts:
    if len(said) == 1:
        return said[0]
    flags = 0
    for facts in said:
        flags |= facts.flags or 0
    return Facts(
        next((facts.country for facts in said if facts.country), None),
        flags,
        next((facts.asn for facts in said if facts.asn), None),
        next((facts.position for facts in said if facts.position), None),
    )


def build(path: Path, credit: Credit, merged: dict[int, Merged]) -> None:
    """Write a table of merged ranges.

    Args:
        path: Where to.
        credit: Where the data comes from.
        merged: What `overlay` returned, for IP versions 4 and 6.

    Raises:
        OSError: the disk refuses.
    """
    every = [facts for rows in merged.values() for _, facts in rows]
    kinds = sorted({_kind(facts) for facts in every}, key=lambda kind: (kind[0] or "", kind[1]))
    positions = sorted({facts.position for facts in every if facts.position})
    kind_numbers = {kind: number for number, kind in enumerate(kinds)}
    place_numbers: dict[tuple[int, int] | None, int] = {None: 0}
    place_numbers |= {pair: number for number, pair in enumerate(positions, start=1)}
    columns = {
        version: _columns(version, merged[version], kind_numbers, place_numbers)
        for version in VERSIONS
    }
    lists = Lists(kinds=kinds, positions=np.array(positions, dtype="<i4").reshape(-1, 2))
    write(path, credit, columns, lists)


def _kind(facts: Facts) -> tuple[str | None, int]:
    return facts.country, facts.flags or 0


def _columns(
    version: int,
    rows: Merged,
    kinds: dict[tuple[str | None, int], int],
    places: dict[tuple[int, int] | None, int],
) -> Columns:
    def column(dtype: str, read: Callable[[Facts], int]) -> Column:
        return np.array([read(facts) for _, facts in rows], dtype=dtype)

    def optional(dtype: str, read: Callable[[Facts], int]) -> Column:
        found = column(dtype, read)
        return found if found.any() else found[:0]

    short = version == VERSIONS[0]
    starts = [first if short else first >> 64 for first, _ in rows]
    return Columns(
        start=np.array(starts, dtype="<u4" if short else "<u8"),
        low=np.array([] if short else [first & _LOW_64 for first, _ in rows], dtype="<u8"),
        kind=column("<u2", lambda facts: kinds[_kind(facts)]),
        asn=optional("<u4", lambda facts: facts.asn or 0),
        place=optional("<u4", lambda facts: places[facts.position]),
    )
