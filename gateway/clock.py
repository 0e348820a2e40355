"""The gateway's clock: the wall's, and in a sandbox one that can be moved forward.

A day of retries, time-outs and settlement then passes in seconds. The shift lies in a file of the
state's folder, so that gateway, worker and sandbox agree, also after a restart. Time never goes
back: what was promised for later would be promised twice.
"""

import os
import time
from pathlib import Path
from typing import Final

FILE: Final = "clock.ahead_us"
LOOK_AGAIN_NS: Final = 50_000_000
AHEAD_US_MAX: Final = 400 * 86_400 * 1_000_000


def wall_clock_us() -> int:
    """The time, microseconds since the epoch."""
    return time.time_ns() // 1_000


class TestClock:
    """A clock that is ahead of the wall's by what the file says; only for sandboxes."""

    __test__ = False  # Not a test case, whatever a test runner thinks of the name.

    def __init__(self, var: Path) -> None:
        """Read the shift from the folder of all embedded state; none if there is no file."""
        self._path = var / FILE
        self._ahead_us = 0
        self._look_at_ns = 0

    def __call__(self) -> int:
        """The time, microseconds since the epoch."""
        now_ns = time.time_ns()
        if now_ns >= self._look_at_ns:
            self._look_at_ns = now_ns + LOOK_AGAIN_NS
            self._ahead_us = max(self._ahead_us, _read(self._path))
        return now_ns // 1_000 + self._ahead_us

    def advance(self, seconds: int) -> int:
        """Move the clock forward, for every process on the folder; return the new time, us.

        Raises:
            ValueError: if it would go back, or further ahead than a little over a year.
        """
        ahead_us = max(self._ahead_us, _read(self._path)) + seconds * 1_000_000
        if seconds < 0 or ahead_us > AHEAD_US_MAX:
            raise ValueError("the test clock goes forward, at most 400 days in all")
        draft = self._path.with_name(f".{FILE}.{os.getpid()}")
        draft.write_text(str(ahead_us))
        draft.replace(self._path)
        self._look_at_ns = 0
        return self()


def _read(path: Path) -> int:
    try:
        return int(path.read_text())
    except FileNotFoundError:
        return 0
