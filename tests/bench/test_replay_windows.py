"""The benchmark compares like with like: the engine's windows equal pandas' to the last bit."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gateway.bench import replay, rolling
from gateway.bench.windows import ABSENT, FEATURES
from gateway.refusal import Refused

PAYMENTS = 2_000


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seventy synthetic days in the Handbook's columns, many payments in the same second."""
    rng = np.random.default_rng(7)
    seconds = np.sort(rng.integers(0, 70 * 86_400, PAYMENTS) // 600 * 600)
    frame = pd.DataFrame(
        {
            "TRANSACTION_ID": np.arange(PAYMENTS),
            "TX_DATETIME": pd.Timestamp("2018-04-01") + pd.to_timedelta(seconds, unit="s"),
            "CUSTOMER_ID": rng.integers(0, 12, PAYMENTS),
            "TERMINAL_ID": rng.integers(0, 9, PAYMENTS),
            "TX_AMOUNT": rng.integers(0, 500_000, PAYMENTS) / 100,
            "TX_FRAUD": rng.integers(0, 2, PAYMENTS),
        }
    )
    path = tmp_path_factory.mktemp("history") / "handbook.parquet"
    frame.to_parquet(path)
    return path


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("rolled", [rolling.entity_by_entity, rolling.grouped])
def test_the_engine_and_pandas_agree_bit_for_bit(
    history: Path, tmp_path: Path, rolled: rolling.Rolled, every: int
) -> None:
    replay._engine(history, tmp_path / "ours.npz", FEATURES)
    figures = replay._pandas(history, tmp_path / "theirs.npz", every, rolled)

    compared, unequal = replay.compare(tmp_path / "ours.npz", tmp_path / "theirs.npz")
    assert unequal == 0
    assert compared > len(FEATURES) * PAYMENTS / every / 2
    assert figures["payments"] == PAYMENTS


def test_a_value_that_differs_is_counted(history: Path, tmp_path: Path) -> None:
    replay._engine(history, tmp_path / "ours.npz", FEATURES)
    replay._pandas(history, tmp_path / "theirs.npz", 1, rolling.grouped)
    with np.load(tmp_path / "theirs.npz") as found:
        columns = dict(found)
    mean = columns["customer_mean_7d"]
    columns["customer_mean_7d"] = np.where(
        np.arange(len(mean)) == 1_500, np.nextafter(mean, np.inf), mean
    )
    np.savez(tmp_path / "theirs.npz", allow_pickle=False, **columns)

    assert replay.compare(tmp_path / "ours.npz", tmp_path / "theirs.npz")[1] == 1


def test_a_window_is_declared_or_named_as_absent() -> None:
    assert len(FEATURES) + len(ABSENT) == 12


def test_without_the_data_the_benchmark_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"handbook\.parquet"):
        replay.run(tmp_path / "handbook.parquet")
