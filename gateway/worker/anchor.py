"""Says aloud where the chain stands, so that the log of the process keeps a copy elsewhere.

Who can write the database can rewrite the whole chain. What they can't do is make the rewritten
one end in a hash that was written down somewhere they can't reach: at the start, once a day and
at the end the head goes to the log, which should leave the machine.
"""

import logging
from collections.abc import Callable

from gateway.store.chain import head, text_of
from gateway.store.raw import Raw

_log = logging.getLogger("yumen.audit")
EVERY_US = 86_400_000_000


class Anchor:
    """Logs the head of the chain when it is due.

    Args:
        raw: A read-only connection.
        clock_us: The time, microseconds since the epoch.
    """

    def __init__(self, raw: Raw, clock_us: Callable[[], int]) -> None:
        self._raw = raw
        self._clock_us = clock_us
        self._due_at_us = 0

    async def run_once(self) -> int:
        """Log the head if a day has passed; returns 0: the next look can wait."""
        now_us = self._clock_us()
        if now_us >= self._due_at_us:
            self._due_at_us = now_us + EVERY_US
            self.log()
        return 0

    def log(self) -> None:
        """Log the head now: the line is what ``yumen audit verify --head`` wants to be given."""
        _log.info("decision chain head %s", text_of(*head(self._raw)))
