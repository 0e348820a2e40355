"""The daily statement of the wallet that holds a token's keys; see `docs/CHANNELS.md`.

One line a transfer, final ones alone. What came for one order is one record, whatever the number
of transfers, since the ledger books what came in all.
"""

import csv
import re
from collections.abc import Iterator
from typing import Final

from gateway.domain.money import AMOUNT_MINOR_MAX, MINOR_DIGITS
from gateway.recon.formats.base import NUMBER, BillRefused, time_us
from gateway.recon.record import Kind, Record, Window

_HEADER: Final = [
    "time",
    "kind",
    "trade_no",
    "refund_no",
    "units",
    "tx_hash",
    "log_index",
    "block",
]
_KINDS: Final = {"IN": Kind.PAY, "OUT": Kind.REFUND}
_UNITS: Final = re.compile(r"[1-9][0-9]{0,15}", re.ASCII)
_TX_HASH: Final = re.compile(r"0x[0-9a-f]{64}", re.ASCII)
_FIRST_FIELDS: Final = 7


def read(file: bytes, window: Window) -> Iterator[Record]:
    """Read the file; see `gateway.recon.bills.read_bill`."""
    try:
        lines = file.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise BillRefused(0, "not UTF-8") from error
    if lines[-1] != "":
        raise BillRefused(len(lines), "the last line isn't ended")
    rows = csv.reader(lines[:-1], strict=True)
    try:
        yield from _rows(rows, window)
    except csv.Error as error:
        raise BillRefused(rows.line_num, f"not CSV: {error}") from error


def _rows(rows: Iterator[list[str]], window: Window) -> Iterator[Record]:
    first = next(rows, [])
    if len(first) != _FIRST_FIELDS or first[:2] != ["#WALLET", "1"]:
        raise BillRefused(1, "not a wallet's statement of version 1")
    currency = first[3]
    if str(MINOR_DIGITS.get(currency)) != first[4]:
        raise BillRefused(1, f"{currency[:8]!r} with {first[4][:8]!r} decimals isn't known here")
    if next(rows, []) != _HEADER:
        raise BillRefused(2, "unknown header")
    came: dict[tuple[str, str, str], Record] = {}
    sums, row_count, seen, ended = {Kind.PAY: 0, Kind.REFUND: 0}, 0, set(), False
    for line_no, row in enumerate(rows, start=3):
        if ended:
            raise BillRefused(line_no, "text after #END")
        if row and row[0] == "#END":
            ended = True
            found = [str(row_count), str(sums[Kind.PAY]), str(sums[Kind.REFUND])]
            if row[1:] != found:
                raise BillRefused(line_no, f"#END claims {row[1:4]}, found {found}")
            continue
        record = _record(row, currency, line_no, window)
        row_count += 1
        sums[Kind(record.kind)] += record.amount_minor
        place = (row[5], row[6])
        known = came.get(record.key)
        if known is None or place in seen:  # The same transfer twice stays two records.
            yield from (known,) if known else ()
            came[record.key] = record
        else:
            total_minor = known.amount_minor + record.amount_minor
            came[record.key] = record._replace(amount_minor=total_minor)
        seen.add(place)
    if not ended:
        raise BillRefused(0, "no #END: cut off")
    yield from came.values()


def _record(row: list[str], currency: str, line_no: int, window: Window) -> Record:
    if len(row) != len(_HEADER):
        raise BillRefused(line_no, f"{len(row)} fields instead of {len(_HEADER)}")
    time, word, trade_no, refund_no, units, tx_hash, log_index, block = row
    kind = _KINDS.get(word)
    if kind is None or (kind is Kind.PAY) != (refund_no == ""):
        raise BillRefused(line_no, f"kind {word[:20]!r} with refund_no {refund_no[:40]!r}")
    for number in (trade_no, refund_no or trade_no, log_index, block):
        if NUMBER.fullmatch(number) is None:
            raise BillRefused(line_no, f"malformed number {number[:64]!r}")
    if _TX_HASH.fullmatch(tx_hash) is None:
        raise BillRefused(line_no, f"malformed transaction {tx_hash[:80]!r}")
    if _UNITS.fullmatch(units) is None or int(units) > AMOUNT_MINOR_MAX:
        raise BillRefused(line_no, f"malformed units {units[:24]!r}")
    at_us = time_us(time, line_no)
    if not window.holds(at_us):
        raise BillRefused(line_no, f"{time} isn't on the day of this statement")
    return Record(kind, trade_no, refund_no, int(units), currency, at_us, tx_hash)
