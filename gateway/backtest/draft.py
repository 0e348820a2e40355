"""What a person wants tried, in words of the command line, as a change that a back-test takes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from gateway.refusal import Refused
from models.backtest import BatchModel, Change, Setup, load_model
from risk.policy import Policy, PolicyError, Thresholds
from risk.policy_text import read_policy
from risk.rules.lists import NEVER_US, NamedList, Purpose
from risk.rules.names import WORDS, NumberOf, kind_of
from risk.rules.source import Action, Rule, check_rule
from risk.scorer import BundleRefused
from risk.trees import TreesUnavailable

RULE_FORM: Final = "NAME: EXPRESSION -> ACTION [REASON]"
LIST_FORM: Final = "NAME[:PURPOSE]=FILE"
DEFAULT_REASON: Final = "RISK_SCORE"
FIXED_MARK: Final = "!"  # After an action: no APPROVE_OVERRIDE lifts it.
COMMENT: Final = "#"
_RULE: Final = re.compile(
    r"\s*(?P<name>[^:\s]+)\s*:(?P<expression>.*)->\s*(?P<action>[A-Za-z_]+)(?P<fixed>!?)"
    r"(?:\s+\[?(?P<reason>[A-Z_]+)\]?)?\s*",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What is to be tried; everything left out stays as it is.

    Attributes:
        rules: Rules, each as `RULE_FORM`.
        rule_files: Files of such rules, one a line.
        stored: Rules of the database, whatever their state, as if they were live.
        without: Names of rules to leave out.
        lists: Lists, each as `LIST_FORM`.
        challenge_at: Calibrated probability from which to challenge.
        review_at: From which to review.
        decline_at: From which to decline.
        policy_file: A policy as JSON.
        model: Version of a published bundle.
    """

    rules: Sequence[str] = ()
    rule_files: Sequence[Path] = ()
    stored: Sequence[Rule] = ()
    without: Sequence[str] = ()
    lists: Sequence[str] = ()
    challenge_at: float | None = None
    review_at: float | None = None
    decline_at: float | None = None
    policy_file: Path | None = None
    model: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is tried."""
        return self == Draft()


def change_of(draft: Draft, present: Setup, bundle_dir: Path, numbers: NumberOf) -> Change:
    """Return the change that a draft describes.

    Args:
        draft: What a person wrote.
        present: The set-up it would change.
        bundle_dir: Where models are published.
        numbers: Which number stands for a word; a person's is keyed by the installation.

    Raises:
        Refused: nothing is tried, or a part of it can't be read.
        RuleError: a rule is none.
    """
    if draft.is_empty:
        raise Refused(
            "nothing to try: give --rule, --rule-file, --without, --list, --policy, --model or a"
            " threshold / 请指定要试验的规则、名单、策略、模型或阈值"
        )
    written = [*draft.rules, *(line for path in draft.rule_files for line in _lines_of(path))]
    model = _model(draft.model, bundle_dir)
    policy = _policy(draft.policy_file)
    return Change(
        rules=(
            *draft.stored,
            *(check_rule(rule_of(text), numbers=numbers)[0] for text in written),
        ),
        without=tuple(draft.without),
        lists=tuple(_list(text, present, numbers) for text in draft.lists),
        policy=policy,
        thresholds=_thresholds(draft, policy or present.policy, model or present.model),
        model=model,
    )


def rule_of(text: str) -> Rule:
    """Read a rule written in one line.

    Raises:
        Refused: it has another form.

    Examples:
        >>> rule = rule_of("big_at_night: amount > yuan(900) and hour < 5 -> REVIEW BURST")
        >>> rule.name, rule.expression, rule.action.value, rule.reason
        ('big_at_night', 'amount > yuan(900) and hour < 5', 'REVIEW', 'BURST')
        >>> rule_of("all: amount > 0 -> DECLINE!").overridable
        False
    """
    found = _RULE.fullmatch(text)
    if found is None:
        raise Refused(f"{text!r} is no rule: write {RULE_FORM} / 规则写法: {RULE_FORM}")
    try:
        action = Action(found["action"].upper())
    except ValueError:
        known = ", ".join(Action)
        raise Refused(f"unknown action {found['action']!r}; there are {known}") from None
    if found["fixed"] and action is not Action.DECLINE:
        raise Refused(f"only DECLINE can be made final with {FIXED_MARK!r}, not {action.value}")
    return Rule(
        name=found["name"],
        expression=found["expression"].strip(),
        action=action,
        reason=found["reason"] or DEFAULT_REASON,
        overridable=not found["fixed"],
    )


def time_of(text: str | None) -> int | None:
    """Read a date or a time, UTC+8 unless it says otherwise, as Unix microseconds.

    Raises:
        Refused: it is neither.

    Examples:
        >>> time_of("1970-01-02")
        57600000000
        >>> time_of("1970-01-01T00:00:01Z")
        1000000
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(f"{text!r} is no time: write 2026-11-22 or 2026-11-22T08:00") from None
    if moment.tzinfo is None:
        moment = datetime.fromisoformat(f"{moment.isoformat()}+08:00")
    return round(moment.timestamp() * 1e6)


def _lines_of(path: Path) -> list[str]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{path} can't be read: {error}") from error
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith(COMMENT)]


def _list(text: str, present: Setup, numbers: NumberOf) -> NamedList:
    """Read ``NAME[:PURPOSE]=FILE``; a list that exists keeps its purpose unless one is given."""
    name_and_purpose, _, file = text.partition("=")
    name, _, purpose = name_and_purpose.partition(":")
    if not name or not file:
        raise Refused(f"{text!r} is no list: write {LIST_FORM} / 名单写法: {LIST_FORM}")
    known = present.rules.lists.by_name.get(name)
    try:
        chosen = Purpose(purpose.upper()) if purpose else known.purpose if known else Purpose.NAMED
    except ValueError:
        raise Refused(f"unknown purpose {purpose!r}; there are {', '.join(Purpose)}") from None
    entries: dict[str, dict[int, int]] = {}
    for line in _lines_of(Path(file)):
        kind, number, expires_at_us = _entry(line, file, numbers)
        entries.setdefault(kind, {})[number] = expires_at_us
    return NamedList(name, chosen, entries)


def _entry(line: str, file: str, numbers: NumberOf) -> tuple[str, int, int]:
    """Read ``KIND:VALUE``, with the time it expires at after a tab if it does."""
    entry, _, expires = line.partition("\t")
    word, _, value = entry.strip().partition(":")
    if word not in WORDS or not value:
        raise Refused(
            f"{file}: {line!r} is no entry: write KIND:VALUE, e.g. card:tok_1; kinds are"
            f" {', '.join(WORDS)} / 每行写 种类:值, 可在制表符后写失效时间"
        )
    kind = kind_of(word)
    at_us = time_of(expires.strip()) if expires.strip() else None
    return kind, numbers(kind, value), NEVER_US if at_us is None else at_us


def _model(version: str | None, bundle_dir: Path) -> BatchModel | None:
    if version is None:
        return None
    try:
        return load_model(bundle_dir, version)
    except (BundleRefused, TreesUnavailable) as error:
        raise Refused(str(error)) from error


def _policy(path: Path | None) -> Policy | None:
    if path is None:
        return None
    try:
        return read_policy(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, PolicyError) as error:
        raise Refused(f"{path}: {error}") from error


def _thresholds(draft: Draft, policy: Policy, model: BatchModel | None) -> Thresholds | None:
    """The levels given, on top of those that decide now."""
    given = {
        "challenge_at": draft.challenge_at,
        "review_at": draft.review_at,
        "decline_at": draft.decline_at,
    }
    levels = {name: level for name, level in given.items() if level is not None}
    if not levels:
        return None
    base = policy.thresholds or (model.thresholds if model else None)
    if base is None and len(levels) < len(given):
        raise Refused("there is no model to take the other thresholds from: give all three")
    try:
        whole = base or Thresholds(challenge_at=0.0, review_at=0.0, decline_at=0.0)
        return replace(whole, **levels)
    except PolicyError as error:
        raise Refused(str(error)) from error
