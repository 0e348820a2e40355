"""What both sides of a reconciliation are made of: records, and the day they belong to."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from enum import StrEnum
from typing import Final, NamedTuple

# A channel's business day, as an offset from UTC. None of them knows daylight saving time.
_BEIJING = timezone(timedelta(hours=8))
CHANNEL_ZONES: Final = {
    "alipay": _BEIJING,
    "bnpl": UTC,
    "ecny": _BEIJING,
    "evm": UTC,
    "paypal": UTC,
    "sandbox": _BEIJING,
    "stripe": UTC,
    # A clearing day begins at 23:00 in Beijing on the evening before.
    "unionpay": timezone(timedelta(hours=9)),
    "wechat": _BEIJING,
}
CUTOFF_S: Final = 300  # So near to midnight, either side may have it on the other day.


class Kind(StrEnum):
    """What a record moves: PAY to us, REFUND back to the payer."""

    PAY = "PAY"
    REFUND = "REFUND"


class Record(NamedTuple):
    """One movement of money as one side knows it.

    Attributes:
        kind: A `Kind`, as text.
        trade_no: Our trade number, which the channel echoes.
        refund_no: Our refund number; empty for a payment.
        amount_minor: Positive, in minor units, whatever the kind.
        currency: ISO 4217 code.
        at_us: When it was paid or booked, microseconds since the epoch.
        ref: The channel's own number, or the merchant on our side.
    """

    kind: str
    trade_no: str
    refund_no: str
    amount_minor: int
    currency: str
    at_us: int
    ref: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes two records the same movement."""
        return (self.kind, self.trade_no, self.refund_no)

    @property
    def signed_minor(self) -> int:
        """Minor units: payments count up, refunds down."""
        return self.amount_minor if self.kind == Kind.PAY else -self.amount_minor


@dataclass(frozen=True, slots=True)
class Window:
    """The business day that is reconciled, in microseconds since the epoch.

    Attributes:
        first_us: Its first microsecond.
        after_us: The first microsecond of the next day.
        cutoff_us: How near to either end a record may belong to the neighbour's bill.
    """

    first_us: int
    after_us: int
    cutoff_us: int = CUTOFF_S * 1_000_000

    def holds(self, at_us: int) -> bool:
        """Whether a time is on this day."""
        return self.first_us <= at_us < self.after_us

    def near_edge(self, at_us: int) -> bool:
        """Whether a time on this day is within the cut-off of one of its ends."""
        return at_us - self.first_us < self.cutoff_us or self.after_us - at_us <= self.cutoff_us


def window_of(channel: str, day: str) -> Window:
    """Return the business day `day` (YYYY-MM-DD) of a channel.

    Raises:
        KeyError: if the channel has no zone here.
        ValueError: if `day` is no day written YYYY-MM-DD.

    Examples:
        >>> window_of("sandbox", "1970-01-02").first_us // 1_000_000
        57600
    """
    first_day = date.fromisoformat(day)
    if first_day.isoformat() != day:
        raise ValueError(f"{day!r} is not written YYYY-MM-DD")
    first = datetime.combine(first_day, datetime.min.time(), tzinfo=CHANNEL_ZONES[channel])
    first_us = int(first.timestamp()) * 1_000_000
    return Window(first_us, first_us + 86_400 * 1_000_000)


def day_of(channel: str, at_us: int) -> str:
    """Return the business day of a time, as YYYY-MM-DD."""
    return datetime.fromtimestamp(at_us // 1_000_000, tz=CHANNEL_ZONES[channel]).date().isoformat()
