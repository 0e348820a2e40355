"""From checked trees to one Python function: the form in which rules run on the way of a payment.

The text of the function is made from the tree alone; nothing an author wrote reaches it. It
raises nothing, allocates nothing that grows, and has no loop: its cost is bounded by the size of
the rules (`LENGTH_MAX`, `PART_COUNT_MAX`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, cast

from risk.features.catalogue import PLACES
from risk.features.event import AMOUNT, AT_US, PRESENCE
from risk.rules.lists import NO_LISTS, Lists
from risk.rules.tree import (
    And,
    Arithmetic,
    Compare,
    Divide,
    FeatureRef,
    FieldRef,
    ListMembership,
    Membership,
    Negate,
    Not,
    Number,
    NumberMissing,
    Numeric,
    Or,
    Truth,
    WordCompare,
    WordMembership,
    WordMissing,
    WordPair,
    features_of,
)

Evaluate = Callable[[Sequence[float], Sequence[int]], int]
"""(features, the event's integers) -> a bit for each rule that fired."""
_AMOUNT_PLACE: Final = PLACES["amount"]
# Python compiles a function in one go, during which no payment moves: so only a few rules each.
_CHUNK_COUNT: Final = 16


@dataclass(frozen=True, slots=True)
class Timed:
    """A rule's tree and the times between which it counts.

    Attributes:
        tree: What it says.
        valid_from_us: It counts for events at or after this, Unix microseconds.
        valid_to_us: And before this; 0 has no end.
    """

    tree: Truth
    valid_from_us: int = 0
    valid_to_us: int = 0


def needs_features(tree: Truth) -> bool:
    """Return whether a rule can't be run from the event alone (which holds the amount)."""
    return any(place != _AMOUNT_PLACE for place in features_of(tree))


class _Writer:
    """Writes nodes as Python; collects the lists they look up."""

    def __init__(self, lists: Lists, *, event_alone: bool) -> None:
        self._lists = lists
        self._event_alone = event_alone
        self._names: dict[tuple[str, str], str] = {}
        self.scope: dict[str, Callable[[int, int], int]] = {}

    def truth(self, node: Truth) -> str:
        """Write a yes or no."""
        match node:
            case And():
                return f"({' and '.join(self.truth(part) for part in node.parts)})"
            case Or():
                return f"({' or '.join(self.truth(part) for part in node.parts)})"
            case Not():
                return f"(not {self.truth(node.part)})"
            case Compare() | Membership() | NumberMissing():
                return f"({self._about_number(node)})"
            case _:
                return f"({self._about_word(node)})"

    def _about_number(self, node: Compare | Membership | NumberMissing) -> str:
        if isinstance(node, Compare):
            return self._compare(node)
        number = self._number(node.operand)
        if isinstance(node, NumberMissing):
            return f"{number} != {number}"
        choices = "".join(f"{choice!r}, " for choice in node.choices)
        if node.negated:
            return f"{number} == {number} and {number} not in ({choices})"
        return f"{number} in ({choices})"

    def _compare(self, node: Compare) -> str:
        a, b = self._number(node.left), self._number(node.right)
        # Missing is NaN, and NaN != x would be true.
        return f"{a} < {b} or {a} > {b}" if node.sign == "!=" else f"{a} {node.sign} {b}"

    def _about_word(
        self, node: WordMissing | WordCompare | WordPair | WordMembership | ListMembership
    ) -> str:
        # 0 is "not sent": it equals nothing, differs from nothing and is on no list.
        if isinstance(node, WordPair):
            left, right = f"e[{node.left.index}]", f"e[{node.right.index}]"
            return f"{left} != 0 and {right} != 0 and {left} {node.sign} {right}"
        word = f"e[{node.word.index}]"
        if isinstance(node, WordMissing):
            return f"{word} == 0"
        if isinstance(node, WordCompare):
            return f"{word} != 0 and {word} {node.sign} {node.number}"
        if isinstance(node, ListMembership):
            sign = "<=" if node.negated else ">"
            return f"{word} != 0 and {self._list(node)}({word}, 0) {sign} e[{AT_US}]"
        negated = "not " if node.negated else ""
        # Constants in braces are one frozenset, made when the function is compiled.
        return f"{word} != 0 and {word} {negated}in {{{', '.join(map(str, node.numbers))}}}"

    def _number(self, node: Numeric) -> str:
        match node:
            case Number():
                return repr(node.value)
            case FeatureRef():
                # `needs_features` lets only the amount through.
                return f"e[{AMOUNT}]" if self._event_alone else f"v[{node.place}]"
            case FieldRef():
                return f"(e[{node.index}] if e[{PRESENCE}] >> {node.bit} & 1 else nan)"
            case Negate():
                return f"(-{self._float(node.operand)})"
            case Arithmetic():
                return f"({self._float(node.left)} {node.sign} {self._float(node.right)})"
            case Divide():
                return f"divide({self._float(node.left)}, {self._float(node.right)})"

    def _float(self, node: Numeric) -> str:
        # An event's integers become floats before arithmetic, or they would outgrow them.
        code = self._number(node)
        whole = isinstance(node, FieldRef) or (self._event_alone and isinstance(node, FeatureRef))
        return f"({code} * 1.0)" if whole else code

    def _list(self, node: ListMembership) -> str:
        key = (node.list_name, node.word.kind)
        if key not in self._names:
            found = self._lists.by_name[node.list_name].of_kind(node.word.kind)
            self._names[key] = f"list{len(self._names)}"
            self.scope[self._names[key]] = found.get
        return self._names[key]


def _divide(left: float, right: float) -> float:
    return left / right if right else math.nan


def _when(rule: Timed) -> str:
    since = f"e[{AT_US}] >= {rule.valid_from_us} and " if rule.valid_from_us else ""
    until = f"e[{AT_US}] < {rule.valid_to_us} and " if rule.valid_to_us else ""
    return since + until


def compile_trees(
    rules: Sequence[Timed], lists: Lists = NO_LISTS, *, event_alone: bool = False
) -> Evaluate:
    """Compile rules to one function that returns a bit for each that fired.

    Args:
        rules: At most as many as wanted; rule `n` sets bit `n`.
        lists: What the lists hold that they name.
        event_alone: Read the amount from the event; no rule may need another feature.

    Returns:
        A function of the features (float64, catalogue order) and the event's integers.

    Raises:
        KeyError: a rule names a list that is not there.
        ValueError: `event_alone`, but a rule needs features.
    """
    if event_alone and any(needs_features(rule.tree) for rule in rules):
        raise ValueError("a rule needs features")
    starts = range(0, len(rules), _CHUNK_COUNT)
    parts = [_compile_some(rules[at : at + _CHUNK_COUNT], lists, event_alone) for at in starts]
    if len(parts) == 1:
        return parts[0]
    scope: dict[str, object] = {f"part{at}": part for at, part in enumerate(parts)}
    shifted = [f"part{at}(v, e) << {at * _CHUNK_COUNT}" for at in range(len(parts))]
    return _function([f" return {' | '.join(shifted) or '0'}"], scope)


def _compile_some(rules: Sequence[Timed], lists: Lists, event_alone: bool) -> Evaluate:
    writer = _Writer(lists, event_alone=event_alone)
    lines = [" hits = 0"]
    for place, rule in enumerate(rules):
        lines += [f" if {_when(rule)}{writer.truth(rule.tree)}:", f"  hits |= {1 << place}"]
    lines.append(" return hits")
    return _function(lines, {"nan": math.nan, "divide": _divide} | writer.scope)


def _function(lines: list[str], scope: dict[str, object]) -> Evaluate:
    scope["__builtins__"] = {}
    # Generated here from checked trees: numbers and operators, no text of an author.
    exec(compile("\n".join(["def evaluate(v, e):", *lines]), "<rules>", "exec"), scope)  # noqa: S102
    return cast("Evaluate", scope["evaluate"])
