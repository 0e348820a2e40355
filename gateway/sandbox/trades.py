"""What the sandbox knows of payments and refunds, and how they move: the payment system itself.

Every function runs in one transaction of `database.Database`, so a state and the callback it
causes are on the disk together or not at all. The protocols translate to and from this.
"""

import secrets
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Refusal(Exception):
    """The sandbox refuses a request; the words are those of `docs/CHANNELS.md`."""

    def __init__(self, http_status: int, code: str, message_en: str, message_zh: str) -> None:
        super().__init__(f"{code}: {message_en}")
        self.http_status = http_status
        self.code = code
        self.message_en = message_en
        self.message_zh = message_zh


def bad_request(field: str, problem: str) -> Refusal:
    """Make the refusal of a malformed field."""
    return Refusal(400, "BAD_REQUEST", f"{field}: {problem}", f"参数错误: {field}")


class TradeStatus(StrEnum):
    """Where a trade stands at the sandbox."""

    WAITING = "WAITING"
    PAID = "PAID"
    CLOSED = "CLOSED"


class RefundStatus(StrEnum):
    """Where a refund stands at the sandbox."""

    PROCESSING = "PROCESSING"
    REFUNDED = "REFUNDED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A trade as the gateway asked for it."""

    protocol: str
    trade_no: str
    pay_type: str
    amount_minor: int
    currency: str
    subject: str
    notify_url: str
    return_url: str
    challenge: bool
    expires_at_s: int
    extra: str = "{}"  # JSON of what the protocol alone keeps of it.


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade(Opening):
    """A trade as it stands."""

    channel_trade_no: str
    status: TradeStatus
    failed_attempts: int
    refunded_minor: int
    pay_at_us: int | None
    opened_at_us: int
    paid_at_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """A refund as it stands."""

    trade: Trade
    refund_no: str
    channel_refund_no: str
    amount_minor: int
    status: RefundStatus
    created_at_us: int
    refunded_at_us: int | None
    extra: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something the gateway must hear: `event` is PAID, CLOSED, REFUNDED or REFUND_FAILED."""

    event_id: str
    event: str
    trade: Trade
    refund_no: str
    amount_minor: int
    at_us: int
    copies: int = 1
    notify_url: str = ""  # Where, if not where the trade says.


Announce = Callable[[sqlite3.Connection, Event], None]  # Writes the callback down.

_TRADE_COLUMNS = (
    "protocol, trade_no, pay_type, amount_minor, currency, subject, notify_url, return_url,"
    " challenge, expires_at_s, extra, channel_trade_no, status, failed_attempts, refunded_minor,"
    " pay_at_us, opened_at_us, paid_at_us"
)


def _trade(row: sqlite3.Row) -> Trade:
    values = dict(zip(row.keys(), row, strict=True))
    values["status"] = TradeStatus(values["status"])
    values["challenge"] = bool(values["challenge"])
    return Trade(**values)


def find(connection: sqlite3.Connection, protocol: str, trade_no: str, now_us: int) -> Trade:
    """Return a trade as it stands now; one whose time is over is closed first.

    Raises:
        Refusal: (404 TRADE_NOT_FOUND) if the sandbox never heard of it.
    """
    connection.execute(
        "UPDATE trades SET status = 'CLOSED', closed_at_us = ?"
        " WHERE protocol = ? AND trade_no = ? AND status = 'WAITING'"
        " AND expires_at_s * 1000000 <= ?",
        (now_us, protocol, trade_no, now_us),
    )
    row = connection.execute(
        f"SELECT {_TRADE_COLUMNS} FROM trades"  # noqa: S608 - own constant.
        " WHERE protocol = ? AND trade_no = ?",
        (protocol, trade_no),
    ).fetchone()
    if row is None:
        raise Refusal(404, "TRADE_NOT_FOUND", f"no trade {trade_no}", "交易不存在")
    return _trade(row)


def find_by_channel_no(
    connection: sqlite3.Connection, protocol: str, channel_trade_no: str, now_us: int
) -> Trade:
    """Return a trade by the sandbox's own number; otherwise as `find`."""
    row = connection.execute(
        "SELECT trade_no FROM trades WHERE protocol = ? AND channel_trade_no = ?",
        (protocol, channel_trade_no),
    ).fetchone()
    return find(connection, protocol, row["trade_no"] if row else channel_trade_no, now_us)


def keep(connection: sqlite3.Connection, trade: Trade, extra: str) -> None:
    """Replace what the protocol alone keeps of a trade (JSON)."""
    connection.execute(
        "UPDATE trades SET extra = ? WHERE protocol = ? AND trade_no = ?",
        (extra, trade.protocol, trade.trade_no),
    )


def new_channel_no(prefix: str, now_us: int) -> str:
    """Make a number of the sandbox's own; nobody can guess it."""
    return f"{prefix}{now_us}{secrets.randbelow(10**8):08d}"


def open_trade(connection: sqlite3.Connection, opening: Opening, now_us: int) -> Trade:
    """Return the trade, known from now on; a known one must be asked for alike.

    Raises:
        Refusal: (409 TRADE_CONFLICT) if the number is taken by another amount or currency.
    """
    _insert(connection, opening, TradeStatus.WAITING, now_us)
    # Closed before it was opened: only now do we learn what it was about.
    connection.execute(
        "UPDATE trades SET pay_type = ?, amount_minor = ?, currency = ?, subject = ?,"
        " notify_url = ?, return_url = ?, challenge = ?, expires_at_s = ?, extra = ?"
        " WHERE protocol = ? AND trade_no = ? AND amount_minor = 0",
        (
            opening.pay_type,
            opening.amount_minor,
            opening.currency,
            opening.subject,
            opening.notify_url,
            opening.return_url,
            opening.challenge,
            opening.expires_at_s,
            opening.extra,
            opening.protocol,
            opening.trade_no,
        ),
    )
    trade = find(connection, opening.protocol, opening.trade_no, now_us)
    if (trade.amount_minor, trade.currency) != (opening.amount_minor, opening.currency):
        raise Refusal(
            409, "TRADE_CONFLICT", "trade_no is taken by another payment", "交易号已被占用"
        )
    return trade


def _insert(
    connection: sqlite3.Connection, opening: Opening, status: TradeStatus, now_us: int
) -> None:
    connection.execute(
        "INSERT INTO trades (trade_no, protocol, channel_trade_no, pay_type, amount_minor,"
        " currency, subject, notify_url, return_url, challenge, expires_at_s, extra, status,"
        " opened_at_us, closed_at_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (protocol, trade_no) DO NOTHING",
        (
            opening.trade_no,
            opening.protocol,
            new_channel_no("SB", now_us),
            opening.pay_type,
            opening.amount_minor,
            opening.currency,
            opening.subject,
            opening.notify_url,
            opening.return_url,
            opening.challenge,
            opening.expires_at_s,
            opening.extra,
            status,
            now_us,
            now_us if status is TradeStatus.CLOSED else None,
        ),
    )


def fail_attempt(connection: sqlite3.Connection, trade: Trade, now_us: int) -> Trade:
    """Count an attempt of the payer that failed; the trade keeps waiting."""
    _must_wait(trade)
    connection.execute(
        "UPDATE trades SET failed_attempts = failed_attempts + 1"
        " WHERE protocol = ? AND trade_no = ?",
        (trade.protocol, trade.trade_no),
    )
    return _again(connection, trade, now_us)


def _again(connection: sqlite3.Connection, trade: Trade, now_us: int) -> Trade:
    return find(connection, trade.protocol, trade.trade_no, now_us)


def pay(
    connection: sqlite3.Connection,
    trade: Trade,
    now_us: int,
    announce: Announce,
    *,
    copies: int = 1,
    late: bool = False,
) -> Trade:
    """Take the payer's money; a trade already paid stays as it is.

    Args:
        connection: The transaction.
        trade: Which trade.
        now_us: The time, microseconds since the epoch.
        announce: Writes the callback down.
        copies: How often the callback is sent.
        late: The money arrives even if the trade is closed.

    Raises:
        Refusal: (409 TRADE_CLOSED) if the trade is closed and the payment isn't late.
    """
    if trade.status is TradeStatus.PAID:
        return trade
    if not late:
        _must_wait(trade)
    connection.execute(
        "UPDATE trades SET status = 'PAID', paid_at_us = ?, pay_at_us = NULL"
        " WHERE protocol = ? AND trade_no = ?",
        (now_us, trade.protocol, trade.trade_no),
    )
    paid = _again(connection, trade, now_us)
    announce(
        connection,
        Event(
            event_id=f"P{paid.channel_trade_no}",
            event="PAID",
            trade=paid,
            refund_no="",
            amount_minor=paid.amount_minor,
            at_us=now_us,
            copies=copies,
        ),
    )
    return paid


def pay_later(
    connection: sqlite3.Connection, trade: Trade, now_us: int, delay_s: float, *, late: bool
) -> Trade:
    """Let the payment arrive by itself after `delay_s` seconds."""
    if trade.status is TradeStatus.PAID:
        return trade
    if not late:
        _must_wait(trade)
    connection.execute(
        "UPDATE trades SET pay_at_us = ?, pay_late = ? WHERE protocol = ? AND trade_no = ?",
        (now_us + int(delay_s * 1_000_000), late, trade.protocol, trade.trade_no),
    )
    return _again(connection, trade, now_us)


def give_up(connection: sqlite3.Connection, trade: Trade, now_us: int, announce: Announce) -> Trade:
    """Close the trade because the payer gave up, and tell the gateway."""
    if trade.status is not TradeStatus.WAITING:
        return trade
    closed = _close(connection, trade, now_us)
    announce(
        connection,
        Event(
            event_id=f"C{closed.channel_trade_no}",
            event="CLOSED",
            trade=closed,
            refund_no="",
            amount_minor=closed.amount_minor,
            at_us=now_us,
        ),
    )
    return closed


def close(connection: sqlite3.Connection, protocol: str, trade_no: str, now_us: int) -> Trade:
    """Close an unpaid trade for the gateway; an unknown number is closed in advance.

    A signed link that was never opened may still be in the payer's hands, so the number must be
    dead from now on.
    """
    unknown = Opening(
        protocol=protocol,
        trade_no=trade_no,
        pay_type="",
        amount_minor=0,
        currency="",
        subject="",
        notify_url="",
        return_url="",
        challenge=False,
        expires_at_s=0,
    )
    _insert(connection, unknown, TradeStatus.CLOSED, now_us)
    trade = find(connection, protocol, trade_no, now_us)
    return _close(connection, trade, now_us) if trade.status == "WAITING" else trade


def _close(connection: sqlite3.Connection, trade: Trade, now_us: int) -> Trade:
    connection.execute(
        "UPDATE trades SET status = 'CLOSED', closed_at_us = ? WHERE protocol = ? AND trade_no = ?",
        (now_us, trade.protocol, trade.trade_no),
    )
    return _again(connection, trade, now_us)


def _must_wait(trade: Trade) -> None:
    if trade.status is not TradeStatus.WAITING:
        raise Refusal(
            409, "TRADE_CLOSED", f"the trade is {trade.status}, not waiting", "交易已关闭或已支付"
        )


Pay = Callable[[sqlite3.Connection, Trade, int, Announce, int, bool], Trade]


def pay_what_is_due(
    connection: sqlite3.Connection, now_us: int, announce: Announce, pay_as: Callable[[str], Pay]
) -> int:
    """Let the payments arrive whose time has come; return how many were looked at.

    Args:
        connection: The transaction.
        now_us: The time, microseconds since the epoch.
        announce: Writes the callback down.
        pay_as: How a payer pays, by protocol.
    """
    rows = connection.execute(
        "SELECT protocol, trade_no, pay_late FROM trades WHERE pay_at_us <= ?"
        " ORDER BY pay_at_us LIMIT 200",
        (now_us,),
    ).fetchall()
    for row in rows:
        trade = find(connection, row["protocol"], row["trade_no"], now_us)
        if trade.status is TradeStatus.WAITING or row["pay_late"]:
            pay_as(trade.protocol)(connection, trade, now_us, announce, 1, bool(row["pay_late"]))
        # A delayed payment that came upon a closed trade is the payer's to see, not an error.
        connection.execute(
            "UPDATE trades SET pay_at_us = NULL WHERE protocol = ? AND trade_no = ?",
            (trade.protocol, trade.trade_no),
        )
    return len(rows)
