"""The demo's last word: what ran, how fast, and whether every invariant held."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, text

from gateway.demo.merchants import Desk
from gateway.demo.traffic import Counts
from gateway.domain.money import to_major
from gateway.invariants import Finding, check_all

_PROBLEMS = ("failed", "unanswered", "label_failed", "review_failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Everything a demo run ends with; figures of this run alone unless `total` is in the name."""

    seconds: float
    transactions: int
    transactions_total: int
    outcomes: Mapping[str, int]
    events: Mapping[str, int]
    assess_p50_us: float
    assess_p99_us: float
    create_p50_ms: float
    create_p99_ms: float
    degraded: int
    notifications: Mapping[str, int]
    ledger: Mapping[str, str]
    bill: Mapping[str, int]
    findings: Sequence[Finding]
    first_problem: str

    @property
    def held(self) -> bool:
        """Whether every invariant held and every request was answered."""
        return all(finding.held for finding in self.findings) and not self.first_problem

    def as_dict(self) -> dict[str, object]:
        """Return one object for `--json`."""
        return {"held": self.held, **asdict(self)}

    def lines(self) -> list[str]:
        """Return the summary for a person."""
        outcomes = ", ".join(f"{count:,} {name}" for name, count in sorted(self.outcomes.items()))
        notified = ", ".join(f"{count:,} {name}" for name, count in self.notifications.items())
        turnover = ", ".join(f"{amount} {what}" for what, amount in self.ledger.items()) or "empty"
        events = ", ".join(f"{count:,} {name}" for name, count in sorted(self.events.items()))
        bill = ", ".join(f"{count:,} {name}" for name, count in self.bill.items())
        lines = [
            "",
            (
                f"transactions   {self.transactions:,} in {self.seconds:.0f} s "
                f"({self.transactions_total:,} stored in all)"
            ),
            f"decisions      {outcomes}; {self.degraded} degraded",
            f"risk check     p50 {self.assess_p50_us:.0f} us, p99 {self.assess_p99_us:.0f} us",
            f"create call    p50 {self.create_p50_ms:.1f} ms, p99 {self.create_p99_ms:.1f} ms",
            f"notifications  {notified}",
            f"ledger         {turnover}",
            f"bill           {bill or 'not reconciled'}",
            f"events         {events}",
        ]
        for finding in self.findings:
            mark = "held  " if finding.held else "BROKEN"
            lines.append(f"{mark}         {finding.name}: {finding.detail}")
        if self.first_problem:
            lines.append(f"PROBLEM        {self.first_problem}")
        return [*lines, "every invariant held" if self.held else "NOT EVERY INVARIANT HELD"]


def summarise(
    reader: Engine,
    counts: Counts,
    desk: Desk,
    bill: Mapping[str, Any],
    *,
    started_us: int,
    now_us: int,
) -> Summary:
    """Read the database after everything has stopped.

    Args:
        reader: An engine on the gateway's database.
        counts: What the traffic saw.
        desk: What the merchants heard.
        bill: The reconciliation run at the end, empty if there was none.
        started_us: Since when the figures count.
        now_us: The time.
    """
    with reader.connect() as conn:
        elapsed_us = _elapsed_us(conn, started_us)
        degraded = _one(conn, "degraded <> '' AND decided_at_us >= :since", started_us)
        total = int(conn.execute(text("SELECT count(*) FROM orders")).scalar_one())
        turnover = _turnover(conn)
    create_ms = counts.create_ms or [0.0]
    return Summary(
        seconds=round((now_us - started_us) / 1e6, 1),
        transactions=len(counts.acknowledged),
        transactions_total=total,
        outcomes=dict(counts.outcomes),
        events=dict(counts.events),
        assess_p50_us=float(np.percentile(elapsed_us, 50)),
        assess_p99_us=float(np.percentile(elapsed_us, 99)),
        create_p50_ms=round(float(np.percentile(create_ms, 50)), 2),
        create_p99_ms=round(float(np.percentile(create_ms, 99)), 2),
        degraded=degraded,
        notifications=dict(desk.counts),
        ledger=turnover,
        bill={name: int(bill[name]) for name in ("matched", "breaks") if name in bill},
        findings=check_all(reader, now_us, counts.acknowledged),
        first_problem=counts.first_problem,
    )


def _elapsed_us(conn: Connection, since_us: int) -> list[int]:
    rows = conn.execute(
        text("SELECT elapsed_us FROM decisions WHERE decided_at_us >= :since"), {"since": since_us}
    )
    return [int(row[0]) for row in rows] or [0]


def _one(conn: Connection, condition: str, since_us: int) -> int:
    statement = text(f"SELECT count(*) FROM decisions WHERE {condition}")  # noqa: S608 - ours
    return int(conn.execute(statement, {"since": since_us}).scalar_one())


def _turnover(conn: Connection) -> dict[str, str]:
    """Sum of all debits, of all credits, and their difference, in each currency."""
    rows = conn.execute(
        text(
            "SELECT currency, sum(CASE WHEN amount_minor > 0 THEN amount_minor ELSE 0 END),"
            " sum(CASE WHEN amount_minor < 0 THEN amount_minor ELSE 0 END),"
            " sum(amount_minor) FROM ledger_postings GROUP BY currency ORDER BY currency"
        )
    )
    amounts: dict[str, str] = {}
    for currency, debit_minor, credit_minor, balance_minor in rows:
        amounts[f"{currency} debit"] = f"{to_major(debit_minor, currency):,}"
        amounts[f"{currency} credit"] = f"{to_major(credit_minor, currency):,}"
        amounts[f"{currency} balance"] = f"{to_major(balance_minor, currency):,}"
    return amounts


__all__ = ["Summary", "summarise"]
