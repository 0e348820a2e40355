"""What must hold of a database at any moment, whatever was killed: read from the tables alone.

The demo, the replay and the kill test end with these checks, and `yumen doctor` runs the cheap
ones. They share no code with what writes the tables, so a wrong booking can't excuse itself;
only the form of a chained record is the same by definition.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, Engine, text

from gateway.store.raw import raw_of

NOTIFY_GRACE_US = 60_000_000
NOTIFY_GIVE_UP_US = 24 * 3_600_000_000
REPLAY_CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class Finding:
    """One invariant and whether it held.

    Attributes:
        name: Short, stable, for programs.
        held: True if nothing contradicts it.
        detail: What was counted, and the first thing that contradicts it if one does.
    """

    name: str
    held: bool
    detail: str


def check_all(
    reader: Engine, now_us: int, acknowledged: Mapping[tuple[str, str], str] | None = None
) -> tuple[Finding, ...]:
    """Run every check.

    Args:
        reader: An engine on the gateway's database; nothing is written.
        now_us: The time, for what is due by now.
        acknowledged: Trade number answered for each (merchant_id, out_trade_no), if the caller
            kept a list of the answers it got.
    """
    with reader.connect() as conn:
        findings = [*check_money(conn), orders_are_single(conn), notifications_go(conn, now_us)]
        if acknowledged is not None:
            findings.append(acknowledged_exist(conn, acknowledged))
        findings.append(log_is_dense(conn))
        findings.append(vectors_replay(conn))
        findings.append(chain_verifies(conn))
    return tuple(findings)


def check_money(conn: Connection) -> list[Finding]:
    """Run the checks of the ledger and the refunds; cheap enough for `yumen doctor`."""
    return [ledger_balances(conn), orders_match_ledger(conn), refunds_within_paid(conn)]


def _none(conn: Connection, name: str, statement: str, counted: str, **values: int) -> Finding:
    """Hold if `statement` finds nothing; else show the first row it finds."""
    found = conn.execute(text(statement), values).first()
    if found is None:
        return Finding(name, held=True, detail=counted)
    return Finding(name, held=False, detail=f"{counted}; first offender: {tuple(found)}")


def _count(conn: Connection, table: str) -> int:
    return int(conn.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())  # noqa: S608 - our names


def ledger_balances(conn: Connection) -> Finding:
    """Every entry sums to zero in each of its currencies, so the whole ledger does too."""
    counted = f"{_count(conn, 'ledger_postings')} postings"
    return _none(
        conn,
        "ledger_balanced",
        """SELECT merchant_id, entry_id, currency, sum(amount_minor) FROM ledger_postings
           GROUP BY merchant_id, entry_id, currency HAVING sum(amount_minor) <> 0
           UNION ALL
           SELECT merchant_id, entry_id, 'no postings', 0 FROM ledger_entries e
           WHERE NOT EXISTS (SELECT 1 FROM ledger_postings p
                             WHERE p.merchant_id = e.merchant_id AND p.entry_id = e.entry_id)
           LIMIT 1""",
        counted,
    )


def orders_match_ledger(conn: Connection) -> Finding:
    """What an order says was paid and refunded is what the ledger booked for it."""
    counted = f"{_count(conn, 'orders')} orders, {_count(conn, 'ledger_entries')} entries"
    return _none(
        conn,
        "orders_match_ledger",
        _ORDERS_MATCH_LEDGER,
        counted,
    )


_ORDERS_MATCH_LEDGER = """
    WITH booked AS (
      SELECT e.merchant_id, e.trade_no,
        sum(CASE WHEN e.kind IN ('PAY', 'LATE') THEN p.amount_minor ELSE 0 END) AS in_minor,
        sum(CASE WHEN e.kind IN ('REFUND', 'LATE_REFUND') THEN p.amount_minor ELSE 0 END)
          AS out_minor
      FROM ledger_entries e JOIN ledger_postings p USING (merchant_id, entry_id)
      WHERE p.amount_minor > 0 GROUP BY e.merchant_id, e.trade_no)
    SELECT o.trade_no, o.status, o.paid_minor, o.refunded_minor, b.in_minor, b.out_minor
    FROM orders o LEFT JOIN booked b USING (merchant_id, trade_no)
    WHERE o.paid_minor <> coalesce(b.in_minor, 0) OR o.refunded_minor <> coalesce(b.out_minor, 0)
       OR (o.status IN ('SUCCESS', 'REFUND') AND o.paid_minor = 0)
    UNION ALL
    SELECT b.trade_no, 'no such order', 0, 0, b.in_minor, b.out_minor FROM booked b
    LEFT JOIN orders o USING (merchant_id, trade_no) WHERE o.trade_no IS NULL
    LIMIT 1"""


def refunds_within_paid(conn: Connection) -> Finding:
    """No order gave back, or promised to give back, more than was paid for it."""
    counted = f"{_count(conn, 'refunds')} refunds"
    return _none(
        conn,
        "refunds_within_paid",
        """SELECT o.trade_no, o.paid_minor, sum(r.amount_minor)
           FROM refunds r JOIN orders o USING (merchant_id, trade_no)
           WHERE r.status <> 'FAIL'
           GROUP BY o.merchant_id, o.trade_no, o.paid_minor
           HAVING sum(r.amount_minor) > o.paid_minor LIMIT 1""",
        counted,
    )


def orders_are_single(conn: Connection) -> Finding:
    """Each merchant's number names one order, and each order rests on one stored decision."""
    counted = f"{_count(conn, 'orders')} orders, {_count(conn, 'decisions')} decisions"
    return _none(
        conn,
        "orders_single",
        """SELECT merchant_id, out_trade_no, count(*) FROM orders
           GROUP BY merchant_id, out_trade_no HAVING count(*) > 1
           UNION ALL
           SELECT o.merchant_id, o.out_trade_no, 0 FROM orders o
           LEFT JOIN decisions d ON d.merchant_id = o.merchant_id
             AND d.decision_id = o.decision_id AND d.trade_no = o.trade_no
           WHERE d.decision_id IS NULL LIMIT 1""",
        counted,
    )


def acknowledged_exist(conn: Connection, acknowledged: Mapping[tuple[str, str], str]) -> Finding:
    """Every order that was answered is there, once, under the number that was answered."""
    rows = conn.execute(text("SELECT merchant_id, out_trade_no, trade_no FROM orders"))
    stored = {(merchant_id, number): trade_no for merchant_id, number, trade_no in rows}
    lost = [key for key, trade_no in acknowledged.items() if stored.get(key) != trade_no]
    detail = f"{len(acknowledged)} answers"
    if lost:
        key = lost[0]
        detail += f"; {len(lost)} lost or changed, first: {key} answered {acknowledged[key]}"
        detail += f", stored {stored.get(key)}"
    return Finding("acknowledged_exist", held=not lost, detail=detail)


def notifications_go(conn: Connection, now_us: int) -> Finding:
    """Every paid order's notification was delivered, or is due within its schedule."""
    rows = conn.execute(text("SELECT status, count(*) FROM notifications GROUP BY status"))
    counts = {str(status): int(count) for status, count in rows}
    detail = ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "none"
    return _none(
        conn,
        "notifications_go",
        """SELECT o.trade_no, n.status, n.attempts, n.next_attempt_at_us
           FROM orders o LEFT JOIN notifications n ON n.merchant_id = o.merchant_id
             AND n.event_id = o.trade_no || '\\:SUCCESS'
           WHERE o.status IN ('SUCCESS', 'REFUND') AND NOT coalesce(
             n.status = 'DELIVERED'
             OR (n.status = 'PENDING' AND (n.next_attempt_at_us > :overdue_us
                                           OR n.lease_until_us > :overdue_us))
             OR (n.status = 'GIVEN_UP'
                 AND n.first_attempt_at_us < :given_up_us), FALSE)
           LIMIT 1""",
        detail,
        overdue_us=now_us - NOTIFY_GRACE_US,
        given_up_us=now_us - NOTIFY_GIVE_UP_US // 2,
    )


def log_is_dense(conn: Connection) -> Finding:
    """The event log counts 1, 2, 3, … and holds the attempt of every decision that names one."""
    count, first, last = conn.execute(
        text("SELECT count(*), min(seq), max(seq) FROM risk_events")
    ).one()
    if count and (first != 1 or last != count):
        return Finding("log_dense", held=False, detail=f"{count} events, {first} to {last}")
    return _none(
        conn,
        "log_dense",
        """SELECT d.decision_id, d.seq, e.kind, e.trade_no FROM decisions d
           LEFT JOIN risk_events e ON e.seq = d.seq
           WHERE d.seq > 0 AND (e.seq IS NULL OR e.kind <> 'ATTEMPT' OR e.trade_no <> d.trade_no)
           LIMIT 1""",
        f"{count} events",
    )


def replayed(
    conn: Connection, last_seq: int | None = None
) -> Iterator[tuple[int, npt.NDArray[np.float64]]]:
    """Replay the event log from its start through a fresh state, a chunk at a time.

    Args:
        conn: A connection for reading.
        last_seq: Stop after this event; None replays the whole log.

    Yields:
        The number of a chunk's first event, and the features of its events, shape ``(n, F)``.

    Raises:
        ValueError: if the log has a hole.
    """
    from risk.features.event import stack
    from risk.features.replay import replay
    from risk.state.store import MemoryStateStore

    store = MemoryStateStore()
    first_seq = 1
    while last_seq is None or first_seq <= last_seq:
        count = REPLAY_CHUNK if last_seq is None else min(REPLAY_CHUNK, last_seq - first_seq + 1)
        rows = conn.execute(
            text("SELECT seq, payload FROM risk_events WHERE seq >= :first ORDER BY seq LIMIT :n"),
            {"first": first_seq, "n": count},
        ).all()
        if not rows:
            return
        if rows[-1][0] != first_seq + len(rows) - 1:
            raise ValueError(f"the event log has a hole after number {first_seq}")
        yield first_seq, replay(stack([row[1] for row in rows]), store=store)
        first_seq += len(rows)


def vectors_replay(conn: Connection) -> Finding:
    """Every stored feature vector equals, bit for bit, what a replay of the log computes."""
    from risk.features.catalogue import FEATURE_HASH

    compared = 0
    try:
        for first_seq, features in replayed(conn):
            rows = conn.execute(
                text(
                    "SELECT d.seq, d.features, d.trade_no FROM risk_events e"
                    " JOIN decisions d ON d.trade_no = e.trade_no AND d.seq = e.seq"
                    " WHERE e.seq BETWEEN :first AND :last AND e.kind = 'ATTEMPT'"
                    " AND d.feature_hash = :hash AND length(d.features) > 0"
                ),
                {"first": first_seq, "last": first_seq + len(features) - 1, "hash": FEATURE_HASH},
            )
            for seq, stored, trade_no in rows:
                compared += 1
                differing = differences(features[seq - first_seq], stored)
                if differing:
                    detail = f"event {seq} ({trade_no}) differs in features {differing[:5]}"
                    return Finding("vectors_replay", held=False, detail=detail)
    except ValueError as problem:
        return Finding("vectors_replay", held=False, detail=str(problem))
    return Finding("vectors_replay", held=True, detail=f"{compared} vectors equal bit for bit")


def chain_verifies(conn: Connection) -> Finding:
    """Every decision and event is what it was when it was chained, and none is missing."""
    from gateway.store.chain_proof import prove

    conn.rollback()  # The proof reads in a transaction of its own.
    proof = prove(raw_of(conn))
    detail = f"{proof.checked_count} records"
    if proof.broken is not None:
        detail += f"; {proof.broken.kind.value} at place {proof.broken.n}: {proof.broken.detail}"
    return Finding("chain_verifies", held=proof.broken is None, detail=detail)


def differences(features: npt.NDArray[np.float64], stored: bytes) -> list[int]:
    """Return the places in which a replayed vector differs from a stored one in any bit."""
    bits = np.ascontiguousarray(features, dtype="<f8").view("<i8")
    kept = np.frombuffer(stored, dtype="<i8")
    if bits.shape != kept.shape:
        return [-1]
    (places,) = np.nonzero(bits != kept)
    return [int(place) for place in places]
