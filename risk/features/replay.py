"""A whole log through the same kernel: the columns of a training set, bit for bit as online."""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from risk.features.catalogue import FEATURES
from risk.features.definition import Feature
from risk.features.event import EVENT_WIDTH, FIRST_KEY, KEY_COUNT
from risk.features.layout import ROLES, ROW_KINDS, SET_NAMES, SETS
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


def entity_of(feature: Feature) -> str | None:
    """Return the one entity whose own events decide a feature, or None if there is none.

    Examples:
        >>> from risk.features.catalogue import FEATURES, PLACES
        >>> entity_of(FEATURES[PLACES["time_user_count_24h"]])
        'user'
        >>> entity_of(FEATURES[PLACES["graph_ring_users"]])
    """
    owners = set()
    for cell in feature.formula.cells:
        prefix = cell.partition(".")[0]
        if prefix in SET_NAMES:
            prefix = ROLES[SETS[SET_NAMES.index(prefix)][0]]
        if prefix != "event":
            owners.add(prefix)
    (owner,) = owners if len(owners) == 1 else (None,)
    return owner if owner in ROLES[:ROW_KINDS] else None


def replay_windows(
    events: npt.NDArray[np.int64], features: tuple[Feature, ...]
) -> npt.NDArray[np.float64]:
    """Return what `replay` returns, for features that each depend on one entity, sooner.

    Every entity's events are taken together, so its row stays in the processor's cache. The bits
    are the same, because a window depends on its own entity's events alone; only an entity that
    was late by more than 30 days after 180 days of silence could be swept at another moment.

    Args:
        events: Shape ``(n, EVENT_WIDTH)``, as the log holds them.
        features: Features with an `entity_of`.

    Raises:
        ValueError: a feature depends on more than one entity, or `events` has another shape.
    """
    mixed = [feature.name for feature in features if entity_of(feature) is None]
    if mixed:
        raise ValueError(f"{', '.join(mixed)} must be replayed in the log's order")
    if events.ndim != 2 or events.shape[1] != EVENT_WIDTH:  # noqa: PLR2004 - a matrix
        raise ValueError(f"events must have shape (n, {EVENT_WIDTH}), not {events.shape}")
    columns = np.full((len(events), len(features)), np.nan)
    for role in sorted({entity_of(feature) or "" for feature in features}):
        places = [p for p, feature in enumerate(features) if entity_of(feature) == role]
        keys = events[:, FIRST_KEY + ROLES.index(role)]
        order = np.argsort(keys, kind="stable")
        store = MemoryStateStore(tuple(features[place] for place in places))
        count = np.unique(keys).size
        store.run_apart(events, order, np.array(places), columns, entity_count=count)
    return columns
