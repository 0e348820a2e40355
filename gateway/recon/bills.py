"""Reads a channel's bill. A damaged file is refused whole, with the line and the reason.

Half a bill is worse than none: its missing rows would look like money the channel doesn't have.
So the file's own hash, header, counts and totals must all agree before a single row is believed.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from gateway.recon.formats import alipay, sandbox
from gateway.recon.formats.base import BillRefused as BillRefused
from gateway.recon.formats.base import Reader
from gateway.recon.record import Record, window_of

READERS: Final[dict[str, Reader]] = {"alipay": alipay.read, "sandbox": sandbox.read}


@dataclass(frozen=True, slots=True)
class Bill:
    """A whole, believable bill of one day."""

    channel: str
    day: str
    sha256: str
    records: tuple[Record, ...]


def read_bill(channel: str, day: str, file: bytes) -> Bill:
    """Read a bill.

    Args:
        channel: Whose format it is.
        day: The business day asked for, YYYY-MM-DD; rows of another day are refused.
        file: The file as it came.

    Raises:
        BillRefused: if anything about it is wrong.
        ValueError: if `day` is no day.
    """
    reader = READERS.get(channel)
    if reader is None:
        raise BillRefused(0, f"no reader for the bills of {channel!r}")
    records = tuple(reader(file, window_of(channel, day)))
    return Bill(channel, day, hashlib.sha256(file).hexdigest(), records)
