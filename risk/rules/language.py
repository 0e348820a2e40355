"""The language of rules: a checked expression, compiled to one Python function for all rules.

An expression is written in Python's syntax and means less: features and fields of the payment,
numbers and words, ``+ - * /``, comparisons, ``in {…}``, ``and or not``, and ``missing(name)``.
Nothing else parses: no calls, no attributes, no subscripts. The function is generated from the
checked tree alone; words of the author never reach it.

Missing evidence makes a comparison false (never true, and never an error), division by zero gives
missing. Identities and words (`pay_type == "wechat"`, `mcc in {"7995"}`) compare as the hashes the
log holds, so a rule can be run again over the log years later.
"""

import ast
import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from risk.features import event
from risk.features.catalogue import PLACES
from risk.features.event import FIRST_CONTEXT, INDEX, KEYS
from risk.features.fields import CONTEXT_FIELDS
from risk.features.identity import code_of, identify

WORDS: Final = (*KEYS[:8], *event.WORDS, "currency", "pay_type")
NUMBERS: Final = CONTEXT_FIELDS
CODES: Final = tuple(word for word in WORDS if word.endswith(("country", "currency")))
NAMES: Final = (*PLACES, *NUMBERS, *WORDS)
MAX_LENGTH: Final = 2_000
MAX_NODES: Final = 200
_ARITHMETIC: Final = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*"}
_COMPARE: Final = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}

Evaluate = Callable[[memoryview, list[int]], int]
"""(features, the event's integers) -> a bit for each rule that fired."""


class RuleError(ValueError):
    """An expression is not a rule; says which rule, where, and what would do."""

    def __init__(self, rule: str, problem: str, column: int = 0) -> None:
        super().__init__(f"rule {rule!r}, column {column + 1}: {problem}")
        self.rule = rule
        self.problem = problem
        self.column = column


@dataclass(frozen=True, slots=True)
class _Term:
    """A piece of generated code and what it stands for: number, word, truth."""

    code: str
    kind: str
    word: str = ""


class _Checker:
    """Turns one expression into code, or refuses it."""

    def __init__(self, rule: str) -> None:
        self._rule = rule

    def truth(self, node: ast.expr) -> str:
        term = self.term(node)
        if term.kind == "truth":
            return term.code
        raise self._refused(node, "a rule must compare something: a number is not a yes or no")

    def term(self, node: ast.expr) -> _Term:  # noqa: PLR0911 - one return a kind of node
        match node:
            case ast.Name():
                return self._name(node)
            case ast.Constant():
                return self._constant(node)
            case ast.BoolOp():
                word = " and " if isinstance(node.op, ast.And) else " or "
                return _Term(f"({word.join(self.truth(part) for part in node.values)})", "truth")
            case ast.UnaryOp():
                return self._unary(node)
            case ast.BinOp():
                return self._arithmetic(node)
            case ast.Compare():
                return self._comparison(node)
            case ast.Call():
                return self._call(node)
            case _:
                raise self._refused(node, f"{type(node).__name__} is not part of the language")

    def _refused(self, node: ast.expr, problem: str) -> RuleError:
        return RuleError(self._rule, problem, node.col_offset)

    def _name(self, node: ast.Name) -> _Term:
        name = node.id
        if name in PLACES:
            return _Term(f"v[{PLACES[name]}]", "number")
        if name in NUMBERS:
            place = INDEX[name]
            bit = place - FIRST_CONTEXT
            return _Term(f"(e[{place}] if e[{INDEX['presence']}] >> {bit} & 1 else nan)", "number")
        if name in WORDS:
            return _Term(f"e[{INDEX[name]}]", "word", name)
        close = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.4)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise self._refused(node, f"unknown name {name!r}{hint}")

    def _constant(self, node: ast.Constant) -> _Term:
        value = node.value
        if isinstance(value, str):
            return _Term(repr(value), "text")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._refused(node, f"{value!r} is neither a number nor a word")
        number = float(value) if abs(value) < 1e300 else math.inf  # noqa: PLR2004 - float's range
        if not math.isfinite(number):
            raise self._refused(node, "the number is too large")
        return _Term(repr(number), "number")

    def _unary(self, node: ast.UnaryOp) -> _Term:
        if isinstance(node.op, ast.Not):
            return _Term(f"(not {self.truth(node.operand)})", "truth")
        if isinstance(node.op, ast.USub):
            return _Term(f"(-{self._number(node.operand)})", "number")
        raise self._refused(node, f"{type(node.op).__name__} is not part of the language")

    def _number(self, node: ast.expr) -> str:
        term = self.term(node)
        if term.kind != "number":
            raise self._refused(node, f"a number is wanted here, not a {term.kind}")
        return term.code

    def _arithmetic(self, node: ast.BinOp) -> _Term:
        left, right = self._number(node.left), self._number(node.right)
        if isinstance(node.op, ast.Div):
            return _Term(f"divide({left}, {right})", "number")
        sign = _ARITHMETIC.get(type(node.op))
        if sign is None:
            raise self._refused(node, f"{type(node.op).__name__} is not part of the language")
        return _Term(f"({left} {sign} {right})", "number")

    def _comparison(self, node: ast.Compare) -> _Term:
        parts = []
        left = node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            parts.append(self._one(node, left, operator, right))
            left = right
        return _Term(f"({' and '.join(parts)})", "truth")

    def _one(self, node: ast.expr, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> str:
        if isinstance(operator, ast.In | ast.NotIn):
            return self._membership(left, operator, right)
        sign = _COMPARE.get(type(operator))
        if sign is None:
            raise self._refused(node, f"{type(operator).__name__} is not part of the language")
        one = self.term(left)
        if one.kind == "word":
            if sign not in {"==", "!="}:
                raise self._refused(left, f"{one.word} has no order; use == or !=")
            # 0 is "not sent": it equals nothing and differs from nothing.
            return f"({one.code} and {one.code} {sign} {self._hash(one.word, right)})"
        a, b = self._number(left), self._number(right)
        # Missing is NaN, and NaN != x would be true.
        return f"({a} < {b} or {a} > {b})" if sign == "!=" else f"{a} {sign} {b}"

    def _hash(self, word: str, node: ast.expr) -> str:
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            raise self._refused(node, f'{word} compares with a word in quotes, as "abc"')
        if word in CODES:
            return str(code_of(node.value))
        return str(identify("address" if word.endswith("_address") else word, node.value))

    def _membership(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> str:
        if not isinstance(right, ast.Set | ast.List | ast.Tuple):
            raise self._refused(right, "write the choices as {…}")
        one = self.term(left)
        negated = "not " if isinstance(operator, ast.NotIn) else ""
        if one.kind == "word":
            items = [self._hash(one.word, item) for item in right.elts]
            return f"({one.code} and {one.code} {negated}in {{{', '.join(items)}}})"
        number = self._number(left)
        items = [self._number(item) for item in right.elts]
        present = f"{number} == {number}"
        return f"({present} and {number} {negated}in ({', '.join(items)},))"

    def _call(self, node: ast.Call) -> _Term:
        only = node.args[0] if len(node.args) == 1 and not node.keywords else None
        if not isinstance(node.func, ast.Name) or node.func.id != "missing" or only is None:
            raise self._refused(node, "missing(name) is the only call there is")
        term = self.term(only)
        if term.kind == "word":
            return _Term(f"({term.code} == 0)", "truth")
        number = self._number(only)
        return _Term(f"({number} != {number})", "truth")


def check(rule: str, expression: str) -> str:
    """Return the code of a checked expression.

    Args:
        rule: The rule's name, for the error.
        expression: What its author wrote.

    Raises:
        RuleError: it is not part of the language.
    """
    if len(expression) > MAX_LENGTH:
        raise RuleError(rule, f"longer than {MAX_LENGTH} characters")
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        column = getattr(error, "offset", None) or 1
        raise RuleError(rule, f"not an expression: {error}", column - 1) from error
    if sum(1 for _ in ast.walk(tree)) > MAX_NODES:
        raise RuleError(rule, f"more than {MAX_NODES} parts")
    return _Checker(rule).truth(tree.body)


def _divide(left: float, right: float) -> float:
    return left / right if right else math.nan


def compile_rules(rules: list[tuple[str, str]]) -> Evaluate:
    """Compile (name, expression) pairs to one function that returns a bit for each that fired.

    Raises:
        RuleError: one of them is not part of the language.
    """
    lines = ["def evaluate(v, e):", " hits = 0"]
    for place, (name, expression) in enumerate(rules):
        lines += [f" if {check(name, expression)}:", f"  hits |= {1 << place}"]
    lines.append(" return hits")
    scope: dict[str, object] = {"__builtins__": {}, "nan": math.nan, "divide": _divide}
    # Generated above from a checked tree: numbers and operators, no text of the author.
    exec(compile("\n".join(lines), "<rules>", "exec"), scope)  # noqa: S102
    evaluate = scope["evaluate"]
    if not callable(evaluate):
        raise TypeError("the compiled rules are no function")
    return evaluate
