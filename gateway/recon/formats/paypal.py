"""PayPal's Transaction Search: a JSON array of its pages, as `gateway.channels.paypal` keeps them.

Every page says how many there are of it and of the transactions; all must be there. Our numbers
stand in `custom_field`: ``<trade_no>`` or ``<trade_no>:<refund_no>``.

What moved the balance and isn't a payment or a refund of ours still has to be seen: a chargeback, a
reversal and the like become records under PayPal's own number, which the ledger doesn't know, so
they show as breaks. Fees, withdrawals and conversions aren't payments. Source:
developer.paypal.com/docs/reports/reference/tcodes.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final

from gateway.domain.money import AMOUNT_MINOR_MAX, MINOR_DIGITS
from gateway.recon.formats.base import BillRefused, time_us
from gateway.recon.record import Kind, Record, Window

_VALUE: Final = re.compile(r"(-?)(0|[1-9][0-9]{0,15})(?:\.([0-9]{1,3}))?", re.ASCII)
_EVENT_CODE: Final = re.compile(r"T[0-9]{4}", re.ASCII)
_REFUND: Final = "T1107"
_PAYMENTS: Final = "T00"
_MOVES_BACK: Final = frozenset({"T11", "T12"})  # Reversals, refunds, chargebacks.
_MOVED: Final = frozenset({"S", "V"})  # Succeeded, also where it was reversed by another later.
_NOT_MOVED: Final = frozenset({"P", "D"})  # Pending, denied.


def read(file: bytes, window: Window) -> Iterator[Record]:
    """Read the file; see `gateway.recon.bills.read_bill`."""
    try:
        pages: object = json.loads(file)
    except (ValueError, RecursionError) as error:
        raise BillRefused(0, f"not JSON: {error}") from error
    if not isinstance(pages, list) or not pages:
        raise BillRefused(0, "not an array of pages")
    row_no = 0
    for number, page in enumerate(pages, start=1):
        if _number(page, "page") != number or _number(page, "total_pages") != len(pages):
            raise BillRefused(row_no, f"page {number} of {len(pages)} says otherwise")
        details = page.get("transaction_details")
        if not isinstance(details, list):
            raise BillRefused(row_no, f"page {number} has no transactions")
        for detail in details:
            row_no += 1
            info = _part(detail, "transaction_info", row_no)
            record = _record(info, row_no, window)
            if record is not None:
                yield record
    if any(_number(page, "total_items") != row_no for page in pages):
        raise BillRefused(0, f"there are {row_no} transactions, the pages claim others")


def _record(info: Mapping[str, object], row_no: int, window: Window) -> Record | None:
    code = _text(info, "transaction_event_code", row_no)
    status = _text(info, "transaction_status", row_no)
    if _EVENT_CODE.fullmatch(code) is None or status not in _MOVED | _NOT_MOVED:
        raise BillRefused(row_no, f"unknown code {code[:8]!r} or status {status[:8]!r}")
    at_us = time_us(_text(info, "transaction_initiation_date", row_no), row_no)
    if not window.holds(at_us):
        raise BillRefused(row_no, "a transaction isn't on the day of this bill")
    is_negative, amount_minor, currency = _money(info, row_no)
    group = code[:3]
    if status in _NOT_MOVED or (group != _PAYMENTS and group not in _MOVES_BACK):
        return None
    number = _text(info, "transaction_id", row_no)
    if not number:
        raise BillRefused(row_no, "a transaction without id")
    trade_no, _, refund_no = _text(info, "custom_field", row_no).partition(":")
    reference = _text(info, "paypal_reference_id", row_no) or number
    if group == _PAYMENTS:
        kind, refund_no = (Kind.REFUND, number) if is_negative else (Kind.PAY, "")
    elif code == _REFUND and is_negative:
        kind, refund_no = Kind.REFUND, refund_no or number  # One made by hand has none of ours.
    else:
        kind, refund_no = Kind.REFUND if is_negative else Kind.PAY, number
    return Record(kind, trade_no or reference, refund_no, amount_minor, currency, at_us, number)


def _money(info: Mapping[str, object], row_no: int) -> tuple[bool, int, str]:
    """Return whether money left, how much of it, and the currency."""
    amount = _part(info, "transaction_amount", row_no)
    currency, value = _text(amount, "currency_code", row_no), _text(amount, "value", row_no)
    found = _VALUE.fullmatch(value)
    if currency not in MINOR_DIGITS or found is None:
        raise BillRefused(row_no, f"malformed amount {value[:24]!r} {currency[:8]!r}")
    sign, whole, fraction = found.group(1), found.group(2), found.group(3) or ""
    digits = MINOR_DIGITS[currency]
    if fraction[digits:].strip("0"):
        raise BillRefused(row_no, f"{value[:24]} isn't a whole amount of {currency}")
    amount_minor = int(whole + fraction[:digits].ljust(digits, "0"))
    if not 0 < amount_minor <= AMOUNT_MINOR_MAX:
        raise BillRefused(row_no, "an amount must be more than zero")
    return bool(sign), amount_minor, currency


def _part(of: object, name: str, row_no: int) -> Mapping[str, object]:
    value = of.get(name) if isinstance(of, dict) else None
    if not isinstance(value, dict):
        raise BillRefused(row_no, f"no {name}")
    return value


def _text(of: Mapping[str, object], name: str, row_no: int) -> str:
    value = of.get(name, "")
    if not isinstance(value, str):
        raise BillRefused(row_no, f"{name} must be text")
    return value


def _number(of: object, name: str) -> int:
    value = of.get(name) if isinstance(of, dict) else None
    if not isinstance(value, int) or isinstance(value, bool):
        raise BillRefused(0, f"{name} must be a number")
    return value
