"""Back-tests at size: rules over stored vectors, and a replay with a feature that did not exist.

**Rules.** 50 rules on distinct features, over 5 million vectors in the cache's own format, mapped
and warm (in the page cache, as they are the second time a person asks). Only the columns that the
rules read are on disk here; all of them would be 8 GB, of which the same bytes would be read. The
baseline of the same run is the compiled function that decides online, one payment at a time, over
a sample, whose time is scaled up.

**Whole back-test.** A draft rule over a million payments with scores, policy and report: once with
stored scores, once with another model that scores every payment anew.

**Counterfactual.** A new feature, a new rule and the model over a million payments from the log
alone: every vector recomputed by the kernel, half of the features on a thread, and scored.

Wall-clock seconds suffer from whatever else runs on the machine; the CPU seconds beside them say
what the work itself took.

Traffic is synthetic: payments of a small world, repeated later with other payers, whose vectors
are repeated with amounts of noise that keep missing evidence missing.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.bench.backtest_world import bench_model, fifty_rules, repeated, small_log
from models.backtest import (
    BatchModel,
    Change,
    History,
    Question,
    Setup,
    backtest,
    count_hits,
    replayed,
)
from models.backtest.cache import ArrowPart, write_columns
from models.backtest.history import (
    EVENT_PREFIX,
    FEEDBACK_FIELDS,
    SCORE_RAW,
    SCORED_BY,
    MatrixPart,
    feedback_of,
)
from risk.features.catalogue import FEATURE_NAMES, FEATURES
from risk.features.definition import Family, Feature, Unit, ratio
from risk.features.event import FIELDS, KIND, SEQ
from risk.features.replay import replay
from risk.rules.shipped import DEFAULT_RULES, default_rules
from risk.rules.source import Action, Rule, RuleSet
from risk.rules.tree import features_of, fields_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

VECTORS_COUNT: Final = 5_000_000
REPLAYED_COUNT: Final = 1_000_000
SAMPLE_COUNT: Final = 20_000
PART_ROWS: Final = 131_072
ROUNDS: Final = 3
ALL_KNOWN_US: Final = 1 << 52
THREADS: Final = 2
NEW_FEATURE: Final = Feature(
    name="draft_device_share_of_day",
    family=Family.DEVICE,
    formula=ratio("device.count_1h", "device.count_24h"),
    unit=Unit.RATIO,
    meaning_en="Share of the device's payments of a day that came in the last hour.",
    meaning_zh="该设备一日交易中最近一小时的占比。",
    catches="bursts",
)
NEW_RULE: Final = Rule(
    name="draft_burst_of_device",
    expression="draft_device_share_of_day > 0.8 and device_count_24h >= 5 and amount < yuan(50)",
    action=Action.REVIEW,
    reason="BURST",
)


def run(
    *,
    vectors_count: int = VECTORS_COUNT,
    replayed_count: int = REPLAYED_COUNT,
    show: Callable[[str], None] = print,
) -> dict[str, object]:
    """Measure all three, print a table, return the figures.

    Args:
        vectors_count: Stored vectors for the rules.
        replayed_count: Payments of the whole back-test and of the counterfactual.
        show: Takes the lines of the printed table.

    Returns:
        Seconds, rows per second, and the ratio of the online function's time to the columns'.
    """
    events = small_log()
    matrix = replay(events)
    attempts = events[:, KIND] == 0
    figures: dict[str, object] = {"threads": THREADS}
    with tempfile.TemporaryDirectory() as folder:
        figures |= _rules(Path(folder), matrix[attempts], events[attempts], vectors_count, show)
    model = bench_model(matrix[attempts])
    figures |= _whole(matrix[attempts], events, replayed_count, model, show)
    figures |= _counterfactual(repeated(events, replayed_count), model, show)
    for name, value in figures.items():
        show(f"{name:>36}  {value:>14,}")
    return figures


def _rules(
    folder: Path, matrix: Floats, events: Ints, count: int, show: Callable[[str], None]
) -> dict[str, object]:
    rules = fifty_rules(matrix)
    started_s = time.perf_counter()
    history, read_bytes = _stored(folder, rules, matrix, events, count)
    written_s = time.perf_counter() - started_s
    count_hits(history, rules, threads=THREADS)  # Warm: the pages are in memory from here on.
    took_s = []
    began_cpu_s = time.process_time()
    for number in range(ROUNDS):
        with _told(show, f"rules, round {number + 1}") as tell:
            started_s = time.perf_counter()
            hits = count_hits(history, rules, threads=THREADS, progress=tell)
            took_s.append(time.perf_counter() - started_s)
    cpu_s = (time.process_time() - began_cpu_s) / ROUNDS
    online_us = _online_us(rules, matrix, events)
    median_s = sorted(took_s)[ROUNDS // 2]
    return {
        "rules": len(rules.rules),
        "vectors": count,
        "columns_mib": round(read_bytes / (1 << 20)),
        "columns_written_s": round(written_s, 2),
        "rules_s": round(median_s, 3),
        "rules_best_s": round(min(took_s), 3),
        "rules_cpu_s": round(cpu_s, 3),
        "hits": sum(hits.values()),
        "online_us_per_row": round(online_us, 3),
        "rules_ratio_to_online": round(online_us * count / 1e6 / median_s, 1),
    }


def _stored(
    folder: Path, rules: RuleSet, matrix: Floats, events: Ints, count: int
) -> tuple[History, int]:
    """Write the columns that the rules read, repeated with noise, as parts of a cache."""
    places = sorted({place for _, tree in rules.acting for place in features_of(tree)})
    fields = sorted({index for _, tree in rules.acting for index in fields_of(tree)})
    rng = np.random.default_rng(2)
    parts = []
    for low in range(0, count, PART_ROWS):
        rows = (np.arange(low, min(low + PART_ROWS, count))) % len(matrix)
        noise = 1.0 + 0.02 * rng.random(len(rows))
        columns: dict[str, NDArray[np.float64] | NDArray[np.int64]] = {
            FEATURE_NAMES[place]: matrix[rows, place] * noise for place in places
        }
        columns |= {EVENT_PREFIX + FIELDS[index]: events[rows, index] for index in fields}
        path = folder / f"part-{low:09d}.arrow"
        write_columns(path, columns)
        parts.append(ArrowPart(path, len(rows)))
    none = np.zeros((0, len(FEEDBACK_FIELDS)), dtype=np.int64)
    return History(tuple(parts), none), count * 8 * (len(places) + len(fields))


def _online_us(rules: RuleSet, matrix: Floats, events: Ints) -> float:
    """Time of the compiled function that decides online, per payment."""
    sample = [
        (row.data, event.tolist())
        for row, event in zip(matrix[:SAMPLE_COUNT], events[:SAMPLE_COUNT], strict=True)
    ]
    took_s = []
    for _ in range(ROUNDS):
        started_s = time.perf_counter()
        for features, event in sample:
            rules.hits(features, event)
        took_s.append(time.perf_counter() - started_s)
    return sorted(took_s)[ROUNDS // 2] / len(sample) * 1e6


def _whole(
    matrix: Floats, events: Ints, count: int, model: BatchModel, show: Callable[[str], None]
) -> dict[str, object]:
    """A draft rule with scores, policy, labels and report; columns in memory."""
    scored = _repeated_parts(matrix, events, count, model)
    history = History(scored, feedback_of(events))
    present = Setup(rules=default_rules(), model=model)
    question = Question(known_by_us=ALL_KNOWN_US, threads=THREADS)
    first = DEFAULT_RULES[0]
    rule = Rule(
        name="draft", expression="amount >= yuan(2000)", action=Action.REVIEW, reason=first.reason
    )
    started_s = time.perf_counter()
    with _told(show, "draft rule") as tell:
        backtest(history, present, Change(rules=(rule,)), question, progress=tell)
    rule_s = time.perf_counter() - started_s
    bare = tuple(MatrixPart(part.features, part.events, FEATURE_NAMES) for part in scored)
    unscored = History(bare, history.feedback)
    started_s, began_cpu_s = time.perf_counter(), time.process_time()
    with _told(show, "draft rule, all scored anew") as tell:
        backtest(unscored, present, Change(rules=(rule,)), question, progress=tell)
    scored_s, scored_cpu_s = time.perf_counter() - started_s, time.process_time() - began_cpu_s
    return {
        "payments": count,
        "backtest_s": round(rule_s, 2),
        "backtest_rows_per_s": round(count / rule_s),
        "backtest_scored_anew_s": round(scored_s, 2),
        "backtest_scored_anew_cpu_s": round(scored_cpu_s, 2),
        "backtest_scored_anew_rows_per_s": round(count / scored_s),
    }


def _repeated_parts(
    matrix: Floats, events: Ints, count: int, model: BatchModel
) -> tuple[MatrixPart, ...]:
    """Payments again and again, by columns, with the model's output as it is stored."""
    attempts = events[events[:, KIND] == 0]
    raw = model.raw(lambda place: matrix[:, place], len(matrix))
    parts = []
    for low in range(0, count, PART_ROWS):
        numbers = np.arange(low, min(low + PART_ROWS, count))
        rows = numbers % len(matrix)
        own = np.asfortranarray(attempts[rows])
        own[:, SEQ] += numbers // len(matrix) * len(events)
        parts.append(
            MatrixPart(
                np.asfortranarray(matrix[rows]),
                own,
                FEATURE_NAMES,
                extra={SCORE_RAW: raw[rows]},
                text={SCORED_BY: [model.meta.version] * len(rows)},
            )
        )
    return tuple(parts)


def _counterfactual(
    events: Ints, model: BatchModel, show: Callable[[str], None]
) -> dict[str, object]:
    started_s, began_cpu_s = time.perf_counter(), time.process_time()
    with _told(show, "counterfactual, replay") as tell:
        history = replayed(events, features=(NEW_FEATURE,), model=model, progress=tell)
    replayed_s = time.perf_counter() - started_s
    with _told(show, "counterfactual, decisions") as tell:
        backtest(
            history,
            Setup(rules=default_rules(), model=model),
            Change(rules=(NEW_RULE,), features=(NEW_FEATURE,)),
            Question(known_by_us=ALL_KNOWN_US, threads=THREADS),
            progress=tell,
        )
    total_s, total_cpu_s = time.perf_counter() - started_s, time.process_time() - began_cpu_s
    return {
        "counterfactual_payments": len(history),
        "counterfactual_events": len(events),
        "counterfactual_features": len(FEATURES) + 1,
        "counterfactual_replay_s": round(replayed_s, 2),
        "counterfactual_replay_events_per_s": round(len(events) / replayed_s),
        "counterfactual_s": round(total_s, 2),
        "counterfactual_cpu_s": round(total_cpu_s, 2),
    }


@contextmanager
def _told(show: Callable[[str], None], what: str) -> Iterator[Callable[[int, int], None]]:
    """Say how far it is, at most ten times."""
    said = [0]

    def tell(done: int, total: int) -> None:
        tenth = done * 10 // max(total, 1)
        if tenth > said[0]:
            said[0] = tenth
            show(f"{what:>32}  {done / max(total, 1):>5.0%}  {done:,} of {total:,}")

    yield tell
