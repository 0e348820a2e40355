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
import pyarrow.csv
import pyarrow.parquet

from gateway.replay.columns import NEVER_US, Coded, Reader
from gateway.replay.mapping import InputRefused, Mapping

CHUNK_ROWS = 65_536
SUBJECT_LENGTH_MAX = 256


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
    last_at_us = -(2**62)
    for reader in readers(path, mapping, rows_max):
        chunk = _chunk(reader, mapping, contexts=contexts)
        check_order(chunk.at_us, last_at_us, reader.first_row, mapping)
        last_at_us = int(chunk.at_us[-1])
        yield chunk


def readers(
    path: Path, mapping: Mapping, rows_max: int | None = None, *, chunk_rows: int = CHUNK_ROWS
) -> Iterator[Reader]:
    """Yield the history's tables in order, at most `chunk_rows` rows each, none empty.

    Raises:
        InputRefused: the file can't be read, or lacks a column of the mapping.
    """
    first_row = 1
    for batch in _batches(path, mapping, chunk_rows):
        left = len(batch) if rows_max is None else rows_max - (first_row - 1)
        if left <= 0:
            return
        table = batch.slice(0, min(left, len(batch)))
        if len(table):
            yield Reader(table, first_row, mapping)
            first_row += len(table)


def check_order(
    at_us: npt.NDArray[np.int64], last_at_us: int, first_row: int, mapping: Mapping
) -> None:
    """Refuse the first row that is earlier than the one before it.

    Args:
        at_us: Times of some consecutive rows.
        last_at_us: Time of the row before them.
        first_row: Number of the first of them, counted from 1.
        mapping: Names the time's column.

    Raises:
        InputRefused: naming that row.
    """
    before = np.concatenate(([last_at_us], at_us[:-1]))
    (falling,) = np.nonzero(at_us < before)
    if len(falling):
        reason = "is earlier than the row before; sort the file by time"
        raise InputRefused(mapping.time.column, reason, first_row + int(falling[0]))


def _chunk(reader: Reader, mapping: Mapping, *, contexts: bool) -> Chunk:
    at_us = reader.at_us()
    amount_minor, zero_count = reader.amounts()
    known_at_us = reader.known_at_us(at_us)
    labels = np.where(known_at_us == NEVER_US, np.int8(-1), reader.labels())
    subjects = _filled(reader.required(mapping.subject))
    return Chunk(
        first_row=reader.first_row,
        at_us=at_us,
        amount_minor=amount_minor,
        labels=labels,
        known_at_us=known_at_us,
        merchants=_filled(reader.required(mapping.merchant)),
        pay_types=_filled(reader.pay_types()),
        subjects=[text[:SUBJECT_LENGTH_MAX] for text in subjects],
        contexts=_contexts(reader, mapping, build=contexts),
        zero_count=zero_count,
    )


def _filled(coded: Coded) -> list[str]:
    return [text or "" for text in coded.texts()]


def _contexts(reader: Reader, mapping: Mapping, *, build: bool) -> list[str]:
    found: list[dict[str, dict[str, object]]] = [{} for _ in range(len(reader))]
    for rule in mapping.context:
        values = reader.field(rule)
        if not build:
            continue
        for row, value in zip(found, values, strict=True):
            if value is not None:
                row.setdefault(rule.group, {})[rule.name] = value
    if not build:
        return []
    encode = msgspec.json.encode
    return [encode(row).decode() if row else "" for row in found]


def _batches(path: Path, mapping: Mapping, chunk_rows: int) -> Iterator[pa.Table]:
    if not path.is_file():
        raise InputRefused(str(path), "no such file")
    try:
        if path.suffix == ".csv":
            yield from _csv_batches(path, mapping, chunk_rows)
        elif path.suffix == ".parquet":
            yield from _parquet_batches(path, mapping, chunk_rows)
        else:
            raise InputRefused(path.name, "must end in .parquet or .csv")
    except pa.ArrowInvalid as problem:
        raise InputRefused(path.name, f"can't be read: {problem}") from problem


def _parquet_batches(path: Path, mapping: Mapping, chunk_rows: int) -> Iterator[pa.Table]:
    with pyarrow.parquet.ParquetFile(path) as file:
        _check_columns(path, file.schema_arrow.names, mapping)
        for batch in file.iter_batches(batch_size=chunk_rows, columns=list(mapping.columns)):
            yield pa.Table.from_batches([batch])


def _csv_batches(path: Path, mapping: Mapping, chunk_rows: int) -> Iterator[pa.Table]:
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
            for start in range(0, len(table), chunk_rows):
                yield table.slice(start, chunk_rows)


def _check_columns(path: Path, present: Sequence[str], mapping: Mapping) -> None:
    for column in mapping.columns:
        if column not in present:
            raise InputRefused(
                column, f"{path.name} has no such column; it has {', '.join(present)}"
            )
