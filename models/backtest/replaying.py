"""Histories from a log: every vector recomputed, or a draft's columns beside those stored.

Half of the work is about who pays, with the graph around them, half about everything else, and a
feature depends on the past of its own entities alone. Two states, each with the rows its half
needs, therefore go through the same log at once, and give the bits that one state gives.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

import numpy as np

from models.backtest.history import (
    EVENT_PREFIX,
    SCORE_RAW,
    SCORED_BY,
    Floats,
    History,
    Ints,
    MatrixPart,
    NoHistory,
    WiderPart,
    columns_of,
    feedback_of,
)
from models.backtest.scoring import BatchModel
from risk.features import event as layout
from risk.features.catalogue import FEATURE_NAMES, FEATURES
from risk.features.definition import Feature
from risk.features.replay import replay
from risk.state.store import MemoryStateStore

STRETCH_ROWS: Final = 16_384  # Small enough that the system hands the same memory out again.
# What cells of the first half are about; those of the other half take about as long.
_WHO: Final = frozenset(("user", "habits", "travel", "graph", "inflow", "place", "config"))


def replayed(
    events: Ints,
    *,
    features: tuple[Feature, ...] = (),
    model: BatchModel | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> History:
    """Recompute a history from the log alone: every vector anew, and drafts beside them.

    Args:
        events: The log from its beginning, shape ``(n, EVENT_WIDTH)``.
        features: Features to compute beside the catalogue's; rules may name them.
        model: Scores what is replayed while the next stretch is; a back-test with this model
            need not score again.
        progress: Told how many events are done, of how many.
    """
    halves = _halves((*FEATURES, *features))
    stores = [MemoryStateStore(half) for half in halves]
    names = tuple(one.name for half in halves for one in half)
    if model is not None:
        model.prepare()
    count = len(events)
    parts = []
    # Whoever is done with its half of a stretch turns the last one into columns meanwhile.
    with ThreadPoolExecutor(len(halves)) as pool:
        for low in range(0, count, STRETCH_ROWS):
            chunk = events[low : low + STRETCH_ROWS]
            running = [pool.submit(_attempts_of, chunk, store) for store in stores]
            attempts = chunk[layout.column(chunk, "kind") == layout.ATTEMPT]
            matrices = [one.result() for one in running]
            parts.append(pool.submit(_by_columns, matrices, attempts, names, model))
            if progress is not None:
                progress(low + len(chunk), count)
        done = tuple(part.result() for part in parts)
    order = (*FEATURE_NAMES, *(feature.name for feature in features))
    return History(done, feedback_of(events), names=order)


def _halves(features: tuple[Feature, ...]) -> list[tuple[Feature, ...]]:
    """Split features so that neither half needs many rows that the other needs too."""
    halves: list[list[Feature]] = [[], []]
    for feature in features:
        # A cell's name begins with what it is about: ``user.count_1h``, ``ip_cards.count_24h``.
        about = {cell.partition(".")[0].partition("_")[0] for cell in feature.formula.cells}
        about.discard("event")  # Every half has the payment itself.
        halves[0 if about and about <= _WHO else 1].append(feature)
    return [tuple(half) for half in halves]


def _attempts_of(chunk: Ints, store: MemoryStateStore) -> Floats:
    matrix: Floats = replay(chunk, store=store)[layout.column(chunk, "kind") == layout.ATTEMPT]
    return matrix


def _by_columns(
    matrices: list[Floats], attempts: Ints, names: tuple[str, ...], model: BatchModel | None
) -> MatrixPart:
    """Turn rows into columns, as rules read them, and score them if there is a model."""
    features = np.concatenate([columns_of(matrix) for matrix in matrices])
    part = MatrixPart(features.T, columns_of(attempts).T, names)
    if model is None:
        return part
    raw = model.raw(lambda place: part.column(FEATURE_NAMES[place]), len(attempts))
    words = [model.meta.version] * len(attempts)
    return replace(part, extra={SCORE_RAW: raw}, text={SCORED_BY: words})


def extended(
    history: History,
    events: Ints,
    *,
    features: tuple[Feature, ...],
    progress: Callable[[int, int], None] | None = None,
) -> History:
    """Give a stored history drafted features: only these are computed, the rest stands.

    Args:
        history: Decided payments.
        events: The whole log behind them, shape ``(n, EVENT_WIDTH)``.
        features: What to compute by replaying it.
        progress: Told how many events are done, of how many.

    Raises:
        NoHistory: a payment of the history is not in the log.
        ValueError: the history holds a feature of that name.
    """
    known = [one.name for one in features if one.name in history.names]
    if known:
        raise ValueError(f"the history holds {', '.join(known)} already")
    count = len(events)
    matrix = replay(
        events,
        features=features,
        progress=None if progress is None else lambda done: progress(done, count),
    )
    seqs = layout.column(events, "seq")
    parts = []
    for part in history.parts:
        wanted = part.column(f"{EVENT_PREFIX}seq")
        rows = np.minimum(np.searchsorted(seqs, wanted), max(count - 1, 0))
        if not count or (seqs[rows] != wanted).any():
            raise NoHistory("the log does not hold all payments of the history")
        added = {one.name: matrix[rows, place] for place, one in enumerate(features)}
        parts.append(WiderPart(part, added))
    names = (*history.names, *(feature.name for feature in features))
    return replace(history, parts=tuple(parts), names=names)
