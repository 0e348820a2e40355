"""Refunds at the sandbox: idempotent in their number, never beyond what was paid."""

import json
import sqlite3

from gateway.sandbox import trades
from gateway.sandbox.trades import (
    Announce,
    Event,
    Refund,
    RefundStatus,
    Refusal,
    Trade,
    TradeStatus,
)

_COLUMNS = (
    "refund_no, channel_refund_no, amount_minor, status, created_at_us, refunded_at_us, extra"
)


def find(connection: sqlite3.Connection, trade: Trade, refund_no: str) -> Refund:
    """Return a refund as it stands.

    Raises:
        Refusal: (404 REFUND_NOT_FOUND) if the sandbox never heard of this refund of the trade.
    """
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM refunds"  # noqa: S608 - own constant.
        " WHERE protocol = ? AND refund_no = ? AND trade_no = ?",
        (trade.protocol, refund_no, trade.trade_no),
    ).fetchone()
    if row is None:
        raise Refusal(404, "REFUND_NOT_FOUND", f"no refund {refund_no}", "退款不存在")
    return _refund(trade, row)


def _refund(trade: Trade, row: sqlite3.Row) -> Refund:
    values = dict(zip(row.keys(), row, strict=True))
    values["status"] = RefundStatus(values["status"])
    return Refund(trade=trade, **values)


def find_by_channel_no(
    connection: sqlite3.Connection, protocol: str, channel_refund_no: str, now_us: int
) -> Refund:
    """Return a refund by the sandbox's own number.

    Raises:
        Refusal: (404 REFUND_NOT_FOUND) if there is none.
    """
    row = connection.execute(
        "SELECT trade_no, refund_no FROM refunds WHERE protocol = ? AND channel_refund_no = ?",
        (protocol, channel_refund_no),
    ).fetchone()
    if row is None:
        raise Refusal(404, "REFUND_NOT_FOUND", f"no refund {channel_refund_no}", "退款不存在")
    trade = trades.find(connection, protocol, row["trade_no"], now_us)
    return find(connection, trade, row["refund_no"])


def named(connection: sqlite3.Connection, protocol: str, refund_no: str, now_us: int) -> Refund:
    """Return a refund by the merchant's number alone.

    Raises:
        Refusal: (404 REFUND_NOT_FOUND) if there is none.
    """
    row = connection.execute(
        "SELECT trade_no FROM refunds WHERE protocol = ? AND refund_no = ?", (protocol, refund_no)
    ).fetchone()
    if row is None:
        raise Refusal(404, "REFUND_NOT_FOUND", f"no refund {refund_no}", "退款不存在")
    trade = trades.find(connection, protocol, row["trade_no"], now_us)
    return find(connection, trade, refund_no)


def of_trade(connection: sqlite3.Connection, trade: Trade) -> list[Refund]:
    """Return all refunds of a trade, oldest first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM refunds"  # noqa: S608 - own constant.
        " WHERE protocol = ? AND trade_no = ? ORDER BY created_at_us, refund_no",
        (trade.protocol, trade.trade_no),
    ).fetchall()
    return [_refund(trade, row) for row in rows]


def refund(
    connection: sqlite3.Connection,
    trade: Trade,
    refund_no: str,
    amount_minor: int,
    currency: str,
    now_us: int,
    *,
    delay_s: float = 0.0,
    extra: str = "{}",
) -> Refund:
    """Give money back, at once or after `delay_s` seconds; the same number again changes nothing.

    Args:
        connection: The transaction.
        trade: What was paid.
        refund_no: The idempotency key.
        amount_minor: Positive, minor units of `currency`.
        currency: Must be the trade's.
        now_us: The time, microseconds since the epoch.
        delay_s: How long it stays PROCESSING.
        extra: JSON of what the protocol alone keeps of it; `notify_url` in it is where its end
            is told, if not where the trade says.

    Raises:
        Refusal: (409 REFUND_CONFLICT) the number is taken by another refund;
            (409 TRADE_NOT_PAID, REFUND_EXCEEDS_PAID) there isn't so much to give back.
    """
    known = connection.execute(
        "SELECT trade_no, amount_minor FROM refunds WHERE protocol = ? AND refund_no = ?",
        (trade.protocol, refund_no),
    ).fetchone()
    if known is not None:
        if tuple(known) != (trade.trade_no, amount_minor):
            raise Refusal(409, "REFUND_CONFLICT", "refund_no is taken", "退款号已被占用")
        return find(connection, trade, refund_no)
    if trade.status is not TradeStatus.PAID:
        raise Refusal(409, "TRADE_NOT_PAID", f"the trade is {trade.status}", "交易未支付")
    if currency != trade.currency or trade.refunded_minor + amount_minor > trade.amount_minor:
        raise Refusal(409, "REFUND_EXCEEDS_PAID", "more than is left of it", "退款超过可退金额")
    connection.execute(
        "UPDATE trades SET refunded_minor = refunded_minor + ? WHERE protocol = ? AND trade_no = ?",
        (amount_minor, trade.protocol, trade.trade_no),
    )
    slow = delay_s > 0
    connection.execute(
        "INSERT INTO refunds (protocol, refund_no, channel_refund_no, trade_no, amount_minor,"
        " status, finish_at_us, created_at_us, refunded_at_us, extra)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            trade.protocol,
            refund_no,
            trades.new_channel_no("SR", now_us),
            trade.trade_no,
            amount_minor,
            RefundStatus.PROCESSING if slow else RefundStatus.REFUNDED,
            now_us + int(delay_s * 1_000_000) if slow else None,
            now_us,
            None if slow else now_us,
            extra,
        ),
    )
    return find(
        connection, trades.find(connection, trade.protocol, trade.trade_no, now_us), refund_no
    )


def finish_what_is_due(connection: sqlite3.Connection, now_us: int, announce: Announce) -> int:
    """Finish the slow refunds whose time has come and announce them; return how many."""
    rows = connection.execute(
        "SELECT protocol, refund_no, trade_no FROM refunds"
        " WHERE status = 'PROCESSING' AND finish_at_us <= ? ORDER BY finish_at_us LIMIT 200",
        (now_us,),
    ).fetchall()
    for row in rows:
        connection.execute(
            "UPDATE refunds SET status = 'REFUNDED', refunded_at_us = ?"
            " WHERE protocol = ? AND refund_no = ?",
            (now_us, row["protocol"], row["refund_no"]),
        )
        trade = trades.find(connection, row["protocol"], row["trade_no"], now_us)
        announce(connection, refunded(find(connection, trade, row["refund_no"]), now_us))
    return len(rows)


def fail(connection: sqlite3.Connection, refund: Refund, now_us: int, announce: Announce) -> Refund:
    """Let a refund fail, also one that was done: the money is the merchant's again; announced."""
    if refund.status is RefundStatus.FAILED:
        return refund
    trade = refund.trade
    connection.execute(
        "UPDATE trades SET refunded_minor = refunded_minor - ? WHERE protocol = ? AND trade_no = ?",
        (refund.amount_minor, trade.protocol, trade.trade_no),
    )
    connection.execute(
        "UPDATE refunds SET status = 'FAILED', finish_at_us = NULL, refunded_at_us = NULL"
        " WHERE protocol = ? AND refund_no = ?",
        (trade.protocol, refund.refund_no),
    )
    failed = find(
        connection,
        trades.find(connection, trade.protocol, trade.trade_no, now_us),
        refund.refund_no,
    )
    announce(connection, refunded(failed, now_us))
    return failed


def refunded(done: Refund, now_us: int) -> Event:
    """Make the event of a refund that is done, or failed."""
    failed = done.status is RefundStatus.FAILED
    return Event(
        event_id=f"{'F' if failed else 'R'}{done.refund_no}",
        event="REFUND_FAILED" if failed else "REFUNDED",
        trade=done.trade,
        refund_no=done.refund_no,
        amount_minor=done.amount_minor,
        at_us=now_us,
        notify_url=json.loads(done.extra).get("notify_url", ""),
    )
