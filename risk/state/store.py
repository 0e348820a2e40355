"""Where state lives: a protocol any store must keep, and the store inside the process.

A store takes events in the order of the log and answers, for each, the features of the state
before it and the number of the event that last wrote each entity's row. A decision keeps those
numbers, so replay stays exact even where several owners split the entities between them.
"""

import mmap
import sys
import threading
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from risk.features import kernel
from risk.features.catalogue import FEATURES, plan
from risk.features.definition import Feature, cells_of
from risk.features.event import EVENT_WIDTH, KEY_COUNT
from risk.features.layout import CELL_COUNT, HEADER_WIDTH, ROW_KINDS, WIDEST_EVENT
from risk.features.memory import HAND, KEYS_HELD, META_WIDTH, PROMOTED, SWEPT, USED, refill
from risk.features.needs import needs_of
from risk.features.recent import SCRATCH_WIDTH
from risk.features.windows import DELTA_WIDTH

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Marks = npt.NDArray[np.uint8]

FIRST_SLOTS: Final = 1 << 20  # Of the table: room for half as many entities.
# Address space, not memory: the system gives a page when it is first written. Growing by copying
# would take longer than a payment may wait, so more is asked for than any machine has; less where
# the system refuses.
ARENA_BYTES: Final = 1 << 36
LEAST_ARENA_BYTES: Final = 1 << 28
_NORESERVE: Final = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)


def reserve(arena_bytes: int = ARENA_BYTES) -> Ints:
    """Return an arena of zeros that takes memory only where it is written.

    Raises:
        MemoryError: not even `LEAST_ARENA_BYTES` are to be had.
    """
    while arena_bytes >= LEAST_ARENA_BYTES:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE
        try:
            space = mmap.mmap(-1, arena_bytes, flags=flags)
        except OSError:
            arena_bytes //= 2
            continue
        if hasattr(mmap, "MADV_HUGEPAGE"):  # Rows lie apart: small pages cost more than memory.
            space.madvise(mmap.MADV_HUGEPAGE)
        return np.frombuffer(space, dtype=np.int64)
    raise MemoryError(f"the system gives no {LEAST_ARENA_BYTES >> 20} MiB of address space")


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


class LogGap(ValueError):
    """The log handed to `Engine.restore` is not dense."""

    def __init__(self, expected: int, found: int) -> None:
        super().__init__(f"the log goes on with event {found}, expected {expected}")
        self.expected = expected
        self.found = found


class StateStore(Protocol):
    """Feature state. All methods may be called from any thread; batches never interleave."""

    def apply(self, events: Ints) -> Readings:
        """Read and apply events, shape ``(n, EVENT_WIDTH)``, in their order."""

    def export(self) -> dict[str, Ints]:
        """Return the whole state as named arrays that nobody else writes."""

    def load(self, arrays: dict[str, Ints]) -> None:
        """Replace the state by one that `export` gave."""


class MemoryStateStore:
    """The state as arrays of this process.

    One arena of int64 holds all rows; an open-addressed table leads from an entity's number to
    its row. `step` is the fast path for one event and writes into this store's own buffers.
    """

    def __init__(self, features: tuple[Feature, ...] = FEATURES) -> None:
        """Make an empty state that answers with `features`, in their order.

        Raises:
            ValueError: two features share a name.
        """
        self._lock = threading.Lock()
        self._plan = plan(features)
        self._needs = needs_of(cells_of(features))
        self._cells = np.zeros(CELL_COUNT, dtype=np.int64)
        self._marks = np.zeros(CELL_COUNT, dtype=np.uint8)
        self._places = np.zeros(KEY_COUNT, dtype=np.int64)
        self._scratch = np.zeros(SCRATCH_WIDTH, dtype=np.int64)
        self._delta = np.zeros(DELTA_WIDTH, dtype=np.int64)
        self.features = np.zeros(len(features), dtype=np.float64)
        self.presence = np.zeros((len(features) + 7) // 8, dtype=np.uint8)
        self.key_seqs = np.zeros(KEY_COUNT, dtype=np.int64)
        self.clear()

    def clear(self, slots: int = FIRST_SLOTS) -> None:
        """Forget everything; `slots` is the size of the table, a power of two."""
        self._arena = reserve()
        self._table = np.zeros(2 * slots, dtype=np.int64)
        self._meta = np.zeros(META_WIDTH, dtype=np.int64)
        self._meta[USED] = HEADER_WIDTH  # Place 0 means "no row".

    @property
    def entity_count(self) -> int:
        """How many entities have a row."""
        return int(self._meta[KEYS_HELD])

    @property
    def state_bytes(self) -> int:
        """Bytes of rows and blocks given out, and of the table that finds them."""
        return int(self._meta[USED]) * 8 + self._table.nbytes

    @property
    def promoted_count(self) -> int:
        """How many rows outgrew the small form so far."""
        return int(self._meta[PROMOTED])

    @property
    def swept_count(self) -> int:
        """How many rows were taken back so far, because nobody had seen their entity for long."""
        return int(self._meta[SWEPT])

    def step(self, event: Ints) -> None:
        """Read and apply one event; the answer stands in this store's own three buffers."""
        self._make_room()
        kernel.step(
            event,
            self._arena,
            self._table,
            self._meta,
            self._plan,
            self._needs,
            self._cells,
            self._marks,
            self._places,
            self._scratch,
            self._delta,
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
        features = np.full((count, self.features.size), np.nan)
        presence = np.zeros((count, self.presence.size), dtype=np.uint8)
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
                self._table,
                self._meta,
                self._plan,
                self._needs,
                self._cells,
                self._marks,
                self._places,
                self._scratch,
                self._delta,
                features,
                presence,
                key_seqs,
            )

    def export(self) -> dict[str, Ints]:
        with self._lock:
            return {
                "arena": self._arena[: int(self._meta[USED])].copy(),
                "table": self._table.copy(),
                "meta": self._meta.copy(),
            }

    def load(self, arrays: dict[str, Ints]) -> None:
        with self._lock:
            self._meta = arrays["meta"].copy()
            self._table = arrays["table"].copy()
            self._arena = reserve()
            self._arena[: arrays["arena"].size] = arrays["arena"]

    def _make_room(self) -> None:
        if self._meta[USED] + WIDEST_EVENT > self._arena.size:
            grown = reserve(2 * self._arena.nbytes)
            grown[: self._arena.size] = self._arena
            self._arena = grown
        if self._meta[KEYS_HELD] + ROW_KINDS > self._table.size // 4:
            held = self._table.reshape(-1, 2)
            table = np.zeros(2 * self._table.size, dtype=np.int64)
            refill(held[held[:, 1] != 0], table)
            self._table = table
            self._meta[HAND] = 0
