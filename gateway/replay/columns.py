"""The columns of a history as numbers and texts, each refused by row if a value doesn't fit.

Checks run on whole columns; only a column that fails is searched for its row. Texts are made once
for each different value, because a history of millions of rows names few thousand accounts.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gateway.domain.money import AMOUNT_MINOR_MAX, MINOR_DIGITS
from gateway.domain.order import PayType
from gateway.replay.mapping import ContextRule, InputRefused, Mapping, Template

NEVER_US = 2**62
_TYPES: dict[str, pa.DataType] = {
    "text": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "flag": pa.bool_(),
    "list": pa.string(),
}
_KNOWN_PAY_TYPES = frozenset(PayType)


Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Coded:
    """A column of texts by number: row i reads ``words[places[i]]``; None is missing."""

    places: Ints
    words: tuple[str | None, ...]

    def texts(self) -> list[str | None]:
        """The text of every row."""
        return [self.words[place] for place in self.places.tolist()]


class Reader:
    """Converts one table; every refusal carries the row's number in the file.

    Attributes:
        first_row: Number of its first row, counted from 1.
    """

    def __init__(self, table: pa.Table, first_row: int, mapping: Mapping) -> None:
        self._table = table
        self.first_row = first_row
        self._mapping = mapping

    def __len__(self) -> int:
        return len(self._table)

    def _refuse(self, column: str, index: int, reason: str) -> InputRefused:
        value = self._table.column(column)[index].as_py()
        shown = repr(value)
        return InputRefused(column, f"{reason}, was {shown[:60]}", self.first_row + index)

    def _refuse_where(self, column: str, bad: npt.NDArray[np.bool_], reason: str) -> None:
        (rows,) = np.nonzero(bad)
        if len(rows):
            raise self._refuse(column, int(rows[0]), reason)

    def _cast(self, column: str, kind: pa.DataType, reason: str) -> pa.Array:
        values = self._table.column(column).combine_chunks()
        if pa.types.is_floating(values.type) and pa.types.is_integer(kind):
            values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
        try:
            return pc.cast(values, kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            low, high = 0, len(values)  # The first row that fails is between them.
            while high - low > 1:
                middle = (low + high) // 2
                try:
                    pc.cast(values.slice(low, middle - low), kind)
                    low = middle
                except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                    high = middle
            raise self._refuse(column, low, reason) from None

    def _numbers(self, column: str, kind: pa.DataType, reason: str) -> npt.NDArray[np.generic]:
        values = self._cast(column, kind, reason)
        if values.null_count:
            self._refuse_where(column, np.asarray(pc.is_null(values)), "is missing")
        numbers: npt.NDArray[np.generic] = values.to_numpy(zero_copy_only=False)
        return numbers

    def at_us(self) -> Ints:
        """Event times, microseconds since the epoch."""
        rule = self._mapping.time
        if rule.kind == "timestamp":
            reason = "must be a time such as 2018-04-01 00:00:31"
            times = self._numbers(rule.column, pa.timestamp("us"), reason)
            return times.astype("datetime64[us]").astype(np.int64)
        if rule.kind == "index":
            index = self._numbers(rule.column, pa.int64(), "must be a whole number")
            return rule.base_at_us + index.astype(np.int64) * rule.unit_us
        if rule.kind == "microseconds":
            micros = self._numbers(rule.column, pa.int64(), "must be a whole number")
            return rule.base_at_us + micros.astype(np.int64)
        seconds = self._numbers(rule.column, pa.float64(), "must be a number").astype(np.float64)
        self._refuse_where(rule.column, ~np.isfinite(seconds), "must be a finite number")
        return rule.base_at_us + np.rint(seconds * rule.unit_us).astype(np.int64)

    def amounts(self) -> tuple[Ints, int]:
        """Amounts in minor units, and how many zeros among them were replaced."""
        rule = self._mapping.amount
        amounts = self._numbers(rule.column, pa.float64(), "must be a number").astype(np.float64)
        self._refuse_where(rule.column, ~np.isfinite(amounts), "must be a finite number")
        self._refuse_where(rule.column, amounts < 0, "must not be negative")
        digits = 0 if rule.in_minor else MINOR_DIGITS[rule.currency]
        scaled = amounts * 10.0**digits
        self._refuse_where(rule.column, scaled > AMOUNT_MINOR_MAX, "is too large")
        minor = np.rint(scaled)
        if not rule.round_to_minor:
            slack = np.maximum(1e-6, scaled * 1e-14)  # What a double loses of a decimal number.
            reason = f"has more than {digits} decimals (set amount.round = true to round)"
            self._refuse_where(rule.column, np.abs(scaled - minor) > slack, reason)
        zero = minor == 0
        zero_count = int(np.count_nonzero(zero))
        if zero_count:
            if rule.zero_as_minor is None:
                reason = "is zero, which no payment is (set amount.zero_as to replace it)"
                self._refuse_where(rule.column, zero, reason)
            minor[zero] = rule.zero_as_minor
        return minor.astype(np.int64), zero_count

    def labels(self) -> npt.NDArray[np.int8]:
        """1 fraud, 0 genuine, -1 never labelled."""
        rule = self._mapping.label
        coded = self._column(rule.column, "can't be read as a label")
        meanings = [rule.values.get(word) if word is not None else None for word in coded.words]
        unknown = np.array([meaning is None for meaning in meanings], dtype=np.bool_)
        reason = f"must be one of {', '.join(rule.values)}"
        self._refuse_where(rule.column, unknown[coded.places], reason)
        return np.array([meaning or 0 for meaning in meanings], dtype=np.int8)[coded.places]

    def known_at_us(self, at_us: Ints) -> Ints:
        """When each label becomes known; `NEVER_US` if it never does."""
        rule = self._mapping.label
        if not rule.known_at_column:
            return at_us + rule.delay_us
        column = rule.known_at_column
        values = self._cast(column, pa.int64(), "must be microseconds since the epoch")
        known: npt.NDArray[np.int64] = (
            pc.fill_null(values, NEVER_US).to_numpy(zero_copy_only=False).astype(np.int64)
        )
        self._refuse_where(column, known < at_us, "is before the payment")
        return known

    def _column(self, column: str, reason: str) -> Coded:
        """A column's different values as texts, and which of them each row has."""
        values = self._table.column(column).combine_chunks()
        try:
            coded = pc.dictionary_encode(values, null_encoding="encode")
            words = pc.cast(coded.dictionary, pa.string())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            texts = self._cast(column, pa.string(), reason)
            coded = pc.dictionary_encode(texts, null_encoding="encode")
            words = coded.dictionary
        # A column without any value has no words, and no place of any.
        places = pc.fill_null(coded.indices, len(words)).to_numpy(zero_copy_only=False)
        return Coded(places.astype(np.int64), (*words.to_pylist(), None))

    def coded(self, template: Template) -> Coded:
        """Fill a template for every row; None where a column of it is empty."""
        places = np.zeros(len(self._table), dtype=np.int64)
        words: list[str | None] = [""]
        for literal, name in template.parts:
            if not name:
                words = [None if word is None else word + literal for word in words]
                continue
            column = self._column(name, "can't be read as text")
            pairs = np.arange(len(column.words))
            if len(words) == 1:
                places = column.places
            else:
                every = places * len(column.words) + column.places
                pairs, places = np.unique(every, return_inverse=True)
            befores, afters = np.divmod(pairs, len(column.words))
            words = [
                _joined(words[before], literal, column.words[after])
                for before, after in zip(befores.tolist(), afters.tolist(), strict=True)
            ]
        return Coded(places, tuple(words))

    def required(self, template: Template) -> Coded:
        """Like `coded`, but refuses a row where it is missing."""
        coded = self.coded(template)
        missing = np.array([not word for word in coded.words], dtype=np.bool_)
        if missing.any():
            self._refuse_where(template.columns[0], missing[coded.places], "is missing")
        return coded

    def pay_types(self) -> Coded:
        """The specification's payment types."""
        mapping = self._mapping
        coded = self.required(mapping.pay_type)
        words = tuple(mapping.pay_types.get(word or "", word) for word in coded.words)
        unknown = np.array([word not in _KNOWN_PAY_TYPES for word in words], dtype=np.bool_)
        if unknown.any():
            reason = "is no pay_type, and pay_types doesn't map it"
            self._refuse_where(mapping.pay_type.columns[0], unknown[coded.places], reason)
        return Coded(coded.places, words)

    def field(self, rule: ContextRule) -> list[object]:
        """One field of the risk context for every row; None where it is missing."""
        if rule.kind == "text":
            return list(self.coded(rule.template).texts())
        column = rule.template.columns[0]
        reason = f"must be a {rule.kind}"
        values = self._cast(column, _TYPES[rule.kind], reason)
        if rule.kind == "number":
            values = pc.if_else(pc.is_finite(values), values, pa.scalar(None, pa.float64()))
        fields: list[object] = values.to_pylist()
        if rule.kind == "list":
            return [str(text).split("|") if text else None for text in fields]
        return fields


def _joined(before: str | None, literal: str, word: str | None) -> str | None:
    return None if before is None or not word else before + literal + word
