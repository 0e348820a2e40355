"""How fast the synthetic generator writes payments to a file, beside a plain Python loop.

The loop draws one payment at a time with `random` and writes CSV, with a third of the columns and
no fraud: what one would write first. Both include writing the file.
"""

import csv
import random
import tempfile
import time
from pathlib import Path

from models.synthetic.stream import History, write_parquet

ROWS_COUNT = 500_000
LOOP_ROWS_COUNT = 20_000
RUNS_COUNT = 3
LOOP_COLUMNS_COUNT = 16


def run(rows_count: int = ROWS_COUNT) -> dict[str, object]:
    """Measure both, print a table, return the figures.

    Returns:
        Payments per second of wall and of CPU time (one core), of the loop, and their ratio.
    """
    with tempfile.TemporaryDirectory() as folder:
        # The first run pays for imports; it is not measured.
        write_parquet(Path(folder) / "warm.parquet", History(rows_count=20_000))
        wall_s, cpu_s, size_bytes = [], [], 0
        for seed in range(RUNS_COUNT):
            started_s, started_cpu_s = time.perf_counter(), time.process_time()
            size_bytes = write_parquet(
                Path(folder) / "payments.parquet", History(rows_count=rows_count, seed=seed)
            )
            wall_s.append(time.perf_counter() - started_s)
            cpu_s.append(time.process_time() - started_cpu_s)
        loop_per_s = _loop_per_s(Path(folder) / "loop.csv")
    figures: dict[str, object] = {
        "rows": rows_count,
        "payments_per_s": round(rows_count / sorted(wall_s)[RUNS_COUNT // 2]),
        "payments_per_cpu_s": round(rows_count / sorted(cpu_s)[RUNS_COUNT // 2]),
        "loop_per_s": round(loop_per_s),
        "ratio_to_loop": round(rows_count / sorted(cpu_s)[RUNS_COUNT // 2] / loop_per_s, 1),
        "bytes_per_payment": round(size_bytes / rows_count, 1),
    }
    for name, value in figures.items():
        print(f"{name:>20}  {value:>12,}")
    return figures


def _loop_per_s(path: Path) -> float:
    chance = random.Random(1)  # noqa: S311 - nothing secret
    started_s = time.process_time()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for number in range(LOOP_ROWS_COUNT):
            amount_minor = int(chance.lognormvariate(8.5, 1.0))
            words = [f"synthetic-{chance.randrange(10_000):06d}" for _ in range(6)]
            behavior = [round(chance.gauss(100.0, 20.0), 2) for _ in range(LOOP_COLUMNS_COUNT - 8)]
            writer.writerow([number, amount_minor, *words, *behavior])
    return LOOP_ROWS_COUNT / (time.process_time() - started_s)
