"""Take over models and policies that were published meanwhile, without a restart.

What can't be used is refused once, loudly, and the old one goes on deciding.
"""

import asyncio
import logging
from collections.abc import Callable

from sqlalchemy import Engine

from gateway.store import policies
from gateway.store.alerts import AlertBook, Severity
from risk import BundleRefused, TreesUnavailable
from risk import Engine as RiskEngine
from risk.policy import PolicyError

POLL_S = 1.0
_log = logging.getLogger("yumen.risk")


class Refresher:
    """Looks for what is new, each second.

    Args:
        risk: The engine that takes it over.
        reader: Read-only database engine of the event loop's thread.
        book: Where refusals are noted.
        clock_us: The time, microseconds since the epoch.
    """

    def __init__(
        self, risk: RiskEngine, reader: Engine, book: AlertBook, clock_us: Callable[[], int]
    ) -> None:
        self._risk = risk
        self._reader = reader
        self._book = book
        self._clock_us = clock_us
        self._refused: dict[str, str] = {}

    async def models(self) -> int:
        """Take over a new champion or challenger."""
        await asyncio.sleep(POLL_S)
        for kind, refresh in (
            ("model", self._risk.refresh_model),
            ("challenger", self._risk.refresh_challenger),
        ):
            try:
                await asyncio.to_thread(refresh)
            except (BundleRefused, TreesUnavailable) as refusal:
                self._refuse(kind, str(refusal))
            else:
                self._refused.pop(kind, None)
        return 0

    async def policy(self) -> int:
        """Take over the policy that was published last."""
        await asyncio.sleep(POLL_S)
        self.take_policy()
        return 0

    def take_policy(self) -> None:
        """Take over the policy that is live in the database, if it is another one."""
        try:
            with self._reader.connect() as conn:
                version = policies.live_version(conn)
                if version in {"", self._risk.policy_version}:
                    return
                policy = policies.live(conn)
        except PolicyError as refusal:
            self._refuse("policy", str(refusal))
            return
        self._risk.use_policy(policy)
        self._refused.pop("policy", None)
        _log.info("policy %s decides from now on", version)

    def _refuse(self, kind: str, why: str) -> None:
        """Log a refusal once, and note it for the operators each time."""
        self._book.note(f"{kind}.refused", Severity.ERROR, why, self._clock_us())
        if self._refused.get(kind) != why:
            self._refused[kind] = why
            _log.error("the new %s is refused, what decided goes on: %s", kind, why)
