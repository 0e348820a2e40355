"""Klarna's settlement transactions: a JSON array of its pages, as `gateway.channels.bnpl` has them.

Klarna can't be asked by day, so the pages hold everything and the rows of the day are taken. The
pages must hold as many transactions as each of them claims: if one came in while they were read,
the bill is refused and must be downloaded again.

A sale is a payment, a return a refund; a reversal (a lost dispute) becomes a record under Klarna's
own number, which the ledger doesn't know, so it shows as a break. Fees and corrections of Klarna's
account aren't payments. Source: docs.klarna.com, Settlements API, `Transaction`.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Final

from gateway.domain.money import AMOUNT_MINOR_MAX, MINOR_DIGITS
from gateway.recon.formats.base import BillRefused, time_us
from gateway.recon.record import Kind, Record, Window

_NOT_PAYMENTS: Final = frozenset(
    {
        *("COMMISSION", "TAX", "FEE", "FEE_REFUND", "CORRECTION", "CHARGE", "CREDIT"),
        *("HOLDBACK", "RELEASE"),
    }
)
_REVERSALS: Final = {"REVERSAL": Kind.REFUND, "REVERSAL_MERCHANT_PROTECTION": Kind.PAY}


def read(file: bytes, window: Window) -> Iterator[Record]:
    """Read the file; see `gateway.recon.bills.read_bill`."""
    try:
        pages: object = json.loads(file)
    except (ValueError, RecursionError) as error:
        raise BillRefused(0, f"not JSON: {error}") from error
    if not isinstance(pages, list) or not pages:
        raise BillRefused(0, "not an array of pages")
    row_no = 0
    for page in pages:
        rows = page.get("transactions") if isinstance(page, dict) else None
        pagination = page.get("pagination") if isinstance(page, dict) else None
        if not isinstance(rows, list) or not isinstance(pagination, dict):
            raise BillRefused(row_no, "a page without transactions or pagination")
        if pagination.get("count") != len(rows) or pagination.get("offset") != row_no:
            raise BillRefused(row_no, "a page isn't where it says")
        for row in rows:
            row_no += 1
            if not isinstance(row, dict):
                raise BillRefused(row_no, "not a transaction")
            record = _record(row, row_no, window)
            if record is not None:
                yield record
    if any(page["pagination"].get("total") != row_no for page in pages):
        raise BillRefused(0, f"there are {row_no} transactions, the pages claim others")


def _record(row: Mapping[str, object], row_no: int, window: Window) -> Record | None:
    kind = _text(row, "type", row_no)
    at_us = time_us(_text(row, "capture_date", row_no), row_no)
    if not window.holds(at_us) or kind in _NOT_PAYMENTS:
        return None
    currency, amount = _text(row, "currency_code", row_no), row.get("amount")
    if currency not in MINOR_DIGITS or type(amount) is not int:
        raise BillRefused(row_no, f"malformed amount {amount!r:.24} {currency[:8]!r}")
    amount_minor = abs(amount)
    if not 0 < amount_minor <= AMOUNT_MINOR_MAX:
        raise BillRefused(row_no, "an amount must be more than zero")
    order = _text(row, "order_id", row_no)
    trade_no = _text(row, "merchant_reference1", row_no) or order
    if kind == "SALE":
        ref = _text(row, "capture_id", row_no) or order
        return Record(Kind.PAY, trade_no, "", amount_minor, currency, at_us, ref)
    if kind == "RETURN":
        ref = _text(row, "refund_id", row_no) or order
        # One made by hand at Klarna has no number of ours.
        refund_no = _text(row, "merchant_refund_reference", row_no) or ref
        return Record(Kind.REFUND, trade_no, refund_no, amount_minor, currency, at_us, ref)
    if kind not in _REVERSALS:
        raise BillRefused(row_no, f"unknown type {kind[:40]!r}")
    ref = _text(row, "reversal_reference", row_no) or order
    return Record(_REVERSALS[kind], trade_no, ref, amount_minor, currency, at_us, ref)


def _text(row: Mapping[str, object], name: str, row_no: int) -> str:
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BillRefused(row_no, f"{name} must be text")
    return value
