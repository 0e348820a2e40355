"""What decides, what is tried in its place, and how to look at a history."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.backtest.judging import BatchTariff
from models.backtest.scoring import BatchModel
from risk.default_policy import DEFAULT_POLICY
from risk.features.catalogue import FEATURE_COUNT
from risk.features.definition import Feature
from risk.policy import Policy, Thresholds
from risk.rules.language import parse
from risk.rules.lists import Lists, NamedList
from risk.rules.source import Rule, RuleSet, RuleState
from risk.rules.tree import Truth, features_of

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

NOBODY: Final = "none"
UTC_OFFSET_S: Final = 28_800  # China Standard Time, in which the people who read this count days.


class UnknownRule(ValueError):
    """A rule to leave out is not among those that act."""

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(f"no rule is called {name!r}; there are: {', '.join(known)}")
        self.name = name


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What decides: rules with their lists, a model, a policy.

    Attributes:
        rules: Only live ones act.
        model: None: rules alone decide.
        policy: What turns a score into an outcome.
        drafted: Rules over features that no catalogue holds yet, each with its tree.
    """

    rules: RuleSet
    model: BatchModel | None = None
    policy: Policy = DEFAULT_POLICY
    drafted: tuple[tuple[Rule, Truth], ...] = ()

    @property
    def acting(self) -> tuple[tuple[Rule, Truth], ...]:
        """Rules that act and what lists do by themselves, each with its tree."""
        return (*self.rules.acting, *self.drafted)

    @cached_property
    def tariff(self) -> BatchTariff:
        """The policy, made ready for columns."""
        return BatchTariff(self.policy)

    def versions(self, side: str) -> dict[str, str]:
        """Return what decides, by name."""
        return {
            f"{side}_rules": self.rules.version,
            f"{side}_lists": self.rules.list_version,
            f"{side}_model": self.model.meta.version if self.model else NOBODY,
            f"{side}_policy": self.policy.version,
        }


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is tried; everything left out stays as it is.

    Attributes:
        rules: New rules, or other versions of rules of the same name; they act as if live.
        without: Names of rules to leave out.
        lists: New lists, or others in place of lists of the same name.
        policy: Another policy.
        thresholds: Fixed probabilities in place of what the policy says of most payments; its
            merchants' own terms and caps stay.
        model: Another model.
        features: Drafts that the rules may name; the history must hold them (`replayed`,
            `extended`).
    """

    rules: tuple[Rule, ...] = ()
    without: tuple[str, ...] = ()
    lists: tuple[NamedList, ...] = ()
    policy: Policy | None = None
    thresholds: Thresholds | None = None
    model: BatchModel | None = None
    features: tuple[Feature, ...] = ()

    def applied_to(self, setup: Setup) -> Setup:
        """Return the set-up as changed.

        Raises:
            RuleError: a rule is none, or names a list that there isn't.
            UnknownRule: a rule to leave out is not there.
        """
        known = {rule.name for rule in setup.rules.rules}
        for name in self.without:
            if name not in known:
                raise UnknownRule(name, sorted(known))
        own = {rule.name for rule in self.rules} | set(self.without)
        kept = [rule for rule in setup.rules.rules if rule.name not in own]
        live = [replace(rule, state=RuleState.LIVE) for rule in self.rules]
        held = setup.rules.lists
        if self.lists:
            by_name = {**held.by_name, **{found.name: found for found in self.lists}}
            held = Lists(version=f"{held.version}+draft", by_name=by_name)
        policy = self.policy or setup.policy
        if self.thresholds is not None:
            policy = replace(policy, kind="thresholds", thresholds=self.thresholds)
        drafted = [(rule, self._tree(rule, held)) for rule in live] if self.features else []
        drafted = [(rule, tree) for rule, tree in drafted if _reads_drafts(tree)]
        apart = {rule.name for rule, _ in drafted}
        return Setup(
            rules=RuleSet([*kept, *(rule for rule in live if rule.name not in apart)], held),
            model=self.model or setup.model,
            policy=policy,
            drafted=tuple(drafted),
        )

    def _tree(self, rule: Rule, held: Lists) -> Truth:
        names = held.by_name.keys()
        return parse(rule.name, rule.expression, list_names=names, features=self.features)


def _reads_drafts(tree: Truth) -> bool:
    return any(place >= FEATURE_COUNT for place in features_of(tree))


@dataclass(frozen=True, kw_only=True)
class Question:
    """How to look at a history.

    Attributes:
        known_by_us: Only labels known by then count.
        since_us: Payments at or after this; None: from the beginning.
        until_us: Payments before this; None: to the end.
        genuine_after_s: See `History.labels`.
        utc_offset_s: Of the days and months of the report.
        examples_count: Trade numbers of each kind.
        threads: To work with.
    """

    known_by_us: int
    since_us: int | None = None
    until_us: int | None = None
    genuine_after_s: float | None = None
    utc_offset_s: int = UTC_OFFSET_S
    examples_count: int = 10
    threads: int = 2

    def inside(self, at_us: Ints) -> Mask:
        """Return which times are asked about."""
        picked = np.ones(len(at_us), dtype=np.bool_)
        if self.since_us is not None:
            picked &= at_us >= self.since_us
        if self.until_us is not None:
            picked &= at_us < self.until_us
        return picked
