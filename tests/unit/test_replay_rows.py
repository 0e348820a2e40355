"""Rows become payments exactly, or the first that doesn't fit is refused by row and column."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from gateway.replay import rows
from gateway.replay.mapping import InputRefused, Mapping, parse
from models.synthetic.stream import generate

MAPPING = """
merchant = "{SHOP}"
pay_type = "{HOW}"
subject = "Payment {ID}"
[pay_types]
"card" = "unionpay"
[time]
column = "AT"
kind = "timestamp"
[amount]
column = "AMOUNT"
zero_as = "0.01"
[label]
column = "FRAUD"
fraud = [1]
genuine = [0]
unlabelled = [2]
delay_s = 60
[context]
"payer.account_id" = "C{CUSTOMER}"
"geo.lat" = "{LAT}"
"payer.kyc_level" = "{LEVEL}"
"device.risk_labels" = "{WARNINGS}"
"""
COLUMNS: dict[str, list[Any]] = {
    "ID": [1, 2, 3],
    "SHOP": ["a", "b", "a"],
    "HOW": ["alipay", "card", "wechat"],
    "AT": ["2026-01-01 00:00:00", "2026-01-01 00:00:01", "2026-01-01 00:00:01"],
    "AMOUNT": [12.3, 0.0, 57.16],
    "FRAUD": [0, 1, 2],
    "CUSTOMER": ["7", "", "9"],
    "LAT": [30.5, None, float("nan")],
    "LEVEL": [2, None, 0],
    "WARNINGS": ["vpn|rooted", "", None],
}


def mapping() -> Mapping:
    return parse(MAPPING, "test")


def write(folder: Path, suffix: str, **changes: list[Any]) -> Path:
    path = folder / f"history{suffix}"
    table = pa.table({**COLUMNS, **changes})
    if suffix == ".csv":
        pa.csv.write_csv(table, path)
    else:
        pa.parquet.write_table(table, path)
    return path


def read(path: Path, rows_max: int | None = None) -> rows.Chunk:
    (chunk,) = rows.chunks(path, mapping(), rows_max)
    return chunk


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_rows_become_payments(tmp_path: Path, suffix: str) -> None:
    chunk = read(write(tmp_path, suffix))

    assert chunk.at_us.tolist() == [1767225600000000, 1767225601000000, 1767225601000000]
    assert chunk.amount_minor.tolist() == [1230, 1, 5716]
    assert chunk.zero_count == 1
    assert chunk.labels.tolist() == [0, 1, -1]
    assert (chunk.known_at_us - chunk.at_us).tolist() == [60_000_000] * 3
    assert list(chunk.merchants) == ["a", "b", "a"]
    assert list(chunk.pay_types) == ["alipay", "unionpay", "wechat"]
    assert list(chunk.subjects) == ["Payment 1", "Payment 2", "Payment 3"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_an_empty_value_leaves_the_field_out(tmp_path: Path, suffix: str) -> None:
    chunk = read(write(tmp_path, suffix))
    first, second, third = (json.loads(text or "{}") for text in chunk.contexts)

    assert first == {
        "payer": {"account_id": "C7", "kyc_level": 2},
        "geo": {"lat": 30.5},
        "device": {"risk_labels": ["vpn", "rooted"]},
    }
    assert second == {}
    assert third == {"payer": {"account_id": "C9", "kyc_level": 0}}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    ("column", "values", "row", "reason"),
    [
        ("AT", ["2026-01-01", "yesterday", "2026-01-02"], 2, "must be a time"),
        ("AT", ["2026-01-02", "2026-01-01", "2026-01-03"], 2, "earlier than the row before"),
        ("AMOUNT", [1.0, 2.0, -3.0], 3, "must not be negative"),
        ("AMOUNT", [1.234, 2.0, 3.0], 1, "more than 2 decimals"),
        ("AMOUNT", [1.0, None, 3.0], 2, "is missing"),
        ("AMOUNT", [1.0, 2.0, 1e14], 3, "too large"),
        ("FRAUD", [0, 7, 1], 2, "must be one of 1, 0, 2"),
        ("FRAUD", [0, None, 1], 2, "must be one of"),
        ("HOW", ["alipay", "cash", "card"], 2, "no pay_type"),
        ("SHOP", ["a", "", "b"], 2, "is missing"),
        ("LEVEL", [1, 2, "high"], 3, "must be a integer"),
    ],
)
def test_the_first_row_that_does_not_fit_is_named(
    tmp_path: Path, suffix: str, column: str, values: list[Any], row: int, reason: str
) -> None:
    if any(isinstance(value, str) for value in values):
        values = [None if value is None else str(value) for value in values]
    path = write(tmp_path, suffix, **{column: values})

    with pytest.raises(InputRefused, match=reason) as refusal:
        rows.check(path, mapping())

    assert (refusal.value.row, refusal.value.column) == (row, column)


def test_a_missing_column_is_named_with_those_there(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("ID,SHOP\n1,a\n")

    with pytest.raises(InputRefused, match="it has ID, SHOP"):
        rows.check(path, mapping())


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "history.parquet"
    path.write_bytes(b"PAR1 but not really")

    with pytest.raises(InputRefused, match=r"history\.parquet"):
        rows.check(path, mapping())


def test_a_torn_line_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, ".csv")
    with path.open("a") as file:
        file.write("4,a\n")

    with pytest.raises(InputRefused, match=r"history\.csv"):
        rows.check(path, mapping())


def test_other_kinds_of_file_and_missing_ones_are_refused(tmp_path: Path) -> None:
    (tmp_path / "history.xlsx").write_bytes(b"x")

    with pytest.raises(InputRefused, match="must end in"):
        rows.check(tmp_path / "history.xlsx", mapping())
    with pytest.raises(InputRefused, match="no such file"):
        rows.check(tmp_path / "absent.csv", mapping())


def test_a_limit_reads_so_many_rows(tmp_path: Path) -> None:
    extent = rows.check(write(tmp_path, ".parquet"), mapping(), 2)

    assert (extent.rows, extent.merchants) == (2, ("a", "b"))


def test_chunks_number_their_rows_through_the_file(tmp_path: Path) -> None:
    count = rows.CHUNK_ROWS + 5
    table = pa.table({name: [values[0]] * count for name, values in COLUMNS.items()})
    amounts = [1.0] * count
    amounts[-1] = -1.0
    path = tmp_path / "history.parquet"
    pa.parquet.write_table(table.set_column(4, "AMOUNT", pa.array(amounts)), path)

    with pytest.raises(InputRefused, match="negative") as refusal:
        rows.check(path, mapping())
    assert refusal.value.row == count


def test_the_synthetic_worlds_file_fits_its_mapping(tmp_path: Path) -> None:
    from gateway.replay.mapping import load  # The shipped one, not this file's.

    table = generate(3_000, seed=5)
    path = tmp_path / "synthetic.parquet"
    pa.parquet.write_table(table, path)

    (chunk,) = rows.chunks(path, load("synthetic"))

    assert chunk.amount_minor.tolist() == table["amount_minor"].to_pylist()
    never = table["label_known_at_us"].is_null().to_numpy()
    assert np.array_equal(chunk.labels == -1, never)
    frauds = int(np.count_nonzero(table["is_fraud"].to_numpy() & ~never))
    assert int(np.count_nonzero(chunk.labels == 1)) == frauds > 0
