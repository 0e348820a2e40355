"""One reconciliation: read the bill, load the ledger's side, compare, keep the result.

Comparing reads only and may take a while, so it belongs on a thread and a connection of its own;
keeping the result is a short job for the writer. The same bill against the same ledger is the
same run, whoever asks again.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from itertools import islice
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, insert, select, tuple_, update

from gateway.recon.bills import Bill, read_bill
from gateway.recon.match import Break, BreakKind, Result, match
from gateway.recon.record import Kind, Record, day_of, window_of
from gateway.store.tables import (
    ledger_entries,
    ledger_postings,
    orders,
    recon_breaks,
    recon_runs,
)

_DAY_US: Final = 86_400 * 1_000_000
_CHUNK: Final = 500  # Values in one IN (...): well below any database's limit.
_TIMING: Final = (BreakKind.CROSS_DAY, BreakKind.REFUND_CROSS_DAY)
_ALONE: Final = (*_TIMING, BreakKind.LEDGER_ONLY, BreakKind.REFUND_LEDGER_ONLY)


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run as it is kept.

    Attributes:
        matched: Pairs that agree, those found on the neighbouring day among them.
        breaks: Rows that somebody should look at.
        gap_minor: Bill minus ledger over all currencies, in minor units.
        gap_by_currency_minor: The same for each currency that has a gap.
        repeated: The same bill against the same ledger was reconciled before.
    """

    run_id: str
    channel: str
    bill_day: str
    bill_sha256: str
    bill_rows: int
    ledger_rows: int
    matched: int
    breaks: int
    gap_minor: int
    gap_by_currency_minor: dict[str, int]
    repeated: bool

    def as_json(self) -> dict[str, object]:
        """Return the run as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Known:
    """What we know of an order whose payment stands in the bill alone."""

    merchant_id: str
    status: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """A bill compared with the ledger, not kept yet."""

    run_id: str
    bill: Bill
    result: Result
    known: dict[str, _Known]


def compare(conn: Connection, channel: str, day: str, file: bytes, *, kind: str = "") -> Comparison:
    """Compare a channel's bill with the ledger; reads only.

    Args:
        conn: A connection of the caller's thread.
        channel: Whose bill it is, e.g. ``sandbox``.
        day: The business day, YYYY-MM-DD in the channel's zone.
        file: The bill as it came.
        kind: The payment system, if `channel` is an account of another name.

    Raises:
        BillRefused: if the bill is damaged or of another day.
        ValueError: if `day` is no day.
    """
    bill = read_bill(channel, day, file, kind=kind)
    window = window_of(bill.kind, day)
    # A day more on either side: a callback that was late may have been booked after midnight.
    ledger = _ledger(conn, channel, bill.kind, window.first_us - _DAY_US, window.after_us + _DAY_US)
    elsewhere = _settled_elsewhere(conn, channel, day)
    ours = [record for record in ledger if record.key not in elsewhere]
    result = match(bill.records, ours, window)
    alone = {
        found.theirs.trade_no
        for found in result.breaks
        if found.ours is None and found.theirs is not None
    }
    return Comparison(_run_id(bill, ours), bill, result, dict(_orders(conn, alone)))


def store(conn: Connection, comparison: Comparison, now_us: int) -> RunSummary:
    """Keep a comparison: a short job for the writer, and no second time for the same one.

    Args:
        conn: The writer's connection, in its transaction.
        comparison: What `compare` returned.
        now_us: The time, microseconds since the epoch.
    """
    known = conn.execute(
        select(recon_runs.c.run_id).where(recon_runs.c.run_id == comparison.run_id)
    ).first()
    summary = _summary(comparison, repeated=known is not None)
    if known is not None:
        return summary
    conn.execute(
        insert(recon_runs).values(
            run_id=summary.run_id,
            channel=summary.channel,
            bill_day=summary.bill_day,
            bill_sha256=summary.bill_sha256,
            bill_rows=summary.bill_rows,
            ledger_rows=summary.ledger_rows,
            matched=summary.matched,
            breaks=summary.breaks,
            gap_minor=summary.gap_minor,
            created_at_us=now_us,
        )
    )
    rows = [
        _row(comparison, line_no, found)
        for line_no, found in enumerate(comparison.result.breaks, start=1)
    ]
    if rows:
        conn.execute(insert(recon_breaks), rows)
    _settle_neighbours(conn, comparison)
    return summary


def reconcile(conn: Connection, channel: str, day: str, file: bytes, now_us: int) -> RunSummary:
    """Compare and keep on one connection; see `compare` and `store`."""
    return store(conn, compare(conn, channel, day, file), now_us)


def _summary(comparison: Comparison, *, repeated: bool) -> RunSummary:
    result = comparison.result
    settled_count = sum(1 for found in result.breaks if found.settled)
    return RunSummary(
        run_id=comparison.run_id,
        channel=comparison.bill.channel,
        bill_day=comparison.bill.day,
        bill_sha256=comparison.bill.sha256,
        bill_rows=result.their_rows,
        ledger_rows=result.our_rows,
        matched=result.matched + settled_count,
        breaks=len(result.breaks) - settled_count,
        gap_minor=sum(result.gap_minor.values()),
        gap_by_currency_minor=result.gap_minor,
        repeated=repeated,
    )


def _ledger(
    conn: Connection, channel: str, kind: str, first_us: int, after_us: int
) -> list[Record]:
    """Load what moved on the channel's account; the sign of a posting says which way."""
    entries, postings = ledger_entries.c, ledger_postings.c
    rows = conn.execute(
        select(
            entries.entry_id,
            entries.trade_no,
            postings.amount_minor,
            postings.currency,
            entries.created_at_us,
            entries.merchant_id,
        )
        .join_from(
            ledger_entries,
            ledger_postings,
            and_(
                entries.merchant_id == postings.merchant_id,
                entries.entry_id == postings.entry_id,
            ),
        )
        .where(
            postings.account == f"channel:{channel}",
            entries.created_at_us >= first_us,
            entries.created_at_us < after_us,
        )
    )
    found: dict[tuple[str, str, str], Record] = {}
    others: list[Record] = []
    for row in rows:
        record = _record(*row)
        known = found.setdefault(record.key, record)
        if known is record:
            continue
        # What came for one order in several parts on one day is one record, as in the bill.
        if day_of(kind, known.at_us) == day_of(kind, record.at_us):
            total_minor = known.amount_minor + record.amount_minor
            found[record.key] = record._replace(amount_minor=total_minor)
        else:
            others.append(record)
    return [*found.values(), *others]


def _record(
    entry_id: str, trade_no: str, amount_minor: int, currency: str, at_us: int, merchant_id: str
) -> Record:
    if amount_minor > 0:
        return Record(Kind.PAY, trade_no, "", amount_minor, currency, at_us, merchant_id)
    # A refund's entry is named after its number: REFUND:<refund_no>.
    refund_no = entry_id.partition(":")[2]
    return Record(Kind.REFUND, trade_no, refund_no, -amount_minor, currency, at_us, merchant_id)


def _run_id(bill: Bill, ours: Iterable[Record]) -> str:
    """Name the run after all it depends on, so that the same comparison has the same name."""
    digest = hashlib.sha256(f"{bill.channel}\n{bill.day}\n{bill.sha256}\n".encode())
    for record in sorted(ours):
        digest.update(repr(tuple(record)).encode())
    return f"RC{digest.hexdigest()[:30]}"


def _orders(conn: Connection, trade_nos: Iterable[str]) -> Iterator[tuple[str, _Known]]:
    for chunk in _chunks(sorted(trade_nos)):
        rows = conn.execute(
            select(orders.c.trade_no, orders.c.merchant_id, orders.c.status).where(
                orders.c.trade_no.in_(chunk)
            )
        )
        for trade_no, merchant_id, status in rows:
            yield trade_no, _Known(merchant_id, status)


def _chunks(values: Sequence[str]) -> Iterator[list[str]]:
    remaining = iter(values)
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk


def _neighbours(channel: str, day: str) -> ColumnElement[bool]:
    middle = date.fromisoformat(day)
    days = [(middle + timedelta(days=step)).isoformat() for step in (-1, 1)]
    runs = select(recon_runs.c.run_id).where(
        recon_runs.c.channel == channel, recon_runs.c.bill_day.in_(days)
    )
    return recon_breaks.c.run_id.in_(runs)


def _settled_elsewhere(conn: Connection, channel: str, day: str) -> set[tuple[str, str, str]]:
    """Return the keys of this day's ledger rows that a neighbour's bill already accounts for."""
    rows = conn.execute(
        select(recon_breaks.c.kind, recon_breaks.c.trade_no, recon_breaks.c.refund_no).where(
            _neighbours(channel, day),
            recon_breaks.c.theirs_minor.is_not(None),
            recon_breaks.c.ours_minor.is_not(None),
        )
    )
    return {
        (Kind.REFUND if kind.startswith("REFUND_") else Kind.PAY, trade_no, refund_no)
        for kind, trade_no, refund_no in rows
    }


def _settle_neighbours(conn: Connection, comparison: Comparison) -> None:
    """Close the neighbours' open breaks that this bill explains."""
    window = window_of(comparison.bill.kind, comparison.bill.day)
    found = sorted(
        (pair.ours.trade_no, pair.ours.refund_no)
        for pair in comparison.result.breaks
        if pair.theirs and pair.ours and not window.holds(pair.ours.at_us)
    )
    for start in range(0, len(found), _CHUNK):
        conn.execute(
            update(recon_breaks)
            .where(
                _neighbours(comparison.bill.channel, comparison.bill.day),
                recon_breaks.c.kind.in_(_ALONE),
                tuple_(recon_breaks.c.trade_no, recon_breaks.c.refund_no).in_(
                    found[start : start + _CHUNK]
                ),
            )
            .values(status="RESOLVED")
        )


def _row(comparison: Comparison, line_no: int, found: Break) -> dict[str, object]:
    some = found.ours or found.theirs
    if some is None:
        raise RuntimeError("a break without any record")
    known = comparison.known.get(some.trade_no)
    merchant_id = found.ours.ref if found.ours else known.merchant_id if known else ""
    return {
        "run_id": comparison.run_id,
        "line_no": line_no,
        "kind": found.kind.value,
        "trade_no": some.trade_no,
        "refund_no": some.refund_no,
        "merchant_id": merchant_id,
        "ours_minor": found.ours.amount_minor if found.ours else None,
        "theirs_minor": found.theirs.amount_minor if found.theirs else None,
        "currency": some.currency,
        "detail": _detail(comparison, found, known),
        "status": "RESOLVED" if found.settled else "OPEN",
    }


def _detail(comparison: Comparison, found: Break, known: _Known | None) -> str:
    """Say what a person would look up first; short words, the same in every language."""
    if found.ours is None:
        return f"order={known.status}" if known else "order=?"
    booked_on = day_of(comparison.bill.kind, found.ours.at_us)
    if found.theirs is None:
        return f"booked={booked_on}" if found.kind in _TIMING else ""
    if found.theirs.currency != found.ours.currency:
        return f"{found.ours.currency} / {found.theirs.currency}"
    return f"booked={booked_on}" if booked_on != comparison.bill.day else ""
