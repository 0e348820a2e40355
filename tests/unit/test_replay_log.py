"""A log put together column by column is the log encoded row by row, bit for bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.replay import log
from gateway.replay.mapping import InputRefused, Mapping, parse
from gateway.training import past_payments
from models.dataset import from_history

MAPPING = """
merchant = "{SHOP}"
pay_type = "{HOW}"
subject = "Payment"
[time]
column = "AT"
kind = "seconds"
base = "2026-01-01T00:00:00Z"
[amount]
column = "AMOUNT"
unit = "minor"
[label]
column = "FRAUD"
fraud = [1]
genuine = [0]
unlabelled = [2]
delay_s = DELAY
[context]
"payer.account_id" = "C{WHO}"
"payee.account_id" = "{SHOP}-{TO}"
"client.ip" = "10.0.0.{WHO}"
"geo.place" = "{PLACE}"
"order.mcc" = "{TO}"
"""
PAYMENTS = st.lists(
    st.tuples(
        st.integers(0, 9_000),
        st.integers(1, 10**12),
        st.sampled_from([0, 1, 2]),
        st.sampled_from(["7", "8", ""]),
        st.sampled_from(["a", "b"]),
        st.sampled_from([None, "north", "7"]),
        st.sampled_from(["alipay", "wechat"]),
    ),
    min_size=1,
    max_size=40,
)


def mapping(delay_s: int = 600, text: str = MAPPING) -> Mapping:
    return parse(text.replace("DELAY", str(delay_s)), "test")


def write(folder: Path, rows: list[Any]) -> Path:
    names = ("AT", "AMOUNT", "FRAUD", "WHO", "TO", "PLACE", "HOW")
    columns = {
        name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }
    path = folder / "history.parquet"
    pa.parquet.write_table(pa.table({**columns, "SHOP": ["s"] * len(rows)}), path)
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=PAYMENTS, delay_s=st.sampled_from([0, 1, 600, 100_000]), cut=st.integers(0, 80))
def test_columns_and_rows_give_the_same_log(
    tmp_path: Path, rows: list[Any], delay_s: int, cut: int
) -> None:
    path = write(tmp_path, sorted(rows, key=lambda row: row[0]))

    whole = log.read(path, mapping(delay_s))
    parts = np.vstack([whole.events(0, cut), whole.events(cut, len(whole) + 80)])

    expected = from_history(past_payments(path, mapping(delay_s)))
    assert np.array_equal(parts, expected)


def test_a_log_says_which_payment_each_event_is_about(tmp_path: Path) -> None:
    rows = [(0, 5, 1, "7", "a", None, "alipay"), (900, 6, 2, "8", "b", None, "alipay")]

    found = log.read(write(tmp_path, rows), mapping())

    assert found.source.tolist() == [0, ~0, 1]
    assert found.labels.tolist() == [1, -1]


def test_a_mapping_that_says_more_than_names_is_read_row_by_row(tmp_path: Path) -> None:
    path = write(tmp_path, [(0, 5, 1, "7", "a", None, "alipay")])
    richer = mapping(text=MAPPING + '"geo.lat" = "{AMOUNT}"\n')

    with pytest.raises(InputRefused, match=r"context\.geo\.lat"):
        log.read(path, richer)


def test_a_row_out_of_order_is_refused_by_its_number(tmp_path: Path) -> None:
    rows = [(at_s, 5, 1, "7", "a", None, "alipay") for at_s in (5, 9, 8)]

    with pytest.raises(InputRefused, match="row 3") as refusal:
        log.read(write(tmp_path, rows), mapping())
    assert refusal.value.column == "AT"
