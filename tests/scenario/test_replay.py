"""History goes through the gateway's own door: whole, in its own time, learnt from on the way."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from models.synthetic.stream import generate

ROOT = Path(__file__).resolve().parents[2]
ROWS = 4_000
REQUIRED = {
    *("rows", "accepted", "labelled", "roc_auc", "average_precision", "decline_rate"),
    *("precision_at_decline_rate", "creates_per_s", "assess_p50_us", "assess_p99_us"),
    "ledger_balanced",
}


def yumen(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "gateway.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("history") / "synthetic.parquet"
    table = generate(ROWS, seed=11, fraud_share=0.3, label_delay_s=3_600.0, span_s=5 * 86_400.0)
    pa.parquet.write_table(table, path)
    return path


@pytest.fixture(scope="module")
def replayed(history: Path) -> tuple[dict[str, object], Path]:
    var = history.parent / "var"
    done = yumen("replay", str(history), "--var", str(var), "--json")
    assert done.returncode == 0, done.stderr[-3_000:]
    result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return result, var


def test_the_last_line_reports_every_figure(replayed: tuple[dict[str, object], Path]) -> None:
    result, _ = replayed

    assert set(result) >= REQUIRED
    assert (result["rows"], result["accepted"], result["refused"]) == (ROWS, ROWS, 0)
    assert result["ledger_balanced"] is True
    assert result["broken"] == []
    assert result["train_rows"] == pytest.approx(0.6 * ROWS, abs=64)
    assert result["train_labels"] == "known in time"
    assert str(result["model_version"]).startswith("v1-")


def test_the_model_learnt_on_the_way_finds_fraud(replayed: tuple[dict[str, object], Path]) -> None:
    result, _ = replayed

    assert isinstance(result["roc_auc"], float)
    assert result["roc_auc"] > 0.7  # Guessing has 0.5.


def test_labels_that_come_too_late_to_train_on_are_learnt_in_hindsight_and_said_so(
    history: Path,
) -> None:
    mapping = (ROOT / "gateway/mappings/synthetic.toml").read_text("utf-8")
    late = mapping.replace(
        'known_at_column = "label_known_at_us"', "delay_s = 31536000  # A year. #"
    )
    assert late != mapping
    path = history.parent / "late.toml"
    path.write_text(late, "utf-8")

    done = yumen(
        *("replay", str(history), "--mapping", str(path)),
        *("--var", str(history.parent / "late"), "--json"),
    )

    assert done.returncode == 0, done.stderr[-3_000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["train_labels"] == "in hindsight"
    assert result["roc_auc"] > 0.7


def test_orders_keep_the_historys_own_times_and_order(
    history: Path, replayed: tuple[dict[str, object], Path]
) -> None:
    at_us = pa.parquet.read_table(history, columns=["at_us"])["at_us"].to_pylist()

    with closing(sqlite3.connect(replayed[1] / "yumen.db")) as conn:
        created = conn.execute("SELECT created_at_us FROM orders ORDER BY out_trade_no").fetchall()
        logged = conn.execute(
            "SELECT o.out_trade_no FROM risk_events e JOIN orders o USING (trade_no)"
            " WHERE e.kind = 'ATTEMPT' ORDER BY e.seq"
        ).fetchall()

    assert [row[0] for row in created] == at_us
    assert [row[0] for row in logged] == sorted(row[0] for row in logged)


def test_no_label_is_known_before_its_time(replayed: tuple[dict[str, object], Path]) -> None:
    with closing(sqlite3.connect(replayed[1] / "yumen.db")) as conn:
        early = conn.execute(
            "SELECT count(*) FROM risk_inbox i JOIN orders o USING (trade_no)"
            " WHERE i.source = 'history' AND i.known_at_us < o.created_at_us"
        ).fetchone()[0]
        labels = conn.execute("SELECT count(*) FROM risk_events WHERE kind = 'LABEL'").fetchone()[0]

    assert early == 0
    assert labels > 0


def test_a_used_folder_is_refused(history: Path, replayed: tuple[dict[str, object], Path]) -> None:
    done = yumen("replay", str(history), "--var", str(replayed[1]))

    assert done.returncode == 2
    assert "choose a new folder" in done.stderr


def test_a_row_that_does_not_fit_leaves_nothing_behind(tmp_path: Path, history: Path) -> None:
    table = pa.parquet.read_table(history).slice(0, 100)
    amounts = table["amount_minor"].to_pylist()
    amounts[41] = -5
    place = table.column_names.index("amount_minor")
    path = tmp_path / "synthetic.parquet"
    pa.parquet.write_table(table.set_column(place, "amount_minor", pa.array(amounts)), path)

    done = yumen("replay", str(path), "--var", str(tmp_path / "var"), "--json")

    assert done.returncode == 2
    assert "row 42, column 'amount_minor'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "var").exists()
