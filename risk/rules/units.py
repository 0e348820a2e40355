"""Units of what a rule compares, so that minutes are not read as milliseconds.

Every feature and field has a measure. A plain number takes the unit of what it meets; a quantity
such as ``yuan(500)`` or ``minutes(5)`` is converted to it, exactly, and rounded to a float once.
Constants stay fractions until they meet something measured.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, TypeAlias

from risk.features.catalogue import FEATURES
from risk.features.definition import Unit
from risk.rules.tree import Arithmetic, Divide, Number, Numeric

Sign: TypeAlias = Literal["+", "-", "*", "/"]
DECIMAL_EXPONENT_MAX: Final = 300  # Beyond this a float is near its end.


@dataclass(frozen=True, slots=True)
class Measure:
    """A unit.

    Attributes:
        name: As shown.
        dimension: What it measures; only one dimension's units convert into each other.
        size: How many of the dimension's smallest unit it is.
        constructor: What to call for a quantity in the dimension; '' if there is nothing.
    """

    name: str
    dimension: str
    size: int = 1
    constructor: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether it only counts or weighs, so that multiplying by it keeps a unit."""
        return self.dimension in {"count", "ratio", "score"}


COUNT: Final = Measure("count", "count")
RATIO: Final = Measure("ratio", "ratio")
SCORE: Final = Measure("score", "score")
MINOR: Final = Measure("minor", "money", 1, "yuan")
US: Final = Measure("µs", "time", 1, "seconds")
MS: Final = Measure("ms", "time", 1_000, "seconds")
SECOND: Final = Measure("s", "time", 1_000_000, "seconds")
MINUTE: Final = Measure("min", "time", 60_000_000, "minutes")
DAY: Final = Measure("days", "time", 86_400_000_000, "days")
METRE: Final = Measure("m", "length", 1, "km")
KM: Final = Measure("km", "length", 1_000, "km")
KMH: Final = Measure("km/h", "speed")
MICRODEGREE: Final = Measure("millionths of a degree", "angle")
PPM: Final = Measure("millionths", "millionths")
CODE: Final = Measure("code", "code")
BITS: Final = Measure("bits", "bits")

# Constructor -> (dimension, how many of its smallest unit).
CONSTRUCTORS: Final = {
    "yuan": ("money", 100),
    "seconds": ("time", 1_000_000),
    "minutes": ("time", 60_000_000),
    "hours": ("time", 3_600_000_000),
    "days": ("time", 86_400_000_000),
    "km": ("length", 1_000),
}
_SMALLEST: Final = {"money": MINOR, "time": US, "length": METRE}
_OF_FEATURE: Final = {
    Unit.COUNT: COUNT,
    Unit.MINOR: MINOR,
    Unit.SECONDS: SECOND,
    Unit.MILLISECONDS: MS,
    Unit.DAYS: DAY,
    Unit.KM: KM,
    Unit.KMH: KMH,
    Unit.RATIO: RATIO,
    Unit.FLAG: COUNT,  # 0 or 1, and two flags add up to a count.
    Unit.SCORE: SCORE,
}
_BY_SUFFIX: Final = (
    ("_us", US),
    ("_ms", MS),
    ("_s", SECOND),
    ("_min", MINUTE),
    ("_days", DAY),
    ("_m", METRE),
    ("_km", KM),
)
_BY_NAME: Final = {
    "lat": MICRODEGREE,
    "lon": MICRODEGREE,
    "coupon": MINOR,
    "straightness": PPM,
    "touch_var": PPM,
    "motion": PPM,
    "pad_score": PPM,
    "iad_score": PPM,
    "attestation": CODE,
    "three_ds": CODE,
    "funding": CODE,
    "avs": CODE,
    "holiday": CODE,
    "risk_labels": BITS,
    "mismatches": BITS,
    "language_gaps": BITS,
    "ip_flags": BITS,
    "agent_mask": BITS,
    "gps_ip_km": KM,
    "pasted": BITS,
}


def _by_suffix(name: str) -> Measure | None:
    return next((measure for end, measure in _BY_SUFFIX if name.endswith(end)), None)


def measure_of_feature(name: str, unit: Unit) -> Measure:
    """Return the unit of a feature: as declared, a count by its suffix if it has one."""
    # A count of minutes is declared a count: its name says what of.
    return (_by_suffix(name) or COUNT) if unit is Unit.COUNT else _OF_FEATURE[unit]


FEATURE_MEASURES: Final = tuple(
    measure_of_feature(feature.name, feature.unit) for feature in FEATURES
)


def measure_of_field(name: str) -> Measure:
    """Return the unit of a context field: by its name, its suffix, else it counts.

    Examples:
        >>> measure_of_field("form_ms").name, measure_of_field("pages").name
        ('ms', 'count')
    """
    return _BY_NAME.get(name) or _by_suffix(name) or COUNT


@dataclass(frozen=True, slots=True)
class Constant:
    """A number of the author's; `value` counts the smallest unit of `dimension`, '' for none."""

    value: Fraction
    dimension: str
    text: str


@dataclass(frozen=True, slots=True)
class Measured:
    """A numeric node, its unit and the text it stands for."""

    node: Numeric
    measure: Measure
    text: str


Term: TypeAlias = Constant | Measured


class Clash(Exception):
    """Two terms can't meet; holds a code of `risk.rules.problems` and its values."""

    def __init__(self, code: str, **values: object) -> None:
        super().__init__(code)
        self.code = code
        self.values = values


def number(value: Fraction) -> Number:
    """Round a fraction to a constant, once.

    Raises:
        Clash: it is too large for a float.
    """
    if abs(value) >= 10**DECIMAL_EXPONENT_MAX:
        raise Clash("large")
    return Number(float(value))


def _unit_name(term: Term) -> str:
    if isinstance(term, Measured):
        return term.measure.name
    return term.dimension or "no unit"


def _clash(left: Term, right: Term) -> Clash:
    values = {
        "left_name": left.text,
        "left": _unit_name(left),
        "right_name": right.text,
        "right": _unit_name(right),
    }
    if isinstance(left, Measured) and isinstance(right, Measured):
        same = left.measure.dimension == right.measure.dimension
        if same and left.measure.constructor:
            return Clash("scale", **values, unit=left.measure.constructor)
    return Clash("units", **values)


def _in_unit_of(constant: Constant, other: Measured, *, clash: Clash) -> Number:
    if not constant.dimension:
        return number(constant.value)
    if constant.dimension != other.measure.dimension:
        raise clash
    return number(constant.value / other.measure.size)


def alike(left: Term, right: Term) -> tuple[Numeric, Numeric, Measure | None]:
    """Return both sides in one unit, to be compared or added; None is the unit of plain numbers.

    Raises:
        Clash: they have different units.
    """
    match left, right:
        case Constant(), Constant():
            if left.dimension != right.dimension:
                raise _clash(left, right)
            return number(left.value), number(right.value), None
        case Constant(), Measured():
            return _in_unit_of(left, right, clash=_clash(left, right)), right.node, right.measure
        case Measured(), Constant():
            return left.node, _in_unit_of(right, left, clash=_clash(left, right)), left.measure
        case Measured(), Measured() if left.measure == right.measure:
            return left.node, right.node, left.measure
    raise _clash(left, right)


def _fixed(constant: Constant) -> Measured:
    """Give a constant the smallest unit of its dimension; a plain one is a ratio."""
    measure = _SMALLEST[constant.dimension] if constant.dimension else RATIO
    return Measured(number(constant.value), measure, constant.text)


def _folded(sign: Sign, left: Constant, right: Constant, text: str) -> Constant:
    a, b = left.value, right.value
    if sign in {"+", "-"}:
        if left.dimension != right.dimension:
            raise _clash(left, right)
        return Constant(a + b if sign == "+" else a - b, left.dimension, text)
    if sign == "*":
        if left.dimension and right.dimension:
            raise _no_unit(sign, left, right)
        return Constant(a * b, left.dimension or right.dimension, text)
    if not b:
        raise Clash("zero")
    if left.dimension == right.dimension:
        return Constant(a / b, "", text)
    if right.dimension:
        raise _no_unit(sign, left, right)
    return Constant(a / b, left.dimension, text)


def _no_unit(sign: Sign, left: Term, right: Term) -> Clash:
    return Clash("no_unit", left=_unit_name(left), sign=sign, right=_unit_name(right))


def arithmetic(sign: Sign, left: Term, right: Term, text: str) -> Term:
    """Return what two terms make, in its unit.

    Raises:
        Clash: the units don't go together, a constant is too large or divides by zero.
    """
    if isinstance(left, Constant) and isinstance(right, Constant):
        return _folded(sign, left, right, text)
    if sign in {"+", "-"}:
        one, other, measure = alike(left, right)
        node = Arithmetic("+" if sign == "+" else "-", one, other)
        return Measured(node, measure or RATIO, text)
    return _product(left, right, text) if sign == "*" else _quotient(left, right, text)


def _product(left: Term, right: Term, text: str) -> Term:
    a = _fixed(left) if isinstance(left, Constant) else left
    b = _fixed(right) if isinstance(right, Constant) else right
    node = Arithmetic("*", a.node, b.node)
    if isinstance(left, Constant) and not left.dimension:
        return Measured(node, b.measure, text)
    if isinstance(right, Constant) and not right.dimension:
        return Measured(node, a.measure, text)
    if a.measure.is_plain and b.measure.is_plain:
        return Measured(node, COUNT if a.measure == b.measure == COUNT else RATIO, text)
    if a.measure.is_plain or b.measure.is_plain:
        return Measured(node, b.measure if a.measure.is_plain else a.measure, text)
    raise _no_unit("*", left, right)


def _quotient(left: Term, right: Term, text: str) -> Term:
    if isinstance(right, Constant) and not right.dimension:
        a = _fixed(left) if isinstance(left, Constant) else left
        return Measured(Divide(a.node, number(right.value)), a.measure, text)
    a, b = _one_scale(left, right)
    node = Divide(a.node, b.node)
    if a.measure == b.measure or (a.measure.is_plain and b.measure.is_plain):
        return Measured(node, RATIO, text)
    if b.measure.is_plain:
        return Measured(node, a.measure, text)
    if a.measure.dimension == b.measure.dimension:
        raise _clash(left, right)
    raise _no_unit("/", left, right)


def _one_scale(left: Term, right: Term) -> tuple[Measured, Measured]:
    """Turn a quantity beside something of its own dimension into that unit."""
    if isinstance(left, Measured) and isinstance(right, Constant):
        if right.dimension == left.measure.dimension:
            value = number(right.value / left.measure.size)
            return left, Measured(value, left.measure, right.text)
        return left, _fixed(right)
    if isinstance(left, Constant) and isinstance(right, Measured):
        if left.dimension == right.measure.dimension:
            value = number(left.value / right.measure.size)
            return Measured(value, right.measure, left.text), right
        return _fixed(left), right
    if isinstance(left, Measured) and isinstance(right, Measured):
        return left, right
    raise TypeError("two constants fold")  # `arithmetic` folds them before.
