"""A mapping file: which column of a history is the time, the amount, the label, the payer.

Every history names its columns differently and none of them names risk fields. A mapping is
twenty lines of TOML that anybody can read and review, so that no history needs code of its own
and every figure reported on one can be traced to what was mapped.
"""

import tomllib
import types
import typing
from collections.abc import Mapping as Record
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from string import Formatter
from typing import Any, Literal, TypeVar, get_args

from gateway.domain.errors import InvalidParameter
from gateway.domain.money import MINOR_DIGITS, parse_minor
from gateway.domain.order import PayType
from gateway.refusal import Refused
from risk.transaction import RiskContext

FieldKind = Literal["text", "integer", "number", "flag", "list"]
TimeKind = Literal["timestamp", "seconds", "microseconds", "index"]
_KINDS: dict[type, FieldKind] = {str: "text", int: "integer", float: "number", bool: "flag"}
_US = 1_000_000
_T = TypeVar("_T")


class InputRefused(Refused):
    """The input or its mapping doesn't fit; nothing was replayed.

    Attributes:
        row: Data row, counted from 1, or None if the whole file is at fault.
        column: Column or mapping key at fault.
        reason: What is wrong with it.
    """

    def __init__(self, column: str, reason: str, row: int | None = None) -> None:
        where = f"row {row}, column {column!r}" if row is not None else repr(column)
        super().__init__(f"{where}: {reason}")
        self.row = row
        self.column = column
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Template:
    """Text with columns in braces, e.g. ``C{CUSTOMER_ID}``; missing if any column is missing.

    Examples:
        >>> Template.parse("C{ID}-{SHOP}", "x").columns
        ('ID', 'SHOP')
    """

    text: str
    parts: tuple[tuple[str, str], ...]  # (literal before, column or ''), in order.

    @classmethod
    def parse(cls, text: str, key: str) -> "Template":
        """Read a template; `key` names it in the error."""
        parts = []
        try:
            for literal, column, spec, conversion in Formatter().parse(text):
                if spec or conversion or column == "":
                    raise InputRefused(key, f"{text!r} may hold only plain {{COLUMN}} names")
                parts.append((literal, column or ""))
        except ValueError as problem:
            raise InputRefused(key, f"{text!r}: {problem}") from problem
        return cls(text, tuple(parts))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads, in order."""
        return tuple(column for _, column in self.parts if column)

    @property
    def sole_column(self) -> str | None:
        """The column if the template is nothing but one, else None."""
        return self.parts[0][1] if len(self.parts) == 1 and not self.parts[0][0] else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRule:
    """Where event time comes from: a timestamp, a count since `base_at_us`, or a row index."""

    column: str
    kind: TimeKind
    base_at_us: int
    unit_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AmountRule:
    """Where the amount comes from.

    Attributes:
        zero_as_minor: What a zero amount is replayed as, in minor units; None refuses it (the
            gateway takes no zero amount).
        round_to_minor: Round to the currency's decimals instead of refusing more of them.
        in_minor: The column already holds minor units.
    """

    column: str
    currency: str
    zero_as_minor: int | None
    round_to_minor: bool
    in_minor: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRule:
    """Where the label comes from and when it became known.

    Attributes:
        values: Text of the column's value to 1 (fraud), 0 (genuine) or -1 (never labelled).
        delay_us: Known so long after the payment, in microseconds.
        known_at_column: Or the column that says when, in microseconds since the epoch; a row
            where it is empty was never labelled.
    """

    column: str
    values: Record[str, int]
    delay_us: int
    known_at_column: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextRule:
    """One field of the risk context, e.g. ``payer.account_id``."""

    group: str
    name: str
    kind: FieldKind
    template: Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """A whole mapping file, checked."""

    name: str
    merchant: Template
    pay_type: Template
    pay_types: Record[str, str]
    subject: Template
    time: TimeRule
    amount: AmountRule
    label: LabelRule
    context: tuple[ContextRule, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column the mapping reads, each once."""
        names = [self.time.column, self.amount.column, self.label.column]
        names.append(self.label.known_at_column)
        for template in (self.merchant, self.pay_type, self.subject):
            names.extend(template.columns)
        for rule in self.context:
            names.extend(rule.template.columns)
        return tuple(dict.fromkeys(name for name in names if name))


def context_kinds() -> dict[str, FieldKind]:
    """Return every field of the risk context and the kind of value it takes.

    Examples:
        >>> context_kinds()["geo.lat"], context_kinds()["device.risk_labels"]
        ('number', 'list')
    """
    kinds: dict[str, FieldKind] = {}
    for group, group_type in typing.get_type_hints(RiskContext).items():
        for name, hint in typing.get_type_hints(group_type).items():
            (inner,) = (arg for arg in get_args(hint) if arg is not types.NoneType)
            kinds[f"{group}.{name}"] = _KINDS.get(inner, "list")
    return kinds


def shipped() -> tuple[str, ...]:
    """Return the names of the mappings that come with the gateway."""
    folder = resources.files("gateway") / "mappings"
    return tuple(
        sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml"))
    )


def load(name_or_path: str) -> Mapping:
    """Read a shipped mapping by name or any other by its path.

    Raises:
        InputRefused: naming the key that is missing, unknown or wrong.
    """
    if name_or_path in shipped():
        text = (resources.files("gateway") / "mappings" / f"{name_or_path}.toml").read_text("utf-8")
        return parse(text, name_or_path)
    path = Path(name_or_path)
    if not path.is_file():
        known = ", ".join(shipped())
        raise InputRefused("--mapping", f"no file {name_or_path!r}; shipped ones are: {known}")
    return parse(path.read_text("utf-8"), path.stem)


def guess(path: Path) -> str:
    """Return the shipped mapping named like the file.

    Raises:
        InputRefused: if there is none.
    """
    if path.stem in shipped():
        return path.stem
    raise InputRefused("--mapping", f"no shipped mapping is called {path.stem!r}; name one")


def parse(text: str, name: str) -> Mapping:
    """Read a mapping from TOML text and check every key of it.

    Raises:
        InputRefused: naming the key that is missing, unknown or wrong.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise InputRefused(name, f"not TOML: {problem}") from problem
    root = _Table("", table, name)
    mapping = Mapping(
        name=name,
        merchant=Template.parse(root.text("merchant"), "merchant"),
        pay_type=Template.parse(root.text("pay_type"), "pay_type"),
        pay_types=root.table("pay_types", optional=True).texts(),
        subject=Template.parse(root.text("subject"), "subject"),
        time=_time(root.table("time")),
        amount=_amount(root.table("amount")),
        label=_label(root.table("label")),
        context=_context(root.table("context", optional=True)),
    )
    root.text("description", default="")
    root.done()
    _check_pay_types(mapping)
    return mapping


class _Table:
    """One TOML table that reports missing, mistyped and left-over keys by their full name."""

    def __init__(self, prefix: str, values: dict[str, Any], mapping: str) -> None:
        self._prefix = prefix
        self._values = dict(values)
        self._mapping = mapping

    def _take(self, key: str, expected: type[_T], default: _T | None) -> _T:
        value = self._values.pop(key, default)
        if value is None:
            raise InputRefused(f"{self._prefix}{key}", f"missing in mapping {self._mapping}")
        if not isinstance(value, expected) or (expected is not bool and isinstance(value, bool)):
            raise InputRefused(f"{self._prefix}{key}", f"must be a {expected.__name__}")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        return self._take(key, str, default)

    def whole(self, key: str, default: int | None = None) -> int:
        return self._take(key, int, default)

    def flag(self, key: str, *, default: bool) -> bool:
        return self._take(key, bool, default)

    def values(self, key: str) -> list[str]:
        return [str(value) for value in self._take(key, list, [])]

    def table(self, key: str, *, optional: bool = False) -> "_Table":
        values = self._take(key, dict, {} if optional else None)
        return _Table(f"{self._prefix}{key}.", values, self._mapping)

    def texts(self) -> dict[str, str]:
        return {key: self.text(key) for key in list(self._values)}

    def done(self) -> None:
        for key in self._values:
            raise InputRefused(f"{self._prefix}{key}", "unknown key")


def _time(table: _Table) -> TimeRule:
    kind = table.text("kind")
    if kind not in get_args(TimeKind):
        known = ", ".join(get_args(TimeKind))
        raise InputRefused("time.kind", f"must be one of {known}, was {kind!r}")
    base = table.text("base", default="1970-01-01T00:00:00Z")
    try:
        base_at = datetime.fromisoformat(base)
    except ValueError as problem:
        raise InputRefused("time.base", f"not a time: {base!r}") from problem
    if base_at.tzinfo is None:
        base_at = base_at.replace(tzinfo=UTC)
    rule = TimeRule(
        column=table.text("column"),
        kind=typing.cast("TimeKind", kind),
        base_at_us=int(base_at.timestamp()) * _US,
        unit_us=table.whole("unit_s", default=1) * _US,
    )
    table.done()
    return rule


def _amount(table: _Table) -> AmountRule:
    currency = table.text("currency", default="CNY")
    if currency not in MINOR_DIGITS:
        raise InputRefused("amount.currency", f"unknown currency {currency!r}")
    unit = table.text("unit", default="major")
    if unit not in ("major", "minor"):
        raise InputRefused("amount.unit", f"must be major or minor, was {unit!r}")
    zero_as = table.text("zero_as", default="")
    rule = AmountRule(
        column=table.text("column"),
        currency=currency,
        zero_as_minor=_zero_as(zero_as, currency) if zero_as else None,
        round_to_minor=table.flag("round", default=False),
        in_minor=unit == "minor",
    )
    table.done()
    return rule


def _zero_as(text: str, currency: str) -> int:
    try:
        return parse_minor(text, currency, field="amount.zero_as")
    except InvalidParameter as problem:
        raise InputRefused("amount.zero_as", problem.problem) from problem


def _label(table: _Table) -> LabelRule:
    meanings = {"fraud": 1, "genuine": 0, "unlabelled": -1}
    values: dict[str, int] = {}
    for key, meaning in meanings.items():
        for value in table.values(key):
            if values.setdefault(value, meaning) != meaning:
                raise InputRefused(f"label.{key}", f"{value!r} is listed twice")
    if 1 not in values.values():
        raise InputRefused("label.fraud", "must list at least one value")
    rule = LabelRule(
        column=table.text("column"),
        values=values,
        delay_us=table.whole("delay_s", default=0) * _US,
        known_at_column=table.text("known_at_column", default=""),
    )
    table.done()
    if rule.delay_us < 0:
        raise InputRefused("label.delay_s", "must not be negative")
    return rule


def _context(table: _Table) -> tuple[ContextRule, ...]:
    kinds = context_kinds()
    rules = []
    for path, text in table.texts().items():
        kind = kinds.get(path)
        if kind is None:
            raise InputRefused(f"context.{path}", "no such field of the risk context")
        template = Template.parse(text, f"context.{path}")
        if kind != "text" and template.sole_column is None:
            raise InputRefused(f"context.{path}", f"a {kind} field takes one column: '{{COLUMN}}'")
        group, name = path.split(".")
        rules.append(ContextRule(group=group, name=name, kind=kind, template=template))
    return tuple(rules)


def _check_pay_types(mapping: Mapping) -> None:
    known = set(PayType)
    for value, pay_type in mapping.pay_types.items():
        if pay_type not in known:
            raise InputRefused(f"pay_types.{value}", f"unknown pay_type {pay_type!r}")
    if not mapping.pay_type.columns and mapping.pay_type.text not in known:
        raise InputRefused("pay_type", f"unknown pay_type {mapping.pay_type.text!r}")
