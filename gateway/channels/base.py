"""What the gateway asks of a payment system. One adapter file per system, nothing shared but this.

An adapter translates; it decides nothing, stores nothing and retries nothing. Retrying is
the worker's task, because only the worker knows whether an outcome is still unknown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class ChannelProtocolError(Exception):
    """A channel's message is malformed or wrongly signed; nothing in it may be believed."""


class Outcome(StrEnum):
    """What the channel is known to have done. UNKNOWN is a fact, not an error."""

    ACCEPTED = "ACCEPTED"  # The channel knows the payment or refund and waits.
    PAID = "PAID"
    REFUNDED = "REFUNDED"
    CLOSED = "CLOSED"  # Never paid and never will be.
    NOT_FOUND = "NOT_FOUND"  # The channel never heard of it: asking again is safe.
    REJECTED = "REJECTED"  # The channel refused for good.
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True, kw_only=True)
class PayRequest:
    """A payment to be opened; `trade_no` is the idempotency key on the channel's side.

    Attributes:
        trade_no: 8 to 32 letters and digits.
        pay_type: The merchant's choice, e.g. ``wechat`` (needs a `prepay_id`).
        notify_url: Where the channel tells the gateway (not the merchant) what happened.
        return_url: Where the payer's browser goes afterwards; may be empty.
        expires_at_s: Unix time, seconds.
        challenge: Risk asks the channel for step-up authentication of the payer.
    """

    trade_no: str
    pay_type: str
    amount_minor: int
    currency: str
    subject: str
    notify_url: str
    return_url: str
    expires_at_s: int
    challenge: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelReply:
    """A channel's answer in the gateway's words, with the original kept for the audit.

    Attributes:
        outcome: What is known to have happened.
        trade_no: Our number, echoed by the channel.
        channel_trade_no: The channel's own number, if it gave one.
        refund_no: Our refund number, if the answer is about a refund.
        amount_minor: The amount the channel speaks of, if it says one.
        currency: The currency the channel speaks of, if it says one.
        pay_url: Where the payer pays (answer to `pay`).
        prepay_id: Prepayment session (answer to `pay` for wechat).
        event_id: Unique id of a notification; the same event repeated has the same id.
        raw: The message as it came.
    """

    outcome: Outcome
    trade_no: str
    channel_trade_no: str = ""
    refund_no: str = ""
    amount_minor: int | None = None
    currency: str = ""
    pay_url: str = ""
    prepay_id: str = ""
    event_id: str = ""
    raw: bytes = b""


class Channel(Protocol):
    """A payment system. Every method is idempotent in our number and bounded by `timeout_s`.

    A timeout or a 5xx answers `Outcome.UNKNOWN`; the caller resolves it with `query` before it
    tries anything else. A malformed or wrongly signed answer raises `ChannelProtocolError`.
    """

    name: str

    def link(self, request: PayRequest) -> ChannelReply | None:
        """Open the payment without asking the channel, where its protocol allows it.

        Returns:
            ACCEPTED with a signed `pay_url`, made by arithmetic alone; or None if this kind of
            payment must be opened by `pay`.
        """
        ...

    async def pay(self, request: PayRequest, *, timeout_s: float) -> ChannelReply:
        """Open the payment at the channel: ACCEPTED, REJECTED or UNKNOWN."""
        ...

    async def query(self, trade_no: str, *, timeout_s: float) -> ChannelReply:
        """Ask about a payment: ACCEPTED (waiting), PAID, CLOSED, NOT_FOUND or UNKNOWN."""
        ...

    async def close(self, trade_no: str, *, timeout_s: float) -> ChannelReply:
        """Close an unpaid payment: CLOSED (also if never heard of), PAID (too late) or UNKNOWN."""
        ...

    async def refund(
        self, trade_no: str, refund_no: str, amount_minor: int, currency: str, *, timeout_s: float
    ) -> ChannelReply:
        """Give money back, idempotent in `refund_no`: REFUNDED, ACCEPTED, REJECTED or UNKNOWN."""
        ...

    async def query_refund(
        self, trade_no: str, refund_no: str, *, timeout_s: float
    ) -> ChannelReply:
        """Ask about a refund: REFUNDED, ACCEPTED, REJECTED, NOT_FOUND or UNKNOWN."""
        ...

    def read_notification(self, headers: Mapping[str, str], body: bytes) -> ChannelReply:
        """Verify and translate a notification: PAID, CLOSED or REFUNDED, with its `event_id`.

        Raises:
            ChannelProtocolError: if it is malformed or not signed by the channel.
        """
        ...

    def notification_answer(self, *, accepted: bool) -> tuple[int, bytes]:
        """Return HTTP status and body that tell the channel to stop, or to send again."""
        ...

    async def bill(self, day: str, *, timeout_s: float) -> bytes:
        """Download the bill of `day` (YYYY-MM-DD, the channel's own time zone), as it comes.

        Raises:
            ChannelProtocolError: if it can't be had or is damaged.
        """
        ...
