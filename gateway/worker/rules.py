"""Keep the running rules and lists equal to the stored ones, without a restart.

Analysts change rules through this gateway's admin API or from another process. A counter in the
database says that something changed; the new set is compiled beside the payments, stored as what
will run, and only then swapped in. A set that doesn't compile changes nothing: the one before
goes on, and an error is logged once.
"""

import asyncio
import logging
from typing import Final

from sqlalchemy.exc import DatabaseError

from gateway.payments.context import Context
from gateway.store import rules
from gateway.store.alerts import AlertBook, Severity
from gateway.store.database import Database
from risk.rules.source import RuleSet

POLL_S: Final = 1.0
_COUNTERS: Final = "SELECT name, number FROM change_counters ORDER BY name"
_log = logging.getLogger("yumen.rules")


class RuleKeeper:
    """Swaps changed rules and lists into the engine.

    Args:
        context: Its engine runs the rules, its writer stores what ran.
        database: Opened again for reading on a thread of its own.
        running: What the engine runs now.
        book: Where a set that can't run is noted for the operators.
        poll_s: How often it looks, seconds.

    Attributes:
        running: What the engine runs now.
    """

    def __init__(
        self,
        context: Context,
        database: Database,
        running: RuleSet,
        book: AlertBook,
        *,
        poll_s: float = POLL_S,
    ) -> None:
        self.running = running
        self._context = context
        self._database = database
        self._book = book
        self._poll_s = poll_s
        self._seen = self._counters()
        self._turn = asyncio.Lock()

    async def run_once(self) -> int:
        """Wait, look, and swap if something changed; 1 if it did."""
        await asyncio.sleep(self._poll_s)
        return int(self._counters() != self._seen and await self.refresh())

    async def refresh(self) -> bool:
        """Compile what is stored and run it from the next payment on; False if it is no set."""
        async with self._turn:  # An older set must not be swapped in after a newer one.
            return await self._refresh()

    async def _refresh(self) -> bool:
        risk = self._context.risk
        if risk is None:
            raise RuntimeError("only the owner of the feature state runs rules")
        seen = self._counters()
        try:
            rule_set = await asyncio.to_thread(self._load)
        except (ValueError, DatabaseError) as error:
            self._seen = seen  # Said once; the next change is another chance.
            _log.error("the stored rules can't run, those before go on: %s", error)
            now_us = self._context.clock_us()
            self._book.note("rules.refused", Severity.ERROR, str(error), now_us)
            return False
        now_us = self._context.clock_us()
        await self._context.writer.run(lambda conn: rules.keep(conn, rule_set, now_us))
        risk.use_rules(rule_set)
        self.running = rule_set
        self._seen = seen
        _log.info("rules %s with %s run now", rule_set.version, rule_set.list_version)
        return True

    def _counters(self) -> list[tuple[str, int]]:
        return self._context.raw_reader.execute(_COUNTERS).fetchall()

    def _load(self) -> RuleSet:
        engine = self._database.reader()  # A connection of this thread's own.
        try:
            with engine.connect() as conn:
                return rules.load(conn)
        finally:
            engine.dispose()
