"""History kept as columns on disk, so that a second back-test begins at once.

A folder of parts, each a stretch of the log: ``*.arrow`` (Arrow IPC, uncompressed, one batch) holds
its decided attempts as columns and is memory-mapped, ``*.npy`` its feedback. ``manifest.json``
names the parts in use and changes by atomic rename; a reader sees the old history or the new one.
All of it is made from the database and may be deleted at any time.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.backtest.history import (
    EVENT_PREFIX,
    FEEDBACK_FIELDS,
    MERCHANT_ID,
    OUTCOME,
    SCORE_RAW,
    SCORED_BY,
    TRADE_NO,
    Bytes,
    Floats,
    History,
    Ints,
    Mask,
    columns_of,
)
from risk.features.catalogue import FEATURE_HASH, FEATURE_NAMES
from risk.features.event import FIELDS

FORMAT: Final = 1
MANIFEST_FILE: Final = "manifest.json"
# A part that was replaced stays for readers who have just read the old manifest.
REPLACED_KEPT_S: Final = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PartEntry:
    """One part as the manifest names it.

    Attributes:
        name: Of its files, without the ending.
        first_seq: First event of the log it covers.
        last_seq: Last one.
        rows_count: Decided attempts in it.
        undecided_count: Attempts without a decision, which it leaves out.
        last_event_hash: Of the last event's payload: another log under the same numbers shows.
        is_full: Whether nothing can join it any more; only the last part is not.
    """

    name: str
    first_seq: int
    last_seq: int
    rows_count: int
    undecided_count: int
    last_event_hash: str
    is_full: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRows:
    """What goes into a part; arrays of a row each for the decided attempts.

    Attributes:
        features: Shape ``(n, F)``.
        events: Shape ``(n, EVENT_WIDTH)``.
        outcome: Place of the outcome that was given, -1 if unknown.
        score_raw: The model's output at the time.
        scored_by: Bundle that gave it; "" if none did in full.
        trade_no: Payments' numbers.
        merchant_id: Their merchants.
        feedback: Feedback events of the stretch, shape ``(k, 4)``.
    """

    features: Floats
    events: Ints
    outcome: Bytes
    score_raw: Floats
    scored_by: Sequence[str]
    trade_no: Sequence[str]
    merchant_id: Sequence[str]
    feedback: Ints


def layout_hash() -> str:
    """Return what a cache must have been made under: features, event fields, file format."""
    said = json.dumps([FORMAT, FEATURE_HASH, list(FEATURE_NAMES), list(FIELDS)])
    return hashlib.blake2b(said.encode(), digest_size=8).hexdigest()


def hash_of_event(payload: bytes) -> str:
    """Return the hash a manifest keeps of a stretch's last event."""
    return hashlib.blake2b(payload, digest_size=8).hexdigest()


def write_part(folder: Path, name: str, rows: PartRows) -> None:
    """Write the two files of a part; it is not in use until a manifest names it.

    Raises:
        OSError: the disk refuses.
    """
    columns: dict[str, Any] = dict(zip(FEATURE_NAMES, columns_of(rows.features), strict=True))
    events = columns_of(rows.events)
    columns |= {EVENT_PREFIX + field: events[place] for place, field in enumerate(FIELDS)}
    columns |= {OUTCOME: rows.outcome, SCORE_RAW: rows.score_raw}
    for key, words in ((SCORED_BY, rows.scored_by), (MERCHANT_ID, rows.merchant_id)):
        columns[key] = pa.array(words, type=pa.string()).dictionary_encode()
    columns[TRADE_NO] = pa.array(rows.trade_no, type=pa.string())
    write_columns(folder / f"{name}.arrow", columns)
    draft = folder / f".{name}.npy.draft"
    with draft.open("wb") as file:
        np.save(file, rows.feedback)
    draft.replace(folder / f"{name}.npy")


def write_columns(path: Path, columns: Mapping[str, Any]) -> None:
    """Write columns as `ArrowPart` reads them.

    Raises:
        OSError: the disk refuses.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    batch = pa.record_batch({name: pa.array(values) for name, values in columns.items()})
    # Renamed into place: whoever has an older file of this name mapped keeps that one.
    draft = path.with_name(f".{path.name}.draft")
    with pa.ipc.new_file(str(draft), batch.schema) as file:
        file.write_batch(batch)
    draft.replace(path)


def save_manifest(folder: Path, entries: Sequence[PartEntry], *, now_s: float) -> None:
    """Put a list of parts in use, and clear away files no manifest has named for an hour.

    Args:
        folder: Of the cache.
        entries: In the order of the log.
        now_s: The time, seconds since the epoch.
    """
    said = {"layout": layout_hash(), "parts": [asdict(entry) for entry in entries]}
    draft = folder / f".{MANIFEST_FILE}.{os.getpid()}"
    draft.write_text(json.dumps(said, indent=1), "utf-8")
    draft.replace(folder / MANIFEST_FILE)
    used = {entry.name for entry in entries}
    for path in (*folder.glob("*.arrow"), *folder.glob("*.npy")):
        if path.stem not in used and path.stat().st_mtime < now_s - REPLACED_KEPT_S:
            path.unlink(missing_ok=True)


def read_manifest(folder: Path) -> tuple[PartEntry, ...]:
    """Return the parts in use; none if there is no cache or it was made under another layout."""
    try:
        said = json.loads((folder / MANIFEST_FILE).read_text("utf-8"))
        if said["layout"] != layout_hash():
            return ()
        return tuple(PartEntry(**entry) for entry in said["parts"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return ()  # Whatever is wrong with it, the database has all of it.


def is_whole(folder: Path, entry: PartEntry) -> bool:
    """Return whether a part's files are there and hold as many rows as the manifest says."""
    try:
        rows_count = int(ArrowPart(folder / f"{entry.name}.arrow", entry.rows_count).held_count)
        feedback = np.load(folder / f"{entry.name}.npy", mmap_mode="r")
    except (OSError, ValueError, pa.ArrowInvalid):
        return False
    return rows_count == entry.rows_count and feedback.shape[1:] == (len(FEEDBACK_FIELDS),)


def open_history(folder: Path, entries: Sequence[PartEntry]) -> History:
    """Return the history that parts hold, mapped and not read.

    Raises:
        OSError: a file is missing.
    """
    feedback = [np.load(folder / f"{entry.name}.npy") for entry in entries]
    return History(
        parts=tuple(
            ArrowPart(folder / f"{entry.name}.arrow", entry.rows_count)
            for entry in entries
            if entry.rows_count
        ),
        feedback=np.concatenate([np.zeros((0, len(FEEDBACK_FIELDS)), np.int64), *feedback]),
        undecided_count=sum(entry.undecided_count for entry in entries),
    )


@dataclass(frozen=True)
class ArrowPart:
    """A part on disk; the system reads a column when it is first touched."""

    path: Path
    rows_count: int

    @cached_property
    def _batch(self) -> "pa.RecordBatch":
        return pa.ipc.open_file(pa.memory_map(str(self.path))).get_batch(0)

    @property
    def held_count(self) -> int:
        """Rows the file itself holds."""
        return int(self._batch.num_rows)

    def column(self, name: str) -> NDArray[Any]:
        """Return a numeric column without copying it."""
        found: NDArray[Any] = self._batch.column(name).to_numpy(zero_copy_only=True)
        return found

    def words(self, name: str, places: Ints) -> list[str]:
        """Return a column of words at some rows."""
        found: list[str] = self._batch.column(name).take(pa.array(places)).to_pylist()
        return found

    def is_word(self, name: str, word: str) -> Mask:
        """Return where a column of words, each kept once, says this one."""
        column = self._batch.column(name)
        known = column.dictionary.to_pylist()
        if word not in known:
            return np.zeros(self.rows_count, dtype=np.bool_)
        alike: Mask = column.indices.to_numpy() == known.index(word)
        return alike
