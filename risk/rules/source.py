"""Rules and sets of rules: what they say, what they do, and the compiled form that runs.

A set has a version, the hash of all it says, which every decision records; `RuleSet.as_json` is
what has to be kept for that version to run again, years later, with the same answers.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final

from risk.reasons import CODES
from risk.rules.emit import Evaluate, Timed, compile_trees, needs_features
from risk.rules.language import parse
from risk.rules.lists import NO_LISTS, Lists, NamedList, Purpose
from risk.rules.names import NumberOf, closest, number_of, words_of
from risk.rules.problems import RuleError
from risk.rules.tree import Truth

RULE_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
LIST_RULE_PREFIX: Final = "list:"  # No rule of an author can have such a name.
_FORMAT: Final = 1


class Action(StrEnum):
    """What a rule asks for."""

    APPROVE_OVERRIDE = "APPROVE_OVERRIDE"
    CHALLENGE = "CHALLENGE"
    REVIEW = "REVIEW"
    DECLINE = "DECLINE"


class RuleState(StrEnum):
    """Where a rule stands in its life: only LIVE rules act, SHADOW rules are recorded."""

    DRAFT = "DRAFT"
    SHADOW = "SHADOW"
    LIVE = "LIVE"
    RETIRED = "RETIRED"


_RUNNING: Final = frozenset({RuleState.SHADOW, RuleState.LIVE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule.

    Attributes:
        name: Stable; stored with every decision it fired in.
        expression: `risk.rules.language`.
        action: What it asks for.
        reason: Code of `risk.reasons`.
        overridable: Whether an APPROVE_OVERRIDE rule may lift it.
        version: Counts what its authors wrote under this name, from 1.
        state: LIVE rules act; SHADOW rules are only recorded.
        valid_from_us: It counts for payments at or after this, Unix microseconds.
        valid_to_us: And before this; 0 has no end.
        numbers: What its words were when it was written, as ("card:4242", 17), sorted; empty if
            they are still to be looked up.
    """

    name: str
    expression: str
    action: Action
    reason: str
    overridable: bool = True
    version: int = 1
    state: RuleState = RuleState.LIVE
    valid_from_us: int = 0
    valid_to_us: int = 0
    numbers: tuple[tuple[str, int], ...] = ()

    @property
    def label(self) -> str:
        """Name and version, as ``card_testing@2``."""
        return f"{self.name}@{self.version}"

    @property
    def must_hold(self) -> bool:
        """Whether nothing may lift it."""
        return self.action is Action.DECLINE and not self.overridable


_LIST_ACTIONS: Final = {
    Purpose.BLOCK: (Action.DECLINE, "BLOCK_LIST"),
    Purpose.ALLOW: (Action.APPROVE_OVERRIDE, "ALLOW_LIST"),
}


def rule_of_list(found: NamedList) -> Rule | None:
    """Return what a list does by itself, written as a rule; None if it does nothing."""
    acts = _LIST_ACTIONS.get(found.purpose)
    kinds = sorted(kind for kind in found.entries if found.entries[kind])
    if acts is None or not kinds:
        return None
    action, reason = acts
    return Rule(
        name=f"{LIST_RULE_PREFIX}{found.name}",
        expression=" or ".join(
            f'{word} in list("{found.name}")' for kind in kinds for word in words_of(kind)
        ),
        action=action,
        reason=reason,
        overridable=action is not Action.DECLINE,
    )


class _Numbers:
    """Says which number a word is, from the rule itself if it knows, and remembers it."""

    def __init__(self, rule: Rule, look_up: NumberOf) -> None:
        self.found: dict[str, int] = {}
        self._rule = rule.name
        self._known = dict(rule.numbers)
        self._look_up = look_up

    def __call__(self, kind: str, text: str) -> int:
        word = f"{kind}:{text}"
        if self._known and word not in self._known:
            raise RuleError(self._rule, "unresolved", word=word)
        number = self._known[word] if self._known else self._look_up(kind, text)
        self.found[word] = number
        return number


def check_rule(
    rule: Rule, lists: Lists | None = None, *, numbers: NumberOf = number_of
) -> tuple[Rule, Truth]:
    """Check all of a rule; return it with the numbers of its words, and its tree.

    Args:
        rule: What an author wrote.
        lists: The lists there are; None lets any name pass.
        numbers: Which number stands for a word; not asked for what the rule knows itself.

    Raises:
        RuleError: its name, reason, validity or expression is none.
    """
    if RULE_NAME.fullmatch(rule.name) is None:
        raise RuleError(rule.name, "rule_name")
    if rule.reason not in CODES:
        raise RuleError(rule.name, "reason", given=rule.reason, close=closest(rule.reason, CODES))
    if rule.valid_to_us and rule.valid_to_us <= rule.valid_from_us:
        raise RuleError(rule.name, "validity")
    known = None if lists is None else lists.by_name.keys()
    resolve = _Numbers(rule, numbers)
    tree = parse(rule.name, rule.expression, list_names=known, numbers=resolve)
    return replace(rule, numbers=tuple(sorted(resolve.found.items()))), tree


class RuleSet:
    """A compiled, versioned set of rules with its lists; immutable, swapped as a whole.

    Attributes:
        rules: All rules, live and in shadow, by name and version, with the numbers of their words.
        trees: What each of them says.
        acting: Live rules and what lists do by themselves, each with its tree, lists first.
        lists: What is on the lists.
        version: Hash of all rules say.
    """

    def __init__(
        self, rules: Iterable[Rule], lists: Lists = NO_LISTS, *, numbers: NumberOf = number_of
    ) -> None:
        """Check and compile.

        Args:
            rules: Live and shadow rules; other states are left out.
            lists: What is on the lists.
            numbers: Which number stands for a word, where a rule doesn't say it.

        Raises:
            RuleError: an expression is not a rule, a name stands twice, a reason or list is
                unknown.
        """
        running = sorted((rule for rule in rules if rule.state in _RUNNING), key=_place)
        for one, next_one in pairwise(running):
            if (one.name, one.state) == (next_one.name, next_one.state):
                raise RuleError(one.name, "twice")
        checked = [check_rule(rule, lists, numbers=numbers) for rule in running]
        self.rules = tuple(rule for rule, _ in checked)
        self.trees = tuple(tree for _, tree in checked)
        self.lists = lists
        digest = hashlib.blake2b(self.as_json().encode(), digest_size=6)
        self.version = f"rules-{digest.hexdigest()}"
        self._compile()

    def _compile(self) -> None:
        pairs = list(zip(self.rules, self.trees, strict=True))
        of_lists = [rule_of_list(found) for found in self.lists.by_name.values()]
        acting = [(rule, parse(rule.name, rule.expression)) for rule in of_lists if rule]
        acting += [(rule, tree) for rule, tree in pairs if rule.state is RuleState.LIVE]
        shadow = [(rule, tree) for rule, tree in pairs if rule.state is RuleState.SHADOW]
        fixed = [
            (rule, tree) for rule, tree in acting if rule.must_hold and not needs_features(tree)
        ]
        self.acting = tuple(acting)
        self._live, self._evaluate = self._compiled(acting)
        self._shadow, self._evaluate_shadow = self._compiled(shadow)
        self._fixed, self._evaluate_fixed = self._compiled(fixed, event_alone=True)

    def _compiled(
        self, pairs: list[tuple[Rule, Truth]], *, event_alone: bool = False
    ) -> tuple[tuple[Rule, ...], Evaluate]:
        timed = [Timed(tree, rule.valid_from_us, rule.valid_to_us) for rule, tree in pairs]
        evaluate = compile_trees(timed, self.lists, event_alone=event_alone)
        return tuple(rule for rule, _ in pairs), evaluate

    @property
    def list_version(self) -> str:
        """Version of the lists, stored with every decision."""
        return self.lists.version

    def hits(self, features: Sequence[float], event: Sequence[int]) -> tuple[Rule, ...]:
        """Return the live rules that fired: lists first, then rules in the set's order.

        Args:
            features: float64, catalogue order.
            event: The event's integers.
        """
        mask = self._evaluate(features, event)
        return _picked(self._live, mask) if mask else ()

    def shadow_hits(self, features: Sequence[float], event: Sequence[int]) -> tuple[str, ...]:
        """Return the labels of the shadow rules that would have fired."""
        mask = self._evaluate_shadow(features, event)
        return tuple(rule.label for rule in _picked(self._shadow, mask)) if mask else ()

    def must_hold(self, event: Sequence[int]) -> tuple[Rule, ...]:
        """Return what forbids a payment whoever vouches and can be told without its features."""
        mask = self._evaluate_fixed((), event)
        return _picked(self._fixed, mask) if mask else ()

    def as_json(self) -> str:
        """Return what ran, in a canonical form: `from_json` makes the same set from it."""
        return json.dumps(
            {"format": _FORMAT, "rules": [asdict(rule) for rule in self.rules]},
            ensure_ascii=False,
            sort_keys=True,
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str, lists: Lists = NO_LISTS) -> "RuleSet":
        """Make a set that ran before from what was kept of it.

        Args:
            text: From `as_json`.
            lists: The lists at the version to run with.

        Raises:
            ValueError: it was not written by `as_json`, or (`RuleError`) is no rule any more.
        """
        kept = json.loads(text)
        if not isinstance(kept, dict) or kept.get("format") != _FORMAT:
            raise ValueError("not a stored rule set of a format this release reads")
        return cls([_rule_of(values) for values in kept["rules"]], lists)


def _rule_of(values: dict[str, Any]) -> Rule:
    unknown = values.keys() - {field.name for field in fields(Rule)}
    if unknown:
        raise ValueError(f"a stored rule has unknown fields: {', '.join(sorted(unknown))}")
    read = {
        "action": Action(values["action"]),
        "state": RuleState(values["state"]),
        "numbers": tuple((word, number) for word, number in values["numbers"]),
    }
    return Rule(**(values | read))


def _place(rule: Rule) -> tuple[str, str, int]:
    return rule.name, rule.state, rule.version


def _picked(rules: tuple[Rule, ...], mask: int) -> tuple[Rule, ...]:
    return tuple(rule for place, rule in enumerate(rules) if mask >> place & 1)
