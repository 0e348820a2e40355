"""A feature is declared once; online value, training column, documentation and console use that.

Two implementations of one feature drift apart sooner or later. Here a declaration is data: which
observed integers (cells) it is made from and by which operation. The kernel interprets it, the
catalogue documents it, nothing is written twice.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from risk.features.finish import CONSTANT, OPERANDS, OPERATIONS, PLAN_WIDTH
from risk.features.layout import CELL
from risk.features.needs import is_kept

DAY_MS: Final = 86_400_000
US: Final = 1_000_000


class Family(StrEnum):
    """The seven kinds of evidence."""

    DEVICE = "device"
    BEHAVIOUR = "behaviour"
    GEO = "geo"
    AMOUNT = "amount"
    TIME = "time"
    GRAPH = "graph"
    MERCHANT = "merchant"


class Unit(StrEnum):
    """What a feature's number counts."""

    COUNT = "count"
    MINOR = "minor"
    SECONDS = "s"
    MILLISECONDS = "ms"
    DAYS = "days"
    KM = "km"
    KMH = "km/h"
    RATIO = "ratio"
    FLAG = "flag"
    SCORE = "score"


@dataclass(frozen=True, slots=True)
class Formula:
    """An operation of `risk.features.finish` over named cells.

    Raises:
        ValueError: unknown operation or cell, or the wrong number of cells.
    """

    operation: str
    cells: tuple[str, ...]
    constant: int = 1

    def __post_init__(self) -> None:
        if self.operation not in OPERATIONS:
            raise ValueError(f"unknown operation {self.operation!r}")
        unknown = [cell for cell in self.cells if cell not in CELL]
        if unknown:
            raise ValueError(f"unknown cells {unknown}")
        lost = [cell for cell in self.cells if not is_kept(cell)]
        if lost:
            raise ValueError(f"{lost} is not kept for this kind of entity, see needs.KEPT")
        wanted = OPERANDS[OPERATIONS.index(self.operation)]
        if len(self.cells) != wanted:
            raise ValueError(f"{self.operation} takes {wanted} cells, got {len(self.cells)}")

    def compiled(self) -> list[int]:
        """Return the plan row; unused operands repeat the first, so they can't be unknown."""
        places = [CELL[cell] for cell in self.cells]
        places += [places[0]] * (CONSTANT - 1 - len(places))
        row = [OPERATIONS.index(self.operation), *places, self.constant]
        if len(row) != PLAN_WIDTH:
            raise ValueError(f"a plan row has {PLAN_WIDTH} numbers, got {len(row)}")
        return row

    def __str__(self) -> str:
        constant = f"; {self.constant}" if self.constant != 1 else ""
        return f"{self.operation}({', '.join(self.cells)}{constant})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One number about a payment, known the moment before the payment counts.

    Attributes:
        name: Stable; models and rules refer to it.
        family: Kind of evidence.
        formula: How it is made.
        unit: What it counts.
        meaning_en: One sentence.
        meaning_zh: The same in Chinese.
        catches: The fraud it is there for.
    """

    name: str
    family: Family
    formula: Formula
    unit: Unit
    meaning_en: str
    meaning_zh: str
    catches: str


def cells_of(features: Iterable[Feature]) -> set[str]:
    """Return the names of all cells that features are made from."""
    return {cell for feature in features for cell in feature.formula.cells}


def value(cell: str, per: int = 1) -> Formula:
    """The cell itself, divided by `per` (a unit's size)."""
    return Formula("value", (cell,), per)


def ratio(above: str, below: str, times: int = 1) -> Formula:
    """``above × times ÷ below``; missing when there is nothing below."""
    return Formula("ratio", (above, below), times)


def share(part: str, rest: str) -> Formula:
    """``part ÷ (part + rest)``; missing when both are 0."""
    return Formula("share", (part, rest))


def bit(cell: str, mask: int) -> Formula:
    """1 if any of the mask's bits is set."""
    return Formula("bit", (cell,), mask)


def bits(cell: str) -> Formula:
    """How many bits are set."""
    return Formula("bits", (cell,))


def equals(cell: str, constant: int) -> Formula:
    """1 if the cell is `constant`."""
    return Formula("equals", (cell,), constant)


def multiple(cell: str, constant: int) -> Formula:
    """1 if the cell is a multiple of `constant`, and not 0."""
    return Formula("multiple", (cell,), constant)


def over_mean(cell: str, total: str, count: str) -> Formula:
    """The cell as a multiple of a mean."""
    return Formula("over_mean", (cell, total, count))


def flow(first: str, second: str, below: str) -> Formula:
    """``(first + second) ÷ below``."""
    return Formula("flow", (first, second, below))


def relative(role: str, other: str, above: str, below: str) -> Formula:
    """A ratio of two cells of a role over the same ratio of another."""
    return Formula(
        "relative", tuple(f"{r}.{cell}" for r in (role, other) for cell in (above, below))
    )


def after(count: str, part: str, whole: str, least: int) -> Formula:
    """1 if there were at least `least` and `part` is 95 % of `whole` or more."""
    return Formula("after", (count, part, whole), least)


def repeated(cell: str) -> Formula:
    """1 if the number is one digit at least three times, then zeros."""
    return Formula("repeated", (cell,))


def deviation(role: str, window: str) -> Formula:
    """Standard deviation of a role's amounts over ``7d`` or ``30d``."""
    return Formula("std", _moments(role, window))


def zscore(role: str, window: str) -> Formula:
    """How many deviations the amount is from a role's mean over ``7d`` or ``30d``."""
    return Formula("zscore", ("event.amount", *_moments(role, window)))


def genuine_zscore(role: str) -> Formula:
    """How many deviations the amount is from a role's payments known to be genuine."""
    names = ("genuine_all", "genuine_sum", "genuine_square_high", "genuine_square_low")
    return Formula("zscore", ("event.amount", *(f"{role}.{name}" for name in names)))


def spread(role: str) -> Formula:
    """Deviation of the gaps between a role's last attempts, as a part of their mean."""
    names = ("gap_count", "gap_sum_ms", "gap_square_high", "gap_square_low")
    return Formula("spread", tuple(f"{role}.{name}" for name in names))


def _moments(role: str, window: str) -> tuple[str, ...]:
    names = ("count", "sum", "square_high", "square_low")
    return tuple(f"{role}.{name}_{window}" for name in names)
