"""The one log of what risk saw, in the order in which it saw it.

The owner of the feature state gives each event its number in memory; the row must reach the disk
in that order and before anyone hears of a decision that depended on it. So events wait here and
ride at the head of the next transaction, whatever else that holds. If a commit fails they stay
and ride again: the state in memory never runs ahead of the log for good.
"""

from collections import deque
from collections.abc import Iterator
from itertools import islice, zip_longest

from gateway.store.chain import append_events
from gateway.store.raw import Raw
from risk.decision import LogEvent

Row = tuple[int, str, int, str, bytes]

_INSERT = "INSERT INTO risk_events (seq, kind, at_us, trade_no, payload) VALUES (?, ?, ?, ?, ?)"
_STORED = "SELECT seq, payload FROM risk_events WHERE seq >= ? ORDER BY seq"


class LogForked(RuntimeError):
    """The log holds events that this process never gave a place: another owner wrote them."""


class EventLog:
    """Events that have a place but are not yet on disk.

    `append` belongs to the event loop; the writer may call the rest on a thread of its own, one
    call at a time. What is appended meanwhile rides with the next transaction.
    """

    def __init__(self) -> None:
        self._waiting: deque[Row] = deque()
        self._newest_seq: int | None = None  # Until the first event there is nothing to compare.
        self._in_doubt = False

    def append(self, event: LogEvent) -> None:
        """Take an event; it goes to disk with the next transaction."""
        self._waiting.append((event.seq, event.kind, event.at_us, event.trade_no, event.payload))
        self._newest_seq = event.seq

    def write(self, raw: Raw) -> int:
        """Insert and chain all waiting events; return how many (`Writer`'s prologue).

        Raises:
            LogForked: others wrote to the log; nothing of this process may be acknowledged.
        """
        waiting = list(self._waiting)
        missing = self._missing(raw, waiting) if self._in_doubt else waiting
        if missing:
            raw.executemany(_INSERT, missing)
            append_events(raw, missing)
        return len(waiting)

    def committed(self, count: int) -> None:
        """Forget the first `count` events: they are on disk (`Writer`'s after-commit)."""
        self._in_doubt = False
        for _ in range(count):
            self._waiting.popleft()

    def doubted(self) -> None:
        """Look what is on disk before anything is written again: a commit ended nobody knows how.

        The events of that commit are either all there or none is, so the waiting ones that are
        there already are left out.
        """
        self._in_doubt = True

    def _missing(self, raw: Raw, waiting: list[Row]) -> list[Row]:
        if self._newest_seq is None:
            return waiting
        first_seq = waiting[0][0] if waiting else self._newest_seq + 1
        stored = raw.execute(_STORED, (first_seq,)).fetchall()
        for mine, (seq, payload) in zip_longest(waiting[: len(stored)], stored):
            if mine is None or (mine[0], mine[4]) != (seq, payload):
                raise LogForked(f"another gateway gave number {seq} of the log; restart this one")
        return waiting[len(stored) :]

    def __len__(self) -> int:
        return len(self._waiting)


def read_log(raw: Raw, *, after_seq: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield ``(seq, payload)`` of all events after `after_seq`, in order.

    Raises:
        ValueError: if a number is missing: the log is the truth and must have no holes.
    """
    expected_seq = after_seq + 1
    rows = iter(
        raw.execute("SELECT seq, payload FROM risk_events WHERE seq > ? ORDER BY seq", (after_seq,))
    )
    while chunk := list(islice(rows, 10_000)):
        for seq, payload in chunk:
            if seq != expected_seq:
                raise ValueError(f"the event log lacks number {expected_seq}; found {seq}")
            expected_seq += 1
            yield seq, payload
