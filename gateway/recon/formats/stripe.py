"""Stripe's itemized report of balance changes (`balance_change_from_activity.itemized.3`).

CSV in UTF-8 with the columns that `gateway.channels.stripe` asks for. The file has no totals of
its own; what it offers is checked: every row has its cells, gross less fee is net, and the last
line is ended.

What moved the balance and isn't a payment or a refund of ours still has to be seen: a dispute, a
refund that the bank sent back and the like become records under Stripe's own number, which the
ledger doesn't know, so they show as breaks. Payouts, fees and transfers aren't payments.
"""

import csv
import io
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from gateway.domain.money import AMOUNT_MINOR_MAX, MINOR_DIGITS
from gateway.recon.formats.base import BillRefused, minor, time_us
from gateway.recon.record import Kind, Record, Window

COLUMNS: Final = (
    "balance_transaction_id",
    "created_utc",
    "currency",
    "gross",
    "fee",
    "net",
    "reporting_category",
    "source_id",
    "customer_facing_amount",
    "customer_facing_currency",
    "payment_intent_id",
    "payment_metadata[trade_no]",
    "refund_metadata[refund_no]",
)
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}", re.ASCII)
_DECIMAL: Final = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,4})?", re.ASCII)
# Named by Stripe's own number on our side: money moved that no order or refund of ours says.
_ABOUT_PAYMENTS: Final = frozenset(
    {
        "charge_failure",
        "dispute",
        "dispute_reversal",
        "partial_capture_reversal",
        "refund_failure",
    }
)
_NOT_PAYMENTS: Final = frozenset(
    {
        *("advance", "advance_funding", "anticipation_repayment", "climate_order_purchase"),
        *("climate_order_refund", "connect_collection_transfer", "connect_reserved_funds"),
        *("contribution", "fee", "financing_paydown", "financing_paydown_reversal"),
        *("financing_payout", "financing_payout_reversal", "issuing_authorization_hold"),
        *("issuing_authorization_release", "issuing_dispute", "issuing_transaction"),
        *("network_cost", "other_adjustment", "payout", "payout_reversal", "platform_earning"),
        *("platform_earning_refund", "risk_reserved_funds", "tax", "topup", "topup_reversal"),
        *("transfer", "transfer_reversal", "unreconciled_customer_funds"),
    }
)


def read(file: bytes, window: Window) -> Iterator[Record]:
    """Read the file; see `gateway.recon.bills.read_bill`."""
    try:
        text = file.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BillRefused(0, "not UTF-8") from error
    if not text.endswith("\n"):
        raise BillRefused(0, "the last line isn't ended: cut off")
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        if tuple(next(rows, ())) != COLUMNS:
            raise BillRefused(1, "unknown header")
        for row in rows:
            record = _record(row, rows.line_num, window)
            if record is not None:
                yield record
    except csv.Error as error:
        raise BillRefused(rows.line_num, f"not CSV: {error}") from error


def _record(row: list[str], line_no: int, window: Window) -> Record | None:
    if len(row) != len(COLUMNS):
        raise BillRefused(line_no, f"{len(row)} fields instead of {len(COLUMNS)}")
    cell = dict(zip(COLUMNS, row, strict=True))
    category = cell["reporting_category"]
    gross, fee, net = (_decimal(cell[name], line_no) for name in ("gross", "fee", "net"))
    if gross - fee != net:
        raise BillRefused(line_no, "gross less fee isn't net")
    if _TIME.fullmatch(cell["created_utc"]) is None:
        raise BillRefused(line_no, f"malformed time {cell['created_utc'][:40]!r}")
    at_us = time_us(f"{cell['created_utc']}+00:00", line_no)
    if not window.holds(at_us):
        raise BillRefused(line_no, f"{cell['created_utc']} isn't on the day of this bill")
    if category in _NOT_PAYMENTS:
        return None
    amount_minor, currency = _amount(cell, line_no)
    trade_no = cell["payment_metadata[trade_no]"] or cell["payment_intent_id"]
    match category:
        case "charge":
            kind, refund_no = Kind.PAY, ""
        case "refund":
            # One made by hand at Stripe has no number of ours.
            kind, refund_no = Kind.REFUND, cell["refund_metadata[refund_no]"] or cell["source_id"]
        case _ if category in _ABOUT_PAYMENTS:
            kind, refund_no = Kind.PAY if gross > 0 else Kind.REFUND, cell["source_id"]
        case _:
            raise BillRefused(line_no, f"unknown category {category[:40]!r}")
    return Record(kind, trade_no, refund_no, amount_minor, currency, at_us, cell["source_id"])


def _decimal(text: str, line_no: int) -> Decimal:
    if _DECIMAL.fullmatch(text) is None:
        raise BillRefused(line_no, f"malformed amount {text[:24]!r}")
    return Decimal(text)


def _amount(cell: dict[str, str], line_no: int) -> tuple[int, str]:
    """Return what the payer saw; Stripe's balance may be kept in another currency."""
    shown = cell["customer_facing_amount"]
    written, code = (
        (shown, cell["customer_facing_currency"]) if shown else (cell["gross"], cell["currency"])
    )
    currency = code.upper()
    if currency not in MINOR_DIGITS:
        raise BillRefused(line_no, f"unknown currency {code[:8]!r}")
    amount_minor = minor(written.removeprefix("-"), currency, line_no)
    if not 0 < amount_minor <= AMOUNT_MINOR_MAX:
        raise BillRefused(line_no, "an amount must be more than zero")
    return amount_minor, currency
