"""The payers' e-CNY wallets: four levels, and what each may spend at once and in a day.

The limits are those the operators publish for personal wallets: the fourth level needs no more
than a phone number, the first is opened at a counter and knows none. The sandbox keeps one wallet
of each level; a payer who doesn't choose pays from the first.
"""

import json
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway.sandbox.bill import ZONE, day_bounds_us
from gateway.sandbox.trades import Refusal, Trade, keep


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A wallet's level; amounts in fen, None where there is no limit."""

    level: int
    once_fen: int | None
    daily_fen: int | None


LEVELS: Final = {
    level.level: level
    for level in (
        Level(level=1, once_fen=None, daily_fen=None),
        Level(level=2, once_fen=50_000_00, daily_fen=100_000_00),
        Level(level=3, once_fen=5_000_00, daily_fen=10_000_00),
        Level(level=4, once_fen=2_000_00, daily_fen=5_000_00),
    )
}


def spend(connection: sqlite3.Connection, trade: Trade, level: int, now_us: int) -> None:
    """Note which wallet pays a trade, if it may spend so much.

    Raises:
        Refusal: (409 WALLET_LIMIT) if the amount, or the day's sum with it, is beyond the limit.
    """
    limits = LEVELS[level]
    spent_fen = _spent_fen(connection, level, now_us)
    for limit_fen, sum_fen in (
        (limits.once_fen, trade.amount_minor),
        (limits.daily_fen, spent_fen + trade.amount_minor),
    ):
        if limit_fen is not None and sum_fen > limit_fen:
            raise Refusal(
                409, "WALLET_LIMIT", f"a level {level} wallet may not spend so much", "超过钱包限额"
            )
    keep(connection, trade, json.dumps({**json.loads(trade.extra), "wallet": level}))


def _spent_fen(connection: sqlite3.Connection, level: int, now_us: int) -> int:
    today = datetime.fromtimestamp(now_us // 1_000_000, tz=ZONE).date().isoformat()
    row = connection.execute(
        "SELECT coalesce(sum(amount_minor), 0) FROM trades WHERE protocol = 'ecny'"
        " AND paid_at_us >= ? AND paid_at_us < ? AND json_extract(extra, '$.wallet') = ?",
        (*day_bounds_us(today), level),
    ).fetchone()
    return int(row[0])
