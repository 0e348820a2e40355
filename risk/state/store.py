"""Where state lives: a protocol any store must keep, and the store inside the process.

A store takes events in the order of the log and answers, for each, the features of the state
before it and the number of the event that last wrote each entity's row. A decision keeps those
numbers, so replay stays exact even where several owners split the entities between them.
"""

import threading
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from risk.features import kernel
from risk.features.aggregates import KEYS_HELD, META_WIDTH, USED
from risk.features.catalogue import FEATURE_COUNT, PRESENCE_BYTES, plan
from risk.features.event import EVENT_WIDTH, KEY_COUNT
from risk.features.layout import CELL_COUNT, HEADER_WIDTH, ROW_KINDS, WIDEST_EVENT

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Marks = npt.NDArray[np.uint8]

FIRST_KEYS_COUNT: Final = 1 << 18
# Address space, not memory: the system gives a page when it is first written. Growing later means
# copying, which takes longer than a payment may wait.
FIRST_ARENA_COUNT: Final = 1 << 26


@dataclass(frozen=True, slots=True)
class Readings:
    """What a batch of events read; rows of feedback events are NaN, 0 and 0.

    Attributes:
        features: float64, shape ``(n, F)``, NaN where missing.
        presence: One bit a feature, little-endian, shape ``(n, (F + 7) // 8)``.
        key_seqs: int64, shape ``(n, 12)``: last writer of each entity's row, 0 for never seen.
    """

    features: Floats
    presence: Marks
    key_seqs: Ints


class StateStore(Protocol):
    """Feature state. All methods may be called from any thread; batches never interleave."""

    def apply(self, events: Ints) -> Readings:
        """Read and apply events, shape ``(n, EVENT_WIDTH)``, in their order."""

    def export(self) -> dict[str, Ints]:
        """Return the whole state as named arrays that nobody else writes."""

    def load(self, arrays: dict[str, Ints]) -> None:
        """Replace the state by one that `export` gave."""


class MemoryStateStore:
    """The state as four numpy arrays of this process, growing by doubling.

    One arena of int64 holds all rows; an open-addressed table leads from an entity's number to
    its row. `step` is the fast path for one event and writes into this store's own buffers.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plan = plan()
        self._cells = np.zeros(CELL_COUNT, dtype=np.int64)
        self._marks = np.zeros(CELL_COUNT, dtype=np.uint8)
        self._places = np.zeros(KEY_COUNT, dtype=np.int64)
        self.features = np.zeros(FEATURE_COUNT, dtype=np.float64)
        self.presence = np.zeros(PRESENCE_BYTES, dtype=np.uint8)
        self.key_seqs = np.zeros(KEY_COUNT, dtype=np.int64)
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._arena = np.zeros(FIRST_ARENA_COUNT, dtype=np.int64)
        self._keys = np.zeros(FIRST_KEYS_COUNT, dtype=np.int64)
        self._bases = np.zeros(FIRST_KEYS_COUNT, dtype=np.int64)
        self._meta = np.zeros(META_WIDTH, dtype=np.int64)
        self._meta[USED] = HEADER_WIDTH  # Place 0 means "no row".

    @property
    def entity_count(self) -> int:
        """How many entities have a row."""
        return int(self._meta[KEYS_HELD])

    @property
    def state_bytes(self) -> int:
        """Bytes of rows in use, and of the table that finds them."""
        return int(self._meta[USED]) * 8 + self._keys.nbytes + self._bases.nbytes

    def step(self, event: Ints) -> None:
        """Read and apply one event; the answer stands in this store's own three buffers."""
        self._make_room()
        kernel.step(
            event,
            self._arena,
            self._keys,
            self._bases,
            self._meta,
            self._plan,
            self._cells,
            self._marks,
            self._places,
            self.features,
            self.presence,
            self.key_seqs,
        )

    def forget_answer(self) -> None:
        """Make the buffers say that nothing is known, after a step that failed."""
        self.features[:] = np.nan
        self.presence[:] = 0
        self.key_seqs[:] = 0

    def apply(self, events: Ints) -> Readings:
        """Read and apply events in their order.

        Raises:
            ValueError: `events` has another shape than ``(n, EVENT_WIDTH)``.
        """
        if events.ndim != 2 or events.shape[1] != EVENT_WIDTH:  # noqa: PLR2004 - a matrix
            raise ValueError(f"events must have shape (n, {EVENT_WIDTH}), not {events.shape}")
        count = len(events)
        features = np.full((count, FEATURE_COUNT), np.nan)
        presence = np.zeros((count, PRESENCE_BYTES), dtype=np.uint8)
        key_seqs = np.zeros((count, KEY_COUNT), dtype=np.int64)
        with self._lock:
            self.run(np.ascontiguousarray(events), features, presence, key_seqs)
        return Readings(features, presence, key_seqs)

    def run(self, events: Ints, features: Floats, presence: Marks, key_seqs: Ints) -> None:
        """Like `apply`, into arrays of the caller."""
        done = 0
        while done < len(events):
            self._make_room()
            done = kernel.run(
                events,
                done,
                self._arena,
                self._keys,
                self._bases,
                self._meta,
                self._plan,
                self._cells,
                self._marks,
                self._places,
                features,
                presence,
                key_seqs,
            )

    def export(self) -> dict[str, Ints]:
        with self._lock:
            return {
                "arena": self._arena[: int(self._meta[USED])].copy(),
                "keys": self._keys.copy(),
                "bases": self._bases.copy(),
                "meta": self._meta.copy(),
            }

    def load(self, arrays: dict[str, Ints]) -> None:
        with self._lock:
            self._meta = arrays["meta"].copy()
            self._keys = arrays["keys"].copy()
            self._bases = arrays["bases"].copy()
            used = arrays["arena"]
            self._arena = np.zeros(max(FIRST_ARENA_COUNT, 2 * used.size), dtype=np.int64)
            self._arena[: used.size] = used

    def _make_room(self) -> None:
        if self._meta[USED] + WIDEST_EVENT > self._arena.size:
            grown = np.zeros(2 * self._arena.size, dtype=np.int64)
            grown[: self._arena.size] = self._arena
            self._arena = grown
        if self._meta[KEYS_HELD] + ROW_KINDS > self._keys.size // 2:
            self._rehash(2 * self._keys.size)

    def _rehash(self, size: int) -> None:
        held = self._bases != 0
        keys = np.zeros(size, dtype=np.int64)
        bases = np.zeros(size, dtype=np.int64)
        kernel.refill(self._keys[held], self._bases[held], keys, bases)
        self._keys, self._bases = keys, bases
