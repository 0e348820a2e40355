"""The synthetic world over time: a table of history, a file of it, or an endless live stream.

History is written block by block, each a stretch of time with its own honest payments and its own
campaigns of fraud, so that any length fits in memory and comes out sorted by time.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from models.synthetic.fraud import plant
from models.synthetic.habits import Rows, Scene, fill, moments, payers, shops
from models.synthetic.payment import SyntheticPayment, moved, payments
from models.synthetic.population import Ints, Population, build
from models.synthetic.table import Wording, to_table, wording

START_US = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z: any fixed moment would do.
FRAUD_SHARE = 0.015
FRAUD_SHARE_MAX = 0.5
REPORTED_FRAUD_SHARE = 0.93  # The rest is never noticed by anyone.
CONFIRMED_GENUINE_SHARE = 0.12
LABEL_DELAY_S = 5 * 86_400.0
BLOCK_ROWS = 250_000

Progress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What to generate.

    Attributes:
        rows_count: Number of payments, fraud included.
        seed: Same seed and settings, same rows.
        users_count: Ordinary payers; 0 chooses one for about 25 payments.
        merchants_count: Sellers.
        start_us: When the world begins, Unix microseconds.
        span_s: Length of the stretch, seconds.
        fraud_share: Part of the payments that is fraud, 0 to 0.5.
        label_delay_s: Mean time until a label is known, seconds.
        part: Another number, other payments of the same population.
    """

    rows_count: int
    seed: int = 1
    part: int = 0
    users_count: int = 0
    merchants_count: int = 240
    start_us: int = START_US
    span_s: float = 60 * 86_400.0
    fraud_share: float = FRAUD_SHARE
    label_delay_s: float = LABEL_DELAY_S

    def population(self) -> Population:
        """The world this history takes place in."""
        return build(
            self.seed,
            users_count=self.users_count or max(400, self.rows_count // 25),
            merchants_count=self.merchants_count,
        )


def blocks(history: History) -> Iterator[pa.Table]:
    """Generate a history in stretches of at most `BLOCK_ROWS` payments, in order of time.

    Raises:
        ValueError: if the history is empty or its fraud share outside 0..0.5.
    """
    if history.rows_count < 1 or not 0.0 <= history.fraud_share <= FRAUD_SHARE_MAX:
        raise ValueError(f"cannot generate {history}")
    population = history.population()
    words = wording(population)
    blocks_count = -(-history.rows_count // BLOCK_ROWS)
    edges = np.linspace(0, history.span_s * 1e6, blocks_count + 1).astype(np.int64)
    counts = np.diff(np.linspace(0, history.rows_count, blocks_count + 1).astype(np.int64))
    for number, count in enumerate(counts.tolist()):
        scene = Scene(
            population=population,
            rng=np.random.default_rng([history.seed, 2, history.part, number]),
            origin_us=history.start_us,
            start_us=history.start_us + int(edges[number]),
            end_us=history.start_us + int(edges[number + 1]),
        )
        yield _block(words, scene, count, history.fraud_share, history.label_delay_s)


def generate(rows_count: int, seed: int = 1, **settings: Any) -> pa.Table:  # noqa: ANN401
    """A whole history as one table; `settings` are those of `History`.

    Examples:
        >>> table = generate(2_000, seed=7)
        >>> table.num_rows, set(table["currency"].to_pylist())
        (2000, {'CNY'})
    """
    tables = list(blocks(History(rows_count=rows_count, seed=seed, **settings)))
    return pa.concat_tables(tables).unify_dictionaries()


def write_parquet(path: Path, history: History, progress: Progress | None = None) -> int:
    """Write a history to a Parquet file and return its size in bytes.

    The file appears whole or not at all: it is written beside its place and renamed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    writer: pq.ParquetWriter | None = None
    done_count = 0
    try:
        for table in blocks(history):
            if writer is None:
                writer = pq.ParquetWriter(unfinished, table.schema, compression="snappy")
            writer.write_table(table, row_group_size=BLOCK_ROWS)
            done_count += table.num_rows
            if progress is not None:
                progress(done_count / history.rows_count, f"{done_count:,} synthetic payments")
    finally:
        if writer is not None:
            writer.close()
    unfinished.replace(path)
    return path.stat().st_size


def risk_contexts_json(count: int, seed: int) -> list[str]:
    """`count` synthetic risk contexts as the text that goes into a create request."""
    return [
        json.dumps(payment.risk_context(), separators=(",", ":"))
        for payment in payments(generate(count, seed))
    ]


class Stream:
    """Endless synthetic payments in the caller's present, from the population of a history.

    Times inside a payment (logins, account ages) are kept relative to the moment it is handed
    out, so that the caller's clock and pace are free.
    """

    def __init__(
        self,
        population: Population,
        *,
        seed: int,
        now_us: int,
        payments_per_s: float = 10.0,
        fraud_share: float = FRAUD_SHARE,
        label_delay_s: float = 30.0,
    ) -> None:
        """Begin a stream.

        Args:
            population: Who pays: `History.population()` of the history a model learned from.
            seed: Another seed, another sequence of payments in the same world.
            now_us: The present, Unix microseconds.
            payments_per_s: Expected pace; campaigns of fraud are packed to fit it.
            fraud_share: Part of the payments that is fraud.
            label_delay_s: Mean time until the truth about a payment is known, seconds.
        """
        self._population = population
        self._words = wording(population)
        self._seed = seed
        self._origin_us = now_us
        self._pace = payments_per_s
        self._fraud_share = fraud_share
        self._label_delay_s = label_delay_s
        self._blocks_count = 0
        self._waiting: Iterator[SyntheticPayment] = iter(())

    def next_payment(self, now_us: int) -> SyntheticPayment:
        """The next payment, happening at `now_us` (Unix microseconds)."""
        planned = next(self._waiting, None)
        if planned is None:
            self._waiting = payments(self._next_block(now_us))
            planned = next(self._waiting)
        return moved(planned, now_us)

    def _next_block(self, now_us: int) -> pa.Table:
        # Long enough that campaigns keep their shape, short enough to follow the time of day.
        rows_count = int(np.clip(self._pace * 600, 500, 5_000))
        scene = Scene(
            population=self._population,
            rng=np.random.default_rng([self._seed, 3, self._blocks_count]),
            origin_us=self._origin_us,
            start_us=now_us,
            end_us=now_us + int(rows_count / self._pace * 1e6),
        )
        self._blocks_count += 1
        return _block(self._words, scene, rows_count, self._fraud_share, self._label_delay_s)


def _block(
    words: Wording, scene: Scene, count: int, fraud_share: float, label_delay_s: float
) -> pa.Table:
    fraud_count = round(count * fraud_share)
    at_us = moments(scene, count - fraud_count)
    user = payers(scene, at_us)
    honest = fill(scene, at_us, user, shops(scene, user))
    parts = [honest, *plant(scene, honest, fraud_count)]
    order = np.argsort(np.concatenate([part["at_us"] for part in parts]), kind="stable")
    rows: Rows = {name: np.concatenate([part[name] for part in parts])[order] for name in honest}
    rows["label_known_at_us"] = _label_times(scene, rows, label_delay_s)
    return to_table(words, rows)


def _label_times(scene: Scene, rows: Rows, delay_s: float) -> Ints:
    count = len(rows["kind"])
    share = np.where(rows["kind"] > 0, REPORTED_FRAUD_SHARE, CONFIRMED_GENUINE_SHARE)
    delay_us = scene.rng.gamma(2.0, delay_s * 1e6 / 2.0, count).astype(np.int64) + 1
    known = scene.rng.random(count) < share
    times_us: Ints = np.where(known, rows["at_us"] + delay_us, -1)
    return times_us
