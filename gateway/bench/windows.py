"""The twelve window features the Handbook publishes, declared for the engine.

Customer: payments and their mean amount; terminal: payments and the share of fraud among the
verdicts known, a week after each payment; all over 1, 7 and 30 days. Windows are the engine's
(`risk.features.layout`): 25 tiles of an hour, 8 and 31 of a day, the present payment in none.
"""

from typing import Final

from risk.features.definition import Family, Feature, Formula, Unit
from risk.features.layout import CELL

WINDOWS: Final = ("24h", "7d", "30d")


def _feature(name: str, formula: Formula, unit: Unit) -> Feature:
    return Feature(
        name=name,
        family=Family.AMOUNT,
        formula=formula,
        unit=unit,
        meaning_en="For this benchmark.",
        meaning_zh="仅用于基准测试",
        catches="nothing",
    )


def _formulas() -> dict[str, tuple[str, tuple[str, ...], Unit]]:
    formulas: dict[str, tuple[str, tuple[str, ...], Unit]] = {}
    for over in WINDOWS:
        count, total = f"user.count_{over}", f"user.sum_{over}"
        fraud, genuine = f"payee.fraud_{over}", f"payee.genuine_{over}"
        formulas |= {
            f"customer_count_{over}": ("value", (count,), Unit.COUNT),
            f"customer_mean_{over}": ("ratio", (total, count), Unit.MINOR),
            f"terminal_count_{over}": ("value", (f"payee.count_{over}",), Unit.COUNT),
            f"terminal_risk_{over}": ("share", (fraud, genuine), Unit.RATIO),
        }
    return formulas


def _kept(cells: tuple[str, ...]) -> bool:
    return all(cell in CELL for cell in cells)


FEATURES: Final = tuple(
    _feature(name, Formula(operation, cells), unit)
    for name, (operation, cells, unit) in _formulas().items()
    if _kept(cells)
)
# Windows the engine doesn't keep: they are left out and named, never approximated.
ABSENT: Final = tuple(name for name, (_, cells, _) in _formulas().items() if not _kept(cells))
