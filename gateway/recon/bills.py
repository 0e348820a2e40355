"""Reads a channel's bill. A damaged file is refused whole, with the line and the reason.

Half a bill is worse than none: its missing rows would look like money the channel doesn't have.
So the file's own hash, header, counts and totals must all agree before a single row is believed.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from gateway.recon.formats import alipay, bnpl, ecny, evm, paypal, sandbox, stripe, unionpay, wechat
from gateway.recon.formats.base import BillRefused as BillRefused
from gateway.recon.formats.base import Reader
from gateway.recon.record import Record, window_of

READERS: Final[dict[str, Reader]] = {
    "alipay": alipay.read,
    "bnpl": bnpl.read,
    "ecny": ecny.read,
    "evm": evm.read,
    "paypal": paypal.read,
    "sandbox": sandbox.read,
    "stripe": stripe.read,
    "unionpay": unionpay.read,
    "wechat": wechat.read,
}


@dataclass(frozen=True, slots=True)
class Bill:
    """A whole, believable bill of one day."""

    channel: str
    kind: str
    day: str
    sha256: str
    records: tuple[Record, ...]


def read_bill(channel: str, day: str, file: bytes, *, kind: str = "") -> Bill:
    """Read a bill.

    Args:
        channel: The account whose bill it is.
        day: The business day asked for, YYYY-MM-DD; rows of another day are refused.
        file: The file as it came.
        kind: The payment system whose format it is; as `channel` if it isn't given.

    Raises:
        BillRefused: if anything about it is wrong.
        ValueError: if `day` is no day.
    """
    kind = kind or channel
    reader = READERS.get(kind)
    if reader is None:
        raise BillRefused(0, f"no reader for the bills of {kind!r}")
    records = tuple(reader(file, window_of(kind, day)))
    return Bill(channel, kind, day, hashlib.sha256(file).hexdigest(), records)
