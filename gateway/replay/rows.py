"""Read a history in chunks and turn it into payments, refusing the first row that doesn't fit.

The whole file is checked before anything is replayed, because a refusal at row 900,000 must not
leave a database with 899,999 payments in it. Checks run on whole columns; only a column that
fails is searched for its row.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from gateway.domain.money import AMOUNT_MINOR_MAX, MINOR_DIGITS
from gateway.domain.order import PayType
from gateway.replay.mapping import ContextRule, InputRefused, Mapping, Template

CHUNK_ROWS = 65_536
SUBJECT_LENGTH_MAX = 256
NEVER_US = 2**62
_TYPES: dict[str, pa.DataType] = {
    "text": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "flag": pa.bool_(),
    "list": pa.string(),
}
_KNOWN_PAY_TYPES = frozenset(PayType)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Some consecutive payments of a history, column by column.

    Attributes:
        first_row: Number of the first row, counted from 1.
        at_us: Event times, microseconds since the epoch, never falling.
        amount_minor: Amounts in minor units.
        labels: 1 fraud, 0 genuine, -1 never labelled.
        known_at_us: When the label becomes known; `NEVER_US` if it never does.
        merchants: Merchant's name in the mapping.
        pay_types: The specification's payment types.
        subjects: Order titles.
        contexts: JSON of the risk context, empty if a row brings none.
        zero_count: Zero amounts that were replaced.
    """

    first_row: int
    at_us: npt.NDArray[np.int64]
    amount_minor: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int8]
    known_at_us: npt.NDArray[np.int64]
    merchants: Sequence[str]
    pay_types: Sequence[str]
    subjects: Sequence[str]
    contexts: Sequence[str]
    zero_count: int

    def __len__(self) -> int:
        return len(self.at_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """What a checked history holds."""

    rows: int
    first_at_us: int
    last_at_us: int
    zero_count: int
    merchants: tuple[str, ...]


def check(path: Path, mapping: Mapping, rows_max: int | None = None) -> Extent:
    """Go through the whole file once without replaying anything.

    Raises:
        InputRefused: at the first row that does not fit.
    """
    rows = zero_count = 0
    first_at_us = last_at_us = 0
    merchants: dict[str, None] = {}
    for chunk in chunks(path, mapping, rows_max, contexts=False):
        if rows == 0:
            first_at_us = int(chunk.at_us[0])
        rows += len(chunk)
        last_at_us = int(chunk.at_us[-1])
        zero_count += chunk.zero_count
        merchants.update(dict.fromkeys(chunk.merchants))
    if rows == 0:
        raise InputRefused(path.name, "holds no rows")
    return Extent(
        rows=rows,
        first_at_us=first_at_us,
        last_at_us=last_at_us,
        zero_count=zero_count,
        merchants=tuple(merchants),
    )


def chunks(
    path: Path, mapping: Mapping, rows_max: int | None = None, *, contexts: bool = True
) -> Iterator[Chunk]:
    """Yield the history in order, at most `CHUNK_ROWS` rows at a time.

    Args:
        path: A ``.parquet`` or ``.csv`` file.
        mapping: What its columns mean.
        rows_max: Stop after so many rows; None reads all.
        contexts: Also build the risk contexts, the costliest part.

    Raises:
        InputRefused: naming row, column and reason.
    """
    first_row, last_at_us = 1, -(2**62)
    for batch in _batches(path, mapping):
        left = len(batch) if rows_max is None else rows_max - (first_row - 1)
        if left <= 0:
            return
        table = batch.slice(0, min(left, len(batch)))
        if len(table) == 0:
            continue
        reader = _Reader(table, first_row, mapping)
        chunk = reader.chunk(contexts=contexts)
        _check_order(chunk, last_at_us, mapping.time.column)
        last_at_us = int(chunk.at_us[-1])
        yield chunk
        first_row += len(table)


def _batches(path: Path, mapping: Mapping) -> Iterator[pa.Table]:
    if not path.is_file():
        raise InputRefused(str(path), "no such file")
    try:
        if path.suffix == ".csv":
            yield from _csv_batches(path, mapping)
        elif path.suffix == ".parquet":
            yield from _parquet_batches(path, mapping)
        else:
            raise InputRefused(path.name, "must end in .parquet or .csv")
    except pa.ArrowInvalid as problem:
        raise InputRefused(path.name, f"can't be read: {problem}") from problem


def _parquet_batches(path: Path, mapping: Mapping) -> Iterator[pa.Table]:
    with pyarrow.parquet.ParquetFile(path) as file:
        _check_columns(path, file.schema_arrow.names, mapping)
        for batch in file.iter_batches(batch_size=CHUNK_ROWS, columns=list(mapping.columns)):
            yield pa.Table.from_batches([batch])


def _csv_batches(path: Path, mapping: Mapping) -> Iterator[pa.Table]:
    with path.open("rb") as head:
        names = pa.csv.open_csv(head).schema.names
    _check_columns(path, names, mapping)
    # Everything is read as text: a value that doesn't convert is then ours to locate and name.
    options = pa.csv.ConvertOptions(
        column_types=dict.fromkeys(mapping.columns, pa.string()),
        include_columns=list(mapping.columns),
        strings_can_be_null=True,
        null_values=[""],
    )
    reading = pa.csv.ReadOptions(use_threads=False, block_size=8 << 20)
    with pa.csv.open_csv(path, read_options=reading, convert_options=options) as reader:
        for batch in reader:
            table = pa.Table.from_batches([batch])
            for start in range(0, len(table), CHUNK_ROWS):
                yield table.slice(start, CHUNK_ROWS)


def _check_columns(path: Path, present: Sequence[str], mapping: Mapping) -> None:
    for column in mapping.columns:
        if column not in present:
            raise InputRefused(
                column, f"{path.name} has no such column; it has {', '.join(present)}"
            )


def _check_order(chunk: Chunk, last_at_us: int, column: str) -> None:
    before = np.concatenate(([last_at_us], chunk.at_us[:-1]))
    (falling,) = np.nonzero(chunk.at_us < before)
    if len(falling):
        raise InputRefused(
            column,
            "is earlier than the row before; sort the file by time",
            chunk.first_row + int(falling[0]),
        )


class _Reader:
    """Converts one table; every refusal carries the row's number in the file."""

    def __init__(self, table: pa.Table, first_row: int, mapping: Mapping) -> None:
        self._table = table
        self._first_row = first_row
        self._mapping = mapping

    def chunk(self, *, contexts: bool) -> Chunk:
        at_us = self._at_us()
        amount_minor, zero_count = self._amounts()
        known_at_us = self._known_at_us(at_us)
        labels = np.where(known_at_us == NEVER_US, np.int8(-1), self._labels())
        return Chunk(
            first_row=self._first_row,
            at_us=at_us,
            amount_minor=amount_minor,
            labels=labels,
            known_at_us=known_at_us,
            merchants=self._required(self._mapping.merchant),
            pay_types=self._pay_types(),
            subjects=[text[:SUBJECT_LENGTH_MAX] for text in self._required(self._mapping.subject)],
            contexts=self._contexts(build=contexts),
            zero_count=zero_count,
        )

    def _refuse(self, column: str, index: int, reason: str) -> InputRefused:
        value = self._table.column(column)[index].as_py()
        shown = repr(value)
        return InputRefused(column, f"{reason}, was {shown[:60]}", self._first_row + index)

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

    def _at_us(self) -> npt.NDArray[np.int64]:
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

    def _amounts(self) -> tuple[npt.NDArray[np.int64], int]:
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

    def _labels(self) -> npt.NDArray[np.int8]:
        rule = self._mapping.label
        texts = self._cast(rule.column, pa.string(), "can't be read as a label").to_pylist()
        labels = np.empty(len(texts), dtype=np.int8)
        for index, text in enumerate(texts):
            label = rule.values.get(text)
            if label is None:
                known = ", ".join(rule.values)
                raise self._refuse(rule.column, index, f"must be one of {known}")
            labels[index] = label
        return labels

    def _known_at_us(self, at_us: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
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

    def _texts(self, template: Template) -> list[str | None]:
        """Fill a template for every row; None where a column of it is empty."""
        filled: list[str | None] = [""] * len(self._table)
        for literal, column in template.parts:
            if not column:
                filled = [None if text is None else text + literal for text in filled]
                continue
            values = self._cast(column, pa.string(), "can't be read as text").to_pylist()
            filled = [
                None if text is None or not value else text + literal + value
                for text, value in zip(filled, values, strict=True)
            ]
        return filled

    def _required(self, template: Template) -> list[str]:
        texts = self._texts(template)
        complete = []
        for index, text in enumerate(texts):
            if not text:
                raise self._refuse(template.columns[0], index, "is missing")
            complete.append(text)
        return complete

    def _pay_types(self) -> list[str]:
        mapping = self._mapping
        values = self._required(mapping.pay_type)
        pay_types = [mapping.pay_types.get(value, value) for value in values]
        for index, pay_type in enumerate(pay_types):
            if pay_type not in _KNOWN_PAY_TYPES:
                column = mapping.pay_type.columns[0]
                raise self._refuse(column, index, "is no pay_type, and pay_types doesn't map it")
        return pay_types

    def _field(self, rule: ContextRule) -> list[object]:
        if rule.kind == "text":
            return list(self._texts(rule.template))
        column = rule.template.columns[0]
        reason = f"must be a {rule.kind}"
        values = self._cast(column, _TYPES[rule.kind], reason)
        if rule.kind == "number":
            values = pc.if_else(pc.is_finite(values), values, pa.scalar(None, pa.float64()))
        fields: list[object] = values.to_pylist()
        if rule.kind == "list":
            return [str(text).split("|") if text else None for text in fields]
        return fields

    def _contexts(self, *, build: bool) -> list[str]:
        rows: list[dict[str, dict[str, object]]] = [{} for _ in range(len(self._table))]
        for rule in self._mapping.context:
            values = self._field(rule)
            if not build:
                continue
            for row, value in zip(rows, values, strict=True):
                if value is not None:
                    row.setdefault(rule.group, {})[rule.name] = value
        if not build:
            return []
        encode = msgspec.json.encode
        return [encode(row).decode() if row else "" for row in rows]
