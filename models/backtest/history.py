"""Stored payments as columns: what a back-test reads, whole or a block of rows at a time.

A history is one or several parts, each a set of equally long columns: the features by their names,
the integers of the event as ``event.<field>``, and what was decided. Parts read from the cache
(`models.backtest.cache`) are memory-mapped, so only columns that a rule names are ever touched.
Labels are the feedback of the log, taken as known at some moment.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from models.backtest.forest import Columns
from risk.features import event as layout
from risk.features.catalogue import FEATURE_HASH, FEATURE_NAMES
from risk.features.event import FIELDS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bytes = NDArray[np.int8]
Mask = NDArray[np.bool_]

EVENT_PREFIX: Final = "event."
OUTCOME: Final = "outcome"
SCORE_RAW: Final = "score_raw"
SCORED_BY: Final = "scored_by"
TRADE_NO: Final = "trade_no"
MERCHANT_ID: Final = "merchant_id"
FEEDBACK_FIELDS: Final = ("seq", "at_us", "ref_seq", "feedback")
UNKNOWN: Final = -1
BLOCK_ROWS: Final = 131_072
_TILE_ROWS: Final = 512


class NoHistory(ValueError):
    """There is nothing to run a back-test over; the message says why."""


class Part(Protocol):
    """Some rows of a history, as columns."""

    @property
    def rows_count(self) -> int:
        """How many rows."""

    def column(self, name: str) -> NDArray[Any]:
        """Return a numeric column; KeyError if there is none of this name."""

    def words(self, name: str, places: Ints) -> list[str]:
        """Return a column of words at some rows; "" where nothing is known."""

    def is_word(self, name: str, word: str) -> Mask:
        """Return where a column of words says this one."""


@dataclass(frozen=True)
class MatrixPart:
    """Rows in memory: a matrix of features beside a matrix of events.

    Attributes:
        features: Shape ``(n, F)``, in the order of `names`.
        events: Shape ``(n, EVENT_WIDTH)``: the attempts.
        names: Names of the features.
        extra: Further numeric columns.
        text: Further columns of words.
    """

    features: Floats
    events: Ints
    names: tuple[str, ...]
    extra: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    text: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def rows_count(self) -> int:
        return len(self.events)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}

    def column(self, name: str) -> NDArray[Any]:
        if name in self._places:
            return self.features[:, self._places[name]]
        if name.startswith(EVENT_PREFIX):
            return layout.column(self.events, name.removeprefix(EVENT_PREFIX))
        return self.extra[name]

    def words(self, name: str, places: Ints) -> list[str]:
        held = self.text.get(name)
        return [held[place] if held is not None else "" for place in places.tolist()]

    def is_word(self, name: str, word: str) -> Mask:
        held = self.text.get(name)
        if held is None:
            return np.zeros(self.rows_count, dtype=np.bool_)
        return np.array([one == word for one in held], dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class WiderPart:
    """A part with further numeric columns beside its own."""

    part: Part
    added: Mapping[str, Floats]

    @property
    def rows_count(self) -> int:
        return self.part.rows_count

    def column(self, name: str) -> NDArray[Any]:
        return self.added[name] if name in self.added else self.part.column(name)

    def words(self, name: str, places: Ints) -> list[str]:
        return self.part.words(name, places)

    def is_word(self, name: str, word: str) -> Mask:
        return self.part.is_word(name, word)


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive rows of one part; `first_row` counts from the beginning of the history."""

    part: Part
    names: tuple[str, ...]
    low: int
    high: int
    first_row: int

    @property
    def rows_count(self) -> int:
        return self.high - self.low

    @property
    def rows(self) -> slice:
        """Where these rows stand in arrays over the whole history."""
        return slice(self.first_row, self.first_row + self.rows_count)

    def column(self, name: str) -> NDArray[Any]:
        """Return one column of these rows."""
        return self.part.column(name)[self.low : self.high]

    def feature(self, place: int) -> Floats:
        """Return a feature by its place in the vector; NaN is missing."""
        return self.column(self.names[place])

    def field(self, index: int) -> Ints:
        """Return an integer of the event by its index."""
        return self.column(EVENT_PREFIX + FIELDS[index])

    def scored_by(self, version: str) -> Mask:
        """Return for which rows the model's output of this version is stored."""
        return self.part.is_word(SCORED_BY, version)[self.low : self.high]

    def features_of(self, picked: Mask) -> Columns:
        """Return the features of the picked rows, each read when it is asked for."""
        if picked.all():
            return self.feature
        return lambda place: self.feature(place)[picked]


@dataclass(frozen=True)
class History:
    """All payments a back-test may look at, in the order of the log.

    Attributes:
        parts: Their columns.
        feedback: Outcomes and labels of the log, shape ``(k, 4)``: `FEEDBACK_FIELDS`.
        names: Names of the features, the catalogue's first.
        feature_hash: Hash of the catalogue that computed them.
        undecided_count: Attempts of the log without a stored decision; they are left out.
    """

    parts: tuple[Part, ...]
    feedback: Ints
    names: tuple[str, ...] = FEATURE_NAMES
    feature_hash: str = FEATURE_HASH
    undecided_count: int = 0

    def __len__(self) -> int:
        return sum(part.rows_count for part in self.parts)

    def blocks(self, rows_max: int = BLOCK_ROWS) -> Iterator[Block]:
        """Yield the history in blocks small enough to stay in a processor's cache."""
        first_row = 0
        for part in self.parts:
            for low in range(0, part.rows_count, rows_max):
                high = min(low + rows_max, part.rows_count)
                yield Block(part, self.names, low, high, first_row + low)
            first_row += part.rows_count

    def column(self, name: str) -> NDArray[Any]:
        """Return one numeric column of all rows."""
        if not self.parts:
            return np.zeros(0, dtype=np.int64)
        return np.concatenate([part.column(name) for part in self.parts])

    def field(self, name: str) -> Ints:
        """Return one integer of the events of all rows, by its name in `FIELDS`."""
        return self.column(EVENT_PREFIX + name)

    def words(self, name: str, rows: Ints) -> list[str]:
        """Return a column of words at some rows, in the order of `rows`."""
        found = [""] * len(rows)
        first_row = 0
        for part in self.parts:
            wanted = np.flatnonzero((rows >= first_row) & (rows < first_row + part.rows_count))
            said = part.words(name, rows[wanted] - first_row)
            for place, word in zip(wanted.tolist(), said, strict=True):
                found[place] = word
            first_row += part.rows_count
        return found

    def labels(self, *, known_by_us: int, genuine_after_s: float | None = None) -> Bytes:
        """Return 1 for fraud, 0 for genuine, -1 where nothing is known; shape ``(n,)``.

        Args:
            known_by_us: Only feedback known by then counts; the last verdict wins.
            genuine_after_s: Take paid payments as genuine if nobody complained for so long:
                right where honest payments never get a label. None: silence says nothing.
        """
        truth = np.full(len(self), UNKNOWN, dtype=np.int8)
        if not len(self):
            return truth
        known = self.feedback[self.feedback[:, 1] <= known_by_us]
        verdicts = (known[:, 3] == layout.FRAUD) | (known[:, 3] == layout.GENUINE)
        if genuine_after_s is not None:
            old = known[:, 1] <= known_by_us - int(genuine_after_s * 1e6)
            paid = known[(known[:, 3] == layout.PAID) & old]
            truth[self._rows_of(paid[:, 2])[1]] = 0
        told = known[verdicts]
        inside, rows = self._rows_of(told[:, 2])
        # Of several verdicts on one payment the last one assigned stays, and they are in order.
        truth[rows] = (told[inside, 3] == layout.FRAUD).astype(np.int8)
        return truth

    def _rows_of(self, seqs: Ints) -> tuple[Mask, Ints]:
        """Which of these attempts are in the history, and at which rows those are."""
        own = self.field("seq")
        rows = np.searchsorted(own, seqs).astype(np.int64)
        inside = (rows < len(own)) & (own[np.minimum(rows, len(own) - 1)] == seqs)
        return inside, rows[inside]


def feedback_of(events: Ints) -> Ints:
    """Return the feedback events of a stack as rows of `FEEDBACK_FIELDS`."""
    told = events[layout.column(events, "kind") != layout.ATTEMPT]
    return np.stack([layout.column(told, name) for name in FEEDBACK_FIELDS], axis=1)


def columns_of(matrix: NDArray[Any]) -> NDArray[Any]:
    """Turn rows into columns, some rows at a time: each is read once, from the cache."""
    columns = np.empty((matrix.shape[1], matrix.shape[0]), dtype=matrix.dtype)
    for low in range(0, matrix.shape[0], _TILE_ROWS):
        columns[:, low : low + _TILE_ROWS] = matrix[low : low + _TILE_ROWS].T
    return columns
