"""Rules over columns: the tree of a rule evaluated for a block of payments at once.

The compiled Python function of `risk.rules` decides one payment; this decides a block of them and
must agree row by row. numpy's floats compare as Python's do (a comparison with NaN is false), so
missing evidence means the same here without a special case. Only the columns a rule names are
read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from risk.features.event import AT_US, PRESENCE
from risk.rules import tree
from risk.rules.emit import Timed
from risk.rules.lists import Lists

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

# Above so many choices a sorted search beats one comparison each.
CHOICES_COMPARED_MAX: Final = 8
_SIGNS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
}


class Columns(Protocol):
    """What a rule reads."""

    @property
    def rows_count(self) -> int:
        """How many payments."""

    def feature(self, place: int) -> Floats:
        """Return a feature by its place in the vector; NaN is missing."""

    def field(self, index: int) -> Ints:
        """Return an integer of the event by its index."""


@dataclass(frozen=True)
class Listed:
    """A named list ready for columns: numbers, ascending, each with the time it expires at.

    Attributes:
        numbers: What is on the list.
        expires_at_us: From when it no longer counts; as long as `numbers`.
    """

    numbers: Ints
    expires_at_us: Ints

    def holds(self, numbers: Ints, at_us: Ints) -> Mask:
        """Return which of the numbers were on the list at their own time."""
        if not len(self.numbers):
            return np.zeros(len(numbers), dtype=np.bool_)
        places = np.minimum(np.searchsorted(self.numbers, numbers), len(self.numbers) - 1)
        held: Mask = (self.numbers[places] == numbers) & (at_us < self.expires_at_us[places])
        return held


_NOTHING: Final = Listed(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
ListedByName = Mapping[tuple[str, str], Listed]
"""(name of a list, kind of word) -> what is on it."""


def listed(lists: Lists) -> ListedByName:
    """Make all lists ready for columns."""
    return {
        (name, kind): _sorted(entries)
        for name, found in lists.by_name.items()
        for kind, entries in found.entries.items()
    }


def _sorted(entries: Mapping[int, int]) -> Listed:
    numbers = np.array(sorted(entries), dtype=np.int64)
    return Listed(numbers, np.array([entries[number] for number in numbers.tolist()], np.int64))


def fired(rule: Timed, columns: Columns, lists: ListedByName) -> Mask:
    """Return for which payments a rule is true.

    Args:
        rule: Its checked tree, and when it counts.
        columns: The payments.
        lists: What is on the lists; one that is not there is empty.
    """
    with np.errstate(all="ignore"):
        mask = _truth(rule.tree, columns, lists)
    # A rule of constants alone is one truth for all.
    mask = np.broadcast_to(mask, (columns.rows_count,))
    if rule.valid_from_us:
        mask = mask & (columns.field(AT_US) >= rule.valid_from_us)
    if rule.valid_to_us:
        mask = mask & (columns.field(AT_US) < rule.valid_to_us)
    return mask


def _truth(node: tree.Truth, columns: Columns, lists: ListedByName) -> Mask:  # noqa: PLR0911 - one return a kind of node
    match node:
        case tree.And():
            return _all_of(node, columns, lists)
        case tree.Or():
            return reduce(np.logical_or, (_truth(part, columns, lists) for part in node.parts))
        case tree.Not():
            return np.logical_not(_truth(node.part, columns, lists))
        case tree.Compare():
            return _compared(node.sign, _number(node.left, columns), _number(node.right, columns))
        case tree.Membership():
            return _chosen(_number(node.operand, columns), node)
        case tree.NumberMissing():
            return np.isnan(_number(node.operand, columns))
        case _:
            return _word(node, columns, lists)


def _all_of(node: tree.And, columns: Columns, lists: ListedByName) -> Mask:
    mask = _truth(node.parts[0], columns, lists)
    for part in node.parts[1:]:
        if not mask.any():
            return mask
        mask = np.logical_and(mask, _truth(part, columns, lists))
    return mask


def _compared(sign: str, left: Floats, right: Floats) -> Mask:
    if sign == "!=":  # NaN differs from everything for numpy; here missing differs from nothing.
        unequal: Mask = np.logical_or(np.less(left, right), np.greater(left, right))
        return unequal
    mask: Mask = _SIGNS[sign](left, right)
    return mask


def _chosen(values: Floats, node: tree.Membership) -> Mask:
    if len(node.choices) <= CHOICES_COMPARED_MAX:
        found = np.zeros(values.shape, dtype=np.bool_)
        for choice in node.choices:
            found |= values == choice
    else:
        found = np.isin(values, np.array(node.choices))
    chosen: Mask = ~np.isnan(values) & (~found if node.negated else found)
    return chosen


def _word(node: tree.Truth, columns: Columns, lists: ListedByName) -> Mask:
    found: Mask
    match node:
        case tree.WordMissing():
            found = columns.field(node.word.index) == 0
            return found
        case tree.WordPair():
            other = columns.field(node.right.index)
            found = columns.field(node.left.index) == other
            found = _sent(node.left, columns, found, node.sign == "!=") & (other != 0)
            return found
        case tree.WordCompare():
            found = columns.field(node.word.index) == node.number
            return _sent(node.word, columns, found, node.sign == "!=")
        case tree.WordMembership():
            choices = np.array(node.numbers, dtype=np.int64)
            found = np.isin(columns.field(node.word.index), choices)
            return _sent(node.word, columns, found, node.negated)
        case tree.ListMembership():
            held = lists.get((node.list_name, node.word.kind), _NOTHING)
            found = held.holds(columns.field(node.word.index), columns.field(AT_US))
            return _sent(node.word, columns, found, node.negated)
        case _:
            raise TypeError(f"{type(node).__name__} is no yes or no")


def _sent(word: tree.WordRef, columns: Columns, found: Mask, negated: bool) -> Mask:
    """A word that was not sent is neither among some nor among the others."""
    mask: Mask = (columns.field(word.index) != 0) & (~found if negated else found)
    return mask


def _number(node: tree.Numeric, columns: Columns) -> Floats:
    match node:
        case tree.Number():
            return np.asarray(node.value, dtype=np.float64)
        case tree.FeatureRef():
            return columns.feature(node.place)
        case tree.FieldRef():
            known = (columns.field(PRESENCE) >> node.bit) & 1
            return np.where(known != 0, columns.field(node.index).astype(np.float64), np.nan)
        case tree.Negate():
            return np.negative(_number(node.operand, columns))
        case tree.Divide():
            left, right = _number(node.left, columns), _number(node.right, columns)
            return np.where(np.equal(right, 0.0), np.nan, np.divide(left, right))
        case tree.Arithmetic():
            left, right = _number(node.left, columns), _number(node.right, columns)
            number: Floats = _SIGNS[node.sign](left, right)
            return number
