"""The peers are asked for the same payment, or the benchmark says what is missing."""

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from gateway.bench import peers
from gateway.bench.assess import _payments
from gateway.refusal import Refused
from risk.features.catalogue import FEATURE_COUNT, FEATURE_NAMES


def test_without_the_peers_the_benchmark_says_how_to_install_them(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"uv pip install .*--group peers"):
        peers.run(tmp_path / "python")


def test_an_environment_without_a_peer_is_named(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E "$@"\n', encoding="utf-8")
    python.chmod(0o755)

    with pytest.raises(Refused, match=r"lacks a part of the peers .*feast"):
        peers.run(python)


def test_the_peers_hold_120_features_and_each_entity_its_newest(tmp_path: Path) -> None:
    payments = _payments(np.random.default_rng(3), 400)
    rows = np.arange(400 * FEATURE_COUNT, dtype=np.float64).reshape(400, FEATURE_COUNT)

    views = peers._write_plan(tmp_path, "a model", payments, rows)

    stored = [name for names in views.values() for name in names]
    assert len(stored) == len(set(stored)) == peers.STORED
    assert all(len(names) >= 5 for names in views.values())
    plan = json.loads((tmp_path / "plan.json").read_text("utf-8"))
    assert plan == {"columns": list(FEATURE_NAMES), "views": views}
    table = pq.read_table(tmp_path / "user.parquet").to_pydict()
    last = max(
        place
        for place, payment in enumerate(payments)
        if peers._keys(payment)["user"] == table["user"][0]
    )
    name = views["user"][0]
    assert table[name][0] == rows[last, FEATURE_NAMES.index(name)]
