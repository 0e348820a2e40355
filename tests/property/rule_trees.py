"""Random checked rules, random payments, and what a rule means said a second time, slowly."""

import math
from typing import Final

from hypothesis import strategies as st

from risk.features.catalogue import FEATURE_COUNT, FEATURE_NAMES
from risk.features.event import AT_US, EVENT_WIDTH, FIRST_CONTEXT, INDEX, PRESENCE, TIME_BOUND_US
from risk.rules import tree
from risk.rules.lists import NEVER_US, Lists, NamedList, Purpose
from risk.rules.names import NUMBERS, WORDS, kind_of
from risk.rules.tree import Node, Numeric, Truth

SIGNS: Final = ("<", "<=", ">", ">=", "==", "!=")
WORD_NUMBERS: Final = (1, 2, 3, -7, 2**63 - 1, -(2**63))
LIST_NAMES: Final = ("one", "other")

word_numbers = st.sampled_from(WORD_NUMBERS)
times_us = st.integers(0, TIME_BOUND_US)
finite = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.1, 2.0**53, 1e299, -1e-299]),
    st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300),
)
_words = st.sampled_from(WORDS).map(lambda name: tree.WordRef(INDEX[name], name, kind_of(name)))
_leaves: st.SearchStrategy[Numeric] = st.one_of(
    st.builds(tree.Number, finite),
    st.integers(0, FEATURE_COUNT - 1).map(lambda at: tree.FeatureRef(at, FEATURE_NAMES[at])),
    st.sampled_from(NUMBERS).map(
        lambda name: tree.FieldRef(INDEX[name], INDEX[name] - FIRST_CONTEXT, name)
    ),
)
numerics: st.SearchStrategy[Numeric] = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.builds(tree.Negate, inner),
        st.builds(tree.Arithmetic, st.sampled_from(["+", "-", "*"]), inner, inner),
        st.builds(tree.Divide, inner, inner),
    ),
    max_leaves=6,
)
_choices = st.lists(finite, min_size=1, max_size=4).map(tuple)
_tests: st.SearchStrategy[Truth] = st.one_of(
    st.builds(tree.Compare, st.sampled_from(SIGNS), numerics, numerics),
    st.builds(tree.Membership, numerics, _choices, st.booleans()),
    st.builds(tree.NumberMissing, numerics),
    st.builds(tree.WordMissing, _words),
    st.builds(tree.WordCompare, st.sampled_from(["==", "!="]), _words, word_numbers),
    st.builds(tree.WordPair, st.sampled_from(["==", "!="]), _words, _words),
    st.builds(
        tree.WordMembership,
        _words,
        st.lists(word_numbers, min_size=1, max_size=3).map(tuple),
        st.booleans(),
    ),
    st.builds(tree.ListMembership, _words, st.sampled_from(LIST_NAMES), st.booleans()),
)
truths: st.SearchStrategy[Truth] = st.recursive(
    _tests,
    lambda inner: st.one_of(
        st.builds(tree.Not, inner),
        st.builds(tree.And, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(tree.Or, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)


@st.composite
def some_lists(draw: st.DrawFn) -> Lists:
    """Two lists with a few entries of every kind, some of which expire."""
    expiries = st.one_of(st.just(NEVER_US), times_us)
    entries = st.dictionaries(
        st.sampled_from(sorted({kind_of(word) for word in WORDS})),
        st.dictionaries(word_numbers, expiries, max_size=3),
        max_size=4,
    )
    named = {name: NamedList(name, Purpose.NAMED, draw(entries)) for name in LIST_NAMES}
    return Lists(version="lists-1", by_name=named)


@st.composite
def payments(draw: st.DrawFn) -> tuple[list[float], list[int]]:
    """A vector of features, some missing, and an event, some of it not sent."""
    some = draw(st.lists(st.one_of(finite, st.floats()), min_size=1, max_size=8))
    turn = draw(st.integers(0, 7))
    features = [some[(at + turn) % len(some)] for at in range(FEATURE_COUNT)]
    values = draw(st.lists(st.integers(-(2**53), 2**53), min_size=1, max_size=8))
    words = draw(st.lists(st.one_of(st.just(0), word_numbers), min_size=1, max_size=5))
    event = [values[(at + turn) % len(values)] for at in range(EVENT_WIDTH)]
    for at, name in enumerate(WORDS):
        event[INDEX[name]] = words[(at + turn) % len(words)]
    event[PRESENCE] = draw(st.integers(0, 2**63 - 1))
    event[AT_US] = draw(times_us)
    return features, event


def number_in(node: Numeric, features: list[float], event: list[int]) -> float | None:
    """Say which number a node is; None is missing."""
    match node:
        case tree.Number():
            return node.value
        case tree.FeatureRef():
            found: float | None = features[node.place]
        case tree.FieldRef():
            found = float(event[node.index]) if event[PRESENCE] >> node.bit & 1 else None
        case tree.Negate():
            inner = number_in(node.operand, features, event)
            found = None if inner is None else -inner
        case _:
            found = _of_two(node, features, event)
    return None if found is None or math.isnan(found) else found


def _of_two(
    node: tree.Arithmetic | tree.Divide, features: list[float], event: list[int]
) -> float | None:
    left = number_in(node.left, features, event)
    right = number_in(node.right, features, event)
    if left is None or right is None:
        return None
    if isinstance(node, tree.Divide):
        return None if right == 0 else left / right
    results = {"+": left + right, "-": left - right, "*": left * right}
    return results[node.sign]


def holds(node: Truth, features: list[float], event: list[int], lists: Lists) -> bool:
    """Say whether a rule fires, in the plainest way there is."""

    def part(one: Truth) -> bool:
        return holds(one, features, event, lists)

    match node:
        case tree.And():
            return all(part(one) for one in node.parts)
        case tree.Or():
            return any(part(one) for one in node.parts)
        case tree.Not():
            return not part(node.part)
        case tree.Compare() | tree.Membership() | tree.NumberMissing():
            return _number_holds(node, features, event)
        case _:
            return _word_holds(node, event, lists)


def _number_holds(
    node: tree.Compare | tree.Membership | tree.NumberMissing,
    features: list[float],
    event: list[int],
) -> bool:
    if isinstance(node, tree.Compare):
        left = number_in(node.left, features, event)
        right = number_in(node.right, features, event)
        if left is None or right is None:
            return False
        order = (left > right) - (left < right)
        wanted = {"<": (-1,), "<=": (-1, 0), ">": (1,), ">=": (0, 1), "==": (0,), "!=": (-1, 1)}
        return order in wanted[node.sign]
    number = number_in(node.operand, features, event)
    if isinstance(node, tree.NumberMissing):
        return number is None
    return number is not None and any(number == one for one in node.choices) is not node.negated


def _word_holds(
    node: tree.WordMissing
    | tree.WordCompare
    | tree.WordPair
    | tree.WordMembership
    | tree.ListMembership,
    event: list[int],
    lists: Lists,
) -> bool:
    if isinstance(node, tree.WordPair):
        left, right = event[node.left.index], event[node.right.index]
        return bool(left and right) and (left == right) is (node.sign == "==")
    word = event[node.word.index]
    if isinstance(node, tree.WordMissing):
        return word == 0
    if word == 0:
        return False
    if isinstance(node, tree.WordCompare):
        return (word == node.number) is (node.sign == "==")
    if isinstance(node, tree.WordMembership):
        return (word in node.numbers) is not node.negated
    until_us = lists.by_name[node.list_name].of_kind(node.word.kind).get(word)
    stands = until_us is not None and event[AT_US] < until_us
    return stands is not node.negated


def size_of(node: Node) -> int:
    """Count the nodes of a tree."""
    return sum(1 for _ in tree.walk(node))
