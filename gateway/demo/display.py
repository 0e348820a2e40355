"""What the demo shows while it runs: a live table on a terminal, plain lines anywhere else."""

import asyncio
import time
from collections.abc import Mapping

from rich.console import Console
from rich.live import Live
from rich.table import Table

from gateway.demo.merchants import Desk
from gateway.demo.traffic import Counts

REFRESH_S = 0.5
PLAIN_EVERY_S = 5.0


def places(addresses: Mapping[str, str]) -> list[str]:
    """Say where to look, one line an address."""
    width = max(len(name) for name in addresses)
    return [f"  {name:{width}}  {address}" for name, address in addresses.items()]


class Display:
    """Refreshes the counts until its task is cancelled."""

    def __init__(self, console: Console, counts: Counts, desk: Desk, started_s: float) -> None:
        self._console = console
        self._counts = counts
        self._desk = desk
        self._started_s = started_s

    async def run(self) -> None:
        """Show counts for ever."""
        if not self._console.is_terminal:
            while True:
                await asyncio.sleep(PLAIN_EVERY_S)
                self._console.print(self._line(), highlight=False, soft_wrap=True)
        with Live(self._table(), console=self._console, transient=True) as live:
            while True:
                await asyncio.sleep(REFRESH_S)
                live.update(self._table())

    def _line(self) -> str:
        return "  ".join(f"{name} {value}" for name, value in self._rows().items())

    def _table(self) -> Table:
        table = Table(title="synthetic traffic 合成流量", show_header=False, min_width=48)
        table.add_column()
        table.add_column(justify="right")
        for name, value in self._rows().items():
            table.add_row(name, value)
        return table

    def _rows(self) -> dict[str, str]:
        events, outcomes = self._counts.events, self._counts.outcomes
        elapsed_s = max(time.monotonic() - self._started_s, 1e-9)
        return {
            "seconds": f"{elapsed_s:,.0f}",
            "created": f"{events['created']:,} ({events['created'] / elapsed_s:.1f}/s)",
            **{name.lower(): f"{count:,}" for name, count in sorted(outcomes.items())},
            "paid": f"{events['paid']:,}",
            "refunds": f"{events['refunds']:,}",
            "notified": f"{self._desk.counts['delivered']:,}",
            "labels": f"{events['labels']:,}",
            "fraud stopped": f"{events['fraud_stopped']:,} of {events['fraud']:,}",
            "problems": f"{events['failed'] + events['unanswered']:,}",
        }
