"""The one log of what risk saw, in the order in which it saw it.

The owner of the feature state gives each event its number in memory; the row must reach the disk
in that order and before anyone hears of a decision that depended on it. So events wait here and
ride at the head of the next transaction, whatever else that holds. If a commit fails they stay
and ride again: the state in memory never runs ahead of the log for good.
"""

from collections import deque
from collections.abc import Iterator
from itertools import islice

from gateway.store.chain import append_events
from gateway.store.raw import Raw
from risk.decision import LogEvent

_INSERT = "INSERT INTO risk_events (seq, kind, at_us, trade_no, payload) VALUES (?, ?, ?, ?, ?)"


class EventLog:
    """Events that have a place but are not yet on disk."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, str, int, str, bytes]] = deque()

    def append(self, event: LogEvent) -> None:
        """Take an event; it goes to disk with the next transaction."""
        self._waiting.append((event.seq, event.kind, event.at_us, event.trade_no, event.payload))

    def write(self, raw: Raw) -> int:
        """Insert and chain all waiting events; return how many (`Writer`'s prologue)."""
        if self._waiting:
            raw.executemany(_INSERT, self._waiting)
            append_events(raw, self._waiting)
        return len(self._waiting)

    def committed(self, count: int) -> None:
        """Forget the first `count` events: they are on disk (`Writer`'s after-commit)."""
        for _ in range(count):
            self._waiting.popleft()

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
