"""What a merchant may read of its own: orders, notifications, and the bill of a day."""

import csv
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Select, select, tuple_

from gateway.domain.money import MINOR_DIGITS, to_major
from gateway.domain.numbers import utc_text
from gateway.queries.ledger import statement_of
from gateway.queries.reader import Reader, fetch, fetch_named
from gateway.store.tables import ledger_postings, notifications, orders, refunds

PAGE_MAX: Final = 100
BILL_HEADER: Final = (
    "time",
    "kind",
    "trade_no",
    "out_trade_no",
    "refund_no",
    "out_refund_no",
    "change",
    "balance",
    "currency",
)


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows, newest first, and where the next ones begin ('' if there are none)."""

    rows: list[dict[str, Any]]
    next_cursor: str


def orders_page(
    reader: Reader,
    merchant_id: str,
    *,
    from_us: int,
    until_us: int,
    status: str = "",
    cursor: str = "",
    limit: int = PAGE_MAX,
) -> Page:
    """Return a merchant's orders created in [from_us, until_us), newest first.

    Args:
        reader: The database.
        merchant_id: Whose.
        from_us: Microseconds since the epoch.
        until_us: Likewise.
        status: Only orders of this status; '' for all.
        cursor: From the page before; '' for the first.
        limit: Rows of a page, at most `PAGE_MAX`.

    Raises:
        ValueError: if the cursor isn't one of ours.
    """
    table = orders.c
    statement = select(orders).where(
        table.merchant_id == merchant_id,
        table.created_at_us >= from_us,
        table.created_at_us < until_us,
    )
    if status:
        wanted = ("CREATED", "WAIT_PAY") if status == "WAIT_PAY" else (status,)
        statement = statement.where(table.status.in_(wanted))
    return _page(reader, statement, (table.created_at_us, table.trade_no), cursor, limit)


def notifications_page(
    reader: Reader,
    merchant_id: str,
    *,
    trade_no: str = "",
    status: str = "",
    cursor: str = "",
    limit: int = PAGE_MAX,
) -> Page:
    """Return a merchant's notifications, newest first; of one order or status if asked.

    Raises:
        ValueError: if the cursor isn't one of ours.
    """
    table = notifications.c
    statement = select(notifications).where(table.merchant_id == merchant_id)
    if trade_no:
        statement = statement.where(table.trade_no == trade_no)
    if status:
        statement = statement.where(table.status == status)
    return _page(reader, statement, (table.created_at_us, table.event_id), cursor, limit)


def _page(
    reader: Reader, statement: Select[Any], order: tuple[Any, Any], cursor: str, limit: int
) -> Page:
    if cursor:
        at_us, _, number = cursor.partition(".")
        if not (at_us.isascii() and at_us.isdigit() and number):
            raise ValueError("unknown cursor")
        statement = statement.where(tuple_(*order) < (int(at_us), number))
    count = max(1, min(limit, PAGE_MAX))
    ordered = statement.order_by(order[0].desc(), order[1].desc()).limit(count + 1)
    rows = fetch_named(reader, ordered)
    if len(rows) <= count:
        return Page(rows, "")
    last = rows[count - 1]
    return Page(rows[:count], f"{last[order[0].name]}.{last[order[1].name]}")


def refund_of(
    reader: Reader, merchant_id: str, *, refund_no: str = "", out_refund_no: str = ""
) -> dict[str, Any] | None:
    """Return one refund of a merchant by the gateway's number or by the merchant's own."""
    number = (
        refunds.c.refund_no == refund_no if refund_no else refunds.c.out_refund_no == out_refund_no
    )
    statement = (
        select(refunds, orders.c.out_trade_no)
        .join_from(
            refunds,
            orders,
            (refunds.c.merchant_id == orders.c.merchant_id)
            & (refunds.c.trade_no == orders.c.trade_no),
        )
        .where(refunds.c.merchant_id == merchant_id, number)
    )
    rows = fetch_named(reader, statement)
    return rows[0] if rows else None


def bill(reader: Reader, merchant_id: str, day: str, from_us: int, until_us: int) -> bytes:
    """Write a merchant's bill: every movement of its account, opening and closing balances.

    Args:
        reader: The database.
        merchant_id: Whose.
        day: What is written in the first line, YYYY-MM-DD.
        from_us: The day's first microsecond since the epoch.
        until_us: The next day's.

    Returns:
        UTF-8 CSV; see `docs/MERCHANT_API.md`.
    """
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(BILL_HEADER)
    count = 0
    for currency in _currencies(reader, merchant_id):
        statement = statement_of(reader, merchant_id, currency, from_us, until_us)
        names = _numbers(reader, merchant_id, {line.trade_no for line in statement.lines})
        ours = _refund_numbers(reader, merchant_id, {line.trade_no for line in statement.lines})
        lines.writerow(["#OPENING", currency, _text(statement.opening_minor, currency)])
        for line in statement.lines:
            refund_no = line.entry_id.partition(":")[2] if "REF" in line.kind else ""
            if line.kind == "FEE_RETURN":
                refund_no = line.entry_id.partition(":")[2]
            count += 1
            lines.writerow(
                [
                    utc_text(line.at_us),
                    line.kind,
                    line.trade_no,
                    names.get(line.trade_no, ""),
                    refund_no,
                    ours.get(refund_no, ""),
                    _text(line.change_minor, currency),
                    _text(line.balance_minor, currency),
                    currency,
                ]
            )
        lines.writerow(["#CLOSING", currency, _text(statement.closing_minor, currency)])
    lines.writerow(["#END", count])
    body = text.getvalue().encode()
    digest = hashlib.sha256(body).hexdigest()
    return f"#YUMEN-MERCHANT-BILL,1,{merchant_id},{day},sha256={digest}\n".encode() + body


def _text(amount_minor: int, currency: str) -> str:
    return str(to_major(amount_minor, currency))


def _currencies(reader: Reader, merchant_id: str) -> Iterator[str]:
    statement = (
        select(ledger_postings.c.currency)
        .where(
            ledger_postings.c.merchant_id == merchant_id,
            ledger_postings.c.account == f"merchant:{merchant_id}",
        )
        .distinct()
        .order_by(ledger_postings.c.currency)
    )
    return (currency for (currency,) in fetch(reader, statement) if currency in MINOR_DIGITS)


_CHUNK: Final = 500


def _numbers(reader: Reader, merchant_id: str, trade_nos: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for chunk in _chunks(trade_nos):
        statement = select(orders.c.trade_no, orders.c.out_trade_no).where(
            orders.c.merchant_id == merchant_id, orders.c.trade_no.in_(chunk)
        )
        found |= {ours: theirs for ours, theirs in fetch(reader, statement)}  # noqa: C416 - rows
    return found


def _refund_numbers(reader: Reader, merchant_id: str, trade_nos: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for chunk in _chunks(trade_nos):
        statement = select(refunds.c.refund_no, refunds.c.out_refund_no).where(
            refunds.c.merchant_id == merchant_id, refunds.c.trade_no.in_(chunk)
        )
        # A number that we derived from the request is nothing a merchant knows.
        found |= {
            ours: "" if out.startswith("~") else out for ours, out in fetch(reader, statement)
        }
    return found


def _chunks(numbers: set[str]) -> Iterator[list[str]]:
    ordered = sorted(numbers)
    return (ordered[first : first + _CHUNK] for first in range(0, len(ordered), _CHUNK))
