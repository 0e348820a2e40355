"""The language of rules: from text to a checked tree, or a refusal that says what to write.

An expression is written in Python's syntax and means less: features and fields of the payment,
numbers with or without a unit (``yuan(500)``, ``minutes(5)``), words, ``+ - * /``, comparisons,
``in {…}``, ``in list("…")``, ``and or not``, and ``missing(name)``. Nothing else parses: no
attributes, no subscripts, no other calls. What the tree means is said in `risk.rules.tree`; units
in `risk.rules.units`. docs/RULES.md is the page for authors.

Missing evidence makes a comparison false (never true, and never an error), division by zero gives
missing. Identities and words (`pay_type == "wechat"`, `mcc in {"7995"}`) become the numbers the
log holds, so a rule can be run again over the log years later.
"""

import ast
import unicodedata
from collections.abc import Collection, Sequence
from fractions import Fraction
from typing import Final, cast

from risk.features.catalogue import PLACES
from risk.features.definition import Feature
from risk.features.event import FIRST_CONTEXT, INDEX
from risk.rules import tree, units
from risk.rules.names import (
    CODE_LETTERS,
    NAMES,
    NUMBERS,
    PERSONS,
    WORDS,
    NumberOf,
    closest,
    kind_of,
    number_of,
)
from risk.rules.problems import RuleError
from risk.rules.tree import CompareSign, Truth, WordRef
from risk.rules.units import CONSTRUCTORS, Clash, Constant, Measured, Sign, Term

LENGTH_MAX: Final = 2_000
PART_COUNT_MAX: Final = 200
DEPTH_MAX: Final = 30
_TEXT_SHOWN: Final = 40
_NUMBER_DIGITS_MAX: Final = 10**units.DECIMAL_EXPONENT_MAX
_SIGNS: Final[dict[type[ast.operator], Sign]] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
}
_COMPARE: Final[dict[type[ast.cmpop], CompareSign]] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}


class _Checker:
    """Turns one parsed expression into a tree, or refuses it."""

    def __init__(
        self, rule: str, text: str, list_names: Collection[str] | None, numbers: NumberOf
    ) -> None:
        self._rule = rule
        self._text = text
        self._list_names = list_names
        self._number_of = numbers
        self._depth = 0
        self.drafted: dict[str, tuple[int, units.Measure]] = {}

    def truth(self, node: ast.expr) -> Truth:
        """Check a yes or no."""
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise self._refused(node, "deep", most=DEPTH_MAX)
        try:
            match node:
                case ast.BoolOp():
                    parts = tuple(self.truth(part) for part in node.values)
                    return tree.And(parts) if isinstance(node.op, ast.And) else tree.Or(parts)
                case ast.UnaryOp(op=ast.Not()):
                    return tree.Not(self.truth(node.operand))
                case ast.Compare():
                    return self._comparison(node)
                case ast.Call(func=ast.Name(id="missing"), args=[only], keywords=[]):
                    return self._missing(only)
                case _:
                    self._value(node)
                    raise self._refused(node, "truth")
        finally:
            self._depth -= 1

    def _refused(self, node: ast.expr, code: str, **values: object) -> RuleError:
        lines = self._text.splitlines() or [""]
        line = lines[min(node.lineno, len(lines)) - 1]
        column = len(line.encode()[: node.col_offset].decode("utf-8", "ignore"))
        column -= node.lineno == 1  # The parenthesis that `parse` puts before the text.
        return RuleError(self._rule, code, line=node.lineno - 1, column=max(column, 0), **values)

    def _clashed(self, node: ast.expr, clash: Clash) -> RuleError:
        return self._refused(node, clash.code, **clash.values)

    def _shown(self, node: ast.expr) -> str:
        text = " ".join((ast.get_source_segment(self._text, node) or "").split())
        return text if len(text) <= _TEXT_SHOWN else f"{text[: _TEXT_SHOWN - 1]}…"

    def _value(self, node: ast.expr) -> Term | WordRef:
        """Check anything that can be compared: a number or a word."""
        if isinstance(node, ast.Name):
            return self._name(node)
        return self._term(node)

    def _name(self, node: ast.Name) -> Term | WordRef:
        name = node.id
        if ast.get_source_segment(self._text, node) != name:
            # Python reads full-width and other look-alike letters as plain ones; people don't.
            raise self._refused(node, "character", char=repr(self._shown(node)))
        if name in PLACES:
            place = PLACES[name]
            return Measured(tree.FeatureRef(place, name), units.FEATURE_MEASURES[place], name)
        if name in self.drafted:
            place, measure = self.drafted[name]
            return Measured(tree.FeatureRef(place, name), measure, name)
        if name in NUMBERS:
            index = INDEX[name]
            field = tree.FieldRef(index, index - FIRST_CONTEXT, name)
            return Measured(field, units.measure_of_field(name), name)
        if name in WORDS:
            return WordRef(INDEX[name], name, kind_of(name))
        raise self._refused(node, "name", name=name, close=closest(name, (*self.drafted, *NAMES)))

    def _term(self, node: ast.expr) -> Term:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise self._refused(node, "deep", most=DEPTH_MAX)
        try:
            return self._number(node)
        except Clash as clash:
            raise self._clashed(node, clash) from None
        finally:
            self._depth -= 1

    def _number(self, node: ast.expr) -> Term:
        match node:
            case ast.Name():
                found = self._name(node)
                if isinstance(found, WordRef):
                    raise self._refused(node, "number", kind=f"word ({found.name})")
                return found
            case ast.Constant():
                return Constant(self._literal(node), "", self._shown(node))
            case ast.UnaryOp(op=ast.USub()):
                return self._negated(node)
            case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div()):
                left, right = self._term(node.left), self._term(node.right)
                return units.arithmetic(_SIGNS[type(node.op)], left, right, self._shown(node))
            case ast.BoolOp() | ast.Compare() | ast.UnaryOp(op=ast.Not()):
                raise self._refused(node, "number", kind="yes or no")
            case ast.Call():
                return self._quantity(node)
            case ast.BinOp() | ast.UnaryOp():
                raise self._refused(node, "node", what=type(node.op).__name__)
            case _:
                raise self._refused(node, "node", what=type(node).__name__)

    def _literal(self, node: ast.Constant) -> Fraction:
        value = node.value
        if isinstance(value, str):
            raise self._refused(node, "number", kind="text")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._refused(node, "constant", value=self._shown(node))
        if not abs(value) < _NUMBER_DIGITS_MAX:
            raise self._refused(node, "large")
        return Fraction(str(value))

    def _negated(self, node: ast.UnaryOp) -> Term:
        term = self._term(node.operand)
        if isinstance(term, Constant):
            return Constant(-term.value, term.dimension, self._shown(node))
        return Measured(tree.Negate(term.node), term.measure, self._shown(node))

    def _quantity(self, node: ast.Call) -> Term:
        match node:
            case ast.Call(func=ast.Name(id=unit)) if unit in CONSTRUCTORS:
                return self._constructed(node, unit)
            case ast.Call(func=ast.Name(id="list")):
                raise self._refused(node, "list_call")
            case ast.Call(func=ast.Name(id="missing"), args=[_], keywords=[]):
                raise self._refused(node, "number", kind="yes or no")
            case _:
                raise self._refused(node, "call")

    def _constructed(self, node: ast.Call, unit: str) -> Term:
        dimension, size = CONSTRUCTORS[unit]
        if len(node.args) != 1 or node.keywords:
            raise self._refused(node, "unit_call", unit=unit)
        value = self._term(node.args[0])
        if not isinstance(value, Constant) or value.dimension:
            raise self._refused(node, "unit_call", unit=unit)
        return Constant(value.value * size, dimension, self._shown(node))

    def _missing(self, node: ast.expr) -> Truth:
        value = self._value(node)
        if isinstance(value, WordRef):
            return tree.WordMissing(value)
        return tree.NumberMissing(self._node(node, value))

    def _node(self, node: ast.expr, term: Term) -> tree.Numeric:
        if isinstance(term, Measured):
            return term.node
        try:
            return units.number(term.value)
        except Clash as clash:
            raise self._clashed(node, clash) from None

    def _comparison(self, node: ast.Compare) -> Truth:
        parts = []
        left = node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            parts.append(self._one(node, left, operator, right))
            left = right
        return parts[0] if len(parts) == 1 else tree.And(tuple(parts))

    def _one(self, node: ast.expr, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> Truth:
        if isinstance(operator, ast.In | ast.NotIn):
            return self._membership(left, right, negated=isinstance(operator, ast.NotIn))
        sign = _COMPARE.get(type(operator))
        if sign is None:
            raise self._refused(node, "node", what=type(operator).__name__)
        one = self._value(left)
        if isinstance(one, WordRef):
            return self._words(left, one, sign, right)
        try:
            a, b, _ = units.alike(one, self._term(right))
        except Clash as clash:
            raise self._clashed(left, clash) from None
        return tree.Compare(sign, a, b)

    def _words(self, node: ast.expr, one: WordRef, sign: CompareSign, right: ast.expr) -> Truth:
        if sign != "==" and sign != "!=":  # noqa: PLR1714 - the type checker narrows this form
            raise self._refused(node, "order", name=one.name)
        other = self._value(right) if isinstance(right, ast.Name) else None
        if isinstance(other, WordRef):
            if other.kind != one.kind:
                raise self._refused(node, "kinds", left=one.name, right=other.name)
            return tree.WordPair(sign, one, other)
        return tree.WordCompare(sign, one, self._word_number(one, right))

    def _word_number(self, word: WordRef, node: ast.expr) -> int:
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            raise self._refused(node, "word", name=word.name)
        if word.kind in PERSONS:
            raise self._refused(node, "person", name=word.name)
        text = node.value
        wanted = CODE_LETTERS.get(word.kind)
        if wanted and not (len(text) == wanted[0] and text.isascii() and text.isalnum()):
            count, example = wanted
            raise self._refused(node, "code", name=word.name, count=count, example=example)
        number = self._number_of(word.kind, text)
        if not number:
            raise self._refused(node, "nothing", text=text, name=word.name)
        return number

    def _membership(self, left: ast.expr, right: ast.expr, *, negated: bool) -> Truth:
        one = self._value(left)
        if isinstance(right, ast.Call):
            if not isinstance(one, WordRef):
                raise self._refused(left, "list_call")
            return tree.ListMembership(one, self._list_name(right), negated)
        if not isinstance(right, ast.Set | ast.List | ast.Tuple) or not right.elts:
            raise self._refused(right, "choices")
        if isinstance(one, WordRef):
            numbers = tuple(self._word_number(one, item) for item in right.elts)
            return tree.WordMembership(one, numbers, negated)
        choices = tuple(self._choice(one, item) for item in right.elts)
        return tree.Membership(self._node(left, one), choices, negated)

    def _choice(self, one: Term, item: ast.expr) -> float:
        choice = self._term(item)
        if not isinstance(choice, Constant):
            raise self._refused(item, "choice")
        try:
            _, found, _ = units.alike(one, choice)
        except Clash as clash:
            raise self._clashed(item, clash) from None
        return cast("tree.Number", found).value

    def _list_name(self, node: ast.Call) -> str:
        match node:
            case ast.Call(
                func=ast.Name(id="list"), args=[ast.Constant(value=str(name))], keywords=[]
            ):
                if self._list_names is not None and name not in self._list_names:
                    close = closest(name, self._list_names)
                    raise self._refused(node, "list", name=name, close=close)
                return name
            case _:
                raise self._refused(node, "list_call")


def _hidden(text: str) -> str:
    """Return the first character that doesn't show, such as one that turns the reading order."""
    for char in text:
        if unicodedata.category(char).startswith("C") and char not in "\n\t":
            return char
    return ""


def parse(
    rule: str,
    expression: str,
    *,
    list_names: Collection[str] | None = None,
    numbers: NumberOf = number_of,
    features: Sequence[Feature] = (),
) -> Truth:
    """Check an expression and return its tree.

    Args:
        rule: The rule's name, for the error.
        expression: What its author wrote.
        list_names: The lists there are; None lets any name pass.
        numbers: Which number stands for a word.
        features: Drafts that a back-test computes beside the catalogue's; in a vector they stand
            after those.

    Raises:
        RuleError: it is not part of the language.
    """
    if len(expression) > LENGTH_MAX:
        raise RuleError(rule, "long", most=LENGTH_MAX)
    hidden = _hidden(expression)
    if hidden:
        raise RuleError(
            rule, "character", column=expression.index(hidden), char=f"U+{ord(hidden):04X}"
        )
    # In parentheses, so that a long rule may go over several lines.
    text = f"({expression}\n)"
    try:
        parsed = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line, column = getattr(error, "lineno", None) or 1, getattr(error, "offset", None) or 1
        column -= 2 if line == 1 else 1
        detail = getattr(error, "msg", "") or type(error).__name__
        raise RuleError(
            rule, "syntax", line=line - 1, column=max(column, 0), detail=detail
        ) from error
    if sum(1 for _ in ast.walk(parsed)) > PART_COUNT_MAX:
        raise RuleError(rule, "parts", most=PART_COUNT_MAX)
    if parsed.body.col_offset == 0 and not isinstance(parsed.body, ast.Tuple | ast.GeneratorExp):
        # Our parenthesis was closed by the author's: "a) or (b".
        raise RuleError(rule, "syntax", detail="unmatched ')'")
    checker = _Checker(rule, text, list_names, numbers)
    for place, draft in enumerate(features, start=len(PLACES)):
        checker.drafted[draft.name] = place, units.measure_of_feature(draft.name, draft.unit)
    return checker.truth(parsed.body)
