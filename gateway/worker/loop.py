"""Does what is due, one kind of work beside the other, until told to stop."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

_log = logging.getLogger("yumen.worker")


class Loop:
    """Runs each kind of work in a task of its own, so that a slow channel delays nobody else.

    Args:
        work: By name: does a batch and returns how many were moved on.
        poll_s: Pause after a batch that found nothing.
    """

    def __init__(self, work: Mapping[str, Callable[[], Awaitable[int]]], *, poll_s: float) -> None:
        self._work = work
        self._poll_s = poll_s
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start working on the running event loop."""
        self._tasks = [
            asyncio.create_task(self._repeat(name, once), name=name)
            for name, once in self._work.items()
        ]

    async def stop(self) -> None:
        """Stop between two steps; what was under way is found again by its row."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _repeat(self, name: str, once: Callable[[], Awaitable[int]]) -> None:
        while True:
            try:
                moved_count = await once()
            except Exception:  # noqa: BLE001 - one bad row must not end the worker; it is logged
                _log.exception("%s failed; trying again", name)
                moved_count = 0
            if not moved_count:
                await asyncio.sleep(self._poll_s)
