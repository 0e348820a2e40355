"""A whole log through the same kernel: the columns of a training set, bit for bit as online."""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from risk.features.catalogue import FEATURES
from risk.features.definition import Feature
from risk.features.event import EVENT_WIDTH, KEY_COUNT
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
