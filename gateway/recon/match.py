"""The matcher: every record of both sides ends in exactly one class. Integers only, no I/O.

Two passes. The first pairs what agrees in key, amount and currency; it sees every row, so DuckDB
does it as one hash join. The second looks at what is left, which is little on any day that is
worth reconciling, and says why: another amount, a second copy, the wrong side of midnight, or
nothing on the other side at all.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from gateway.recon.record import Kind, Record, Window

if TYPE_CHECKING:
    import pyarrow as pa


class BreakKind(StrEnum):
    """How a record ended; those of refunds have a prefix, so that a console can tell them apart."""

    MATCHED = "MATCHED"
    AMOUNT_DIFF = "AMOUNT_DIFF"
    CURRENCY_DIFF = "CURRENCY_DIFF"
    CHANNEL_ONLY = "CHANNEL_ONLY"
    LEDGER_ONLY = "LEDGER_ONLY"
    DUPLICATE_CHANNEL = "DUPLICATE_CHANNEL"
    DUPLICATE_LEDGER = "DUPLICATE_LEDGER"
    CROSS_DAY = "CROSS_DAY"
    REFUND_AMOUNT_DIFF = "REFUND_AMOUNT_DIFF"
    REFUND_CURRENCY_DIFF = "REFUND_CURRENCY_DIFF"
    REFUND_CHANNEL_ONLY = "REFUND_CHANNEL_ONLY"
    REFUND_LEDGER_ONLY = "REFUND_LEDGER_ONLY"
    REFUND_DUPLICATE_CHANNEL = "REFUND_DUPLICATE_CHANNEL"
    REFUND_DUPLICATE_LEDGER = "REFUND_DUPLICATE_LEDGER"
    REFUND_CROSS_DAY = "REFUND_CROSS_DAY"


@dataclass(frozen=True, slots=True)
class Break:
    """One record, or one pair, that isn't simply matched.

    CROSS_DAY with both sides was found on the neighbouring day and is settled; with our side
    alone it is expected in the neighbour's bill.
    """

    kind: BreakKind
    theirs: Record | None
    ours: Record | None

    @property
    def delta_minor(self) -> dict[str, int]:
        """Theirs minus ours by currency, in minor units; refunds count down."""
        delta_minor: Counter[str] = Counter()
        if self.theirs is not None:
            delta_minor[self.theirs.currency] += self.theirs.signed_minor
        if self.ours is not None:
            delta_minor[self.ours.currency] -= self.ours.signed_minor
        return {currency: minor for currency, minor in delta_minor.items() if minor}

    @property
    def settled(self) -> bool:
        """Whether nobody needs to look at it."""
        return self.kind.endswith("CROSS_DAY") and self.theirs is not None


@dataclass(frozen=True, slots=True)
class Result:
    """What became of all records.

    Attributes:
        matched: Number of pairs that agree, on the day itself.
        breaks: Everything else, in a fixed order.
        their_rows: Records of the bill.
        our_rows: Records of the ledger on this day, and neighbours that the bill claims.
        gap_minor: Bill minus ledger by currency, in minor units; equals the sum of the breaks.
    """

    matched: int
    breaks: tuple[Break, ...]
    their_rows: int
    our_rows: int
    gap_minor: dict[str, int]


_KEY: Final = "kind, trade_no, refund_no"
_WHOLE: Final = f"{_KEY}, amount_minor, currency"
# Copies of a key are numbered, so that two of them need two on the other side. Numbering sorts,
# which is slow; it is done only for the few keys that have copies at all.
_COPIED: Final = f"""
CREATE TEMP TABLE copied AS
SELECT {_KEY} FROM theirs GROUP BY ALL HAVING count(*) > 1
UNION SELECT {_KEY} FROM ours GROUP BY ALL HAVING count(*) > 1
"""  # noqa: S608 - put together from the constants above.
_NUMBERED: Final = """
SELECT i, near, {whole}, 1 AS copy FROM {side} ANTI JOIN copied USING ({key})
UNION ALL
SELECT i, near, {whole}, row_number() OVER (PARTITION BY {whole} ORDER BY near, at_us, ref, i)
FROM {side} SEMI JOIN copied USING ({key})
"""
_LEFT: Final = f"""
WITH their AS ({_NUMBERED.format(side="theirs", whole=_WHOLE, key=_KEY)}),
our AS ({_NUMBERED.format(side="ours", whole=_WHOLE, key=_KEY)})
SELECT their.i, our.i FROM their FULL JOIN our USING ({_WHOLE}, copy)
WHERE their.i IS NULL OR our.i IS NULL OR our.near
"""  # noqa: S608 - put together from the constants above.
_COPIES: Final = f"""
SELECT {_KEY}, count(*) FROM {{side}} SEMI JOIN copied USING ({_KEY}) GROUP BY ALL
"""  # noqa: S608 - put together from the constants above.
_TOTALS: Final = """
SELECT currency, sum(CASE kind WHEN 'PAY' THEN amount_minor ELSE -amount_minor END)::BIGINT
FROM {side} WHERE NOT near GROUP BY ALL
"""

_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class _FirstPass:
    """What the hash join leaves: indexes into both sides, and how often copied keys occur."""

    left: list[tuple[int | None, int | None]]
    their_copies: dict[_Key, int]
    our_copies: dict[_Key, int]
    their_total_minor: dict[str, int]
    our_total_minor: dict[str, int]


def match(theirs: Sequence[Record], ours: Sequence[Record], window: Window) -> Result:
    """Give every record its class.

    Args:
        theirs: The bill's records, all of the window's day.
        ours: The ledger's records of the day; those of other days are neighbours, used only
            where the bill claims them.
        window: The business day.

    Returns:
        The classes, whatever the order of the input.

    Raises:
        RuntimeError: if the breaks don't add up to the gap between the totals: a defect here.
    """
    first = _first_pass(theirs, ours, window)
    crossed: list[Break] = []
    their_left: list[Record] = []
    our_left: list[Record] = []
    for their_index, our_index in first.left:
        their = None if their_index is None else theirs[their_index]
        our = None if our_index is None else ours[our_index]
        if their is not None and our is not None:
            crossed.append(Break(_named("CROSS_DAY", our), their, our))
        elif their is not None:
            their_left.append(their)
        elif our is not None:
            our_left.append(our)
    breaks = sorted([*crossed, *_second_pass(their_left, our_left, first, window)], key=_place)
    matched = len(theirs) - len(crossed) - len(their_left)
    claimed = [
        found.ours
        for found in breaks
        if found.ours is not None and not window.holds(found.ours.at_us)
    ]
    gap = Counter(first.their_total_minor)
    gap.subtract(first.our_total_minor)
    for record in claimed:
        gap[record.currency] -= record.signed_minor
    _prove(gap, breaks)
    day_rows = sum(1 for found in breaks if found.ours is not None)
    return Result(
        matched=matched,
        breaks=tuple(breaks),
        their_rows=len(theirs),
        our_rows=matched + day_rows,
        gap_minor={currency: minor for currency, minor in sorted(gap.items()) if minor},
    )


def _first_pass(theirs: Sequence[Record], ours: Sequence[Record], window: Window) -> _FirstPass:
    # Imported here: the serving process knows this module and must start without DuckDB.
    import duckdb

    with duckdb.connect(":memory:") as connection:
        connection.register("theirs", _table(theirs, window, neighbours=False))
        connection.register("ours", _table(ours, window, neighbours=True))
        connection.execute(_COPIED)

        def copies(side: str) -> dict[_Key, int]:
            rows = connection.execute(_COPIES.format(side=side)).fetchall()
            return {(row[0], row[1], row[2]): row[3] for row in rows}

        def total(side: str) -> dict[str, int]:
            return dict(connection.execute(_TOTALS.format(side=side)).fetchall())

        return _FirstPass(
            left=connection.execute(_LEFT).fetchall(),
            their_copies=copies("theirs"),
            our_copies=copies("ours"),
            their_total_minor=total("theirs"),
            our_total_minor=total("ours"),
        )


def _table(records: Sequence[Record], window: Window, *, neighbours: bool) -> "pa.Table":
    import pyarrow as pa

    columns = {
        name: list(map(itemgetter(place), records)) for place, name in enumerate(Record._fields)
    }
    numbers = ("amount_minor", "at_us")
    first_us, after_us = window.first_us, window.after_us
    near = [neighbours and not first_us <= at_us < after_us for at_us in columns["at_us"]]
    return pa.table(
        {
            "i": pa.array(range(len(records)), pa.int64()),
            "near": pa.array(near, pa.bool_()),
            **{
                name: pa.array(column, pa.int64() if name in numbers else pa.string())
                for name, column in columns.items()
            },
        }
    )


def _second_pass(
    theirs: list[Record], ours: list[Record], first: _FirstPass, window: Window
) -> Iterable[Break]:
    """Say why each of the records that are left found no equal."""
    our_by_key = _by_key(ours, window)
    their_by_key = _by_key(theirs, window)
    for key in sorted(their_by_key.keys() | our_by_key.keys()):
        their_left, our_left = their_by_key.get(key, []), our_by_key.get(key, [])
        both = min(len(their_left), len(our_left))
        for their, our in zip(their_left, our_left, strict=False):
            differs = "AMOUNT_DIFF" if their.currency == our.currency else "CURRENCY_DIFF"
            yield Break(_named(differs, their), their, our)
        # A side that has the key in another row, too, has this one as a further copy.
        their_twin = first.their_copies.get(key, 1) > len(their_left) - both
        our_twin = first.our_copies.get(key, 1) > len(our_left) - both
        for place, their in enumerate(their_left[both:]):
            alone = place == 0 and not their_twin
            yield Break(
                _named("CHANNEL_ONLY" if alone else "DUPLICATE_CHANNEL", their), their, None
            )
        day_left = [our for our in our_left[both:] if window.holds(our.at_us)]
        for place, our in enumerate(day_left):
            yield Break(_why_ours_alone(our, place > 0 or our_twin, window), None, our)


def _why_ours_alone(our: Record, twin: bool, window: Window) -> BreakKind:
    if twin:
        return _named("DUPLICATE_LEDGER", our)
    return _named("CROSS_DAY" if window.near_edge(our.at_us) else "LEDGER_ONLY", our)


def _by_key(records: list[Record], window: Window) -> dict[_Key, list[Record]]:
    """Group by key; the day's own rows first, then in an order that the input's can't change."""
    groups: dict[_Key, list[Record]] = {}
    ordered = sorted(records, key=lambda one: (not window.holds(one.at_us), one.currency, *one[3:]))
    for record in ordered:
        groups.setdefault(record.key, []).append(record)
    return groups


def _named(suffix: str, record: Record) -> BreakKind:
    return BreakKind(suffix if record.kind == Kind.PAY else f"REFUND_{suffix}")


def _place(found: Break) -> tuple[str, Record, Record]:
    theirs, ours = found.theirs or found.ours, found.ours or found.theirs
    if theirs is None or ours is None:
        raise RuntimeError("a break without any record")
    return (found.kind, theirs, ours)


def _prove(gap_minor: Counter[str], breaks: list[Break]) -> None:
    rest = Counter(gap_minor)
    for found in breaks:
        rest.subtract(found.delta_minor)
    if any(rest.values()):
        raise RuntimeError(f"the breaks don't explain the gap: {dict(rest)} is left")
