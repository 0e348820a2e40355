"""Refunds at the sandbox: idempotent in their number, never beyond what was paid."""

import sqlite3

from gateway.sandbox import trades
from gateway.sandbox.trades import Announce, Event, Refund, RefundStatus, Refusal, TradeStatus


def find(connection: sqlite3.Connection, trade_no: str, refund_no: str, now_us: int) -> Refund:
    """Return a refund as it stands.

    Raises:
        Refusal: (404) if the sandbox never heard of the trade or of this refund of it.
    """
    trade = trades.find(connection, trade_no, now_us)
    row = connection.execute(
        "SELECT amount_minor, status FROM refunds WHERE refund_no = ? AND trade_no = ?",
        (refund_no, trade_no),
    ).fetchone()
    if row is None:
        raise Refusal(404, "REFUND_NOT_FOUND", f"no refund {refund_no}", "退款不存在")
    return Refund(
        trade=trade,
        refund_no=refund_no,
        amount_minor=row["amount_minor"],
        status=RefundStatus(row["status"]),
    )


def refund(
    connection: sqlite3.Connection,
    trade_no: str,
    refund_no: str,
    amount_minor: int,
    currency: str,
    now_us: int,
    *,
    delay_s: float = 0.0,
) -> Refund:
    """Give money back, at once or after `delay_s` seconds; the same number again changes nothing.

    Raises:
        Refusal: (404) unknown trade; (409 REFUND_CONFLICT) the number is taken by another refund;
            (409 TRADE_NOT_PAID, REFUND_EXCEEDS_PAID) there isn't so much to give back.
    """
    trade = trades.find(connection, trade_no, now_us)
    known = connection.execute(
        "SELECT trade_no, amount_minor FROM refunds WHERE refund_no = ?", (refund_no,)
    ).fetchone()
    if known is not None:
        if tuple(known) != (trade_no, amount_minor):
            raise Refusal(409, "REFUND_CONFLICT", "refund_no is taken", "退款号已被占用")
        return find(connection, trade_no, refund_no, now_us)
    if trade.status is not TradeStatus.PAID:
        raise Refusal(409, "TRADE_NOT_PAID", f"the trade is {trade.status}", "交易未支付")
    if currency != trade.currency or trade.refunded_minor + amount_minor > trade.amount_minor:
        raise Refusal(409, "REFUND_EXCEEDS_PAID", "more than is left of it", "退款超过可退金额")
    connection.execute(
        "UPDATE trades SET refunded_minor = refunded_minor + ? WHERE trade_no = ?",
        (amount_minor, trade_no),
    )
    slow = delay_s > 0
    connection.execute(
        "INSERT INTO refunds (refund_no, trade_no, amount_minor, status, finish_at_us,"
        " refunded_at_us) VALUES (?, ?, ?, ?, ?, ?)",
        (
            refund_no,
            trade_no,
            amount_minor,
            RefundStatus.PROCESSING if slow else RefundStatus.REFUNDED,
            now_us + int(delay_s * 1_000_000) if slow else None,
            None if slow else now_us,
        ),
    )
    return find(connection, trade_no, refund_no, now_us)


def finish_what_is_due(connection: sqlite3.Connection, now_us: int, announce: Announce) -> int:
    """Finish the slow refunds whose time has come and announce them; return how many."""
    rows = connection.execute(
        "SELECT refund_no, trade_no FROM refunds"
        " WHERE status = 'PROCESSING' AND finish_at_us <= ? ORDER BY finish_at_us LIMIT 200",
        (now_us,),
    ).fetchall()
    for row in rows:
        connection.execute(
            "UPDATE refunds SET status = 'REFUNDED', refunded_at_us = ? WHERE refund_no = ?",
            (now_us, row["refund_no"]),
        )
        done = find(connection, row["trade_no"], row["refund_no"], now_us)
        announce(
            connection,
            Event(
                event_id=f"R{done.refund_no}",
                event="REFUNDED",
                trade=done.trade,
                refund_no=done.refund_no,
                amount_minor=done.amount_minor,
                at_us=now_us,
            ),
        )
    return len(rows)
