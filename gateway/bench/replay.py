"""A history's window features: the engine's replay beside plain pandas, values equal.

Both start from the Handbook's file. The engine reads it through the shipped mapping, labels
become events of their own a week later, and everything goes through the kernel in the log's
order, once for the twelve published windows alone and once for the whole catalogue. Pandas rolls
the same windows, entity by entity and with ``groupby().rolling()``. Each part runs in a process
of its own, on one thread, so that its CPU time and its peak memory are its own.

``python -m gateway.bench.replay full`` gives pandas all rows; otherwise it gets every twentieth
customer and terminal, and what a row costs is compared.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from gateway.bench.handbook import DATA_DIR
from gateway.bench.windows import ABSENT
from gateway.bench.windows import FEATURES as TWELVE
from gateway.refusal import Refused
from risk.features.definition import Feature
from risk.state.store import MemoryStateStore

if TYPE_CHECKING:
    from gateway.bench.rolling import Rolled
    from gateway.replay.log import MappedLog

EVERY: Final = 20
BASELINES: Final = ("grouped", "looped")
PART_EVENTS: Final = 8_192
COLUMNS: Final = {
    "TX_DATETIME": "at",
    "CUSTOMER_ID": "customer",
    "TERMINAL_ID": "terminal",
    "TX_AMOUNT": "amount_minor",
    "TX_FRAUD": "fraud",
}
Figures = dict[str, float]


def run(path: Path | None = None, *, full: bool = False) -> dict[str, object]:
    """Measure, compare, print a table, return the figures.

    Args:
        path: ``handbook.parquet``; beside the repository if None.
        full: Give pandas every row: minutes.

    Returns:
        CPU seconds and peak memory of each side and the ratios; `unequal_count` counts values
        that differ in any bit and must be 0.

    Raises:
        Refused: if the data is not there.
    """
    path = path or DATA_DIR / "handbook.parquet"
    if not path.is_file():
        raise Refused(f"the Handbook's data is not at {path}")
    every = 1 if full else EVERY
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        twelve = _apart("twelve", path, out / "twelve.npz", every)
        whole = _apart("catalogue", path, out / "catalogue.npz", every)
        grouped = _apart("grouped", path, out / "grouped.npz", every)
        looped = _apart("looped", path, out / "looped.npz", every)
        compared = [compare(out / "twelve.npz", out / f"{name}.npz") for name in BASELINES]
    figures = _figures(twelve, whole, grouped, looped) | {
        "compared_count": sum(count for count, _ in compared),
        "unequal_count": sum(count for _, count in compared),
    }
    for name, value in figures.items():
        print(f"{name:>34}  {value:>14,}" if not isinstance(value, list) else f"{name}: {value}")
    return figures


def _figures(
    twelve: Figures,
    whole: Figures,
    grouped: Figures,
    looped: Figures,
) -> dict[str, object]:
    ours_s = (twelve["read_s"] + twelve["replay_s"]) / twelve["payments"]
    figures: dict[str, object] = {
        "payments": int(twelve["payments"]),
        "events": int(twelve["events"]),
        "windows_not_kept": list(ABSENT),
        "read_s": round(twelve["read_s"], 2),
    }
    for name, part in (("twelve", twelve), ("catalogue", whole)):
        seconds = part["read_s"] + part["replay_s"]
        figures |= {
            f"{name}_features": int(part["features"]),
            f"{name}_replay_s": round(part["replay_s"], 2),
            f"{name}_payments_per_s": round(part["payments"] / seconds),
            f"{name}_payments_per_s_replay_alone": round(part["payments"] / part["replay_s"]),
            f"{name}_peak_mib": round(part["peak_mib"]),
        }
    for name, part in (("pandas_by_entity", looped), ("pandas_grouped", grouped)):
        row_s = part["read_s"] / part["payments"]
        row_s += part["customers_s"] / part["customers_rows"]
        row_s += part["terminals_s"] / part["terminals_rows"]
        figures |= {
            f"{name}_rows": int(part["customers_rows"] + part["terminals_rows"]),
            f"{name}_s_for_all_rows": round(row_s * twelve["payments"], 1),
            f"{name}_peak_mib": round(part["peak_mib"]),
            f"ratio_to_{name}": round(row_s / ours_s, 1),
        }
    return figures


def compare(ours: Path, theirs: Path) -> tuple[int, int]:
    """Return how many values of both were compared, and how many differ; NaN equals NaN."""
    compared = unequal = 0
    with np.load(ours) as mine, np.load(theirs) as other:
        for name in mine.files:
            rows = other["customers" if name.startswith("customer") else "terminals"]
            left, right = mine[name][rows], other[name]
            compared += len(rows)
            unequal += int(np.count_nonzero((left != right) & ~(np.isnan(left) & np.isnan(right))))
    return compared, unequal


def _apart(part: str, path: Path, out: Path, every: int) -> Figures:
    """Run one part in a process of its own and return its figures."""
    print(f"      {part} …", flush=True)
    command = [sys.executable, "-m", "gateway.bench.replay", part, str(path), str(out), str(every)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def _engine(path: Path, out: Path, features: tuple[Feature, ...]) -> Figures:
    """Read the log and replay it; keep the columns of the twelve, if it is them."""
    from gateway.replay import log
    from gateway.replay.mapping import load

    # What is compiled or loaded at first use is not what is measured.
    few = log.read(path, load("handbook"), rows_max=1_000)
    _columns(few, features)
    started_s = time.process_time()
    history = log.read(path, load("handbook"))
    read_s = time.process_time() - started_s
    started_s = time.process_time()
    found = _columns(history, features)
    replay_s = time.process_time() - started_s
    columns = {} if found is None else {f.name: found[:, at] for at, f in enumerate(features)}
    np.savez(out, allow_pickle=False, **columns)
    return {
        "features": len(features),
        "payments": len(history.at_us),
        "events": len(history),
        "read_s": read_s,
        "replay_s": replay_s,
    }


def _columns(history: "MappedLog", features: tuple[Feature, ...]) -> npt.NDArray[np.float64] | None:
    """Replay a history; of the whole catalogue nothing is kept."""
    from risk.features.replay import fields_needed, of_attempts, replay

    if features == TWELVE:
        fields = fields_needed(features)
        return of_attempts(history.fields(fields), fields, features=features)
    store = MemoryStateStore(features)
    for first in range(0, len(history), PART_EVENTS):
        replay(history.events(first, first + PART_EVENTS), store=store)
    return None


def _pandas(path: Path, out: Path, every: int, rolled: "Rolled") -> Figures:
    """Read the file and roll; keep which rows were rolled, and the columns."""
    import pandas as pd

    from gateway.bench.rolling import customers, terminals

    started_s = time.process_time()
    frame = pd.read_parquet(path, columns=list(COLUMNS)).rename(columns=COLUMNS)
    amount_minor = np.rint(frame["amount_minor"].to_numpy() * 100).astype(np.int64)
    frame["amount_minor"] = np.maximum(amount_minor, 1)  # No payment of nothing: see the mapping.
    figures: Figures = {"payments": len(frame), "read_s": time.process_time() - started_s}
    columns: dict[str, npt.NDArray[np.generic]] = {}
    for name, roll in (("customer", customers), ("terminal", terminals)):
        rows = np.flatnonzero(frame[name].to_numpy() % every == 0)
        some = frame.iloc[rows].reset_index(drop=True)
        started_s = time.process_time()
        columns |= {f"{name}s": rows, **roll(some, rolled)}
        figures |= {f"{name}s_rows": len(rows), f"{name}s_s": time.process_time() - started_s}
    np.savez(out, allow_pickle=False, **columns)
    return figures


def _part(name: str, path: Path, out: Path, every: int) -> Figures:
    from risk.features.catalogue import FEATURES

    if name in {"twelve", "catalogue"}:
        return _engine(path, out, TWELVE if name == "twelve" else FEATURES)
    from gateway.bench import rolling  # Pandas' memory isn't the engine's.

    rolled = rolling.grouped if name == "grouped" else rolling.entity_by_entity
    return _pandas(path, out, every, rolled)


if __name__ == "__main__":
    if sys.argv[1:] in ([], ["full"]):
        print(json.dumps(run(full=len(sys.argv) > 1)))
    else:
        import pyarrow as pa

        pa.set_cpu_count(1)
        part, path_text, out_text, every_text = sys.argv[1:]
        told = _part(part, Path(path_text), Path(out_text), int(every_text))
        # Linux counts in kibibytes, macOS in bytes.
        unit = 2**20 if sys.platform == "darwin" else 2**10
        told["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
        print(json.dumps(told))
