"""A whole log through the same kernel: the columns of a training set, bit for bit as online.

A log goes through it event by event. For a few features alone it is sorted by entity first
(`risk.features.entities`), which yields the same bits sooner.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from risk.features import entities
from risk.features.catalogue import FEATURES, plan
from risk.features.definition import Feature, cells_of
from risk.features.event import ATTEMPT, EVENT_WIDTH, INDEX, KEY_COUNT, KIND
from risk.state.store import MemoryStateStore

CHUNK: Final = 65_536


def replay(
    events: npt.NDArray[np.int64],
    *,
    store: MemoryStateStore | None = None,
    features: tuple[Feature, ...] = FEATURES,
    progress: Callable[[int], None] | None = None,
) -> npt.NDArray[np.float64]:
    """Return the features of every event of a log, in its order.

    Args:
        events: Shape ``(n, EVENT_WIDTH)``, as the log holds them.
        store: State to start from and to leave at the log's end; a fresh one by default.
        features: What a fresh state answers with: the catalogue, more, or less.
        progress: Called with the number of events done, now and then.

    Returns:
        Shape ``(n, F)``; NaN where missing, and in whole rows of outcomes and labels.

    Raises:
        ValueError: `events` has another shape.
    """
    if events.ndim != 2 or events.shape[1] != EVENT_WIDTH:  # noqa: PLR2004 - a matrix
        raise ValueError(f"events must have shape (n, {EVENT_WIDTH}), not {events.shape}")
    cells = cells_of(features)
    if store is None and entities.suits(cells):
        columns = np.full((len(events), len(features)), np.nan)
        fields = entities.fields_of(cells)
        some = events[:, [INDEX[name] for name in fields]]
        columns[events[:, KIND] == ATTEMPT] = of_attempts(some, fields, features=features)
        if progress:
            progress(len(events))
        return columns
    state = store or MemoryStateStore(features)
    columns = np.full((len(events), state.features.size), np.nan)
    presence = np.zeros((CHUNK, state.presence.size), dtype=np.uint8)
    key_seqs = np.zeros((CHUNK, KEY_COUNT), dtype=np.int64)
    for first in range(0, len(events), CHUNK):
        part = np.ascontiguousarray(events[first : first + CHUNK])
        state.run(part, columns[first : first + CHUNK], presence, key_seqs)
        if progress:
            progress(first + len(part))
    return columns


def of_attempts(
    events: npt.NDArray[np.int64], fields: tuple[str, ...], *, features: tuple[Feature, ...]
) -> npt.NDArray[np.float64]:
    """Return a few features of the attempts of a log of which only some fields are at hand.

    Args:
        events: Shape ``(n, len(fields))``.
        fields: Names of the columns; at least `fields_needed`.
        features: None of the graph's, and of at most `entities.CELLS_MOST` cells.

    Returns:
        Shape ``(attempts, F)``; NaN where missing.

    Raises:
        ValueError: a field is missing, or these features need the whole log's order.
    """
    cells = cells_of(features)
    if not entities.suits(cells):
        raise ValueError("these features need whole events in the order of the log")
    missing = sorted(set(entities.fields_of(cells)) - set(fields))
    if missing or events.shape[1:] != (len(fields),):
        raise ValueError(f"these features need {', '.join(missing)} of each event as well")
    return entities.columns_of(events, fields, plan(features), cells)


def fields_needed(features: tuple[Feature, ...]) -> tuple[str, ...]:
    """Return which fields of an event features are made from; see `of_attempts`."""
    return entities.fields_of(cells_of(features))
