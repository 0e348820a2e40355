"""The daily bill: every payment and refund of one business day, in a file that proves itself."""

import hashlib
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Final

from gateway.domain.money import to_major
from gateway.sandbox.faults import BillFault, FaultDice
from gateway.sandbox.trades import Refusal

ZONE: Final = timezone(timedelta(hours=8))  # A business day is a day of UTC+08:00.
_HEADER: Final = "channel_trade_no,trade_no,kind,refund_no,amount,currency,fee,time"


@dataclass(frozen=True, slots=True)
class BillRow:
    """One payment (PAY) or refund (REFUND) of the day."""

    channel_trade_no: str
    trade_no: str
    kind: str
    refund_no: str
    amount_minor: int
    currency: str
    at_us: int
    trade_paid_at_us: int = 0
    channel_refund_no: str = ""
    subject: str = ""
    extra: str = "{}"


def day_bounds_us(day: str, zone: tzinfo = ZONE) -> tuple[int, int]:
    """Return the first microsecond of `day` and of the next one.

    Raises:
        Refusal: (400 BAD_REQUEST) if `day` is no day written YYYY-MM-DD.
    """
    try:
        first = datetime.combine(date.fromisoformat(day), datetime.min.time(), tzinfo=zone)
        after = first + timedelta(days=1)
    except (ValueError, OverflowError) as error:
        raise Refusal(400, "BAD_REQUEST", "day must be YYYY-MM-DD", "日期格式错误") from error
    if day != first.date().isoformat():
        raise Refusal(400, "BAD_REQUEST", "day must be YYYY-MM-DD", "日期格式错误")
    return int(first.timestamp()) * 1_000_000, int(after.timestamp()) * 1_000_000


def rows_of(
    connection: sqlite3.Connection, protocol: str, day: str, zone: tzinfo = ZONE
) -> list[BillRow]:
    """Return the day's payments by the time they were paid and refunds by when they were done."""
    return rows_between(connection, protocol, *day_bounds_us(day, zone))


def rows_between(
    connection: sqlite3.Connection, protocol: str, first_us: int, after_us: int
) -> list[BillRow]:
    """Return what moved in a time, microseconds since the epoch, the end excluded."""
    bounds = (first_us, after_us)
    rows = connection.execute(
        "SELECT channel_trade_no, trade_no, 'PAY', '', amount_minor, currency, paid_at_us AS at_us,"
        " paid_at_us, '', subject, extra"
        " FROM trades WHERE protocol = ? AND paid_at_us >= ? AND paid_at_us < ?"
        " UNION ALL SELECT t.channel_trade_no, r.trade_no, 'REFUND', r.refund_no,"
        " r.amount_minor, t.currency, r.refunded_at_us, t.paid_at_us, r.channel_refund_no,"
        " t.subject, r.extra"
        " FROM refunds r JOIN trades t USING (protocol, trade_no)"
        " WHERE r.protocol = ? AND r.refunded_at_us >= ? AND r.refunded_at_us < ?"
        " ORDER BY at_us, 1, 3, 4",
        (protocol, *bounds, protocol, *bounds),
    )
    return [BillRow(*row) for row in rows]


def with_faults(rows: Iterable[BillRow], dice: FaultDice) -> list[BillRow]:
    """Leave rows out, double them or change their amounts, as the seed has it."""
    faulty: list[BillRow] = []
    for row in rows:
        match dice.bill_row(f"{row.kind}:{row.trade_no}:{row.refund_no}"):
            case BillFault.NONE:
                faulty.append(row)
            case BillFault.MISSING:
                pass
            case BillFault.WRONG_AMOUNT:
                faulty.append(replace(row, amount_minor=row.amount_minor + 1))
            case BillFault.DUPLICATE:
                faulty += [row, row]
    return faulty


def write(rows: list[BillRow]) -> bytes:
    """Write the file: its hash, the header, the rows, the totals per currency, the end."""
    lines = [_HEADER]
    totals: dict[str, list[int]] = {}
    for row in rows:
        lines.append(
            f"{row.channel_trade_no},{row.trade_no},{row.kind},{row.refund_no},"
            f"{to_major(row.amount_minor, row.currency)},{row.currency},"
            f"{to_major(0, row.currency)},{_zone_time(row.at_us)}"
        )
        total = totals.setdefault(row.currency, [0, 0, 0, 0])
        first = 0 if row.kind == "PAY" else 2
        total[first] += 1
        total[first + 1] += row.amount_minor
    for currency, (paid, paid_minor, refunded, refunded_minor) in sorted(totals.items()):
        lines.append(
            f"#SUMMARY,{currency},{paid},{to_major(paid_minor, currency)},"
            f"{refunded},{to_major(refunded_minor, currency)},{to_major(0, currency)}"
        )
    lines.append(f"#END,{len(rows)}")
    body = ("\n".join(lines) + "\n").encode()
    return f"#YUMEN-SANDBOX-BILL,1,sha256={hashlib.sha256(body).hexdigest()}\n".encode() + body


def _zone_time(at_us: int) -> str:
    at = datetime.fromtimestamp(at_us // 1_000_000, tz=UTC).astimezone(ZONE)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_us // 1000 % 1000:03d}+08:00"
