"""The wallet that holds the keys: deposits, refunds, statement; see `docs/CHANNELS.md`."""

import csv
import hashlib
import hmac
import io
import json
import re
import sqlite3
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from gateway.sandbox import bill, trades
from gateway.sandbox.faults import BillFault, FaultDice
from gateway.sandbox.protocols import evm_chain as chain
from gateway.sandbox.protocols.evm_chain import Move
from gateway.sandbox.protocols.evm_keys import Node, shown
from gateway.sandbox.trades import Opening, Refusal, Trade, TradeStatus, bad_request

NAME: Final = "evm"
HOT: Final = "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc"  # What refunds are paid from.
_LEVELS: Final = 4
_TOLERANCE_S: Final = 300
_NONCE: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_DIGITS: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9A-Za-z]{8,32}", re.ASCII)
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
Content = Mapping[str, object]


class Seal:
    """What both sides sign with."""

    def __init__(self, secret: bytes, clock_us: Callable[[], int]) -> None:
        self._secret = secret
        self._clock_us = clock_us

    def open(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Content:
        """Verify a request and return its content.

        Raises:
            Refusal: (401) if it isn't the gateway's or too old; (400) if it is no JSON object.
        """
        timestamp = headers.get("x-wallet-timestamp", "")
        nonce = headers.get("x-wallet-nonce", "")
        given = headers.get("x-wallet-signature", "").encode()
        expected = self.sign("REQUEST", method, path, timestamp, nonce, body=body).encode()
        formed = _NONCE.fullmatch(nonce) and _DIGITS.fullmatch(timestamp)
        if not formed or not hmac.compare_digest(expected, given):
            raise Refusal(401, "BAD_SIGNATURE", "wrong signature", "签名错误")
        if abs(self._clock_us() // 1_000_000 - int(timestamp)) > _TOLERANCE_S:
            raise Refusal(401, "STALE", "the timestamp is too far from our clock", "请求已过期")
        try:
            content: object = json.loads(body or b"{}")
        except (ValueError, RecursionError) as error:
            raise bad_request("body", "must be JSON") from error
        if not isinstance(content, dict):
            raise bad_request("body", "must be a JSON object")
        return content

    def sign(self, *parts: str, body: bytes) -> str:
        """Sign a message's parts and body."""
        text = "\n".join((*parts, hashlib.sha256(body).hexdigest()))
        return hmac.digest(self._secret, text.encode(), "sha256").hex()


def _text(content: Content, name: str, form: re.Pattern[str]) -> str:
    value = content.get(name)
    if not isinstance(value, str) or form.fullmatch(value) is None:
        raise bad_request(name, "is missing or malformed")
    return value


def _units(content: Content) -> int:
    units = int(_text(content, "units", _DIGITS))
    if units == 0:
        raise bad_request("units", "must be positive")
    return units


def _check_token(content: Content) -> None:
    token = _text(content, "token", _ADDRESS)
    if content.get("chain_id") != chain.CHAIN_ID or token.lower() != chain.TOKEN:
        raise bad_request("token", "this wallet holds another token, or one of another chain")


def open_deposit(
    connection: sqlite3.Connection, account: Node, content: Content, now_us: int
) -> Content:
    """Watch an address from now on; the same order again changes nothing.

    Raises:
        Refusal: (400) malformed; (409) another amount, or closed.
    """
    _check_token(content)
    path, expires_at_s = content.get("path"), content.get("expires_at_s")
    if not isinstance(path, list) or len(path) != _LEVELS:
        raise bad_request("path", f"must have {_LEVELS} levels")
    if not all(type(index) is int and 0 <= index < 2**31 for index in path):
        raise bad_request("path", "must be of numbers below 2^31")
    if type(expires_at_s) is not int:
        raise bad_request("expires_at_s", "must be seconds since the epoch")
    opening = Opening(
        protocol=NAME,
        trade_no=_text(content, "trade_no", _NUMBER),
        pay_type="crypto",
        amount_minor=_units(content),
        currency="USDC",
        subject=str(content.get("subject", "")),
        notify_url="",
        return_url=str(content.get("return_url", "")),
        challenge=False,
        expires_at_s=expires_at_s,
    )
    trade = trades.open_trade(connection, opening, now_us)
    address = account.below(path).address()
    # The order's address is its number: a payer who scans the code needs no other.
    connection.execute(
        "UPDATE trades SET channel_trade_no = ? WHERE protocol = ? AND trade_no = ?",
        (address.lower(), NAME, trade.trade_no),
    )
    if trade.status is TradeStatus.CLOSED:
        raise Refusal(409, "TRADE_CLOSED", "the deposit is closed", "交易已关闭")
    return {"trade_no": trade.trade_no, "address": address, "status": str(trade.status)}


def received(connection: sqlite3.Connection, trade: Trade, last: int) -> int:
    """Return the units that came to an order's address up to a block."""
    moves = chain.moved(connection, 0, last, trade.channel_trade_no)
    return sum(move.units for move in moves)


def close_deposit(connection: sqlite3.Connection, trade_no: str, now_us: int) -> Content:
    """Take an order off the list of those that wait.

    Raises:
        Refusal: (404) if it never was on it.
    """
    trades.find(connection, NAME, trade_no, now_us)
    trade = trades.close(connection, NAME, trade_no, now_us)
    return {"trade_no": trade.trade_no, "status": str(trade.status)}


def transfer(
    connection: sqlite3.Connection, content: Content, now_us: int, *, slow: bool
) -> Content:
    """Send a refund, never more than came for the order; the same number again changes nothing.

    Raises:
        Refusal: (400) malformed; (404) no such order; (409) the number is taken, or too much.
    """
    _check_token(content)
    refund_no, units = _text(content, "refund_no", _NUMBER), _units(content)
    to = _text(content, "to", _ADDRESS).lower()
    trade = trades.find(connection, NAME, _text(content, "trade_no", _NUMBER), now_us)
    known = _find(connection, refund_no)
    if known is not None:
        if (known["trade_no"], known["to_address"], known["units"]) != (trade.trade_no, to, units):
            raise Refusal(409, "REFUND_CONFLICT", "refund_no is taken", "退款号已被占用")
        return _shown_transfer(known)
    sent = connection.execute(
        "SELECT coalesce(sum(units), 0) FROM evm_refunds WHERE trade_no = ?", (trade.trade_no,)
    ).fetchone()[0]
    if sent + units > received(connection, trade, chain.final_number(connection, now_us)):
        raise Refusal(409, "REFUND_EXCEEDS_PAID", "more than is left of it", "退款超过可退金额")
    (tx_hash,) = chain.mine(connection, now_us, [Move(HOT, to, units)])
    if not slow:
        chain.finalize(connection, now_us)
    connection.execute(
        "INSERT INTO evm_refunds VALUES (?, ?, ?, ?, ?)",
        (refund_no, trade.trade_no, to, units, tx_hash),
    )
    return find_transfer(connection, refund_no)


def find_transfer(connection: sqlite3.Connection, refund_no: str) -> Content:
    """Return a refund as it stands.

    Raises:
        Refusal: (404) if there is none.
    """
    row = _find(connection, refund_no)
    if row is None:
        raise Refusal(404, "REFUND_NOT_FOUND", f"no refund {refund_no}", "退款不存在")
    return _shown_transfer(row)


def _find(connection: sqlite3.Connection, refund_no: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM evm_refunds WHERE refund_no = ?", (refund_no,)
    ).fetchone()
    return row


def _shown_transfer(row: sqlite3.Row) -> Content:
    return {
        "refund_no": row["refund_no"],
        "trade_no": row["trade_no"],
        "to": shown(bytes.fromhex(row["to_address"][2:])),
        "units": str(row["units"]),
        "status": "SENT",
        "tx_hash": row["tx_hash"],
    }


def statement(connection: sqlite3.Connection, day: str, dice: FaultDice, now_us: int) -> bytes:
    """Write what came and went on a day of UTC, in final blocks, one line a transfer."""
    first_us, after_us = bill.day_bounds_us(day, UTC)
    rows = connection.execute(
        "SELECT b.timestamp_s, m.*, d.trade_no AS came_for, r.trade_no AS went_for, r.refund_no"
        " FROM evm_transfers m JOIN evm_blocks b ON b.number = m.block"
        " LEFT JOIN trades d ON d.protocol = 'evm' AND d.channel_trade_no = m.to_address"
        " LEFT JOIN evm_refunds r ON r.tx_hash = m.tx_hash"
        " WHERE b.timestamp_s >= ? AND b.timestamp_s < ? AND m.block <= ?"
        " AND (came_for IS NOT NULL OR went_for IS NOT NULL) ORDER BY m.block, m.log_index",
        (first_us // 1_000_000, after_us // 1_000_000, chain.final_number(connection, now_us)),
    ).fetchall()
    lines, sums = [], [0, 0]
    for row in rows:
        fault = dice.bill_row(row["tx_hash"])
        units = row["units"] + (fault is BillFault.WRONG_AMOUNT)
        copies = {BillFault.MISSING: 0, BillFault.DUPLICATE: 2}.get(fault, 1)
        came = row["went_for"] is None
        time = datetime.fromtimestamp(row["timestamp_s"], tz=UTC).isoformat()
        line = [
            time,
            "IN" if came else "OUT",
            row["came_for"] if came else row["went_for"],
            "" if came else row["refund_no"],
            str(units),
            row["tx_hash"],
            str(row["log_index"]),
            str(row["block"]),
        ]
        lines += [line] * copies
        sums[0 if came else 1] += units * copies
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["#WALLET", "1", day, "USDC", chain.DECIMALS, chain.CHAIN_ID, chain.TOKEN])
    writer.writerow(
        ["time", "kind", "trade_no", "refund_no", "units", "tx_hash", "log_index", "block"]
    )
    writer.writerows(lines)
    writer.writerow(["#END", len(lines), *sums])
    return text.getvalue().encode()
