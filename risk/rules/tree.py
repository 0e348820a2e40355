"""A checked rule as a tree of frozen values, so that every emitter reads the same meaning.

`risk.rules.language` makes such trees from text and is the only place that knows text, names and
units; here all units agree and all words are numbers. `risk.rules.emit` writes a Python function
from them, a back-test may write columns of expressions; both must follow this:

- A numeric node is a float64 or missing (NaN). Features are floats, fields are integers below
  2^53 that become floats before arithmetic. ``+ - *`` are IEEE 754; division by zero is missing.
- A comparison with a missing side is false, ``!=`` included. So ``Not(Compare(...))`` of a missing
  number is true.
- A word is the 64-bit number in its field of the event; 0 was not sent and compares as missing.
- A list holds numbers with the microsecond they expire at; an entry counts while the event's own
  time is before that.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

CompareSign: TypeAlias = Literal["<", "<=", ">", ">=", "==", "!="]
WordSign: TypeAlias = Literal["==", "!="]


@dataclass(frozen=True, slots=True)
class Number:
    """A finite constant, already in the unit of what it meets."""

    value: float


@dataclass(frozen=True, slots=True)
class FeatureRef:
    """A feature: its place in the vector; NaN there is missing."""

    place: int
    name: str


@dataclass(frozen=True, slots=True)
class FieldRef:
    """A number of the context: its index in the event and its bit in the event's presence."""

    index: int
    bit: int
    name: str


@dataclass(frozen=True, slots=True)
class WordRef:
    """A word of the payment: its index in the event.

    Attributes:
        index: Where its number stands.
        name: What rules call it.
        kind: How its text becomes a number; words of one kind can be compared with each other.
    """

    index: int
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Negate:
    """``-operand``."""

    operand: "Numeric"


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """``left sign right``."""

    sign: Literal["+", "-", "*"]
    left: "Numeric"
    right: "Numeric"


@dataclass(frozen=True, slots=True)
class Divide:
    """``left / right``, missing when `right` is zero."""

    left: "Numeric"
    right: "Numeric"


@dataclass(frozen=True, slots=True)
class Compare:
    """Two numbers compared; false if one is missing."""

    sign: CompareSign
    left: "Numeric"
    right: "Numeric"


@dataclass(frozen=True, slots=True)
class Membership:
    """A number among constants, or (`negated`) none of them; false if it is missing."""

    operand: "Numeric"
    choices: tuple[float, ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class WordCompare:
    """A word that is, or is not, the one whose number is given; false if it was not sent."""

    sign: WordSign
    word: WordRef
    number: int


@dataclass(frozen=True, slots=True)
class WordPair:
    """Two words of one kind that agree, or differ; false unless both were sent."""

    sign: WordSign
    left: WordRef
    right: WordRef


@dataclass(frozen=True, slots=True)
class WordMembership:
    """A word among some, or (`negated`) none of them; false if it was not sent."""

    word: WordRef
    numbers: tuple[int, ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class ListMembership:
    """A word on a named list at the event's time, or (`negated`) not; false if it was not sent."""

    word: WordRef
    list_name: str
    negated: bool


@dataclass(frozen=True, slots=True)
class NumberMissing:
    """Whether a number is missing."""

    operand: "Numeric"


@dataclass(frozen=True, slots=True)
class WordMissing:
    """Whether a word was not sent."""

    word: WordRef


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    part: "Truth"


@dataclass(frozen=True, slots=True)
class And:
    """All of them; at least two."""

    parts: tuple["Truth", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of them; at least two."""

    parts: tuple["Truth", ...]


Numeric: TypeAlias = Number | FeatureRef | FieldRef | Negate | Arithmetic | Divide
Truth: TypeAlias = (
    Compare
    | Membership
    | WordCompare
    | WordPair
    | WordMembership
    | ListMembership
    | NumberMissing
    | WordMissing
    | Not
    | And
    | Or
)
Node: TypeAlias = Numeric | Truth | WordRef


def children(node: Node) -> tuple[Node, ...]:
    """Return the nodes directly below one."""
    match node:
        case Arithmetic() | Divide() | Compare() | WordPair():
            return (node.left, node.right)
        case Negate() | Membership() | NumberMissing():
            return (node.operand,)
        case WordCompare() | WordMembership() | ListMembership() | WordMissing():
            return (node.word,)
        case Not():
            return (node.part,)
        case And() | Or():
            return node.parts
        case _:
            return ()


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and all below it."""
    yield node
    for child in children(node):
        yield from walk(child)


def features_of(tree: Truth) -> tuple[int, ...]:
    """Return the places of the features a rule reads, ascending."""
    return tuple(sorted({node.place for node in walk(tree) if isinstance(node, FeatureRef)}))


def fields_of(tree: Truth) -> tuple[int, ...]:
    """Return the indices of the event's fields a rule reads, words included, ascending."""
    found = {node.index for node in walk(tree) if isinstance(node, FieldRef | WordRef)}
    return tuple(sorted(found))


def lists_of(tree: Truth) -> tuple[str, ...]:
    """Return the names of the lists a rule reads, in order of the alphabet."""
    return tuple(
        sorted({node.list_name for node in walk(tree) if isinstance(node, ListMembership)})
    )
